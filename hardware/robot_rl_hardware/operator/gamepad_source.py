"""A gamepad with sticks, read from the kernel's device file: /dev/input/js* or evdev's event*; nothing to install.

Both report changes only: a stick that is held still sends nothing, so silence is no death here. What guards against a
pad that died with its stick deflected is the dead-man button, the longest time that one deflection is believed (a thumb
is never that still, and a wireless receiver that lost its pad keeps the last state for ever), and the device's
presence: a read from an unplugged one fails at once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from robot_rl.errors import ConfigError, RobotError
from robot_rl_hardware.operator.device import Sample
from robot_rl_hardware.operator.gamepad import (
    EV_ABS,
    EV_KEY,
    EV_SYN,
    EVDEV,
    JS,
    JS_AXIS,
    JS_BUTTON,
    JS_INIT,
    Format,
    cannot_open,
)

AUTO = "auto"
SYN_DROPPED = 3
MOST_READS = 32  # in one look: a device that floods must not hold up the loop
_KEY_BYTES = 96  # KEY_MAX is 0x2ff
Range = tuple[int, int]


def _ior(kind: str, number: int, size: int) -> int:
    """Return the number of an ioctl that reads, as linux/ioctl.h makes it on x86 and ARM."""
    return (2 << 30) | (size << 16) | (ord(kind) << 8) | number


class GamepadSource:
    """A gamepad's axes and buttons.

    Args:
        path: The device file; "auto" takes the only gamepad that is plugged in.
        kind: Format of its bytes; "auto" goes by the name.
        ranges: Smallest and largest value of evdev's axes by code, where the device itself does not tell them.
        axes: Codes of evdev's axes that must have a range.
    """

    def __init__(
        self, path: str = AUTO, kind: Format = "auto", ranges: Mapping[int, Range] | None = None,
        axes: Sequence[int] = (),
    ) -> None:  # fmt: skip
        for code, (low, high) in (ranges or {}).items():
            if not low < high:
                raise ConfigError(f"operator.ranges of axis {code} is [{low}, {high}]; the first must be the smaller")
        self._wanted, self._kind, self._given, self._needed = path, kind, dict(ranges or {}), tuple(axes)
        self.path, self.gone = path, ""
        self._fd, self._js = -1, False
        self._clear()

    @property
    def name(self) -> str:
        """What it is, for sentences."""
        return f"the gamepad {self.path}"

    def open(self) -> None:
        """Open the device and learn what it says now; raises `RobotError` when it cannot."""
        self.close()
        self.path = _the_only_one() if self._wanted == AUTO else self._wanted
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as e:
            raise RobotError(cannot_open(self.path, e)) from e
        self._js = self._kind == "js" or (self._kind == "auto" and Path(self.path).resolve().name.startswith("js"))
        self._clear()
        self.gone = ""
        if not self._js:
            self._learn()

    def close(self) -> None:
        """Close the device. Safe to call twice."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
        self._fd = -1

    def poll(self) -> Sample:
        """Return what it says now."""
        if self._fd < 0 or self.gone:
            return Sample(trouble=self.gone or f"{self.name} is not open")
        arrived = False
        try:
            for _ in range(MOST_READS):
                data = os.read(self._fd, 4096)
                if not data:
                    self.gone = f"{self.name} was unplugged"
                    break
                self._buffer += data
                arrived = True
        except BlockingIOError:
            pass
        except OSError as e:
            self.gone = f"{self.name} is gone: {os.strerror(e.errno or errno.EIO)}"
        pressed, suspect = self._take()
        return Sample(
            axes=dict(self._axes), held=frozenset(self._held), pressed=pressed, arrived=arrived, trouble=self.gone,
            suspect=suspect,
        )  # fmt: skip

    def _clear(self) -> None:
        self._buffer = bytearray()
        self._axes: dict[int, float] = {}
        self._held: set[int] = set()
        self._ranges: dict[int, Range] = dict(self._given)

    def _take(self) -> tuple[list[int], str]:
        """Consume the complete events; returns the buttons that went down, and why something may have been missed."""
        layout = JS if self._js else EVDEV
        whole = len(self._buffer) - len(self._buffer) % layout.size
        pressed: list[int] = []
        suspect = ""
        for event in layout.iter_unpack(bytes(self._buffer[:whole])):
            if self._js:
                _, value, what, number = event
                # What the kernel tells at opening, and again when it had to drop events, is how things stand: no press.
                is_press = not what & JS_INIT
                is_button, is_axis = (what & ~JS_INIT) == JS_BUTTON, (what & ~JS_INIT) == JS_AXIS
                scaled = max(value / 32767.0, -1.0)
            else:
                _, _, what, number, value = event
                if what == EV_SYN and number == SYN_DROPPED:
                    suspect = "the kernel dropped some of its events"
                    self._learn()
                    pressed.clear()
                    continue
                is_press, is_button, is_axis = value == 1, what == EV_KEY, what == EV_ABS
                scaled = self._scaled(number, value) if is_axis else 0.0
            if is_axis:
                self._axes[number] = scaled
            elif is_button and value:
                if is_press and number not in self._held:
                    pressed.append(number)
                self._held.add(number)
            elif is_button:
                self._held.discard(number)
        del self._buffer[:whole]
        return pressed, suspect

    def _scaled(self, code: int, value: int) -> float:
        low, high = self._ranges.get(code, (-32768, 32767))
        return min(max(2.0 * (value - low) / (high - low) - 1.0, -1.0), 1.0)

    def _learn(self) -> None:
        """Ask an evdev device for ranges, values and buttons that are down.

        Raises:
            RobotError: It tells no range of an axis that is used, and none was given.
        """
        with contextlib.suppress(OSError):
            keys = fcntl.ioctl(self._fd, _ior("E", 0x18, _KEY_BYTES), bytes(_KEY_BYTES))  # EVIOCGKEY
            self._held = {i for i in range(8 * _KEY_BYTES) if keys[i // 8] >> (i % 8) & 1}
        for code in range(0x40):
            try:
                told = fcntl.ioctl(self._fd, _ior("E", 0x40 + code, 24), bytes(24))  # EVIOCGABS
            except OSError:
                continue
            value, low, high, *_ = struct.unpack("=6i", told)
            if low < high:
                self._ranges[code] = (low, high)
                self._axes[code] = self._scaled(code, value)
        missing = [code for code in self._needed if code not in self._ranges]
        if missing:
            raise RobotError(
                f"{self.name} has no axis {', '.join(map(str, missing))} (evdev's codes); it has "
                f"{', '.join(map(str, sorted(self._ranges))) or 'none'}. Write operator.motions for it, or give "
                "operator.ranges where it does not tell them"
            )


def gamepads() -> list[str]:
    """Return the device files of the gamepads that are plugged in."""
    return sorted(glob.glob("/dev/input/js*")) or sorted(glob.glob("/dev/input/by-id/*-event-joystick"))


def _the_only_one() -> str:
    there = gamepads()
    if len(there) == 1:
        return there[0]
    if there:
        raise RobotError(f"there are {len(there)} gamepads: {', '.join(there)}; choose one with operator.device=")
    raise RobotError(
        "no gamepad is plugged in (/dev/input/js*); plug one in, pair it, or give its device file with operator.device="
    )
