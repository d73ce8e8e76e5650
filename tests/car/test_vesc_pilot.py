from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl_hardware.car import vesc_messages as vm
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.vesc_pilot import Pilot, VescError, VescSettings

QUIET = {"report": lambda sentence: None}
anything = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-6.0, 6.0)
cars = st.builds(
    CarSettings,
    speed_to_erpm_gain=st.sampled_from([4614.0, -4200.0, 900.0]),
    speed_to_erpm_offset=st.floats(-90.0, 90.0),
    steering_to_servo_gain=st.sampled_from([-1.2135, 0.8, 3.0]),
    steering_to_servo_offset=st.floats(0.2, 0.8),
    servo_min=st.floats(0.0, 0.2),
    servo_max=st.floats(0.8, 1.0),
    wheelbase_m=st.just(0.33),
    max_speed_m_s=st.floats(0.1, 9.0),
    max_reverse_m_s=st.floats(0.0, 3.0),
    max_steering_rad=st.floats(0.05, 0.5),
    max_acceleration_m_s2=st.floats(0.5, 20.0),
    max_current_a=st.floats(10.0, 80.0),
    brake_current_a=st.floats(1.0, 10.0),
    latency_s=st.just(0.05),
    steering_lag_s=st.just(0.1),
    friction=st.just(0.8),
)
events = st.lists(
    st.one_of(
        st.tuples(st.just("drive"), anything, anything, st.floats(-0.3, 0.3)),
        st.tuples(st.just("push"), anything, anything, st.floats(-0.3, 0.3)),
        st.tuples(st.just("heard"), st.integers(-(2**31), 2**31 - 1) | st.integers(-9000, 9000), st.just(0)),
        st.tuples(st.just("heard"), st.integers(-9000, 9000), st.sampled_from([0, 0, 0, 2])),
        st.tuples(st.just("stop")),
        st.tuples(st.just("acknowledge")),
        st.tuples(st.just("wait"), st.floats(0.0, 0.3) | st.just(math.nan) | st.floats(-1.0, 0.0)),
    ),
    max_size=40,
)


def happen(pilot: Pilot, event: tuple, now_s: float) -> float:
    """Let an event reach the pilot, and return the time after it."""
    match event:
        case "drive", speed, steering, age:
            pilot.drive(speed, steering, now_s - age)
        case "push", current, steering, age:
            pilot.push(current, steering, now_s - age)
        case "heard", erpm, fault:
            pilot.heard(vm.MotorValues(erpm=erpm, fault=fault), now_s)
        case ("stop",):
            pilot.stop("a test says so")
        case ("acknowledge",):
            if not (pilot._values and pilot._values.fault):
                pilot.acknowledge("Ada")
        case "wait", time_s:
            return now_s + time_s
    return now_s


@given(cars, events)
@settings(max_examples=150, deadline=None)
def test_whatever_is_asked_for_what_is_told_stays_within_the_limits(car: CarSettings, happening: list[tuple]) -> None:
    pilot, now_s = Pilot(car, VescSettings(), **QUIET), 100.0
    pilot.heard(vm.MotorValues(), now_s)
    told_before: tuple[float, float] | None = None  # time and speed of the last tick, if it told a speed
    for event in happening:
        after_s = happen(pilot, event, now_s)
        told = pilot.tick(after_s)
        now_s = after_s if math.isfinite(after_s) else now_s
        assert told, "silence would leave the motor as it is"
        told_now = None
        for command in told:
            vm.to_payload(command)  # it fits into the message
            match command:
                case vm.SetServo(position):
                    assert car.servo_min <= position <= car.servo_max
                    assert abs(car.steering_of(position)) <= car.max_steering_rad + 1e-9
                case vm.SetCurrent(current):
                    assert abs(current) <= car.max_current_a
                case vm.SetCurrentBrake(current):
                    assert current == car.brake_current_a
                case vm.SetRpm(erpm):
                    speed = car.speed_of(erpm)
                    assert -car.max_reverse_m_s - 2e-3 <= speed <= car.max_speed_m_s + 2e-3
                    if told_before:
                        # An offset of the conversion is a step of its own about standing still.
                        slack = 2e-3 + 2 * abs(car.speed_to_erpm_offset / car.speed_to_erpm_gain)
                        most = car.max_acceleration_m_s2 * (now_s - told_before[0]) + slack
                        assert abs(speed - told_before[1]) <= most
                    told_now = now_s, speed
                case _:
                    pytest.fail(f"{command} is no command of a car")
        told_before = told_now


@given(cars, events)
@settings(max_examples=150, deadline=None)
def test_it_drives_only_on_a_fresh_request_a_vesc_that_answers_and_no_fault(
    car: CarSettings, happening: list[tuple]
) -> None:
    pilot, now_s = Pilot(car, VescSettings(), **QUIET), 100.0
    heard_s = asked_s = -math.inf
    fault = False
    for event in happening:
        if event[0] == "heard":
            heard_s, fault = now_s, fault or event[2] != 0
        elif event[0] in ("drive", "push"):
            asked_s = now_s - event[3]
        elif event[0] == "stop":
            asked_s = -math.inf
        elif event[0] == "acknowledge" and not (pilot._values and pilot._values.fault):
            fault = False
        after_s = happen(pilot, event, now_s)
        told = pilot.tick(after_s)
        now_s = after_s if math.isfinite(after_s) else now_s
        drives = any(isinstance(c, vm.SetRpm | vm.SetServo) for c in told)
        assert drives is (pilot.reason == "")
        if drives:
            assert not fault
            assert abs(now_s - heard_s) <= 0.1
            assert abs(now_s - asked_s) <= 0.1
        else:
            assert len(told) == 1
            assert isinstance(told[0], vm.SetCurrentBrake) or told[0] == vm.SetCurrent(0.0)


