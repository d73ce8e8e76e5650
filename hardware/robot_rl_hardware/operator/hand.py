"""From what a hand does to an action of the task: pure arithmetic that every operator device shares.

A person thinks in the base's frame, as seen from where they stand: forward, left, up. A task's action is a step in the
tool's frame, so what the hand says is turned by the tool's measured orientation in every control period.

A step begins at the measured pose, so whatever an arm yields while it is pushed around stays: after a minute of keys
the tool hangs askew. So while the person acts the tool's tilt is steered back to what they asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, SpecError
from robot_rl.geometry import (
    Vector,
    quat_conj,
    quat_from_rotvec,
    quat_mul,
    rotate,
    rotvec_from_quat,
    vector_angle,
)
from robot_rl.specs import ActionSpec

MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw")
"""Along, and about, the base's x (forward), y (left) and z (up), as a person sees them who looks along x."""
SLOWEST = 1.0 / 64.0
LEVEL_SHARE = 0.25
"""Share of the full rotation step that steers the tilt back."""
LEAD_RAD, ANOTHER_RAD = 0.15, 0.35
"""How far the tilt that is asked for runs ahead of the measured one; and from where on it was not the person who
tilted the tool, but the policy: what is measured counts then."""


@dataclass(frozen=True, kw_only=True)
class HandConfig:
    """How a hand moves an arm.

    Attributes:
        speed, turn: Share of the task's full step of translation and of rotation that full deflection asks for.
        deadband: Deflections up to this, of 1, are rest.
        facing_deg: Where the person looks, about the base's z from its x: 180 for one who faces the robot.
        level: Whether the tool's tilt is steered back to what the person asked for.
    """

    speed: float = 0.5
    turn: float = 0.5
    deadband: float = 0.1
    facing_deg: float = 0.0
    level: bool = True

    def __post_init__(self) -> None:
        for name in ("speed", "turn"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ConfigError(f"operator.{name} is {getattr(self, name)}; allowed: above 0, up to 1")
        if not 0.0 <= self.deadband < 0.9:
            raise ConfigError(f"operator.deadband is {self.deadband}; allowed: 0 to 0.9")
        if not math.isfinite(self.facing_deg):
            raise ConfigError(f"operator.facing_deg is {self.facing_deg}; it must be a number")


def past_deadband(value: float, band: float) -> float:
    """Return a deflection in [-1, 1] that is 0 within the band and rises from 0 beyond it; no number counts as rest."""
    size = abs(value)
    if not size > band:
        return 0.0
    return math.copysign(min((size - band) / (1.0 - band), 1.0), value)


class Hand:
    """Turns motions as a person sees them into actions of a task.

    Args:
        spec: Of the task's actions.
        config: How to move.

    Attributes:
        factor: Multiplies both speeds; a person changes it with `slower` and `faster`.

    Raises:
        SpecError: The actions are not those of an arm.
    """

    def __init__(self, spec: ActionSpec, config: HandConfig | None = None) -> None:
        if (spec.slices.get("translation"), spec.slices.get("rotation")) != (slice(0, 3), slice(3, 6)):
            raise SpecError("an operator's device moves an arm: the action must begin with translation and rotation")
        self.spec, self.config, self.factor = spec, config or HandConfig(), 1.0
        self._gripper = spec.discrete.get("gripper")
        self._scale = (spec.continuous["translation"].scale, spec.continuous["rotation"].scale)
        self._axis: Vector | None = None  # (3,) where the tool's z shall point, in B
        angle = math.radians(self.config.facing_deg)
        self._facing = np.array([math.cos(0.5 * angle), 0.0, 0.0, math.sin(0.5 * angle)])

    @property
    def has_gripper(self) -> bool:
        """Whether the task's actions tell a gripper."""
        return self._gripper is not None

    def begin(self) -> None:
        """Begin an episode: the tilt that the tool has is the one that is wanted."""
        self._axis = None

    def slower(self) -> None:
        """Halve the speed."""
        self.factor = max(0.5 * self.factor, SLOWEST)

    def faster(self) -> None:
        """Double the speed, up to the whole step of the task."""
        largest = 1.0 / max(self.config.speed, self.config.turn)
        self.factor = min(2.0 * self.factor, largest)

    def action(self, motion: Any, quat_BE: Vector, close_gripper: bool) -> NDArray[np.float32]:
        """Return the action.

        Args:
            motion: (6,) deflections in [-1, 1] by `MOTIONS`.
            quat_BE: (4,) wxyz, measured orientation of the tool in B.
            close_gripper: What the gripper shall do, where the task has one.
        """
        out = np.zeros(self.spec.size, np.float32)
        move, turn = (
            rotate(self._facing, np.clip(np.asarray(motion[i : i + 3], float), -1.0, 1.0)) * (share * self.factor)
            for i, share in ((0, self.config.speed), (3, self.config.turn))
        )
        if self.config.level:
            turn = self._levelled(turn * self._scale[1], quat_BE) / self._scale[1]
        back = quat_conj(quat_BE)
        for at, seen in ((0, move), (3, turn)):
            step = rotate(back, seen)
            # Shorten the step rather than clip its entries, which would turn it.
            out[at : at + 3] = step / max(1.0, float(np.abs(step).max()))
        if self._gripper is not None:
            out[self.spec.slices["gripper"]] = self._gripper.value(1 if close_gripper else 0)
        return out

    def _levelled(self, turn: Vector, quat_BE: Vector) -> Vector:
        """Return a rotation vector in B [rad] that turns as asked for, and the tilt back to where it shall be."""
        now = rotate(quat_BE, np.array([0.0, 0.0, 1.0]))
        if self._axis is None or vector_angle(now, self._axis) > ANOTHER_RAD:
            self._axis = now
        asked = quat_from_rotvec(turn)
        self._axis = _towards(now, rotate(asked, self._axis), LEAD_RAD)
        limit = max(LEVEL_SHARE * self._scale[1], float(np.linalg.norm(turn)))
        return rotvec_from_quat(quat_mul(quat_from_rotvec(_between(rotate(asked, now), self._axis, limit)), asked))


def _between(a: Vector, b: Vector, limit_rad: float) -> Vector:
    """Return the shortest rotation vector [rad] from one direction to another, of at most `limit_rad`."""
    normal, angle = np.cross(a, b), vector_angle(a, b)
    size = float(np.linalg.norm(normal))
    return normal * (min(angle, limit_rad) / size) if size > 1e-12 else np.zeros(3)


def _towards(a: Vector, b: Vector, limit_rad: float) -> Vector:
    """Return the direction `b`, or the one `limit_rad` from `a` on the way to it if that is nearer."""
    return b if vector_angle(a, b) <= limit_rad else rotate(quat_from_rotvec(_between(a, b, limit_rad)), a)


class GripperToggle:
    """What the gripper shall do, by a button that turns it over.

    What was last asked for stands until the reading agrees; a gripper that takes its time is not turned back by the
    next period. While nobody asks, the reading leads, so that taking over never opens a gripper that the policy closed.

    Args:
        patience_s: How long a press waits for the reading; a gripper may never say that it obeyed.
    """

    def __init__(self, patience_s: float = 1.0) -> None:
        self._patience_s = patience_s
        self.forget()

    def forget(self) -> None:
        """Let the reading lead."""
        self._wanted: bool | None = None
        self._until_s = -math.inf

    def press(self, closing: bool, now_s: float) -> None:
        """Turn over what the gripper does, or shall do."""
        self._wanted = not (closing if self._wanted is None else self._wanted)
        self._until_s = now_s + self._patience_s

    def close(self, closing: bool, now_s: float, acting: bool) -> bool:
        """Return what to tell the gripper.

        Args:
            closing: What the reading says it was told.
            now_s: Monotonic time.
            acting: Whether the person moves the arm; their last word stands meanwhile.
        """
        if self._wanted is not None and not acting and not self.pending(closing, now_s):
            self._wanted = None
        return closing if self._wanted is None else self._wanted

    def pending(self, closing: bool, now_s: float) -> bool:
        """Return whether a press waits for the reading to agree, which is to act even with the arm at rest."""
        return self._wanted is not None and self._wanted != closing and now_s < self._until_s
