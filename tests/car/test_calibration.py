from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl_hardware.car.calibration import PARTS, SCRIPT, Fit, Leg, Recording, fit, script_at
from robot_rl_hardware.car.settings import CarSettings

G = 9.80665
STEP_S = 0.001


@functools.cache
def exact(car: CarSettings, script: tuple[Leg, ...], top_m_s: float, rate_hz: int) -> Recording:
    """Return a drive of a car that turns as it steers until its tyres give up, simulated in steps of a millisecond."""
    count = round(sum(leg.time_s for leg in script) / STEP_S)
    every = round(1.0 / rate_hz / STEP_S)
    right, left = car.steering_range_rad
    delayed = collections.deque([car.servo_of(0.0)] * (round(car.latency_s / STEP_S) + 1))
    asked = wheel = car.servo_of(0.0)
    speed, share, rows = 0.0, 0.0, []
    for i in range(count):
        if i % every == 0:  # commands are given at the rate at which they are recorded
            share, steer = script_at(i * STEP_S, script) or (0.0, 0.0)
            asked = car.servo_of(steer * (left if steer > 0 else -right))
        delayed.append(asked)
        wheel += (delayed.popleft() - wheel) * (STEP_S / max(car.steering_lag_s, STEP_S))
        speed += (share * top_m_s - speed) * STEP_S / 0.25
        if i % every == 0:
            rolling = car.yaw_rate_of(speed, car.steering_of(wheel))
            most = car.friction * G / max(abs(speed), 1e-3)
            rows.append((i * STEP_S, asked, car.erpm_of(speed), speed, min(max(rolling, -most), most)))
    return Recording(**dict(zip((f.name for f in dataclasses.fields(Recording)), np.array(rows).T, strict=True)))


def drive(
    car: CarSettings, script: tuple[Leg, ...] = SCRIPT, *, rate_hz: int = 50, noise: float = 1.0, seed: int = 0
) -> Recording:
    """Return the drive with the noise of sensors."""
    recording, rng = exact(car, script, 4.0, rate_hz), np.random.default_rng(seed)
    size = len(recording.time_s)
    return dataclasses.replace(
        recording,
        erpm=recording.erpm + noise * rng.normal(0.0, 30.0, size),
        speed_m_s=recording.speed_m_s + noise * rng.normal(0.0, 0.03, size),
        yaw_rate_rad_s=recording.yaw_rate_rad_s + noise * rng.normal(0.0, 0.05, size),
    )


def test_the_script_is_a_drive_of_about_a_minute_within_its_shares() -> None:
    assert 45.0 <= sum(leg.time_s for leg in SCRIPT) <= 60.0
    assert all(0.0 <= leg.speed <= 1.0 and abs(leg.steering) <= 1.0 for leg in SCRIPT)
    assert (SCRIPT[0].speed, SCRIPT[-1].speed) == (0.0, 0.0)
    assert script_at(0.0) == (0.0, 0.0)
    assert script_at(1.0) == (0.2, 0.0)
    assert script_at(1e3) is None


