"""Calibration of a car from one scripted drive of a minute: which numbers of `car.yaml` does it really have?

`SCRIPT` says what to drive, `fit` computes from what was recorded. Both are plain data and arrays; whoever drives it
keeps the deadman, the limits and enough room, about 6 by 6 m.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, nearest
from robot_rl_hardware.car.settings import CarSettings

Vector = NDArray[np.float64]

G_M_S2 = 9.80665
PARTS = ("speed", "steering", "friction")
"""What can be fitted: the speed's gain and offset; the steering's gain, offset, latency and lag; the friction."""

_CALM_M_S2 = 2.5
"""Below this lateral acceleration tyres on any floor roll where they point."""
_MOVING_M_S = 0.3
_MOST_ANGLE_RAD = 0.7
"""No car steers further."""
_SETTLES_S = 0.6
"""For so long after a slide a car may still turn as it slid."""
_MOST_LATENCY_S = 0.3
_GRID_S = 0.005
_LEAST_SAMPLES = 50


@dataclass(frozen=True, slots=True)
class Leg:
    """A piece of the drive: for `time_s`, a share of the highest speed and one of the steering's range, + left."""

    time_s: float
    speed: float
    steering: float


SCRIPT: tuple[Leg, ...] = (
    Leg(1.0, 0.0, 0.0),
    *(Leg(2.5, share, 0.0) for share in (0.2, 0.35, 0.5)),  # straight on: the speed's gain and offset
    Leg(1.5, 0.2, 0.0),
    *(leg for i in range(6) for leg in (Leg(1.0, 0.35, 0.6), Leg(1.0, 0.35, -0.6))),  # steps: latency, lag, gain
    *(leg for side in (0.3, 0.9) for leg in (Leg(2.0, 0.3, side), Leg(2.0, 0.3, -side))),  # arcs: gain and offset
    *(
        Leg(2.0, share, 1.0) for share in (0.4, 0.6, 0.7, 0.8, 1.0)
    ),  # a circle that opens when the tyres give up: friction
    Leg(1.5, 0.2, 1.0),
    *(Leg(2.0, share, -1.0) for share in (0.4, 0.6, 0.7, 0.8, 1.0)),
    Leg(2.0, 0.0, 0.0),
)
"""The scripted drive, 54 s. Speeds are shares of a highest speed that the person chooses for the room there is."""


def script_at(time_s: float, script: tuple[Leg, ...] = SCRIPT) -> tuple[float, float] | None:
    """Return the shares of speed and steering at a time since the start; None when the drive is over."""
    for leg in script:
        if time_s < leg.time_s:
            return leg.speed, leg.steering
        time_s -= leg.time_s
    return None


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recorded drive: arrays (N,), one entry per sample, all on one clock.

    Attributes:
        time_s: Increasing, about evenly spaced, 20 to 200 a second.
        servo: Position that the servo was commanded to.
        erpm: Electrical speed that the VESC told.
        speed_m_s: Of the car, from something that is not its wheels: localisation, or marks on the floor.
        yaw_rate_rad_s: From the inertial sensor or the localisation, left positive.
    """

    time_s: Vector
    servo: Vector
    erpm: Vector
    speed_m_s: Vector
    yaw_rate_rad_s: Vector

    def __post_init__(self) -> None:
        size = np.shape(self.time_s)
        for field in dataclasses.fields(self):
            values = np.asarray(getattr(self, field.name), dtype=np.float64)
            object.__setattr__(self, field.name, values)
            if values.ndim != 1 or values.shape != size:
                raise ConfigError(f"the recording's {field.name} has shape {values.shape}, and time_s {size}")
            if not np.isfinite(values).all():
                raise ConfigError(
                    f"the recording's {field.name} holds {(~np.isfinite(values)).sum()} values that are none"
                )
        if len(self.time_s) < 2 * _LEAST_SAMPLES:
            raise ConfigError(f"the recording has {len(self.time_s)} samples; a fit needs {2 * _LEAST_SAMPLES}")
        steps = np.diff(self.time_s)
        if not (steps > 0.0).all() or steps.max() > 0.5:
            raise ConfigError(
                f"the recording's time_s must increase without holes above 0.5 s; its steps are {steps.min():.3f} to "
                f"{steps.max():.3f} s"
            )


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a recording says of a car.

    Attributes:
        values: By the names of `CarSettings`.
        residuals: Root mean square of what the values do not explain: "speed_m_s", "yaw_rate_rad_s", and
            "friction", the spread of the friction itself.
    """

    values: dict[str, float]
    residuals: dict[str, float]

    def apply(self, car: CarSettings) -> CarSettings:
        """Return a car with these values, which count as measured from then on."""
        measured = tuple(dict.fromkeys((*car.measured, *self.values)))
        return dataclasses.replace(car, **self.values, measured=measured)  # pyright: ignore[reportArgumentType]


