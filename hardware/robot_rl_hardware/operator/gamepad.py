"""A gamepad's or a pedal's button as a stop, read from the kernel's device file; nothing to install."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import struct
from types import TracebackType
from typing import Literal

from robot_rl.errors import RobotError

# struct js_event of linux/joystick.h: time [ms], value, type, number.
JS = struct.Struct("=IhBB")
JS_BUTTON, JS_AXIS, JS_INIT = 0x01, 0x02, 0x80
# struct input_event of linux/input.h, with the machine's own long: seconds, microseconds, type, code, value.
EVDEV = struct.Struct("@llHHi")
EV_SYN, EV_KEY, EV_ABS = 0x00, 0x01, 0x03

Format = Literal["auto", "js", "evdev"]


class StopButton:
    """A device whose button stops the arm; a `with` block.

    A device that vanishes counts as pressed: a stop that cannot be pressed any more must not let an arm go on.

    Args:
        path: /dev/input/js0, or a file of evdev below /dev/input/by-id.
        button: Which button stops, as the device numbers it; None lets any.
        kind: Format of the device's bytes; "auto" goes by the name.

    Attributes:
        gone: Why the device cannot be read any more; empty while it can.
    """

    def __init__(self, path: str, button: int | None = None, kind: Format = "auto") -> None:
        self.path, self.button = path, button
        self._js = kind == "js" or (kind == "auto" and "/js" in path)
        self._buffer = bytearray()
        self.gone = ""
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as e:
            raise RobotError(cannot_open(path, e)) from e

    def __enter__(self) -> StopButton:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the device."""
        self.close()

    def close(self) -> None:
        """Close the device. Safe to call twice."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
        self._fd = -1

    def pressed(self) -> str:
        """Return why the arm must stop, without waiting: the button went down, or the device is gone; else ''."""
        if self.gone:
            return self.gone
        try:
            while data := os.read(self._fd, 4096):
                self._buffer += data
            self.gone = f"the stop button's device {self.path} was unplugged"
        except BlockingIOError:
            pass
        except OSError as e:
            self.gone = f"the stop button's device {self.path} is gone: {os.strerror(e.errno or errno.EIO)}"
        return self._take() or self.gone

    def _take(self) -> str:
        """Return a sentence for the first press among the complete events, all of which are consumed."""
        layout = JS if self._js else EVDEV
        whole = len(self._buffer) - len(self._buffer) % layout.size
        found = ""
        for event in layout.iter_unpack(bytes(self._buffer[:whole])):
            if self._js:
                _, value, what, number = event
                # At opening the kernel tells every button's state; one that is down then is pressed all the same.
                down = what & ~JS_INIT == JS_BUTTON and value != 0
            else:
                _, _, what, number, value = event
                down = what == EV_KEY and value == 1
            if down and not found and self.button in (None, number):
                found = f"button {number} of {self.path}"
        del self._buffer[:whole]
        return found


def cannot_open(path: str, error: OSError) -> str:
    """Return why a gamepad's device file cannot be opened, which others there are, and what to do."""
    there = sorted(glob.glob("/dev/input/js*")) + sorted(glob.glob("/dev/input/by-id/*joystick*"))
    listed = ", ".join(there) or "none is plugged in"
    if error.errno == errno.EACCES:
        return (
            f"{path} may not be read by this user; add it to the group: sudo usermod -aG input $USER, then log in anew"
        )
    return f"the gamepad {path} cannot be opened: {os.strerror(error.errno or errno.EIO)}; gamepads here: {listed}"
