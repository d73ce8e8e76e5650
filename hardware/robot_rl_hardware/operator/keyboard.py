"""Keys from a terminal as they are pressed: over ssh, on any desktop and on none."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import termios
import time
from types import TracebackType

from robot_rl.errors import RobotError

ESCAPE_S = 0.05
"""How long after an escape byte the rest of a key's sequence may come before it is the Escape key itself."""

_ESC = 0x1B
_SEQUENCES = {
    "[A": "up",
    "[B": "down",
    "[C": "right",
    "[D": "left",
    "OA": "up",
    "OB": "down",
    "OC": "right",
    "OD": "left",
    "[5~": "page_up",
    "[6~": "page_down",
}
_NAMES = {" ": "space", "\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace"}


class KeyboardGone(RobotError):
    """The terminal was closed: nobody can press a key any more."""


class KeyParser:
    """Bytes of a terminal into names of keys: "a", "A", "space", "up", ...; "unknown" for keys without a name here.

    A space byte is "space" at once wherever it comes, even inside what looks like another key's sequence, so that
    the key that stops is never swallowed.
    """

    def __init__(self) -> None:
        self._partial = bytearray()
        self._since_s = 0.0

    def feed(self, data: bytes, now_s: float) -> list[str]:
        """Return the keys that are complete; call it with no data to let a lone Escape be recognised."""
        keys: list[str] = []
        if self._partial and now_s - self._since_s > ESCAPE_S:
            keys.append("escape" if len(self._partial) == 1 else "unknown")
            self._partial.clear()
        for byte in data:
            if byte == 0x20:
                keys.append("space")
                self._partial.clear()
            elif byte == _ESC:
                if self._partial:
                    keys.append("escape" if len(self._partial) == 1 else "unknown")
                self._partial[:] = bytes([byte])
                self._since_s = now_s
            elif self._partial:
                keys.extend(self._continue(byte))
            else:
                text = chr(byte)
                name = _NAMES.get(text, text if 0x21 <= byte <= 0x7E else "unknown")
                # The bytes of one character beyond ASCII are one key: only its first byte counts.
                if not 0x80 <= byte <= 0xBF:
                    keys.append(name)
        return keys

    def _continue(self, byte: int) -> list[str]:
        """Add a byte to a sequence and return its key if it is complete."""
        self._partial.append(byte)
        length = len(self._partial)
        introduces = length == 2 and byte in b"[O"
        parameter = length > 2 and 0x30 <= byte <= 0x3F and length < 16
        if introduces or parameter:
            return []
        text = self._partial[1:].decode("latin-1")
        self._partial.clear()
        return [_SEQUENCES.get(text, "unknown")]


class Keyboard:
    """A terminal that gives keys without Enter and without showing them; a `with` block that puts it back as it was.

    Ctrl-C still interrupts. Ctrl-Z and Ctrl-S do nothing: they would freeze a program whose keys stop an arm.

    Args:
        fd: File descriptor of the terminal, standard input by default.

    Raises:
        RobotError: It is no terminal.
    """

    def __init__(self, fd: int | None = None) -> None:
        self.fd = _own_input() if fd is None else fd
        if self.fd < 0 or not os.isatty(self.fd):
            raise RobotError(
                "the keys need a terminal, and the input is none (a pipe or a file); run this command by itself in a "
                "terminal"
            )
        self._before = termios.tcgetattr(self.fd)
        self._parser = KeyParser()

    def __enter__(self) -> Keyboard:
        """Let keys through one by one."""
        mode = termios.tcgetattr(self.fd)
        mode[0] &= ~(termios.IXON | termios.IXOFF)
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        disabled = os.fpathconf(self.fd, "PC_VDISABLE").to_bytes(1, "little")
        for control in (termios.VSUSP, termios.VQUIT):
            mode[6][control] = disabled
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self.fd, termios.TCSADRAIN, mode)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the terminal back, and forget keys that nobody has read: they would reach the shell."""
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self.fd, termios.TCSAFLUSH, self._before)

    def read(self, timeout_s: float = 0.0) -> list[str]:
        """Return the keys pressed since the last call, waiting for one up to `timeout_s`.

        Raises:
            KeyboardGone: The terminal was closed.
        """
        try:
            ready, _, _ = select.select([self.fd], [], [], timeout_s)
            data = os.read(self.fd, 4096) if ready else b""
        except OSError as e:
            if e.errno not in (errno.EIO, errno.EBADF):
                raise
            ready, data = [self.fd], b""
        if ready and not data:
            raise KeyboardGone("the terminal was closed, so no key can be pressed any more")
        return self._parser.feed(data, time.monotonic())


def _own_input() -> int:
    """Return the file descriptor of standard input, -1 if there is none."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or replaced by what is no file
        return -1