def fit(recording: Recording, wheelbase_m: float, parts: Collection[str] = PARTS) -> Fit:
    """Return what a recording says of the car.

    Args:
        recording: of the scripted drive or any other one that excites what is asked for.
        wheelbase_m: measured with a ruler: a drive cannot tell it from the steering's gain.
        parts: what to fit; friction is left out where there is no room to slide.

    Raises:
        ConfigError: The drive does not show enough of a part, or the wheelbase or a part's name is impossible.
    """
    if not (math.isfinite(wheelbase_m) and 0.0 < wheelbase_m < 1.5):
        raise ConfigError(f"wheelbase_m is {wheelbase_m}; it must lie in 0 to 1.5")
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"'{part}' cannot be fitted; there are {', '.join(PARTS)}.{nearest(part, PARTS)}")
    values: dict[str, float] = {}
    residuals: dict[str, float] = {}
    if "speed" in parts:
        _fit_speed(recording, values, residuals)
    if "steering" in parts or "friction" in parts:
        steering = _Steering(recording, wheelbase_m)
        if "steering" in parts:
            values |= steering.values
            residuals["yaw_rate_rad_s"] = steering.residual_rad_s
        if "friction" in parts:
            values["friction"], residuals["friction"] = _friction(recording, steering)
    return Fit(values=values, residuals=residuals)


def _fit_speed(recording: Recording, values: dict[str, float], residuals: dict[str, float]) -> None:
    """Fit ERPM = gain * speed + offset where the car goes steadily and nearly straight on."""
    acceleration = np.gradient(_smooth(recording.erpm, 5), recording.time_s)
    scale = max(float(np.abs(recording.erpm).max()), 1.0)
    lateral = np.abs(recording.speed_m_s * recording.yaw_rate_rad_s)
    calm = (np.abs(recording.speed_m_s) > _MOVING_M_S) & (lateral < _CALM_M_S2) & (np.abs(acceleration) < 0.5 * scale)
    speed, erpm = recording.speed_m_s[calm], recording.erpm[calm]
    span = float(np.ptp(speed)) if len(speed) else 0.0
    if len(speed) < _LEAST_SAMPLES or span < 0.5:
        raise ConfigError(
            f"the drive does not show the speed's gain: {len(speed)} steady samples, whose speeds are {span:.2f} m/s "
            f"apart; it takes {_LEAST_SAMPLES}, 0.5 m/s apart. Drive the straight legs, each for two seconds"
        )
    # The noise is in the speed, not in the ERPM: fit it that way round, or the gain comes out too small.
    slope, zero = _line(erpm, speed)
    gain, offset = 1.0 / slope, -zero / slope
    values["speed_to_erpm_gain"], values["speed_to_erpm_offset"] = gain, offset
    residuals["speed_m_s"] = _rms(speed - (erpm - offset) / gain)


def _line(x: Vector, y: Vector) -> tuple[float, float]:
    """Return slope and intercept of a line, with outliers (a wheel that slips, a jump of the pose) left out."""
    kept = np.ones(len(x), dtype=bool)
    slope = intercept = 0.0
    for _ in range(5):
        slope, intercept = np.polyfit(x[kept], y[kept], 1)
        error = np.abs(y - slope * x - intercept)
        kept = error <= 4.0 * max(1.4826 * float(np.median(error)), 1e-12)
    return float(slope), float(intercept)


