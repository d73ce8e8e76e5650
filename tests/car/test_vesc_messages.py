from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import WireError
from robot_rl_hardware.car import vesc_messages as vm

SETTERS = [(vm.SetDuty, 1e-5), (vm.SetCurrent, 1e-3), (vm.SetCurrentBrake, 1e-3), (vm.SetServo, 1e-3)]
i32 = st.integers(-(2**31), 2**31 - 1)
i16 = st.integers(-(2**15), 2**15 - 1)


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        (vm.SetDuty(0.25), "05000061a8"),
        (vm.SetCurrent(-12.5), "06ffffcf2c"),
        (vm.SetCurrentBrake(20.0), "0700004e20"),
        (vm.SetRpm(-4614), "08ffffedfa"),
        (vm.SetServo(0.5304), "0c0212"),
        (vm.Alive(), "1e"),
        (vm.GetFirmware(), "00"),
        (vm.GetValues(), "04"),
        (vm.GetValues(0x8180), "3200008180"),
        (vm.GetImu(0x1FF), "4101ff"),
    ],
)
def test_commands_have_the_bytes_of_the_firmware(command: vm.Command, payload: str) -> None:
    assert vm.to_payload(command).hex() == payload


@given(st.sampled_from(SETTERS), st.floats(-30.0, 30.0))
def test_a_command_is_read_back_within_its_resolution(setter: tuple[type, float], value: float) -> None:
    kind, resolution = setter
    command = vm.to_command(vm.to_payload(kind(value)))
    assert type(command) is kind
    (read,) = (getattr(command, name) for name in command.__slots__)
    assert abs(read - value) <= resolution / 2 + 1e-9


@given(i32)
def test_an_electrical_speed_is_read_back_exactly(erpm: int) -> None:
    assert vm.to_command(vm.to_payload(vm.SetRpm(erpm))) == vm.SetRpm(erpm)


@pytest.mark.parametrize("command", [vm.Alive(), vm.GetFirmware(), vm.GetValues(), vm.GetValues(3), vm.GetImu(7)])
def test_questions_are_read_back(command: vm.Command) -> None:
    assert vm.to_command(vm.to_payload(command)) == command


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e9, -1e9])
@pytest.mark.parametrize("kind", [k for k, _ in SETTERS] + [vm.SetRpm])
def test_a_number_that_does_not_fit_is_refused_and_never_wraps(kind: type, value: float) -> None:
    with pytest.raises(WireError, match=r"must be finite|does not fit"):
        vm.to_payload(kind(value * (10 if kind is vm.SetRpm else 1)))


@given(i16, i16, i32, i32, i16, i32, i16, i32, i32, st.integers(0, 255), st.integers(0, 3))
def test_all_values_are_read_by_their_places(
    fet: int, motor: int, current: int, inward: int, duty: int, erpm: int, volt: int, tacho: int, absolute: int,
    fault: int, status: int,
) -> None:  # fmt: skip
    head = struct.pack(">hhiiiihihiiii", fet, motor, current, inward, 1, 2, duty, erpm, volt, 3, 4, 5, 6)
    tail = struct.pack(">iiBiBhhhiiB", tacho, absolute, fault, 7, 8, 9, 10, 11, 12, 13, status)
    values = vm.to_answer(bytes((vm.GET_VALUES,)) + head + tail)
    assert values == vm.MotorValues(
        temp_fet_c=fet / 10, temp_motor_c=motor / 10, current_motor_a=current / 100, current_input_a=inward / 100,
        duty=duty / 1000, erpm=erpm, voltage_v=volt / 10, tachometer=tacho, tachometer_abs=absolute, fault=fault,
        timed_out=bool(status & 1),
    )  # fmt: skip


def test_an_older_firmware_without_the_last_fields_is_understood() -> None:
    body = struct.pack(">hhiiiihihiiiiiiB", 250, 300, 0, 0, 0, 0, 0, 4614, 118, 0, 0, 0, 0, 5, 6, 2)
    values = vm.to_answer(bytes((vm.GET_VALUES,)) + body)
    assert isinstance(values, vm.MotorValues)
    assert (values.erpm, values.voltage_v, values.fault) == (4614, 11.8, 2)
    with pytest.raises(WireError, match="ends before its field 15"):
        vm.to_answer(bytes((vm.GET_VALUES,)) + body[:-1])


def test_a_selected_answer_is_read_by_its_mask() -> None:
    payload = struct.pack(">BIihB", vm.GET_VALUES_SELECTIVE, 1 << 7 | 1 << 8 | 1 << 15, -9000, 111, 3)
    assert vm.to_answer(payload) == vm.MotorValues(erpm=-9000, voltage_v=11.1, fault=3)


def test_the_inertial_sensor_is_read_in_its_own_units() -> None:
    numbers = (0.1, -0.2, 0.3, 0.0, 0.5, 1.0, 90.0, 0.0, -45.0)
    payload = struct.pack(">BH9fB", vm.GET_IMU_DATA, 0x1FF, *numbers, 42)  # newer firmware adds its own number
    imu = vm.to_answer(payload)
    assert isinstance(imu, vm.ImuValues)
    assert imu.acceleration_g == (0.0, 0.5, 1.0)
    assert imu.rates_deg_s == (90.0, 0.0, -45.0)
    with pytest.raises(WireError, match="numbers that are none"):
        vm.to_answer(struct.pack(">BHf", vm.GET_IMU_DATA, 1, float("nan")))


def test_the_firmware_tells_its_hardware() -> None:
    assert vm.to_answer(b"\x00\x06\x05VESC_6\x00" + bytes(20)) == vm.Firmware(major=6, minor=5, hardware="VESC_6")


@given(st.binary(max_size=200))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    for read in (vm.to_answer, vm.to_command):
        with contextlib.suppress(WireError):
            read(payload)


def test_faults_have_names_and_unknown_ones_their_number() -> None:
    assert vm.fault_name(0) == "NONE"
    assert vm.fault_name(2) == "UNDER_VOLTAGE"
    assert vm.fault_name(10) == "BOOTING_FROM_WATCHDOG_RESET"
    assert vm.fault_name(29) == "LV_OUTPUT_FAULT"
    assert vm.fault_name(77) == "FAULT_77"
