"""Jogging: keys into slow motions of the tool that end when the key is let go. Pure arithmetic, no terminal, no ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.geometry import Vector, quat_angle, quat_from_rotvec, quat_mul, quat_normalise, rotation_step
from robot_rl.robot import ArmCommand

MOTIONS: dict[str, tuple[int, float]] = {
    "w": (0, 1.0),
    "s": (0, -1.0),
    "a": (1, 1.0),
    "d": (1, -1.0),
    "r": (2, 1.0),
    "f": (2, -1.0),
    "up": (0, 1.0),
    "down": (0, -1.0),
    "left": (1, 1.0),
    "right": (1, -1.0),
    "page_up": (2, 1.0),
    "page_down": (2, -1.0),
    "l": (3, 1.0),
    "j": (3, -1.0),
    "i": (4, 1.0),
    "k": (4, -1.0),
    "u": (5, 1.0),
    "o": (5, -1.0),
}
"""Key -> axis of the base's frame (x, y, z, and rotations about them) and sign."""

KEYS = (
    "w/s forward, back    a/d left, right    r/f up, down (or arrows, page up and down)\n"
    "l/j turn about x     i/k about y        u/o about z      g gripper      -/+ slower, faster"
)


@dataclass(frozen=True, kw_only=True)
class JogConfig:
    """How jogging moves.

    Attributes:
        fraction: Share of the speeds below; at most MAX_FRACTION.
        speed_m_s, speed_rad_s: The full speeds of the arm.
        grant_s: How long one press moves. A key that is held repeats more often than this.
        lead_m, lead_rad: How far the target may run ahead of the measured pose, so that nothing winds up at a contact.
    """

    fraction: float = 0.05
    speed_m_s: float = 0.5
    speed_rad_s: float = 2.0
    grant_s: float = 0.2
    lead_m: float = 0.015
    lead_rad: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction <= MAX_FRACTION:
            raise ConfigError(
                f"the jog speed is {self.fraction:g} of the full one; allowed: above 0, up to {MAX_FRACTION}"
            )
        for name in ("speed_m_s", "speed_rad_s", "grant_s", "lead_m", "lead_rad"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be positive")


MAX_FRACTION = 0.05
LONGEST_TICK_S = 0.1


class Jogger:
    """The target of an arm that is jogged.

    It moves along one axis at a time, only within `grant_s` of a press of that axis' key, and stands still otherwise.

    Attributes:
        asked: Whether a key has asked for anything since the beginning, or since the target was dropped. Until then
            there is no reason to command the arm at all.
        fraction: Share of the full speeds.
        close_gripper: What the gripper is told.
    """

    def __init__(self, config: JogConfig | None = None) -> None:
        self.config = config or JogConfig()
        self.fraction = self.config.fraction
        self.close_gripper = False
        self.asked = False
        self._pose: tuple[Vector, Vector] | None = None
        self._axis, self._sign, self._until_s = 0, 0.0, -math.inf
        self._last_s = math.nan

    @property
    def synchronised(self) -> bool:
        """Whether there is a target."""
        return self._pose is not None

    def forget(self) -> None:
        """Drop the target and the motion: what follows begins at the measured pose."""
        self._pose = None
        self._until_s = -math.inf
        self.asked = False

    def press(self, key: str, now_s: float) -> bool:
        """Take a key and return whether it is one of jogging. Any key that is not a motion ends the motion."""
        if key in MOTIONS:
            self._axis, self._sign = MOTIONS[key]
            self._until_s = now_s + self.config.grant_s
            self.asked = True
            return True
        self._until_s = -math.inf
        if key == "g":
            self.close_gripper = not self.close_gripper
            self.asked = True
        elif key in "-_":
            self.fraction = max(self.fraction / 2.0, MAX_FRACTION / 16.0)
        elif key in "+=":
            self.fraction = min(self.fraction * 2.0, MAX_FRACTION)
        else:
            return False
        return True

    def moving(self, now_s: float) -> bool:
        """Return whether a press still moves the target."""
        return now_s < self._until_s

    def executed(self, p_BE: Vector, quat_BE: Vector) -> None:
        """Take over the pose that the guard let through instead of the target."""
        if self._pose is not None and np.isfinite(p_BE).all() and np.isfinite(quat_BE).all():
            self._pose = (np.array(p_BE, float), quat_normalise(quat_BE))

    def target(self, p_BE: Vector, quat_BE: Vector, now_s: float) -> ArmCommand:
        """Return the command for now, given the measured tool pose, (3,) [m] and (4,) wxyz in B."""
        if self._pose is None:
            self._pose = (np.array(p_BE, float), quat_normalise(quat_BE))
            self._last_s = now_s
        p, quat = self._pose
        # A late tick does not make up for lost time: the arm would jump.
        dt_s = min(max(min(now_s, self._until_s) - self._last_s, 0.0), LONGEST_TICK_S)
        self._last_s = now_s
        if dt_s > 0.0:
            full = self.config.speed_m_s if self._axis < 3 else self.config.speed_rad_s
            step = np.zeros(3)
            step[self._axis % 3] = self._sign * self.fraction * full * dt_s
            if self._axis < 3:
                p = p + step
            else:
                quat = quat_normalise(quat_mul(quat_from_rotvec(step), quat))
            p, quat = self._near(p, quat, p_BE, quat_BE)
            self._pose = (p, quat)
        return ArmCommand(p_BE=p.copy(), quat_BE=quat.copy(), close_gripper=self.close_gripper)

    def _near(self, p: Vector, quat: Vector, p_BE: Vector, quat_BE: Vector) -> tuple[Vector, Vector]:
        """Return the pose, no further than the lead from the measured one."""
        away = p - p_BE
        distance = float(np.linalg.norm(away))
        if distance > self.config.lead_m:
            p = p_BE + away * (self.config.lead_m / distance)
        if quat_angle(quat_BE, quat) > self.config.lead_rad:
            quat = rotation_step(quat_BE, quat, self.config.lead_rad)
        return p, quat
