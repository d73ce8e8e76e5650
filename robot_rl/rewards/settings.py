"""What says reward and success during a run, as settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.robot import RobotState


@dataclass(frozen=True, kw_only=True)
class GeometricGuard:
    """Where the robot itself must be for a success to count, measured without any camera. By default anywhere.

    Attributes:
        box_min_m, box_max_m: Corners of a box of the tool in B.
        gripper_width_m: Smallest and largest opening of the gripper: a hand that holds something is neither shut nor
            open.
        gripper: Whether it must have been told to close or to open last.
    """

    box_min_m: tuple[float, float, float] = (-math.inf, -math.inf, -math.inf)
    box_max_m: tuple[float, float, float] = (math.inf, math.inf, math.inf)
    gripper_width_m: tuple[float, float] = (-math.inf, math.inf)
    gripper: Literal["any", "closing", "opening"] = "any"

    def __post_init__(self) -> None:
        if any(not a <= b for a, b in zip(self.box_min_m, self.box_max_m, strict=True)):
            raise ConfigError(
                f"reward.guard.box_min_m is {self.box_min_m} and box_max_m {self.box_max_m}; each of the first three "
                "must not exceed its counterpart"
            )
        if not self.gripper_width_m[0] <= self.gripper_width_m[1]:
            raise ConfigError(
                f"reward.guard.gripper_width_m is {self.gripper_width_m}; it must be a smaller and a larger"
            )
        if self.gripper not in ("any", "closing", "opening"):
            raise ConfigError(f"reward.guard.gripper is '{self.gripper}'; allowed: any, closing, opening")

    def admits(self, state: RobotState) -> bool:
        """Return whether a success may count here."""
        inside = np.all(state.p_BE >= self.box_min_m) and np.all(state.p_BE <= self.box_max_m)
        low, high = self.gripper_width_m
        told = self.gripper == "any" or state.gripper_closing == (self.gripper == "closing")
        return bool(inside) and low <= state.gripper_width_m <= high and told


@dataclass(frozen=True, kw_only=True)
class ViceConfig:
    """How the classifier of `reward=vice` learns beside the policy.

    Attributes:
        goal_frames: Last frames of each demonstration that show the goal.
        gap_frames: Frames before them that are left out: nobody knows whether they show it.
        first_steps: Gradient steps before practice, on demonstrations alone.
        every_steps: Steps of practice between two lessons.
        steps: Gradient steps of a lesson.
        batch: Frames in a gradient step: half goals, a quarter earlier frames of demonstrations, a quarter practice.
        learning_rate: Of Adam.
        smoothing: Labels are taken as this and 1 - this.
        mixup: Rows of a batch are mixed with others in shares from Beta(mixup, mixup), embeddings and labels alike; 0
            mixes none.
        embeddings, hidden: Sizes, as `head.HeadConfig` has them.
    """

    goal_frames: int = 2
    gap_frames: int = 3
    first_steps: int = 300
    every_steps: int = 200
    steps: int = 40
    batch: int = 128
    learning_rate: float = 3e-4
    smoothing: float = 0.1
    mixup: float = 1.0
    embeddings: int = 8
    hidden: int = 64

    def __post_init__(self) -> None:
        for name, least in (
            ("goal_frames", 1), ("gap_frames", 0), ("first_steps", 1), ("every_steps", 1), ("steps", 1), ("batch", 4),
            ("embeddings", 1), ("hidden", 1),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(f"reward.vice.{name} is {getattr(self, name)}; it must be at least {least}")
        if self.batch % 4:
            raise ConfigError(
                f"reward.vice.batch is {self.batch}; it must be a multiple of 4: half goals, two quarters"
            )
        if not self.learning_rate > 0.0 or not math.isfinite(self.learning_rate):
            raise ConfigError(f"reward.vice.learning_rate is {self.learning_rate}; it must be positive")
        if not 0.0 <= self.smoothing < 0.5 or not 0.0 <= self.mixup < math.inf:
            raise ConfigError(
                f"reward.vice.smoothing is {self.smoothing} and mixup {self.mixup}; they must lie in 0 to below 0.5, "
                "and not be negative"
            )


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """What says reward and success.

    Attributes:
        source: "truth" is the task's own rule, which needs what only a twin or a rig with trackers measures;
            "classifier" judges the pictures of the robot's cameras; "vice" does so with one that learns beside the
            policy; "human" leaves it to the operator's success and failure buttons.
        path: The classifier's file. It is read again at the beginning of an episode when it has changed.
        stages: Files of classifiers of earlier stages, in their order: each must confirm before the next one is asked,
            and `path` is the last.
        stage_reward: Reward for the confirmation of an earlier stage, once in an episode.
        confirm: (k, n): a success counts when k of the last n frames are above the threshold.
        threshold: In the place of the classifier's own; 0 takes that.
        encoder: Name or file of the trunk; empty takes the one that the classifier names.
        keep: Whether frames are kept in RUN/judged to learn from: claims of success, and what a person or the twin
            contradicts.
        guard: Where the robot must be for a success to count.
        vice: How the classifier of "vice" learns.
    """

    source: Literal["truth", "classifier", "vice", "human"] = "truth"
    path: str = ""
    stages: tuple[str, ...] = ()
    stage_reward: float = 0.0
    confirm: tuple[int, int] = (2, 2)
    threshold: float = 0.0
    encoder: str = ""
    keep: bool = True
    guard: GeometricGuard = field(default_factory=GeometricGuard)
    vice: ViceConfig = field(default_factory=ViceConfig)

    def __post_init__(self) -> None:
        if self.source not in ("truth", "classifier", "vice", "human"):
            raise ConfigError(f"reward.source is '{self.source}'; allowed: truth, classifier, vice, human")
        if self.source == "vice" and (self.path or self.stages):
            raise ConfigError("reward.path and reward.stages are of reward=classifier; reward=vice makes its own")
        k, n = self.confirm
        if not 1 <= k <= n <= 50:
            raise ConfigError(f"reward.confirm is {list(self.confirm)}; it must be k and n with 1 <= k <= n <= 50")
        if not 0.0 <= self.threshold < 1.0:
            raise ConfigError(
                f"reward.threshold is {self.threshold}; it must lie in 0 to below 1 (0: the classifier's)"
            )
        if not math.isfinite(self.stage_reward):
            raise ConfigError(f"reward.stage_reward is {self.stage_reward}; it must be finite")
