"""`Vesc`: the driver of a VESC on a serial port, USB or UART. One thread writes and reads, with a deadline each period.

The VESC is told what to do all the time, also to stop, and each command is itself its sign of life. So nothing here
keeps a motor turning on the strength of a heartbeat: if this program dies or hangs, the firmware's own time-out ends
the motion, and until then a request that is not renewed stops the car after `command_age_s`.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import select
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from robot_rl.errors import MissingDependency, WireError
from robot_rl_hardware.car import vesc_messages as vm
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.vesc_frame import FrameReader, to_frame
from robot_rl_hardware.car.vesc_pilot import Pilot, VescError, VescGone, VescSettings

log = logging.getLogger(__name__)

BAUD = 115200
_WRITE_S = 0.02
_FRAME_S = 0.05
"""A frame that has begun ends within this time: 512 bytes take 45 ms at 115200 baud."""
_JOIN_S = 2.0
_G_M_S2 = 9.80665


@dataclass(frozen=True, slots=True, kw_only=True)
class VescState:
    """What a VESC tells, in SI units, forward and left positive.

    Attributes:
        stamp_s: Monotonic time at which the answer came.
        speed_m_s: From the electrical speed.
        steering_rad: Of the servo's last command: a servo tells nothing.
        current_a: Of the motor.
        voltage_v: Of the battery.
        temp_fet_c, temp_motor_c: Temperatures.
        faults: Names of faults that nobody has acknowledged.
        reason: Why the car does not drive; empty while it does.
    """

    stamp_s: float
    speed_m_s: float
    steering_rad: float
    current_a: float
    voltage_v: float
    temp_fet_c: float
    temp_motor_c: float
    faults: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImuState:
    """The VESC's inertial sensor in SI units; the VESC itself tells multiples of g, and degrees.

    Attributes:
        stamp_s: Monotonic time at which the answer came.
        attitude_rad: Roll, pitch, yaw.
        acceleration_m_s2, rates_rad_s: Along and about x, y, z.
    """

    stamp_s: float
    attitude_rad: tuple[float, float, float]
    acceleration_m_s2: tuple[float, float, float]
    rates_rad_s: tuple[float, float, float]


class Vesc:
    """A VESC and the car around it; a `with` block that ends with the car standing.

    Args:
        port: serial device, for example /dev/ttyACM0, or better its stable name below /dev/serial/by-id.
        car: conversions and limits.
        settings: rates and ages.
    """

    def __init__(self, port: str, car: CarSettings, settings: VescSettings | None = None) -> None:
        self.port, self.settings = port, settings or VescSettings()
        self.firmware: vm.Firmware | None = None
        self.late = 0
        self._car, self._pilot = car, Pilot(car, self.settings)
        self._serial: Any = None
        self._thread: threading.Thread | None = None
        self._change = threading.Condition()  # guards the pilot and what was heard
        self._ending = False
        self._gone = ""
        self._values: tuple[float, vm.MotorValues] | None = None
        self._imu: ImuState | None = None
        self._steering = 0.0

    def __enter__(self) -> Vesc:
        """Connect, and return itself."""
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the car and close the port."""
        self.close()

    def connect(self) -> None:
        """Open the port and begin to tell the VESC to stand still.

        Raises:
            VescError: There is no such port, it may not be used, or nothing on it answers like a VESC.
            MissingDependency: pyserial is not installed.
        """
        if self._thread:
            return
        self._serial = _open(self.port)
        self._gone, self._ending, self.firmware, self._values = "", False, None, None
        self._pilot = Pilot(self._car, self.settings)
        self._thread = threading.Thread(target=self._run, name="vesc", daemon=False)
        self._thread.start()
        with self._change:
            self._change.wait_for(lambda: self._gone or (self.firmware and self._values), self.settings.connect_s)
            answered, gone = self.firmware and self._values, self._gone
        if not answered:
            self.close()
            raise VescError(
                gone
                or f"nothing on {self.port} answers like a VESC within {self.settings.connect_s:g} s; switch the car "
                f"on, and check that it is the VESC's port: {serial_ports()}"
            )

    @property
    def what(self) -> str:
        """What answers on the port, for people."""
        firmware = self.firmware
        if firmware is None:
            return f"nothing yet on {self.port}"
        return f"VESC {firmware.hardware or 'of no name'}, firmware {firmware.major}.{firmware.minor:02d}"

    @property
    def stopping_s(self) -> float:
        """Monotonic time at which the VESC was first told to stop, whether it answers or not; nan while it drives."""
        return self._pilot.stopping_s

    def drive(self, speed_m_s: float, steering_rad: float, stamp_s: float | None = None) -> None:
        """Ask for a speed and a steering angle, again at least every `command_age_s`; returns at once.

        Args:
            speed_m_s: forward positive.
            steering_rad: left positive.
            stamp_s: monotonic time at which this was decided; now if None.

        Raises:
            VescGone: The port is gone; close this driver and connect a new one.
        """
        with self._open():
            self._pilot.drive(speed_m_s, steering_rad, time.monotonic() if stamp_s is None else stamp_s)

    def push(self, current_a: float, steering_rad: float, stamp_s: float | None = None) -> None:
        """Ask for a motor current instead of a speed; the speed limit holds all the same."""
        with self._open():
            self._pilot.push(current_a, steering_rad, time.monotonic() if stamp_s is None else stamp_s)

    def stop(self, reason: str) -> None:
        """Brake, then let the motor go, until something is asked for again."""
        with self._change:
            self._pilot.stop(reason)

    def acknowledge(self, who: str) -> None:
        """End the latch of faults on a person's word; raises `VescError` while the VESC still reports one."""
        with self._open():
            self._pilot.acknowledge(who)

    def read(self) -> VescState:
        """Return the newest state, without waiting.

        Raises:
            VescError: The VESC is gone, or has not answered for `answer_age_s`.
        """
        with self._open():
            heard_s, values = self._values or (-math.inf, vm.MotorValues())
            age_s = time.monotonic() - heard_s
            if not age_s <= self.settings.answer_age_s:
                raise VescError(
                    f"the VESC on {self.port} has not answered for {age_s:.2f} s, allowed are "
                    f"{self.settings.answer_age_s:g} s; is the car switched on?"
                )
            return state_of(self._pilot, heard_s, values, self._steering)

    def imu(self) -> ImuState | None:
        """Return the newest reading of the inertial sensor; None before the first, or if it is not asked for."""
        return self._imu

    def counts(self) -> dict[str, int]:
        """Return how often each thing happened: stops, faults by name, periods that began late."""
        with self._change:
            return {**self._pilot.counts, "late": self.late}

    def close(self) -> None:
        """Stop the car, wait until it stands for at most `brake_blind_s`, and close the port. Safe to call twice."""
        thread, port = self._thread, self._serial
        if thread and thread.is_alive():
            with self._change:
                self._pilot.stop("the driver was closed")
                since_s = time.monotonic()
                self._change.wait_for(lambda: self._gone or self._stands(since_s), self.settings.brake_blind_s)
                self._ending = True
            thread.join(_JOIN_S)
        self._thread = self._serial = None
        if port is not None:
            try:
                port.close()
            except OSError as e:  # a port that is gone may refuse this too
                log.debug("closing %s: %s", self.port, e)

    def _stands(self, since_s: float) -> bool:
        """Return whether the car stands and was told to since `since_s`; a VESC that never answered moves nothing."""
        now_s = time.monotonic()
        told = now_s - since_s > self.settings.brake_least_s
        return told and (self._values is None or self._pilot.moves(now_s) is False)

    def _open(self) -> threading.Condition:
        """Return the lock if the VESC is there."""
        if self._gone:
            raise VescGone(self._gone)
        if self._thread is None:
            raise VescError(f"the VESC on {self.port} is not connected; call connect first")
        return self._change

    def _run(self) -> None:
        """Write and read until closed, or until the port is gone."""
        try:
            self._loop()
        except OSError as e:  # pyserial's own error is one too
            reason = os.strerror(e.errno) if e.errno else str(e)
            self._lose(f"the VESC on {self.port} is gone, the port says: {reason}; {serial_ports()}")
        except Exception as e:
            log.exception("the driver of the VESC failed")
            self._lose(f"the driver of the VESC on {self.port} failed: {e}; the firmware's time-out stops the car")

    def _loop(self) -> None:
        reader, begun_s = FrameReader(), math.inf
        period_s = 1.0 / self.settings.rate_hz
        deadline_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            with self._change:
                commands, ending = self._pilot.tick(now_s), self._ending
                self._change.notify_all()  # whoever waits for time to pass looks again
            # Questions first: a command clears what the firmware tells of its own time-out.
            self._write((vm.SetCurrent(0.0),) if ending else (*self._questions(), *commands))
            if ending:
                return
            deadline_s += period_s
            if deadline_s <= now_s:
                self.late += 1
                deadline_s = now_s + period_s
            begun_s = self._listen(reader, begun_s, deadline_s)

    def _questions(self) -> tuple[vm.Command, ...]:
        firmware = () if self.firmware else (vm.GetFirmware(),)
        return (*firmware, vm.GetValues(), *((vm.GetImu(),) if self.settings.imu else ()))

    def _write(self, commands: tuple[vm.Command, ...]) -> None:
        """Write all frames at once, or give up at the deadline: a VESC that takes nothing must not hold us up."""
        from serial import SerialTimeoutException

        for command in commands:
            if isinstance(command, vm.SetServo):
                self._steering = self._pilot.car.steering_of(command.position)
        try:
            self._serial.write(b"".join(to_frame(vm.to_payload(c)) for c in commands))
        except SerialTimeoutException:
            log.debug("%s took no bytes for %.2f s", self.port, _WRITE_S)
            self._serial.reset_output_buffer()  # old commands must not arrive later

    def _listen(self, reader: FrameReader, begun_s: float, deadline_s: float) -> float:
        """Read what comes until the deadline, and return when the frame that is incomplete has begun; inf if none."""
        while True:
            now_s = time.monotonic()
            ready, _, _ = select.select([self._serial.fileno()], [], [], max(deadline_s - now_s, 0.0))
            payloads = reader.feed(self._serial.read(4096)) if ready else []
            now_s = time.monotonic()
            while now_s - begun_s > _FRAME_S and reader.waiting:
                payloads += reader.give_up()
            for payload in payloads:
                self._take(payload, now_s)
            if payloads or not reader.waiting:
                begun_s = math.inf
            if reader.waiting and math.isinf(begun_s):
                begun_s = now_s
            if now_s >= deadline_s:
                return begun_s

    def _take(self, payload: bytes, now_s: float) -> None:
        try:
            answer = vm.to_answer(payload)
        except WireError as e:
            log.debug("%s: %s", self.port, e)
            return
        with self._change:
            if isinstance(answer, vm.Firmware):
                self.firmware = answer
            elif isinstance(answer, vm.MotorValues):
                self._pilot.heard(answer, now_s)
                self._values = now_s, answer
            elif isinstance(answer, vm.ImuValues):
                self._imu = _imu_state(answer, now_s)
            self._change.notify_all()

    def _lose(self, reason: str) -> None:
        log.debug("%s", reason)  # whoever drives it is told by the next call
        with self._change:
            self._gone = reason
            self._change.notify_all()


