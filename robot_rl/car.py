"""The `Car` that an environment drives: five methods, and the plain data that crosses them. The sibling of `robot`.

Frames: W is the world of the course, z up; C is the car, its origin on the ground under the middle of the rear axle, x
forward, y left, z up (F1TENTH's base_link). Forward and left are positive. Wheels come front left, front right, rear
left, rear right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import RobotError

Vector = NDArray[np.float64]


@dataclass(slots=True)
class CarState:
    """One stamped reading of a car. Arrays are copies: later readings never change it.

    Attributes:
        stamp_s: Monotonic time of the reading, seconds (simulated time in a lock-step twin).
        pose_stamp_s: Time for which the pose holds; a localisation is later than the wheels.
        p_WC: (2,) position [m] in the world.
        yaw_rad: Heading, the angle from x of W to x of C, in (-pi, pi].
        speed_m_s: Forward speed as the drive measures it (electrical speed); wrong while the wheels slip.
        yaw_rate_rad_s: Of the gyroscope, about z.
        wheel_speeds_m_s: (4,) speed of each rim; empty where no wheel is measured by itself.
        acceleration_m_s2: (3,) specific force in C; at rest it reads (0, 0, 9.81).
        angular_rate_rad_s: (3,) of the gyroscope in C.
        shock_m_s2: Largest horizontal acceleration since the reading before.
        steering_rad: The steering command in effect: a servo tells nothing of where it is.
        current_a: Of the motor.
        ranges_m: (n,) distances of the lidar, from its first to its last beam; infinite where nothing was hit.
        images: (H, W, 3) uint8 RGB per camera.
    """

    stamp_s: float
    pose_stamp_s: float
    p_WC: Vector
    yaw_rad: float
    speed_m_s: float
    yaw_rate_rad_s: float
    wheel_speeds_m_s: Vector
    acceleration_m_s2: Vector
    angular_rate_rad_s: Vector
    shock_m_s2: float
    steering_rad: float
    current_a: float
    ranges_m: Vector
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(slots=True)
class CarCommand:
    """A request for one control period.

    Attributes:
        steering_rad: Of the middle of the front axle, left positive.
        speed_m_s: Wanted speed, negative backward. Ignored where a current is given.
        current_a: Motor current instead of a speed; negative drives backward or brakes.
    """

    steering_rad: float
    speed_m_s: float = 0.0
    current_a: float | None = None

    def check(self) -> None:
        """Raise `RobotError` unless every number is finite."""
        numbers = (self.steering_rad, self.speed_m_s, self.current_a or 0.0)
        if not all(math.isfinite(x) for x in numbers):
            raise RobotError(
                f"a car was commanded steering {self.steering_rad} rad, speed {self.speed_m_s} m/s, current "
                f"{self.current_a} A; commands are finite numbers, so look at what computed them"
            )


@dataclass(slots=True)
class CarExecuted:
    """What the car's limits let through, and why it differs from the request.

    Attributes:
        steering_rad, speed_m_s, current_a: The command that reached the motor and the servo.
        events: Names of the limits that changed the request (empty if none).
        stopped: The car stands still until someone acknowledges; the episode must end.
        reason: Why, in words for the log; empty if it does not.
    """

    steering_rad: float
    speed_m_s: float
    current_a: float | None = None
    events: Sequence[str] = ()
    stopped: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class CarReset:
    """Where an episode shall begin, at rest unless told otherwise.

    Attributes:
        p_WC: Position [m] in the world. A real car ignores it and begins where it stands, or is driven there.
        yaw_rad: Heading.
        speed_m_s: Forward speed; a real car begins at rest.
        seed: Of the noise, lags and whatever else a twin draws for this episode.
    """

    p_WC: tuple[float, float]
    yaw_rad: float = 0.0
    speed_m_s: float = 0.0
    seed: int = 0


class Car(Protocol):
    """A car as the environment sees it: a twin in lock-step, a twin in real time, or hardware."""

    def connect(self) -> None:
        """Open devices and refuse to start when something the task needs is missing."""
        ...

    def reset(self, request: CarReset) -> CarState:
        """Bring the car to where an episode begins and return the first reading."""
        ...

    def command(self, command: CarCommand) -> CarExecuted:
        """Pass a request through the limits and let one control period go by."""
        ...

    def observe(self) -> CarState:
        """Return the newest reading; raises `RobotError` when it is older than allowed."""
        ...

    def close(self) -> None:
        """Stop, then release every device. Safe to call twice."""
        ...


def wrap(angle_rad: float) -> float:
    """Return the same angle in (-pi, pi]."""
    return math.pi - (math.pi - angle_rad) % (2.0 * math.pi)
