"""`Pilot`: what a VESC is told next, given what was asked for, what it answers and what time it is.

It owns no clock, no thread and no port, so its promises can be tried with any sequence of events: whatever is asked
for, speed, steering, current and acceleration stay within the car's limits, and nothing drives on an old request, a
silent VESC or a fault that nobody has looked at.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from robot_rl.errors import ConfigError, RobotError
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.vesc_messages import (
    Command,
    MotorValues,
    SetCurrent,
    SetCurrentBrake,
    SetRpm,
    SetServo,
    fault_name,
)

log = logging.getLogger(__name__)


class VescError(RobotError):
    """The VESC cannot be reached, or does not do what was asked."""


class VescGone(VescError):
    """The port of the VESC is gone: it was unplugged, or switched off with the car."""


@dataclass(frozen=True, kw_only=True)
class VescSettings:
    """How a VESC is driven.

    Attributes:
        rate_hz: How often it is told what to do and asked how it is.
        command_age_s: Oldest request to act on.
        answer_age_s: Oldest answer of the VESC to drive with.
        connect_s: How long it may take to answer at the start.
        brake_least_s: How long a stop brakes at least.
        brake_blind_s: How long it brakes while the VESC does not tell whether it stands.
        standstill_m_s: A car slower than this stands.
        imu: Ask for its inertial sensor too.
    """

    rate_hz: float = 50.0
    command_age_s: float = 0.1
    answer_age_s: float = 0.1
    connect_s: float = 1.0
    brake_least_s: float = 0.2
    brake_blind_s: float = 3.0
    standstill_m_s: float = 0.05
    imu: bool = False

    def __post_init__(self) -> None:
        for name in ("command_age_s", "answer_age_s", "connect_s", "brake_least_s", "brake_blind_s", "standstill_m_s"):
            value = getattr(self, name)
            if not 0.0 < value < math.inf:
                raise ConfigError(f"vesc.{name} is {value}; it must be positive")
        if not 10.0 <= self.rate_hz <= 500.0:
            raise ConfigError(f"vesc.rate_hz is {self.rate_hz}; a VESC is driven 10 to 500 times a second")
        for name in ("command_age_s", "answer_age_s"):
            if getattr(self, name) < 1.5 / self.rate_hz:
                raise ConfigError(
                    f"vesc.{name} is {getattr(self, name):g}, less than one and a half periods of {self.rate_hz:g} Hz; "
                    "every second request would be too old"
                )


@dataclass(frozen=True, slots=True)
class _Request:
    """A steering angle [rad], and a speed [m/s] or, where that is None, a motor current [A]; asked for at `stamp_s`."""

    stamp_s: float
    steering_rad: float
    speed_m_s: float | None
    current_a: float = 0.0


class Pilot:
    """Limits, freshness, faults and stops of one VESC.

    Attributes:
        reason: Why it does not drive, in words; empty while it does.
        counts: How often each thing happened: "stop", "timed_out", and each fault by its name.

    Args:
        car: Its conversions and limits.
        settings: Ages and rates.
        report: Receives a sentence at each change; a loop that may not wait for a log passes its own.
    """

    def __init__(self, car: CarSettings, settings: VescSettings, report: Callable[[str], None] = log.warning) -> None:
        self.car, self.settings = car, settings
        self.reason = "nothing has been asked for yet"
        self.counts: dict[str, int] = {}
        self._report = report
        self._request: _Request | None = None
        self._why = self.reason  # why there is no request
        self._values: MotorValues | None = None
        self._heard_s = self._barrier_s = -math.inf
        self._last_s = self._since_s = math.nan
        self._speed: float | None = None  # that the VESC was told last; None after anything but a speed
        self._faults: list[str] = []

    def drive(self, speed_m_s: float, steering_rad: float, stamp_s: float) -> None:
        """Ask for a speed [m/s] and a steering angle [rad], given at a monotonic time."""
        self._request = _Request(stamp_s, steering_rad, speed_m_s)

    def push(self, current_a: float, steering_rad: float, stamp_s: float) -> None:
        """Ask for a motor current [A], positive forward, and a steering angle [rad]."""
        self._request = _Request(stamp_s, steering_rad, None, current_a)

    def stop(self, reason: str) -> None:
        """Stop until something is asked for again."""
        self._request, self._why = None, reason or "it was stopped without a reason"

    def heard(self, values: MotorValues, now_s: float) -> None:
        """Take note of the motor's state. A fault stays until a person acknowledges it, though the VESC forgets it."""
        if values.timed_out and not (self._values and self._values.timed_out):
            self._count("timed_out")
            self._report("the VESC had stopped the motor by itself, since no command had reached it")
        if values.fault:
            name = fault_name(values.fault)
            if not self._values or self._values.fault != values.fault:
                self._count(name)
                self._report(f"the VESC reports the fault {name}")
            if name not in self._faults:
                self._faults.append(name)
        self._values, self._heard_s = values, now_s

    @property
    def faults(self) -> tuple[str, ...]:
        """Faults that were reported and not acknowledged."""
        return tuple(self._faults)

    @property
    def stopping_s(self) -> float:
        """Monotonic time at which the VESC was first told to stop; nan while it drives."""
        return self._since_s

    def acknowledge(self, who: str) -> None:
        """End the latch of faults on a person's word.

        Raises:
            VescError: The VESC still reports one.
        """
        if self._values and self._values.fault:
            raise VescError(
                f"the VESC still reports the fault {fault_name(self._values.fault)}; mend its cause, or switch the "
                "car off and on"
            )
        if self._faults:
            self._report(f"{who or 'a person'} acknowledges {', '.join(self._faults)}")
        self._faults.clear()

    def moves(self, now_s: float) -> bool | None:
        """Return whether the car moves; None if the VESC does not tell."""
        if self._values is None or self._answer_is_old(now_s):
            return None
        return abs(self.car.speed_of(self._values.erpm)) > self.settings.standstill_m_s

    def tick(self, now_s: float) -> tuple[Command, ...]:
        """Return what the VESC is to be told now: always something, for silence would leave it as it is."""
        period_s = now_s - self._last_s if math.isfinite(self._last_s) else 0.0
        self._last_s = now_s
        why = self._why_not(now_s, period_s)
        if why:
            return (self._stopping(why, now_s),)
        assert self._request is not None  # `_why_not` says so
        self.reason, self._since_s = "", math.nan
        right, left = self.car.steering_range_rad
        steering = min(max(self._request.steering_rad, right), left)
        servo = SetServo(self.car.servo_of(steering))
        if self._request.speed_m_s is None:
            self._speed = None
            return servo, SetCurrent(self._current(self._request.current_a))
        # A late tick may not catch up: the wheels would get all the lost time's acceleration at once.
        self._speed = self._ramp(self._request.speed_m_s, min(period_s, 2.0 / self.settings.rate_hz))
        return servo, SetRpm(math.trunc(self.car.erpm_of(self._speed)))

    def _why_not(self, now_s: float, period_s: float) -> str:
        """Return why the car may not drive now; empty if it may. Written so that a time that is no number stops it."""
        request, settings = self._request, self.settings
        if not period_s >= 0.0:
            return "the clock went backward"
        if self._faults:
            return f"the VESC reported {', '.join(self._faults)}; a person must look at it, then acknowledge it"
        if self._values is None or self._answer_is_old(now_s):
            return "the VESC does not answer"
        if request is None:
            return self._why
        if not abs(now_s - request.stamp_s) <= settings.command_age_s:
            return (
                f"the newest request is {now_s - request.stamp_s:.3f} s old, allowed are {settings.command_age_s:g} s"
            )
        if not request.stamp_s > self._barrier_s:
            return "the newest request was given before the last stop"
        number = request.current_a if request.speed_m_s is None else request.speed_m_s
        if not (math.isfinite(number) and math.isfinite(request.steering_rad)):
            return f"what was asked for are no numbers: {number} and a steering angle of {request.steering_rad}"
        return ""

    def _answer_is_old(self, now_s: float) -> bool:
        return not abs(now_s - self._heard_s) <= self.settings.answer_age_s

    def _stopping(self, why: str, now_s: float) -> Command:
        """Return a step of a stop: brake while the car moves, then let the motor go; again and again."""
        if not self.reason or math.isnan(self._since_s):
            self._since_s, self._speed = now_s, None
            if not self.reason:
                self._count("stop")
                self._report(f"the car stops: {why}")
                # Whoever fell silent or was not heard must speak anew: a request from before is void.
                self._barrier_s = self._request.stamp_s if self._request else self._barrier_s
        self.reason = why
        moves, since_s = self.moves(now_s), now_s - self._since_s
        blind = moves is None and not since_s >= self.settings.brake_blind_s
        if moves or blind or not since_s >= self.settings.brake_least_s:
            return SetCurrentBrake(self.car.brake_current_a)
        return SetCurrent(0.0)

    def _ramp(self, wanted_m_s: float, period_s: float) -> float:
        """Return the speed to tell, no further from the last one than the acceleration allows."""
        car = self.car
        wanted = min(max(wanted_m_s, -car.max_reverse_m_s), car.max_speed_m_s)
        if self._speed is None:  # begin at the speed it has, if it goes that way, but never above what is asked for
            rolling = car.speed_of(self._values.erpm) if self._values else 0.0
            self._speed = math.copysign(min(abs(rolling), abs(wanted)), wanted) if rolling * wanted > 0.0 else 0.0
        step = car.max_acceleration_m_s2 * period_s
        return min(max(wanted, self._speed - step), self._speed + step)

    def _current(self, current_a: float) -> float:
        """Return the motor current [A], within its limit and none that drives on at the speed limit."""
        car = self.car
        current = min(max(current_a, -car.max_current_a), car.max_current_a)
        speed = car.speed_of(self._values.erpm) if self._values else 0.0
        if (current > 0.0 and speed >= car.max_speed_m_s) or (current < 0.0 and speed <= -car.max_reverse_m_s):
            return 0.0
        return math.copysign(1.0, car.speed_to_erpm_gain) * current

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