def state_of(pilot: Pilot, heard_s: float, values: vm.MotorValues, steering_rad: float) -> VescState:
    """Return an answer of the motor in the car's own units."""
    return VescState(
        stamp_s=heard_s, speed_m_s=pilot.car.speed_of(values.erpm), steering_rad=steering_rad,
        current_a=values.current_motor_a, voltage_v=values.voltage_v, temp_fet_c=values.temp_fet_c,
        temp_motor_c=values.temp_motor_c, faults=pilot.faults, reason=pilot.reason,
    )  # fmt: skip


def make_vesc(car: CarSettings, port: str, connect_s: float = 1.0) -> Vesc:
    """Return the driver of a VESC, as the configuration names it; its inertial sensor is asked for too."""
    if not port:
        raise VescError(f"which port is the VESC on? Set driver.port=...; {serial_ports()}")
    return Vesc(port, car, VescSettings(imu=True, connect_s=connect_s))


def _imu_state(imu: vm.ImuValues, now_s: float) -> ImuState:
    ax, ay, az = (_G_M_S2 * a for a in imu.acceleration_g)
    wx, wy, wz = map(math.radians, imu.rates_deg_s)
    return ImuState(
        stamp_s=now_s, attitude_rad=imu.attitude_rad, acceleration_m_s2=(ax, ay, az), rates_rad_s=(wx, wy, wz)
    )