def driven(car: CarSettings, speed: float, steering: float = 0.0, erpm: float = 0.0, ticks: int = 200) -> tuple:
    """Return what is told after the same request has stood for some time."""
    pilot, now_s, told = Pilot(car, VescSettings(), **QUIET), 5.0, ()
    for _ in range(ticks):
        now_s += 0.02
        pilot.heard(vm.MotorValues(erpm=erpm), now_s)
        pilot.drive(speed, steering, now_s)
        told = pilot.tick(now_s)
    return told


@pytest.mark.parametrize("speed", [0.0, 0.3, 1.0, -0.5])
def test_a_commanded_stop_is_a_stop_and_reverse_is_reverse(car: CarSettings, speed: float) -> None:
    rpm = driven(car, speed)[1].erpm
    assert car.speed_of(rpm) == pytest.approx(speed, abs=2e-3)
    if speed == 0.0:
        assert rpm == 0


def test_a_car_that_may_not_drive_backward_stands_instead(f1tenth: CarSettings) -> None:
    assert driven(dataclasses.replace(f1tenth, max_reverse_m_s=0.0), -1.0)[1] == vm.SetRpm(0)


def test_steering_beyond_the_servo_stops_at_its_end(f1tenth: CarSettings) -> None:
    assert driven(f1tenth, 0.0, 9.9)[0] == vm.SetServo(pytest.approx(0.15))
    assert driven(f1tenth, 0.0, -9.9)[0] == vm.SetServo(pytest.approx(0.85))


def test_a_rolling_car_is_taken_over_at_its_speed_and_never_above_what_is_asked(f1tenth: CarSettings) -> None:
    assert driven(f1tenth, 2.0, erpm=4614.0, ticks=1)[1] == vm.SetRpm(4614)
    assert driven(f1tenth, 0.5, erpm=4614.0, ticks=1)[1] == vm.SetRpm(2307)
    assert driven(f1tenth, 2.0, erpm=-4614.0, ticks=1)[1] == vm.SetRpm(0)


@pytest.mark.parametrize(("speed", "current", "told"), [(0.0, 5.0, 5.0), (3.0, 5.0, 0.0), (3.0, -5.0, -5.0)])
def test_a_current_does_not_drive_beyond_the_speed_limit(
    car: CarSettings, speed: float, current: float, told: float
) -> None:
    pilot = Pilot(car, VescSettings(), **QUIET)
    pilot.heard(vm.MotorValues(erpm=car.erpm_of(speed) * 1.001), 1.0)
    pilot.push(current, 0.0, 1.0)
    assert pilot.tick(1.0)[1] == vm.SetCurrent(math.copysign(1.0, car.speed_to_erpm_gain) * told)


def test_a_stop_brakes_while_the_car_moves_and_again_if_it_rolls_off(f1tenth: CarSettings) -> None:
    pilot, told = Pilot(f1tenth, VescSettings(), **QUIET), []
    pilot.stop("enough")
    for i in range(100):
        now_s = 1.0 + 0.02 * i
        rolling = i < 30 or 60 <= i < 70
        pilot.heard(vm.MotorValues(erpm=2000.0 if rolling else 0.0), now_s)
        told.append(pilot.tick(now_s)[0])
    brake, go = vm.SetCurrentBrake(f1tenth.brake_current_a), vm.SetCurrent(0.0)
    assert told == [brake] * 30 + [go] * 30 + [brake] * 10 + [go] * 30


def test_a_stop_without_news_of_the_speed_brakes_for_a_while(f1tenth: CarSettings) -> None:
    pilot = Pilot(f1tenth, VescSettings(brake_blind_s=1.0), **QUIET)
    told = [pilot.tick(0.1 * i)[0] for i in range(20)]
    assert told[:10] == [vm.SetCurrentBrake(f1tenth.brake_current_a)] * 10
    assert told[11:] == [vm.SetCurrent(0.0)] * 9


def test_a_fault_that_the_vesc_forgets_is_not_forgotten(f1tenth: CarSettings) -> None:
    said: list[str] = []
    pilot = Pilot(f1tenth, VescSettings(), said.append)
    for fault in (0, 2, 2, 0, 5, 0):
        pilot.heard(vm.MotorValues(fault=fault), 1.0)
    assert pilot.faults == ("UNDER_VOLTAGE", "OVER_TEMP_FET")
    assert pilot.counts == {"UNDER_VOLTAGE": 1, "OVER_TEMP_FET": 1}
    assert said == ["the VESC reports the fault UNDER_VOLTAGE", "the VESC reports the fault OVER_TEMP_FET"]
    pilot.acknowledge("Ada")
    assert said[-1] == "Ada acknowledges UNDER_VOLTAGE, OVER_TEMP_FET"
    pilot.heard(vm.MotorValues(fault=5), 1.1)
    with pytest.raises(VescError, match="still reports the fault OVER_TEMP_FET; mend its cause"):
        pilot.acknowledge("Ada")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"rate_hz": 5.0}, "vesc.rate_hz is 5.0; a VESC is driven 10 to 500 times a second"),
        ({"rate_hz": float("nan")}, "vesc.rate_hz is nan"),
        ({"command_age_s": 0.0}, "vesc.command_age_s is 0.0; it must be positive"),
        ({"answer_age_s": 0.02}, "less than one and a half periods of 50 Hz"),
        ({"brake_blind_s": math.inf}, "vesc.brake_blind_s is inf"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        VescSettings(**values)
