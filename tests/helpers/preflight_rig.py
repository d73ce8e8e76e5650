"""Commands of ours as processes: in real terminals, and with discovery on this machine only."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_S = 60.0
ROBOT_RL = [sys.executable, "-m", "robot_rl"]
# Makes standard input the terminal of the session, so that closing it hangs up, and becomes the command.
OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def environment(state: Path) -> dict[str, str]:
    """Return the environment of a child: discovery on this machine only, logs and records in a folder of its own."""
    local = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_LOCALHOST_ONLY": "1"}
    return {**os.environ, **local, "XDG_STATE_HOME": str(state), "ROS_LOG_DIR": str(state / "ros")}


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds, or fail the test."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, f"waited {timeout_s:.0f} s in vain for {what}"
        time.sleep(0.02)


def end(child: subprocess.Popen[bytes]) -> int:
    """End a process that is still running, by its id, and return its status."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(15.0)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait(15.0)


@dataclass
class Terminal:
    """A command in a pseudo-terminal of its own, and what it has drawn."""

    child: subprocess.Popen[bytes]
    fd: int
    drawn: bytearray = field(default_factory=bytearray)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.fd, keys.encode())

    def look(self, timeout_s: float = 0.02) -> str:
        """Return everything drawn so far."""
        with contextlib.suppress(OSError):
            while select.select([self.fd], [], [], timeout_s)[0]:
                data = os.read(self.fd, 65536)
                if not data:
                    break
                self.drawn += data
                timeout_s = 0.0
        return self.drawn.decode(errors="replace")

    def expect(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until a text is drawn that was not there before, then forget what was drawn."""
        end_s = time.monotonic() + timeout_s
        while text not in self.look():
            assert time.monotonic() < end_s, f"'{text}' was not drawn: {self.look()[-1500:]}"
            assert self.child.poll() is None or text in self.look(0.2), f"ended: {self.look()[-1500:]}"
        self.drawn.clear()

    def hold(self, key: str, until: Callable[[], bool], what: str) -> None:
        """Repeat a key, as holding it does, until a condition holds.

        A busy machine may send a command too late, for which the arm rightly holds; then the operator goes on.
        """
        end_s = time.monotonic() + PATIENCE_S
        while not until():
            assert time.monotonic() < end_s, f"held '{key}' in vain for {what}: {self.look()[-1500:]}"
            if "HOLD:" in self.look(0.03):
                self.type("A")
                self.drawn.clear()
            self.type(key)

    def wait(self) -> int:
        """Return the exit status, drawing to the end."""
        end_s = time.monotonic() + PATIENCE_S
        while self.child.poll() is None and time.monotonic() < end_s:
            self.look(0.05)
        return self.child.wait(1.0)

    def hang_up(self) -> None:
        """Close the terminal, as closing its window does."""
        os.close(self.fd)
        self.fd = -1