def test_a_drive_without_noise_gives_the_car_itself(car: CarSettings) -> None:
    found = fit(drive(car, noise=0.0), car.wheelbase_m).values
    assert found["speed_to_erpm_gain"] == pytest.approx(car.speed_to_erpm_gain, rel=1e-6)
    assert found["speed_to_erpm_offset"] == pytest.approx(car.speed_to_erpm_offset, abs=0.1)
    assert found["steering_to_servo_gain"] == pytest.approx(car.steering_to_servo_gain, rel=0.01)
    assert found["steering_to_servo_offset"] == pytest.approx(car.steering_to_servo_offset, abs=0.002)
    assert found["latency_s"] == pytest.approx(car.latency_s, abs=0.0051)
    assert found["steering_lag_s"] == pytest.approx(car.steering_lag_s, abs=0.005)
    assert found["friction"] == pytest.approx(car.friction, rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_borne_and_told_as_residuals(car: CarSettings, seed: int) -> None:
    result = fit(drive(car, seed=seed), car.wheelbase_m)
    found = result.values
    assert found["speed_to_erpm_gain"] == pytest.approx(car.speed_to_erpm_gain, rel=0.01)
    assert found["speed_to_erpm_offset"] == pytest.approx(car.speed_to_erpm_offset, abs=50.0)
    assert found["steering_to_servo_gain"] == pytest.approx(car.steering_to_servo_gain, rel=0.03)
    assert found["steering_to_servo_offset"] == pytest.approx(car.steering_to_servo_offset, abs=0.005)
    assert found["latency_s"] == pytest.approx(car.latency_s, abs=0.015)
    assert found["steering_lag_s"] == pytest.approx(car.steering_lag_s, abs=0.02)
    assert found["friction"] == pytest.approx(car.friction, rel=0.06)
    assert result.residuals["speed_m_s"] == pytest.approx(0.03, rel=0.2)
    assert result.residuals["yaw_rate_rad_s"] == pytest.approx(0.05, rel=0.4)
    assert result.residuals["friction"] < 0.1 * car.friction


@pytest.mark.parametrize(
    "true", list(itertools.product([0.0, 0.02, 0.125], [0.05, 0.158])), ids=lambda t: f"{t[0]:g}+{t[1]:g}s"
)
def test_latency_and_lag_are_told_apart(f1tenth: CarSettings, true: tuple[float, float]) -> None:
    car = dataclasses.replace(f1tenth, latency_s=true[0], steering_lag_s=true[1])
    found = fit(drive(car), car.wheelbase_m, ["steering"]).values
    assert found["latency_s"] == pytest.approx(true[0], abs=0.015)
    assert found["steering_lag_s"] == pytest.approx(true[1], abs=0.025)


def test_a_pose_that_jumps_does_not_spoil_the_speed(f1tenth: CarSettings) -> None:
    recording = drive(f1tenth)
    speed = recording.speed_m_s.copy()
    speed[::37] += 5.0
    found = fit(dataclasses.replace(recording, speed_m_s=speed), f1tenth.wheelbase_m, ["speed"]).values
    assert found["speed_to_erpm_gain"] == pytest.approx(4614.0, rel=0.01)


def test_another_rate_gives_the_same_car(f1tenth: CarSettings) -> None:
    for rate_hz in (20, 100):
        found = fit(drive(f1tenth, rate_hz=rate_hz), f1tenth.wheelbase_m).values
        assert found["steering_to_servo_gain"] == pytest.approx(-1.2135, rel=0.03)
        assert found["speed_to_erpm_gain"] == pytest.approx(4614.0, rel=0.01)


STRAIGHT = (Leg(1.0, 0.0, 0.0), Leg(4.0, 0.2, 0.0), Leg(4.0, 0.5, 0.0))
ONE_SPEED = (Leg(10.0, 0.3, 0.0),)
SLOW = tuple(dataclasses.replace(leg, speed=0.3 * leg.speed) for leg in SCRIPT)
STANDING = (Leg(10.0, 0.0, 0.5),)


@pytest.mark.parametrize(
    ("script", "parts", "told"),
    [
        (ONE_SPEED, ["speed"], r"does not show the speed's gain: .* Drive the straight legs"),
        (STANDING, ["speed"], r"does not show the speed's gain: 0 steady samples"),
        (STRAIGHT, ["steering"], r"does not show the steering: .* with 0 steps of the servo"),
        (STANDING, ["steering"], r"does not show the steering: 0 slow samples"),
        (SLOW, PARTS, r"does not show the friction: the car followed its wheels up to .* or leave friction out"),
    ],
)
def test_what_a_drive_does_not_show_is_refused(
    f1tenth: CarSettings, script: tuple[Leg, ...], parts: list[str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        fit(drive(f1tenth, script), f1tenth.wheelbase_m, parts)


def test_friction_can_be_left_out_where_there_is_no_room_to_slide(f1tenth: CarSettings) -> None:
    found = fit(drive(f1tenth, SLOW), f1tenth.wheelbase_m, ["speed", "steering"]).values
    assert "friction" not in found
    assert found["steering_to_servo_gain"] == pytest.approx(-1.2135, rel=0.05)


def test_a_servo_that_does_not_move_the_wheels_is_noticed(f1tenth: CarSettings) -> None:
    recording = drive(f1tenth)
    still = dataclasses.replace(
        recording, yaw_rate_rad_s=np.random.default_rng(1).normal(0, 0.001, len(recording.time_s))
    )
    with pytest.raises(ConfigError, match="the car did not turn as the servo was commanded"):
        fit(still, f1tenth.wheelbase_m, ["steering"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"servo": np.zeros(7)}, r"the recording's servo has shape \(7,\)"),
        ({"erpm": np.full(500, np.nan)}, "the recording's erpm holds 500 values that are none"),
        ({"time_s": np.zeros(500)}, "time_s must increase"),
        ({"time_s": np.arange(500.0)}, "without holes above 0.5 s"),
    ],
)
def test_a_recording_that_is_none_is_refused(change: dict, told: str) -> None:
    good = {n: np.linspace(0.0, 10.0, 500) for n in ("time_s", "servo", "erpm", "speed_m_s", "yaw_rate_rad_s")}
    Recording(**good)
    with pytest.raises(ConfigError, match=told):
        Recording(**(good | change))


def test_a_wheelbase_or_a_part_that_cannot_be_is_refused(f1tenth: CarSettings) -> None:
    recording = Recording(**{n: np.linspace(0.0, 10.0, 500) for n in (f.name for f in dataclasses.fields(Recording))})
    with pytest.raises(ConfigError, match=r"wheelbase_m is nan; it must lie in 0 to 1.5"):
        fit(recording, math.nan)
    with pytest.raises(ConfigError, match=r"'steer' cannot be fitted; .* Did you mean 'steering'"):
        fit(recording, 0.33, ["steer"])


def test_a_fit_marks_its_values_as_measured(f1tenth: CarSettings) -> None:
    one = Fit(values={"friction": 0.7, "latency_s": 0.04}, residuals={}).apply(
        dataclasses.replace(f1tenth, measured=("wheelbase_m", "friction"))
    )
    assert (one.friction, one.latency_s, one.servo_max) == (0.7, 0.04, f1tenth.servo_max)
    assert one.measured == ("wheelbase_m", "friction", "latency_s")
    with pytest.raises(ConfigError, match="friction is 9; at most 3"):
        Fit(values={"friction": 9.0}, residuals={}).apply(f1tenth)
