"""A scripted operator that errs on purpose: what a classifier must not take for a success, in a twin.

It lets the task's expert act, but on a false idea of where things are, or breaks off: it closes the gripper beside the
object, pushes it, lifts it some way and stops, or drops it. A set of successes and plain failures alone makes a
classifier that calls all of these a success.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError
from robot_rl.operator import OperatorInput
from robot_rl.robot import RobotState
from robot_rl.task import Expert, Task
from robot_rl.typed import Target

Way = Literal["right", "stop", "beside", "push", "drop"]
WAYS: tuple[Way, ...] = ("right", "stop", "beside", "push", "drop")


class NearMisses:
    """Acts all the time, rightly or wrongly.

    Args:
        task: Whose expert acts; it needs one, and a gripper.
        expert: How the expert moves.
        right, stop, beside, push, drop: How often each way is chosen, as relative weights: as the expert would; lift,
            and stop at a random height; close beside the object; run into it; lift, and let go.
        rise_m: Heights above the grasp between which "stop" and "drop" draw theirs.
        beside_m, push_m: Distances from the object between which those ways draw theirs.
        sway: After a stop the tool goes on to sway sideways and to turn by up to this share of a full step.
        seed: Of its own choices, beside the episode's.
    """

    def __init__(
        self,
        task: Task,
        expert: Target,
        right: float = 1.0,
        stop: float = 2.0,
        beside: float = 1.0,
        push: float = 1.0,
        drop: float = 1.0,
        rise_m: tuple[float, float] = (0.01, 0.18),
        beside_m: tuple[float, float] = (0.035, 0.07),
        push_m: tuple[float, float] = (0.012, 0.035),
        sway: float = 0.15,
        seed: int = 0,
    ) -> None:
        weights = np.array([right, stop, beside, push, drop], float)
        if not np.isfinite(weights).all() or (weights < 0.0).any() or weights.sum() <= 0.0:
            raise ConfigError(
                f"the weights of operator.{', '.join(WAYS)} are {weights.tolist()}; none may be negative, and one must "
                "be positive"
            )
        for name, (low, high) in (("rise_m", rise_m), ("beside_m", beside_m), ("push_m", push_m)):
            if not 0.0 <= low <= high:
                raise ConfigError(f"operator.{name} is ({low}, {high}); it must be two rising distances of at least 0")
        if not hasattr(task, "expert") or "gripper" not in task.action_spec.discrete:
            raise ConfigError(
                f"the task {task.name} has no scripted expert with a gripper, so operator=near_misses cannot err "
                "in it; "
                "use operator=scripted or a device"
            )
        self._expert: Expert = task.expert(expert.make())  # pyright: ignore[reportAttributeAccessIssue]
        self._free = [name for name, thing in task.scene.items() if thing.motion == "free"]
        self._spec = task.action_spec
        self._weights, self._seed = weights / weights.sum(), seed
        self._rise_m, self._far_m, self._sway = rise_m, {"beside": beside_m, "push": push_m}, sway
        self.way: Way = "right"
        self.begin(0)

    def connect(self) -> None:
        """There is no device."""

    def begin(self, seed: int) -> None:
        """Choose what will go wrong in this episode."""
        rng = self._rng = np.random.default_rng([seed, self._seed, 5])
        self.way = WAYS[int(rng.choice(len(WAYS), p=self._weights))]
        self._rise = float(rng.uniform(*self._rise_m))
        angle, far = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(*self._far_m.get(self.way, (0.0, 0.0)))
        self._offset = np.array([far * np.cos(angle), far * np.sin(angle), 0.0, 0.0, 0.0, 0.0, 0.0])
        self._drift = rng.uniform(-self._sway, self._sway, 6)
        self._lowest_m, self._stopped = np.inf, False
        self._expert.reset(np.random.default_rng(int(rng.integers(2**63))))

    def read(self, state: RobotState) -> OperatorInput:
        """Return the action of this period."""
        seen = state
        if self.way in ("beside", "push"):
            objects = {n: p + self._offset if n in self._free else p for n, p in state.objects.items()}
            seen = dataclasses.replace(state, objects=objects)
        action = np.asarray(self._expert.action(seen), np.float32)
        if self.way in ("stop", "drop"):
            if state.gripper_closing:
                self._lowest_m = min(self._lowest_m, float(state.p_BE[2]))
                self._stopped = self._stopped or float(state.p_BE[2]) - self._lowest_m >= self._rise
            if self._stopped:
                action = self._after()
        return OperatorInput(action=action)

    def _after(self) -> NDArray[np.float32]:
        action = np.zeros(self._spec.size, np.float32)
        action[:6] = self._drift * (1.0, 1.0, 0.1, 0.3, 0.3, 1.0)
        if self._rng.random() < 0.05:  # and now and then another way
            self._drift = self._rng.uniform(-self._sway, self._sway, 6)
        gripper = self._spec.discrete["gripper"]
        action[self._spec.slices["gripper"]] = gripper.value(1 if self.way == "stop" else 0)
        return action

    def close(self) -> None:
        """There is no device."""
