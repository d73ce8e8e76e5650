"""Odometry of a car from its wheel speed and its steering command: where it would be if it had not slid."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robot_rl_hardware.car.settings import CarSettings

_LONGEST_S = 0.2
"""Over a longer silence nothing is known of the way, so none is added."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A pose since the start, and how it changes: metres, radians, forward and left positive."""

    stamp_s: float
    x_m: float = 0.0
    y_m: float = 0.0
    yaw_rad: float = 0.0
    speed_m_s: float = 0.0
    yaw_rate_rad_s: float = 0.0


class Odometry:
    """Adds up the way of one car. It tells something from the first state on, also before anything was commanded.

    Attributes:
        gaps: How often the states were too far apart to add up.
    """

    def __init__(self, car: CarSettings) -> None:
        self.gaps = 0
        self._car = car
        self._last: Whereabouts | None = None

    def add(self, stamp_s: float, speed_m_s: float, steering_rad: float) -> Whereabouts:
        """Return where the car is, given its speed and steering angle at a monotonic time."""
        yaw_rate = self._car.yaw_rate_of(speed_m_s, steering_rad)
        last = self._last or Whereabouts(stamp_s)
        time_s = stamp_s - last.stamp_s
        if not 0.0 <= time_s <= _LONGEST_S:
            self.gaps += 1
            time_s = 0.0
        # Along the chord of the arc, with the means of both ends.
        turn = 0.5 * (last.yaw_rate_rad_s + yaw_rate) * time_s
        way = 0.5 * (last.speed_m_s + speed_m_s) * time_s
        middle = last.yaw_rad + 0.5 * turn
        self._last = Whereabouts(
            stamp_s, last.x_m + way * math.cos(middle), last.y_m + way * math.sin(middle),
            math.remainder(last.yaw_rad + turn, math.tau), speed_m_s, yaw_rate,
        )  # fmt: skip
        return self._last
