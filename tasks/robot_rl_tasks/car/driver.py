"""A classical driver: pure pursuit along the line, as fast as friction allows in the bend that comes.

It drives from the first second, and gives what learning is measured against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from robot_rl.car import CarCommand, CarState
from robot_rl.errors import ConfigError
from robot_rl_tasks.car.course import Course
from robot_rl_tasks.car.line import ClosedLine

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DriverSettings:
    """What the driver knows of its car, and how much of it it uses.

    Attributes:
        wheelbase_m, max_steering_rad: Of the car.
        max_speed_m_s: Never faster.
        lateral_m_s2: Sideways acceleration to use in bends: friction times 9.81 times a margin.
        accelerate_m_s2, brake_m_s2: Lengthwise accelerations to use.
        lookahead_m, lookahead_s: Distance to the point aimed at: so much, and so much for each m/s.
        delay_s: From a command to its effect; the pose is carried ahead by it.
        give_way_m: Slows down as the car is further than this from the line, to half speed at three times it.
    """

    wheelbase_m: float = 0.3302
    max_steering_rad: float = 0.40
    max_speed_m_s: float = 6.0
    lateral_m_s2: float = 4.5
    accelerate_m_s2: float = 4.0
    brake_m_s2: float = 3.5
    lookahead_m: float = 0.35
    lookahead_s: float = 0.22
    delay_s: float = 0.08
    give_way_m: float = 0.25

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not 0.0 < value < math.inf and not (f.name in ("delay_s", "lookahead_s") and value == 0.0):
                raise ConfigError(f"driver.{f.name} must be a positive number, got {value}")


def speed_profile(line: ClosedLine, settings: DriverSettings) -> Array:
    """Return (n,) the highest speed [m/s] at each sample of the line that friction allows all around.

    In each bend the lateral limit gives a speed. Going forward the car can only gain so much, going backward only lose
    so much, and what it turns with it cannot brake with: lengthwise and sideways share one ellipse of friction.
    """
    kappa, ds = np.abs(line.curvatures), line.length_m / len(line.s)
    v = np.minimum(np.sqrt(settings.lateral_m_s2 / np.maximum(kappa, 1e-9)), settings.max_speed_m_s)
    n = len(v)
    for limit, order in ((settings.brake_m_s2, -1), (settings.accelerate_m_s2, 1)):
        # Twice around, so that the limits of the first samples have come past the joint.
        i = int(v.argmin())
        for _ in range(2 * n):
            j = (i + order) % n
            used = min(v[i] * v[i] * kappa[i] / settings.lateral_m_s2, 1.0)
            v[j] = min(v[j], math.sqrt(v[i] * v[i] + 2.0 * limit * math.sqrt(1.0 - used * used) * ds))
            i = j
    return v


class PurePursuit:
    """Steers at a point ahead on the line, along the circle through it, and takes the speed from the profile.

    Args:
        course: What to drive around.
        settings: Limits and gains.
    """

    def __init__(self, course: Course, settings: DriverSettings | None = None) -> None:
        self.course, self.settings = course, settings or DriverSettings()
        self.profile = speed_profile(course.line, self.settings)
        self._s: float | None = None

    @property
    def s_m(self) -> float:
        """Arc length where the car was at its last reading."""
        return self._s or 0.0

    def reset(self) -> None:
        """Forget where the car was; before a new start."""
        self._s = None

    def command(self, state: CarState) -> CarCommand:
        """Return what to do now."""
        set_, line = self.settings, self.course.line
        late = max(state.stamp_s - state.pose_stamp_s, 0.0) + set_.delay_s
        p, yaw = ahead(state, late)
        self._s, left = line.project(p, self._s)
        speed = max(state.speed_m_s, 0.0)
        tx, ty = line.point(self._s + set_.lookahead_m + set_.lookahead_s * speed)
        dx, dy = tx - float(p[0]), ty - float(p[1])
        x, y = math.cos(yaw) * dx + math.sin(yaw) * dy, -math.sin(yaw) * dx + math.cos(yaw) * dy
        if x <= 0.0:  # it lies behind: turn as sharply as the car can
            steering = math.copysign(set_.max_steering_rad, y)
        else:
            steering = math.atan(2.0 * set_.wheelbase_m * y / max(x * x + y * y, 1e-6))
        steering = min(max(steering, -set_.max_steering_rad), set_.max_steering_rad)
        step = line.length_m / len(line.s)
        # A little ahead: speed follows its command late, and braking late is worse than early.
        i = int((self._s + 0.05 * speed) / step) % len(self.profile)
        wanted = float(self.profile[i])
        wanted /= 1.0 + max(abs(left) - set_.give_way_m, 0.0) / (2.0 * set_.give_way_m)
        # It cannot bend faster than friction allows, whatever the line does: a car far off may steer harder than it.
        bend = abs(math.tan(steering)) / set_.wheelbase_m
        wanted = min(wanted, max(math.sqrt(1.3 * set_.lateral_m_s2 / max(bend, 1e-6)), 0.8))
        return CarCommand(steering, wanted)


def ahead(state: CarState, time_s: float) -> tuple[Array, float]:
    """Return where the car will be after some time if it goes on turning and rolling as it does: p_WC and yaw."""
    turn = state.yaw_rate_rad_s * time_s
    middle = state.yaw_rad + 0.5 * turn
    way = state.speed_m_s * time_s
    return state.p_WC + way * np.array([math.cos(middle), math.sin(middle)]), state.yaw_rad + turn
