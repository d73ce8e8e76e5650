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
class RewardConfig:
    """What says reward and success.

    Attributes:
        source: "truth" is the task's own rule, which needs what only a twin or a rig with trackers measures;
            "classifier" judges the pictures of the robot's cameras; "human" leaves it to the operator's success and
            failure buttons.
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
    """

    source: Literal["truth", "classifier", "human"] = "truth"
    path: str = ""
    stages: tuple[str, ...] = ()
    stage_reward: float = 0.0
    confirm: tuple[int, int] = (2, 2)
    threshold: float = 0.0
    encoder: str = ""
    keep: bool = True
    guard: GeometricGuard = field(default_factory=GeometricGuard)

    def __post_init__(self) -> None:
        if self.source not in ("truth", "classifier", "human"):
            raise ConfigError(f"reward.source is '{self.source}'; allowed: truth, classifier, human")
        k, n = self.confirm
        if not 1 <= k <= n <= 50:
            raise ConfigError(f"reward.confirm is {list(self.confirm)}; it must be k and n with 1 <= k <= n <= 50")
        if not 0.0 <= self.threshold < 1.0:
            raise ConfigError(
                f"reward.threshold is {self.threshold}; it must lie in 0 to below 1 (0: the classifier's)"
            )
        if not math.isfinite(self.stage_reward):
            raise ConfigError(f"reward.stage_reward is {self.stage_reward}; it must be finite")