def serial_ports(folder: Path = Path("/dev")) -> str:
    """Return the serial ports that a VESC could be on, as part of a sentence."""
    named = sorted(folder.glob("serial/by-id/*"))
    plain = sorted([*folder.glob("ttyACM*"), *folder.glob("ttyUSB*")])
    return f"serial ports here: {', '.join(map(str, named or plain)) or 'none'}"


def _open(port: str) -> Any:
    try:
        import serial
    except ImportError:
        raise MissingDependency("pyserial", "a VESC", "pip install 'robot-rl[car]'") from None
    try:
        return serial.Serial(port, BAUD, timeout=0, write_timeout=_WRITE_S, exclusive=True)
    except (OSError, ValueError) as e:
        if not os.path.exists(port):
            raise VescError(f"there is no serial port {port}; {serial_ports()}") from None
        number = getattr(e, "errno", None)
        if number == errno.EACCES or not os.access(port, os.R_OK | os.W_OK):
            raise VescError(
                f"{port} may not be used by this user; add it to the group: sudo usermod -aG dialout $USER, then log "
                "in anew"
            ) from None
        if number in (errno.EAGAIN, errno.EBUSY) or "lock" in str(e).lower():
            raise VescError(f"{port} is in use by another program; only one may drive a car, so end that one") from None
        raise VescError(f"{port} cannot be opened as a serial port: {e}; {serial_ports()}") from None
