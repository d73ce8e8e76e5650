"""`CarSettings`: what is true of one car. Conversions of its VESC, its limits, its geometry, its lags.

A car file (`car.yaml`) holds exactly these; `car.file` reads and writes it, `car.calibration` measures it. Signs are
those of F1TENTH and ROS: forward and left are positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from robot_rl.errors import ConfigError, nearest

_POSITIVE = (
    "wheelbase_m", "max_speed_m_s", "max_steering_rad", "max_acceleration_m_s2", "max_current_a", "brake_current_a",
    "friction",
)  # fmt: skip
_NOT_NEGATIVE = ("max_reverse_m_s", "latency_s", "steering_lag_s")

# Beyond these no RC car is: a value there is a slip of the pen or of the unit.
_MOST = {
    "wheelbase_m": 1.5, "max_speed_m_s": 30.0, "max_reverse_m_s": 30.0, "max_steering_rad": 1.2,
    "max_acceleration_m_s2": 50.0, "max_current_a": 300.0, "brake_current_a": 300.0, "latency_s": 1.0,
    "steering_lag_s": 1.0, "friction": 3.0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CarSettings:
    """One car.

    Attributes:
        name: For people.
        speed_to_erpm_gain, speed_to_erpm_offset: Electrical speed [ERPM] = gain [ERPM s/m] times speed + offset.
        steering_to_servo_gain, steering_to_servo_offset: Servo position = gain [1/rad] times steering angle + offset.
        servo_min, servo_max: Positions beyond which the linkage jams; 0 to 1.
        wheelbase_m: Between the axles.
        max_speed_m_s, max_reverse_m_s: Highest speeds, forward and backward; 0 never drives backward.
        max_steering_rad: Largest steering angle to either side; the servo's positions may allow less.
        max_acceleration_m_s2: Fastest change of the speed that is asked of the VESC. A stop is not held back by it.
        max_current_a: Largest motor current.
        brake_current_a: Motor current of a stop.
        latency_s: From a command to the beginning of its effect.
        steering_lag_s: Time constant of the steering behind it.
        friction: Largest lateral acceleration over that of gravity.
        measured: Names of the values that were measured on this car; the others are assumed.
    """

    name: str = "car"
    speed_to_erpm_gain: float
    speed_to_erpm_offset: float
    steering_to_servo_gain: float
    steering_to_servo_offset: float
    servo_min: float
    servo_max: float
    wheelbase_m: float
    max_speed_m_s: float
    max_reverse_m_s: float
    max_steering_rad: float
    max_acceleration_m_s2: float
    max_current_a: float
    brake_current_a: float
    latency_s: float
    steering_lag_s: float
    friction: float
    measured: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in NUMBERS:
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ConfigError(f"{name} is {value}; it must be a finite number")
            if name in _POSITIVE and not value > 0.0:
                raise ConfigError(f"{name} is {value:g}; it must be positive")
            if name in _NOT_NEGATIVE and value < 0.0:
                raise ConfigError(f"{name} is {value:g}; it must not be negative")
            if value > _MOST.get(name, math.inf):
                raise ConfigError(f"{name} is {value:g}; at most {_MOST[name]:g} is believed of an RC car")
        self._check_drive()
        self._check_servo()
        for name in self.measured:
            if name not in NUMBERS:
                raise ConfigError(f"measured names '{name}', which is no value of a car.{nearest(name, NUMBERS)}")

    def _check_drive(self) -> None:
        gain, offset = abs(self.speed_to_erpm_gain), abs(self.speed_to_erpm_offset)
        if not 100.0 <= gain <= 100_000.0:
            raise ConfigError(
                f"speed_to_erpm_gain is {self.speed_to_erpm_gain:g}; a car has 100 to 100000 ERPM at 1 m/s, negative "
                "if its motor turns the other way (F1TENTH: 4614)"
            )
        if offset > 0.1 * gain:
            raise ConfigError(
                f"speed_to_erpm_offset is {self.speed_to_erpm_offset:g}, which alone is {offset / gain:.2f} m/s; at "
                "most 0.1 m/s is believed (F1TENTH: 0)"
            )
        if self.brake_current_a > self.max_current_a:
            raise ConfigError(
                f"brake_current_a is {self.brake_current_a:g} and max_current_a {self.max_current_a:g}; a stop must "
                "not need more current than is allowed"
            )

    def _check_servo(self) -> None:
        if not 0.05 <= abs(self.steering_to_servo_gain) <= 10.0:
            raise ConfigError(
                f"steering_to_servo_gain is {self.steering_to_servo_gain:g}; it must be 0.05 to 10 a radian, negative "
                "if the servo turns the other way (F1TENTH: -1.2135)"
            )
        if not 0.0 <= self.servo_min < self.servo_max <= 1.0:
            raise ConfigError(
                f"servo_min is {self.servo_min:g} and servo_max {self.servo_max:g}; they must lie in 0 to 1, the "
                "smaller first (F1TENTH: 0.15 and 0.85)"
            )
        if not self.servo_min <= self.steering_to_servo_offset <= self.servo_max:
            raise ConfigError(
                f"steering_to_servo_offset is {self.steering_to_servo_offset:g}, so straight ahead lies outside of "
                f"servo_min {self.servo_min:g} to servo_max {self.servo_max:g}"
            )

    @property
    def steering_range_rad(self) -> tuple[float, float]:
        """The steering angles that can be reached, right (negative) and left: not the same where the servo is clipped.

        F1TENTH's own values give -0.263 and 0.313 rad, while its simulator believes in 0.4189 to both sides.
        """
        ends = [
            (servo - self.steering_to_servo_offset) / self.steering_to_servo_gain
            for servo in (self.servo_min, self.servo_max)
        ]
        return max(min(ends), -self.max_steering_rad), min(max(ends), self.max_steering_rad)

    def erpm_of(self, speed_m_s: float) -> float:
        """Return the electrical speed for a speed: 0 for 0 whatever the offset, and never the other way."""
        if speed_m_s == 0.0:
            return 0.0
        erpm = self.speed_to_erpm_gain * speed_m_s + self.speed_to_erpm_offset
        return erpm if erpm * self.speed_to_erpm_gain * speed_m_s > 0.0 else 0.0

    def speed_of(self, erpm: float) -> float:
        """Return the speed [m/s] at an electrical speed, with the sign of `erpm_of`: forward is positive both ways."""
        return 0.0 if erpm == 0.0 else (erpm - self.speed_to_erpm_offset) / self.speed_to_erpm_gain

    def servo_of(self, steering_rad: float) -> float:
        """Return the servo's position for a steering angle, within `servo_min` and `servo_max`."""
        servo = self.steering_to_servo_gain * steering_rad + self.steering_to_servo_offset
        return min(max(servo, self.servo_min), self.servo_max)

    def steering_of(self, servo: float) -> float:
        """Return the steering angle [rad] at a position of the servo."""
        return (servo - self.steering_to_servo_offset) / self.steering_to_servo_gain

    def yaw_rate_of(self, speed_m_s: float, steering_rad: float) -> float:
        """Return the yaw rate [rad/s] of wheels that roll without slipping."""
        return speed_m_s * math.tan(steering_rad) / self.wheelbase_m


NUMBERS = tuple(f.name for f in fields(CarSettings) if f.name not in ("name", "measured"))
"""Names of the numbers of a car, none of which has a default: a car that was never looked at does not drive."""
