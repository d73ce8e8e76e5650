"""One child process of a launch: its output line by line, and the ladder of signals that ends it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from robot_rl.errors import LaunchError

LEFTOVERS_S = 5.0  # a driver's process holds the arm and ends by itself when its node has died: let it
_PR_SET_PDEATHSIG = 1
_MOST_OF_A_LINE = 65536


def _end_with_the_launcher() -> None:
    """In a new child: be asked to end when the launcher dies, however it died."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """A process in a group of its own, so that a terminal's Ctrl-C reaches the launcher alone.

    Attributes:
        name: On the screen.
        words: Command line.
        env: Its whole environment.
        cwd: Folder that it runs in; None for the launcher's.
        sigterm_s, sigkill_s: Seconds that it is given after SIGINT, and after SIGTERM.
    """

    name: str
    words: Sequence[str]
    env: Mapping[str, str]
    cwd: str | None = None
    sigterm_s: float = 5.0
    sigkill_s: float = 5.0
    killed: bool = False
    silent: bool = False  # it has closed its output
    process: subprocess.Popen[bytes] = field(init=False)
    _rest: bytes = b""
    _rung: int = 0
    _next_s: float = 0.0
    _swept: bool = False

    def start(self) -> None:
        """Start it; raises `LaunchError` if it cannot be started."""
        try:
            self.process = subprocess.Popen(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env=dict(self.env),
                start_new_session=True,
                preexec_fn=_end_with_the_launcher,  # safe: the launcher has one thread
            )
        except (OSError, ValueError) as e:
            reason = e.strerror if isinstance(e, OSError) and e.strerror else e
            raise LaunchError(
                f"'{self.name}' cannot be started: {self.words[0]}: {reason}. Check the executable in the launch file, "
                "and that make setup has run"
            ) from e
        os.set_blocking(self.out, False)

    @property
    def out(self) -> int:
        """File descriptor of its output."""
        assert self.process.stdout is not None  # asked for in start
        return self.process.stdout.fileno()

    @property
    def status(self) -> int | None:
        """Exit status; 128 and more for a signal, as shells say; None while it runs."""
        status = self.process.poll()
        return 128 - status if status is not None and status < 0 else status

    def lines(self) -> list[str]:
        """Return the whole lines that it wrote since the last call; when it has ended, the rest too."""
        ended = self.process.poll() is not None
        data = b""
        with contextlib.suppress(BlockingIOError, OSError):
            while chunk := os.read(self.out, _MOST_OF_A_LINE):
                data += chunk
            self.silent = True
        *whole, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (ended or len(self._rest) > _MOST_OF_A_LINE):
            whole.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", "replace").rstrip("\r") for line in whole]

    def press(self, now_s: float, hurry: bool = False) -> bool:
        """Go on ending it, one rung of SIGINT, SIGTERM and SIGKILL after the other, and return whether it is gone.

        SIGKILL goes to its whole group. When the process itself has gone, what it left gets some seconds first.

        Args:
            now_s: Monotonic time.
            hurry: Go to the next rung at once.
        """
        if self.process.poll() is not None:
            return self._sweep(now_s)
        if hurry or self._rung == 0 or now_s >= self._next_s:
            rung = min(self._rung, 2)
            self._signal((signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[rung], group=rung == 2)
            self.killed = rung == 2
            self._next_s = now_s + (self.sigterm_s, self.sigkill_s, 1.0)[rung]
            self._rung += 1
        return False

    def _sweep(self, now_s: float) -> bool:
        """Wait for what a process left in its group, and kill it when its time is over."""
        if self._rung >= 0:
            self._rung, self._next_s = -1, now_s + LEFTOVERS_S
        if not self.leaves_something():
            return True
        if now_s < self._next_s:
            return False
        self._signal(signal.SIGKILL, group=True)
        self._swept = True
        return True

    def leaves_something(self) -> bool:
        """Return whether processes of its group are left after its end.

        Once there are none the answer stays: the number of the group may by then be another's.
        """
        if not self._swept:
            try:
                os.killpg(self.process.pid, 0)
            except (ProcessLookupError, PermissionError):
                self._swept = True
        return not self._swept

    def _signal(self, number: signal.Signals, group: bool) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)

    def close(self) -> None:
        """Kill whatever is left of it at once, and release its output. Safe to call twice."""
        if self.process.poll() is None:
            self._signal(signal.SIGKILL, group=True)
            self.process.wait()
        elif self.leaves_something():
            self._signal(signal.SIGKILL, group=True)
        if self.process.stdout is not None:
            self.process.stdout.close()


def now() -> float:
    """Return monotonic seconds."""
    return time.monotonic()