class _Steering:
    """The steering's gain, offset, latency and lag, from commanded servo positions and measured yaw rates.

    The yaw rate over the speed is the path's curvature, so each sample has a steering angle; the servo's position, late
    by the latency and smoothed by the lag, is a line over it. For given latency and lag that line is a plain least
    squares problem, so only these two are searched for.
    """

    def __init__(self, recording: Recording, wheelbase_m: float) -> None:
        from scipy.optimize import minimize_scalar

        self._recording, self._wheelbase_m = recording, wheelbase_m
        self._calm = _rolls(recording, wheelbase_m)
        self._check()

        def best_lag(latency_s: float) -> tuple[float, float]:
            found: Any = minimize_scalar(
                lambda lag_s: self._solve(latency_s, lag_s)[0], bounds=(0.0, 0.5), method="bounded",
                options={"xatol": 1e-3},
            )  # fmt: skip
            return float(found.fun), float(found.x)

        # Latency and lag trade against each other, so each latency is tried with its own best lag: in large steps
        # first, then in small ones about the best.
        tried = {latency_s: best_lag(latency_s) for latency_s in np.arange(0.0, _MOST_LATENCY_S, 4 * _GRID_S).tolist()}
        coarse_s = min(tried, key=lambda latency_s: tried[latency_s][0])
        for step in range(-3, 4):
            latency_s = max(coarse_s + step * _GRID_S, 0.0)
            tried[latency_s] = best_lag(latency_s)
        latency_s = min(tried, key=lambda latency_s: tried[latency_s][0])
        lag_s = tried[latency_s][1]
        self.residual_rad_s, gain, offset = self._solve(latency_s, lag_s)
        self.values = {
            "steering_to_servo_gain": gain, "steering_to_servo_offset": offset, "latency_s": latency_s,
            "steering_lag_s": lag_s,
        }  # fmt: skip
        if not math.isfinite(gain) or abs(gain) > 10.0:
            raise ConfigError(
                "the drive does not show the steering's gain: the car did not turn as the servo was commanded. Check "
                "the servo, and that all was recorded on one clock"
            )

    def rolling_rad_s(self) -> Vector:
        """Return the yaw rate (N,) of wheels that do not slip, for the commands of the recording."""
        v = self.values
        servo = _late(self._recording.time_s, self._recording.servo, v["latency_s"], v["steering_lag_s"])
        angle = (servo - v["steering_to_servo_offset"]) / v["steering_to_servo_gain"]
        return self._recording.speed_m_s * np.tan(angle) / self._wheelbase_m

    def _check(self) -> None:
        servo = self._recording.servo[self._calm]
        span = float(np.ptp(servo)) if len(servo) else 0.0
        steps = int((np.abs(np.diff(self._recording.servo)) > 0.05).sum())
        if len(servo) < _LEAST_SAMPLES or span < 0.1 or steps < 4:
            raise ConfigError(
                f"the drive does not show the steering: {len(servo)} slow samples in motion, over {span:.2f} of the "
                f"servo's way, with {steps} steps of the servo; it takes {_LEAST_SAMPLES}, 0.1 and 4. Drive the legs "
                "that steer from side to side"
            )

    def _solve(self, latency_s: float, lag_s: float) -> tuple[float, float, float]:
        """Return the error of the yaw rate [rad/s] for a latency and a lag, and the best gain and offset with them."""
        recording, calm = self._recording, self._calm
        speed, yaw_rate = recording.speed_m_s[calm], recording.yaw_rate_rad_s[calm]
        servo = _late(recording.time_s, recording.servo, latency_s, lag_s)[calm]
        angle = np.arctan(self._wheelbase_m * yaw_rate / speed)
        # The noise is in the angle and grows where the car is slow: weigh by what an angle does to the yaw rate.
        weight = np.abs(speed) * (1.0 + np.tan(angle) ** 2) / self._wheelbase_m
        slope, zero = np.polyfit(servo, angle, 1, w=weight)
        if abs(slope) < 1e-3:
            return math.inf, math.inf, 0.0
        told = speed * np.tan(slope * servo + zero) / self._wheelbase_m
        return _rms(yaw_rate - told), 1.0 / float(slope), -float(zero / slope)


def _rolls(recording: Recording, wheelbase_m: float) -> NDArray[np.bool_]:
    """Return which samples (N,) are of wheels that roll where they point, now and for a while before.

    A car that spins turns faster than any steering angle could make it, and its forward speed, which is small then,
    would make it look calm.
    """
    speed, yaw_rate = recording.speed_m_s, recording.yaw_rate_rad_s
    wild = np.abs(speed * yaw_rate) > _CALM_M_S2
    wild |= np.abs(wheelbase_m * _smooth(yaw_rate, 5)) > math.tan(_MOST_ANGLE_RAD) * np.maximum(np.abs(speed), 0.1)
    wild &= np.abs(_smooth(yaw_rate, 5)) > 0.5  # at a crawl noise alone looks like a turn
    last_s = np.maximum.accumulate(np.where(wild, recording.time_s, -math.inf))
    return (np.abs(speed) > _MOVING_M_S) & (recording.time_s - last_s > _SETTLES_S)


def _friction(recording: Recording, steering: _Steering) -> tuple[float, float]:
    """Return the friction and its spread, where the car turned less than its wheels were told to: there it slid."""
    speed, yaw_rate = _smooth(recording.speed_m_s, 5), _smooth(recording.yaw_rate_rad_s, 5)
    lateral, rolling = np.abs(speed * yaw_rate), np.abs(steering.rolling_rad_s() * speed)
    slides = (rolling > 1.15 * lateral) & (rolling > _CALM_M_S2) & (lateral > 0.5)
    if slides.sum() < _LEAST_SAMPLES:
        raise ConfigError(
            f"the drive does not show the friction: the car followed its wheels up to {lateral.max():.1f} m/s^2 and "
            f"slid in {int(slides.sum())} samples; it takes {_LEAST_SAMPLES}. Drive the circles faster, or leave "
            "friction out"
        )
    seen = lateral[slides] / G_M_S2
    return float(np.median(seen)), float(1.4826 * np.median(np.abs(seen - np.median(seen))))


def _late(time_s: Vector, command: Vector, latency_s: float, lag_s: float) -> Vector:
    """Return a command (N,) that comes late and is followed with a first-order lag."""
    from scipy.signal import lfilter

    # On a grid finer than the samples, or a latency would be told in whole samples. A command stands until the next
    # one: a line between them would begin to move before it was given.
    grid_s = np.arange(time_s[0], time_s[-1] + _GRID_S, _GRID_S)
    late = command[np.maximum(np.searchsorted(time_s, grid_s - latency_s + 1e-9, side="right") - 1, 0)]
    keep = math.exp(-_GRID_S / max(lag_s, 1e-6))
    followed = lfilter([0.0, 1.0 - keep], [1.0, -keep], late, zi=[late[0]])[0]
    return np.interp(time_s, grid_s, np.asarray(followed))


def _smooth(values: Vector, width: int) -> Vector:
    """Return a moving average (N,) that keeps the ends."""
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _rms(values: Vector) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else 0.0
