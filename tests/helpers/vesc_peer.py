"""A VESC 6 behind a pseudo-terminal: it speaks the protocol, its motor follows commands, and it can misbehave.

It packs and checks every byte itself, so a mistake of the driver's codec is not made here a second time.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import struct
import threading
import time
import tty
from dataclasses import dataclass, field

# Names of the commands with one number: layout and scale.
COMMANDS = {
    5: ("duty", ">i", 1e5),
    6: ("current", ">i", 1e3),
    7: ("brake", ">i", 1e3),
    8: ("rpm", ">i", 1.0),
    12: ("servo", ">h", 1e3),
}
_TICK_S = 0.002


def crc(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value


def frame(payload: bytes) -> bytes:
    assert len(payload) < 256
    return struct.pack(">BB", 2, len(payload)) + payload + struct.pack(">HB", crc(payload), 3)


@dataclass
class Motor:
    """A motor that follows with a lag: mode and number of the last command, electrical speed, time of the command."""

    mode: str = "current"
    number: float = 0.0
    erpm: float = 0.0
    servo: float = 0.5
    told_s: float = -1e9
    timed_out: bool = False
    lag_s: float = 0.1
    erpm_s_per_a: float = 2000.0

    def step(self, dt_s: float) -> None:
        wanted, most = self.erpm, dt_s * 1e9
        if self.mode == "rpm":
            wanted = self.number
            self.erpm += (wanted - self.erpm) * min(dt_s / self.lag_s, 1.0)
        elif self.mode == "current":
            self.erpm += dt_s * (self.erpm_s_per_a * self.number - 0.3 * self.erpm)
        elif self.mode == "brake":
            most = dt_s * self.erpm_s_per_a * abs(self.number)
            self.erpm -= min(max(self.erpm, -most), most)
        if abs(self.erpm) < 1.0 and self.mode != "rpm":
            self.erpm = 0.0


@dataclass
class VescPeer:
    """The peer; a `with` block. Everything public may be set while it runs.

    Attributes:
        path: The pseudo-terminal, for the driver.
        silent: Answers nothing; what arrives is still obeyed.
        deaf: Reads nothing at all, so that the line fills.
        late_s: Waits so long with each answer.
        corrupt: Damages one byte of this many following answers.
        noise: Bytes put before each answer.
        fault: Code of the active fault.
        timeout_s: Without a command or a sign of life for so long, the motor is let go.
        got: What arrived, in order: time, name, number.
        bad: How many bytes belonged to no correct frame.
    """

    timeout_s: float = 1.0
    silent: bool = False
    deaf: bool = False
    late_s: float = 0.0
    corrupt: int = 0
    noise: bytes = b""
    fault: int = 0
    motor: Motor = field(default_factory=Motor)
    got: list[tuple[float, str, float]] = field(default_factory=list)
    bad: int = 0

    def __enter__(self) -> VescPeer:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave
        self._stop = threading.Event()
        self._buffer = b""
        self._due: list[tuple[float, bytes]] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()

    def vanish(self) -> None:
        """Pull the plug: both ends are closed, and the driver's reads and writes fail."""
        self._stop.set()
        self._thread.join()
        for fd in (self._master, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)

    def names(self, since: int = 0) -> list[str]:
        return [name for _, name, _ in self.got[since:]]

    def _run(self) -> None:
        last_s = time.monotonic()
        while not self._stop.is_set():
            now_s = time.monotonic()
            if now_s - self.motor.told_s > self.timeout_s and not self.motor.timed_out and self.motor.told_s > 0:
                self.motor.timed_out, self.motor.mode, self.motor.number = True, "current", 0.0
            self.motor.step(min(now_s - last_s, 0.05))
            last_s = now_s
            due = [data for at, data in self._due if at <= now_s]
            self._due = [(at, data) for at, data in self._due if at > now_s]
            for data in due:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._master, data)
            if self.deaf:
                time.sleep(_TICK_S)
            elif select.select([self._master], [], [], _TICK_S)[0]:
                self._buffer += os.read(self._master, 4096)
                self._parse()

    def _parse(self) -> None:
        while len(self._buffer) >= 6:
            size = self._buffer[1]
            if self._buffer[0] != 2 or size == 0:
                self._buffer, self.bad = self._buffer[1:], self.bad + 1
                continue
            if len(self._buffer) < size + 5:
                return
            payload, check, stop = self._buffer[2 : 2 + size], self._buffer[2 + size : 4 + size], self._buffer[4 + size]
            if stop != 3 or int.from_bytes(check, "big") != crc(payload):
                self._buffer, self.bad = self._buffer[1:], self.bad + 1
                continue
            self._buffer = self._buffer[size + 5 :]
            self._obey(payload)

    def _obey(self, payload: bytes) -> None:
        now_s, number = time.monotonic(), payload[0]
        if number in COMMANDS:
            name, layout, scale = COMMANDS[number]
            value = struct.unpack(layout, payload[1:])[0] / scale
            self.got.append((now_s, name, value))
            if name == "servo":  # like the firmware: moving the servo is no sign of life
                self.motor.servo = value
                return
            self.motor.told_s, self.motor.timed_out = now_s, False
            if not self.fault:
                self.motor.mode, self.motor.number = name, value
        elif number == 30:
            self.got.append((now_s, "alive", 0.0))
            self.motor.told_s, self.motor.timed_out = now_s, False
        elif number == 0:
            self._answer(b"\x00\x06\x05VESC_6_MK5\x00" + bytes(12) + bytes(9))
        elif number == 4:
            self._answer(b"\x04" + self._values())
        elif number == 65:
            (mask,) = struct.unpack(">H", payload[1:])
            assert mask == 0x1FF
            self._answer(struct.pack(">BH9fB", 65, mask, 0.0, 0.1, 0.2, 0.0, 0.5, 1.0, 0.0, 0.0, 180.0, 7))

    def _values(self) -> bytes:
        m = self.motor
        if self.fault:
            m.mode, m.number = "current", 0.0
        current = m.number if m.mode in ("current", "brake") else 0.0
        return struct.pack(
            ">hhiiiihihiiiiiiBiBhhhiiB", 312, 287, round(100 * current), 55, 0, 0, 0, round(m.erpm), 118, 1, 2, 3, 4,
            round(m.erpm), 7, self.fault, 0, 42, 310, 311, 312, 0, 0, m.timed_out,
        )  # fmt: skip

    def _answer(self, payload: bytes) -> None:
        if self.silent:
            return
        data = bytearray(self.noise + frame(payload))
        if self.corrupt > 0:
            self.corrupt -= 1
            data[len(data) // 2] ^= 0x55
        self._due.append((time.monotonic() + self.late_s, bytes(data)))
