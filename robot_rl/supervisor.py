"""Starts the processes of a run, starts them again when they die, and stops them in order.

A process that ends with status 0 is done. Status 2 is a mistake that a new start cannot mend (a port in use, a setting,
a damaged file): the run ends with the sentence that the process left. Anything else, a kill above all, is answered
with a new start until the budget is spent.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from robot_rl.errors import RobotRLError, StorageError
from robot_rl.settings import SupervisorConfig

log = logging.getLogger(__name__)

USER_ERROR = 2
PARENT = "ROBOT_RL_SUPERVISOR"
_PR_SET_PDEATHSIG = 1
_BACKOFF_FIRST_S, _BACKOFF_MOST_S = 0.2, 10.0
_NICE = 10


class ProcessFailed(RobotRLError):
    """A process of the run ended in a way that a new start cannot mend."""


@dataclass(slots=True)
class _Child:
    """One process, over all its starts.

    Attributes:
        name: What it is called in logs and on the screen.
        command: Returns the command line of a start, given its number from 0.
        state: For the screen.
        starts: How often it was started.
        due_s: When to start it again.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    state: str = "starting"
    starts: int = 0
    due_s: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    file: IO[bytes] | None = None


@dataclass(slots=True)
class Supervisor:
    """Watches processes. Use it from one thread: the children are told to end with the thread that started them.

    Attributes:
        folder: Where `NAME.log` of each process goes.
        config: Settings.
        env: Further environment variables of each process, by name.
        yielding: Processes that get a processor only when no other wants it: beside a robot in real time, a learner
            may be late and a control loop may not.
    """

    folder: Path
    config: SupervisorConfig
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    yielding: Collection[str] = ()
    restarts: int = 0
    _children: dict[str, _Child] = field(default_factory=dict)

    def add(self, name: str, command: Callable[[int], Sequence[str]]) -> None:
        """Start a process.

        Args:
            name: What it is called.
            command: Returns the command line of a start, given its number from 0.
        """
        child = self._children[name] = _Child(name, command)
        self._start(child)

    def states(self) -> dict[str, str]:
        """Return the state of each process in a word."""
        return {child.name: child.state for child in self._children.values()}

    def pid(self, name: str) -> int | None:
        """Return the process id, or None while it does not run."""
        process = self._children[name].process
        return process.pid if process is not None and process.poll() is None else None

    def done(self, name: str) -> bool:
        """Return whether a process has ended as it should."""
        return self._children[name].state == "done"

    def poll(self) -> None:
        """Notice deaths and start anew what is due.

        Raises:
            ProcessFailed: A process cannot go on, or too many have died.
        """
        now_s = time.monotonic()
        for child in self._children.values():
            if child.process is not None and (status := child.process.poll()) is not None:
                self._ended(child, status, now_s)
            if child.state == "restarting" and now_s >= child.due_s:
                self._start(child)

    def stop(self, names: Sequence[str]) -> None:
        """Ask processes to stop, wait for them together, and kill those that do not."""
        children = [self._children[name] for name in names if name in self._children]
        for child in children:
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        deadline_s = time.monotonic() + self.config.stop_s
        for child in children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("%s did not stop within %.0f s and is killed", child.name, self.config.stop_s)
                child.process.kill()
                child.process.wait()
            child.state = "done" if child.process.returncode == 0 else "stopped"
            self._release(child)

    def close(self) -> None:
        """Kill whatever still runs. Safe to call twice."""
        for child in self._children.values():
            if child.process is not None and child.process.poll() is None:
                child.process.kill()
                child.process.wait()
            self._release(child)

    def last_words(self, name: str) -> str:
        """Return the last line that a process wrote."""
        with contextlib.suppress(OSError):
            lines = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return lines[-1].removeprefix("robot-rl: ") if lines else ""
        return ""

    def _start(self, child: _Child) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            child.file = open(self.folder / f"{child.name}.log", "ab")  # noqa: SIM115 - closed when the process ends
            child.process = subprocess.Popen(
                child.command(child.starts),
                stdin=subprocess.DEVNULL,
                stdout=child.file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env.get(child.name, {}), PARENT: str(os.getpid())},
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops the others in order
            )
        except OSError as e:
            self._release(child)
            raise StorageError(f"could not start {child.name}: {e.strerror or e}") from e
        if child.name in self.yielding:
            yield_processors(child.process.pid)
        child.starts += 1
        child.state = "running"
        log.info("%s runs as process %d", child.name, child.process.pid)

    def _ended(self, child: _Child, status: int, now_s: float) -> None:
        self._release(child)
        child.process = None
        if status == 0:
            child.state = "done"
            return
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        words = self.last_words(child.name)
        if status == USER_ERROR:
            child.state = "failed"
            raise ProcessFailed(words or f"{child.name} ended with {how}")
        if self.restarts >= self.config.restarts:
            child.state = "failed"
            raise ProcessFailed(
                f"{child.name} died ({how}) and {self.restarts} restarts are spent (supervisor.restarts); "
                f"its log is {self.folder / (child.name + '.log')}" + (f", last line: {words}" if words else "")
            )
        self.restarts += 1
        delay_s = min(_BACKOFF_FIRST_S * 2.0 ** (child.starts - 1), _BACKOFF_MOST_S)
        child.state, child.due_s = "restarting", now_s + delay_s
        log.warning(
            "%s died (%s); starting it again in %.1f s (%d of %d restarts)",
            child.name, how, delay_s, self.restarts, self.config.restarts,
        )  # fmt: skip

    @staticmethod
    def _release(child: _Child) -> None:
        if child.file is not None:
            child.file.close()
            child.file = None


def die_with_supervisor() -> None:
    """In a supervised process: end when the supervisor does, however it ended. Elsewhere: do nothing."""
    parent = os.environ.get(PARENT)
    if parent is None:
        return
    with contextlib.suppress(OSError, AttributeError):  # not Linux: an orphan ends when its link falls silent
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before the line above
        os.kill(os.getpid(), signal.SIGTERM)


def yield_processors(pid: int) -> None:
    """Lower a process's claim to the processors, and that of its session.

    Linux shares processors among sessions first (autogroups), so the process's own niceness alone would change nothing
    between processes of different sessions.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, min(os.getpriority(os.PRIO_PROCESS, 0) + _NICE, 19))
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICE))
