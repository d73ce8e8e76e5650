"""A gamepad, or any device of the kernel's input layer, as a deadman: its button, and the proof that it lives.

The kernel tells changes only: a button that is held is silent, and so is a pad whose battery died. So the proof must
come from something that never rests. The motion sensors of a DualShock 4, DualSense or Switch Pro pad are a device of
their own below /dev/input, which tells some hundred changes a second; name it as `life`.
"""

from __future__ import annotations

import contextlib
import glob
import os
import struct
from collections.abc import Sequence
from types import TracebackType

from robot_rl.errors import RobotError
from robot_rl_hardware.car.deadman import Deadman

# struct input_event of linux/input.h, with the machine's own long: seconds, microseconds, type, code, value.
_EVENT = struct.Struct("@llHHi")
_SYN, _KEY, _REL, _ABS = 0, 1, 2, 3
_DROPPED = 3
_REPEAT = 2


class DeadmanDevice:
    """Tells a `Deadman` what a device of the input layer does; a `with` block. It never waits.

    A device that vanishes is lost for good: plug it in again and open a new one, with the button let go.

    Args:
        path: Whose button it is: a file of evdev, best below /dev/input/by-id.
        button: Number of the button (code of linux/input-event-codes.h; 311 is the right shoulder button, BTN_TR).
        deadman: Is told.
        life: Whose changes prove that the device lives; the button's own device if None.

    Raises:
        RobotError: A device cannot be opened.
    """

    def __init__(self, path: str, button: int, deadman: Deadman, life: str | None = None) -> None:
        self.path, self.button = path, button
        self._deadman = deadman
        self._files: dict[str, int] = {}
        self._buffers: dict[str, bytes] = {}
        self._held = False
        self._changes = 0
        for one in dict.fromkeys((path, life or path)):
            try:
                self._files[one] = os.open(one, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as e:
                self.close()
                raise RobotError(_cannot_open(one, e)) from e
            self._buffers[one] = b""
        deadman.found()

    def __enter__(self) -> DeadmanDevice:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the device, which then counts as let go."""
        self.close()

    def close(self) -> None:
        """Close the device. Safe to call twice."""
        for fd in self._files.values():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._files.clear()
        self._deadman.lost("the deadman's device was closed")

    def poll(self, now_s: float) -> None:
        """Tell the deadman what came since the last call."""
        before = self._changes
        for path, fd in list(self._files.items()):
            gone = self._read(path, fd, now_s)
            if gone:
                self.close()
                self._deadman.lost(gone)
                return
        if self._changes != before:
            self._tell(now_s)

    def _tell(self, now_s: float) -> None:
        self._deadman.sample(self._held, now_s, now_s, b"%d" % self._changes)

    def _read(self, path: str, fd: int, now_s: float) -> str:
        """Read all events of a file, and return why it is gone; empty if it is there."""
        try:
            while data := os.read(fd, 4096):
                self._take(path, data, now_s)
            return f"the deadman's device {path} was unplugged"
        except BlockingIOError:
            return ""
        except OSError as e:
            return f"the deadman's device {path} is gone: {os.strerror(e.errno or 0)}"

    def _take(self, path: str, data: bytes, now_s: float) -> None:
        data = self._buffers[path] + data
        whole = len(data) - len(data) % _EVENT.size
        self._buffers[path] = data[whole:]
        for _, _, kind, code, value in _EVENT.iter_unpack(data[:whole]):
            if (kind, code) == (_SYN, _DROPPED):  # events were lost; one may have been that it was let go
                self._held = False
                self._tell(now_s)
            elif kind == _KEY and value != _REPEAT:  # the kernel itself repeats a key, whether a hand is there or not
                self._changes += 1
                if path == self.path and code == self.button:
                    self._held = bool(value)
                    self._tell(now_s)  # at once: a press that follows in the same read must not hide it
            elif kind in (_ABS, _REL):
                self._changes += 1


def _cannot_open(path: str, error: OSError) -> str:
    there: Sequence[str] = sorted(glob.glob("/dev/input/by-id/*event*"))
    if isinstance(error, PermissionError):
        return (
            f"{path} may not be read by this user; add it to the group: sudo usermod -aG input $USER, then log in anew"
        )
    return f"the deadman's device {path} cannot be opened: {error.strerror}; devices here: {', '.join(there) or 'none'}"
