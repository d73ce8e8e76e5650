"""What a VESC is told and what it answers, as bytes: the messages that a car needs, and the faults by name.

A payload is one byte that names the message, then big-endian integers that carry scaled numbers. Layouts are those of
firmware 3.x to 6.x; a field that an older firmware does not send keeps its default.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from robot_rl.errors import WireError

FW_VERSION, GET_VALUES, SET_DUTY, SET_CURRENT, SET_CURRENT_BRAKE, SET_RPM = 0, 4, 5, 6, 7, 8
SET_SERVO_POS, ALIVE, GET_VALUES_SELECTIVE, GET_IMU_DATA = 12, 30, 50, 65

FAULTS = (
    "NONE", "OVER_VOLTAGE", "UNDER_VOLTAGE", "DRV", "ABS_OVER_CURRENT", "OVER_TEMP_FET", "OVER_TEMP_MOTOR",
    "GATE_DRIVER_OVER_VOLTAGE", "GATE_DRIVER_UNDER_VOLTAGE", "MCU_UNDER_VOLTAGE", "BOOTING_FROM_WATCHDOG_RESET",
    "ENCODER_SPI", "ENCODER_SINCOS_BELOW_MIN_AMPLITUDE", "ENCODER_SINCOS_ABOVE_MAX_AMPLITUDE", "FLASH_CORRUPTION",
    "HIGH_OFFSET_CURRENT_SENSOR_1", "HIGH_OFFSET_CURRENT_SENSOR_2", "HIGH_OFFSET_CURRENT_SENSOR_3",
    "UNBALANCED_CURRENTS", "BRK", "RESOLVER_LOT", "RESOLVER_DOS", "RESOLVER_LOS", "FLASH_CORRUPTION_APP_CFG",
    "FLASH_CORRUPTION_MC_CFG", "ENCODER_NO_MAGNET", "ENCODER_MAGNET_TOO_STRONG", "PHASE_FILTER", "ENCODER_FAULT",
    "LV_OUTPUT_FAULT",
)  # fmt: skip


def fault_name(code: int) -> str:
    """Return a fault's name as VESC Tool shows it; codes newer than this table keep their number."""
    return FAULTS[code] if 0 <= code < len(FAULTS) else f"FAULT_{code}"


@dataclass(frozen=True, slots=True)
class SetDuty:
    """Drive with a share of the battery's voltage, -1 to 1."""

    duty: float


@dataclass(frozen=True, slots=True)
class SetCurrent:
    """Drive with a motor current [A]; 0 lets the motor go."""

    current_a: float


@dataclass(frozen=True, slots=True)
class SetCurrentBrake:
    """Brake with a motor current [A], whichever way it turns."""

    current_a: float


@dataclass(frozen=True, slots=True)
class SetRpm:
    """Hold an electrical speed [revolutions a minute times pole pairs]."""

    erpm: int


@dataclass(frozen=True, slots=True)
class SetServo:
    """Move the servo to a share of its way, 0 to 1."""

    position: float


@dataclass(frozen=True, slots=True)
class Alive:
    """A sign of life that commands nothing. The driver never sends it: see `vesc.py`."""


@dataclass(frozen=True, slots=True)
class GetFirmware:
    """Ask for the firmware."""


@dataclass(frozen=True, slots=True)
class GetValues:
    """Ask for the motor's state: all of it, or the fields of a mask."""

    mask: int | None = None


@dataclass(frozen=True, slots=True)
class GetImu:
    """Ask for the inertial sensor's fields of a mask."""

    mask: int = 0x1FF  # attitude, acceleration, rates; no magnetometer, no quaternion


Command = SetDuty | SetCurrent | SetCurrentBrake | SetRpm | SetServo | Alive | GetFirmware | GetValues | GetImu


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """Version and hardware that a VESC tells of itself."""

    major: int
    minor: int
    hardware: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorValues:
    """The motor's state. What was not asked for, or not sent, is 0.

    Attributes:
        temp_fet_c, temp_motor_c: Temperatures.
        current_motor_a, current_input_a: Since the last question, on average.
        duty: Share of the battery's voltage, -1 to 1.
        erpm: Electrical speed.
        voltage_v: Of the battery.
        tachometer, tachometer_abs: Steps of the commutation, with and without sign.
        fault: Code of the fault that is active; see `fault_name`.
        timed_out: Whether the firmware has stopped the motor because no command came.
    """

    temp_fet_c: float = 0.0
    temp_motor_c: float = 0.0
    current_motor_a: float = 0.0
    current_input_a: float = 0.0
    duty: float = 0.0
    erpm: float = 0.0
    voltage_v: float = 0.0
    tachometer: int = 0
    tachometer_abs: int = 0
    fault: int = 0
    timed_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImuValues:
    """The inertial sensor as the VESC tells it: note the units, which are not those of ROS.

    Attributes:
        attitude_rad: Roll, pitch, yaw.
        acceleration_g: Along x, y, z in multiples of 9.80665 m/s^2.
        rates_deg_s: About x, y, z.
    """

    attitude_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    acceleration_g: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rates_deg_s: tuple[float, float, float] = (0.0, 0.0, 0.0)


Answer = Firmware | MotorValues | ImuValues

# Kind, scale and struct format of the commands that carry one number.
_SETTERS: dict[int, tuple[type, float, str]] = {
    SET_DUTY: (SetDuty, 1e5, ">i"),
    SET_CURRENT: (SetCurrent, 1e3, ">i"),
    SET_CURRENT_BRAKE: (SetCurrentBrake, 1e3, ">i"),
    SET_RPM: (SetRpm, 1.0, ">i"),
    SET_SERVO_POS: (SetServo, 1e3, ">h"),
}
_IDS = {kind: number for number, (kind, _, _) in _SETTERS.items()}

