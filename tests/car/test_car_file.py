from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest
from cars import F1TENTH
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl_hardware.car.file import load_car, save_car
from robot_rl_hardware.car.settings import NUMBERS, CarSettings


def test_a_car_is_read_back_as_it_was_written(car: CarSettings, tmp_path: Path) -> None:
    car = dataclasses.replace(car, name="blauer Blitz", measured=("wheelbase_m", "friction"))
    save_car(tmp_path / "car.yaml", car)
    assert load_car(tmp_path / "car.yaml") == car


@pytest.mark.parametrize("name", NUMBERS)
def test_each_missing_value_is_named(name: str, f1tenth: CarSettings, tmp_path: Path) -> None:
    path = tmp_path / "car.yaml"
    save_car(path, f1tenth)
    text = path.read_text()
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith(f"{name}:")))
    with pytest.raises(ConfigError, match=rf"car.yaml does not give {name}; nothing drives on a guess"):
        load_car(path)
    path.write_text(re.sub(rf"^{name}:.*$", f"{name}:", text, flags=re.MULTILINE))
    with pytest.raises(ConfigError, match=f"does not give {name}"):
        load_car(path)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_value_may_be_anything_but_a_finite_number(name: str, value: float, f1tenth: CarSettings) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value}; it must be a finite number"):
        dataclasses.replace(f1tenth, **{name: value})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"wheelbase_m": -0.33}, "wheelbase_m is -0.33; it must be positive"),
        ({"wheelbase_m": 330.0}, "wheelbase_m is 330; at most 1.5 is believed of an RC car"),
        ({"servo_min": 0.9}, "servo_min is 0.9 and servo_max 0.85; they must lie in 0 to 1, the smaller first"),
        ({"servo_max": 1.2}, "servo_min is 0.15 and servo_max 1.2"),
        ({"steering_to_servo_offset": 0.1}, "so straight ahead lies outside of servo_min 0.15 to servo_max 0.85"),
        ({"speed_to_erpm_gain": 0.0}, "speed_to_erpm_gain is 0; a car has 100 to 100000 ERPM at 1 m/s"),
        ({"speed_to_erpm_offset": 4000.0}, "which alone is 0.87 m/s; at most 0.1 m/s is believed"),
        ({"steering_to_servo_gain": 0.0}, "steering_to_servo_gain is 0; it must be 0.05 to 10 a radian"),
        ({"max_speed_m_s": 0.0}, "max_speed_m_s is 0; it must be positive"),
        ({"max_reverse_m_s": -1.0}, "max_reverse_m_s is -1; it must not be negative"),
        ({"max_steering_rad": 24.0}, "max_steering_rad is 24; at most 1.2"),
        ({"brake_current_a": 50.0}, "brake_current_a is 50 and max_current_a 40"),
        ({"latency_s": -0.01}, "latency_s is -0.01; it must not be negative"),
        ({"friction": -0.5}, "friction is -0.5; it must be positive"),
        ({"measured": ("wheelbase",)}, "measured names 'wheelbase', which is no value of a car. Did you mean 'wheelb"),
    ],
)
def test_an_impossible_value_is_a_sentence(values: dict, told: str, f1tenth: CarSettings) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        dataclasses.replace(f1tenth, **values)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("wheelbase_m: 0.3302", "wheelbase_m: wide"), "wheelbase_m is 'wide'; allowed: a number"),
        (("wheelbase_m: 0.3302", "wheelbase_m: 0.3302\nwheelbase: 0.25"), "there is no setting 'wheelbase'"),
        (("wheelbase_m: 0.3302", "wheelbase_m: 0.3302\nwheelbase_m: 0.25"), "sets 'wheelbase_m' twice; keep one"),
        (("wheelbase_m: 0.3302", "wheelbase_m: [0.3"), "is not valid YAML"),
        (("wheelbase_m: 0.3302", "wheelbase_m: -0.3302"), "wheelbase_m is -0.3302; it must be positive"),
    ],
)
def test_a_slip_in_the_file_is_named_with_the_file(
    change: tuple[str, str], told: str, f1tenth: CarSettings, tmp_path: Path
) -> None:
    path = tmp_path / "car.yaml"
    save_car(path, f1tenth)
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ConfigError, match=re.escape(told)) as failed:
        load_car(path)
    assert f"the car file {path}" in str(failed.value)


def test_a_file_that_is_not_there_says_where_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no car file .*docs/car_hardware.md"):
        load_car(tmp_path / "car.yaml")


def test_conversions_are_those_of_f1tenth(f1tenth: CarSettings) -> None:
    assert f1tenth.erpm_of(5.04) == pytest.approx(23254.6, abs=0.1)  # F1TENTH limits at 23250 ERPM, which is 5.04 m/s
    assert f1tenth.servo_of(0.0) == 0.5304
    assert f1tenth.servo_of(0.3) == pytest.approx(-1.2135 * 0.3 + 0.5304)  # left is positive, and turns it down
    right, left = f1tenth.steering_range_rad
    assert right == pytest.approx(-0.263, abs=5e-4)
    assert left == pytest.approx(0.313, abs=5e-4)


def test_odometry_has_the_sign_of_the_command(car: CarSettings) -> None:
    assert car.speed_of(car.erpm_of(1.0)) == pytest.approx(1.0)
    assert car.speed_of(car.erpm_of(-1.0)) == pytest.approx(-1.0)


def test_the_yaw_rate_goes_with_the_true_wheelbase(f1tenth: CarSettings) -> None:
    stock = dataclasses.replace(f1tenth, wheelbase_m=0.25)
    assert f1tenth.yaw_rate_of(2.0, 0.2) == pytest.approx(2.0 * math.tan(0.2) / 0.3302)
    assert stock.yaw_rate_of(2.0, 0.2) / f1tenth.yaw_rate_of(2.0, 0.2) == pytest.approx(1.32, abs=0.01)


@given(speed=st.floats(-20.0, 20.0), steering=st.floats(-0.5, 0.5))
def test_conversions_are_inverse_and_keep_the_way(speed: float, steering: float) -> None:
    car = dataclasses.replace(F1TENTH, speed_to_erpm_offset=200.0)
    erpm = car.erpm_of(speed)
    assert erpm * speed >= 0.0
    if erpm:
        assert car.speed_of(erpm) == pytest.approx(speed, abs=1e-9)
    servo = car.servo_of(steering)
    assert car.servo_min <= servo <= car.servo_max
    if car.servo_min < servo < car.servo_max:
        assert car.steering_of(servo) == pytest.approx(steering, abs=1e-9)