# The fields of GET_VALUES by the bits of its mask: name in `MotorValues` (or None), scale, struct format.
_VALUES: tuple[tuple[str | None, float, str], ...] = (
    ("temp_fet_c", 1e1, "h"), ("temp_motor_c", 1e1, "h"), ("current_motor_a", 1e2, "i"),
    ("current_input_a", 1e2, "i"), (None, 1e2, "i"), (None, 1e2, "i"), ("duty", 1e3, "h"), ("erpm", 1.0, "i"),
    ("voltage_v", 1e1, "h"), (None, 1e4, "i"), (None, 1e4, "i"), (None, 1e4, "i"), (None, 1e4, "i"),
    ("tachometer", 0.0, "i"), ("tachometer_abs", 0.0, "i"), ("fault", 0.0, "B"), (None, 1e6, "i"), (None, 0.0, "B"),
    (None, 1e1, "3h"), (None, 1e3, "i"), (None, 1e3, "i"), ("timed_out", 0.0, "B"),
)  # fmt: skip
_ALL_VALUES = (1 << len(_VALUES)) - 1
_FAULT_BIT = 15
"""The last field that every firmware sends: without the fault, an answer is worth nothing."""


def to_payload(command: Command) -> bytes:
    """Return the payload of a command.

    Raises:
        WireError: A number is not finite or does not fit.
    """
    match command:
        case GetFirmware():
            return bytes((FW_VERSION,))
        case Alive():
            return bytes((ALIVE,))
        case GetValues(mask=None):
            return bytes((GET_VALUES,))
        case GetValues(mask=mask):
            return _pack(GET_VALUES_SELECTIVE, ">I", mask)
        case GetImu(mask=mask):
            return _pack(GET_IMU_DATA, ">H", mask)
    number = _IDS[type(command)]
    _, scale, layout = _SETTERS[number]
    value = float(dataclasses.astuple(command)[0])
    if not math.isfinite(value):
        raise WireError(f"a VESC cannot be told {command}: the number must be finite")
    return _pack(number, layout, round(value * scale))


def _pack(number: int, layout: str, value: object) -> bytes:
    try:
        return bytes((number,)) + struct.pack(layout, value)
    except struct.error as e:
        raise WireError(f"{value} does not fit into message {number} of a VESC: {e}") from None


def to_command(payload: bytes) -> Command | None:
    """Return the command in a payload, as the VESC reads it; None for one that is not used here.

    Raises:
        WireError: It is cut short.
    """
    number = _number(payload)
    if number in _SETTERS:
        kind, scale, layout = _SETTERS[number]
        (value,) = _take(layout, payload)
        return kind(value if kind is SetRpm else value / scale)
    if number == GET_VALUES_SELECTIVE:
        return GetValues(*_take(">I", payload))
    if number == GET_IMU_DATA:
        return GetImu(*_take(">H", payload))
    plain: dict[int, Command] = {FW_VERSION: GetFirmware(), GET_VALUES: GetValues(), ALIVE: Alive()}
    return plain.get(number)


def to_answer(payload: bytes) -> Answer | None:
    """Return the answer in a payload; None for a message that is not used here.

    Raises:
        WireError: It is cut short, or a number in it is none.
    """
    number = _number(payload)
    if number == FW_VERSION:
        major, minor = _take(">BB", payload)
        name = payload[3:].partition(b"\0")[0].decode("ascii", "replace")
        return Firmware(major=major, minor=minor, hardware=name)
    if number == GET_VALUES:
        return _values(payload, 1, _ALL_VALUES)
    if number == GET_VALUES_SELECTIVE:
        (mask,) = _take(">I", payload)
        return _values(payload, 5, mask)
    return _imu(payload) if number == GET_IMU_DATA else None


def _values(payload: bytes, at: int, mask: int) -> MotorValues:
    found: dict[str, float] = {}
    for bit, (name, scale, layout) in enumerate(_VALUES):
        if not mask >> bit & 1:
            continue
        size = struct.calcsize(">" + layout)
        if at + size > len(payload):
            if bit <= _FAULT_BIT:
                raise WireError(f"an answer of the VESC ends before its field {bit}, after {len(payload)} bytes")
            break  # an older firmware, which does not know this field
        value = struct.unpack_from(">" + layout, payload, at)[0]
        at += size
        if name == "timed_out":
            found[name] = bool(value & 1)
        elif name:
            found[name] = value / scale if scale else value
    return MotorValues(**found)  # pyright: ignore[reportArgumentType]


def _imu(payload: bytes) -> ImuValues:
    (mask,) = _take(">H", payload)
    wanted = [bit for bit in range(16) if mask >> bit & 1]
    # The firmware's own packing of a float; for what a sensor tells it is that of IEEE 754.
    numbers = dict(zip(wanted, _take(f">{len(wanted)}f", payload, 3), strict=True))
    if not all(map(math.isfinite, numbers.values())):
        raise WireError("the inertial sensor of the VESC tells numbers that are none")
    groups = [tuple(numbers.get(3 * group + axis, 0.0) for axis in range(3)) for group in range(3)]
    return ImuValues(attitude_rad=groups[0], acceleration_g=groups[1], rates_deg_s=groups[2])  # pyright: ignore[reportArgumentType]


def _number(payload: bytes) -> int:
    if not payload:
        raise WireError("an empty payload is no message of a VESC")
    return payload[0]


def _take(layout: str, payload: bytes, at: int = 1) -> Sequence[int]:
    try:
        return struct.unpack_from(layout, payload, at)
    except struct.error:
        raise WireError(f"message {payload[0]} of a VESC is cut short: {len(payload)} bytes") from None
