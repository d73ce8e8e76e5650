"""Runs the simulator of the Franka's protocol as a process of ours: for tests, benchmarks and the verification."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

from robot_rl.errors import RobotError

ROOT = Path(__file__).resolve().parents[1]
START_S = 60.0
ANSWER_S = 10.0
PORTS = (1337, 1338)
_numbers = itertools.count()


def simulator_python() -> Path | None:
    """Return the interpreter that has the simulator: of ROBOT_RL_FCI_SIM, or of .venv-fci; None if there is none."""
    named = os.environ.get("ROBOT_RL_FCI_SIM")
    python = Path(named) if named else ROOT / ".venv-fci" / "bin" / "python"
    return python if python.exists() else None


def why_not() -> str:
    """Return why nothing can be driven over the protocol here; empty if it can."""
    if simulator_python() is None:
        return "the simulator of the Franka's protocol is not installed (make fci-sim)"
    try:
        import pylibfranka  # noqa: F401
    except ImportError as e:
        return f"pylibfranka is not installed ({e})"
    return ""


class Simulator:
    """A simulated robot on an address of its own.

    Args:
        host: Loopback address; a free one by default.
        tool: "hand" or "peg".
        object_width_m: Width of what the hand finds to grasp; None if there is nothing.
        lenient: Whether lost packets and violated limits are let pass.
        cpus: Processors that it may use; all by default.
    """

    def __init__(
        self, host: str = "", *, tool: str = "hand", object_width_m: float | None = None, lenient: bool = False,
        cpus: Collection[int] = (),
    ) -> None:  # fmt: skip
        self.host = host or _free_host()
        self._arguments = ["--host", self.host, "--tool", tool, "--until-eof"]
        if object_width_m is not None:
            self._arguments += ["--object-width", str(object_width_m)]
        if lenient:
            self._arguments.append("--lenient")
        self._cpus = cpus
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = b""

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it serves."""
        python = simulator_python()
        if python is None:
            raise RobotError(why_not())
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._heard = b""
        self._process = subprocess.Popen(
            [*_priority(), str(python), str(ROOT / "scripts" / "fci_sim_server.py"), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            start_new_session=True,
        )
        if self._cpus:
            os.sched_setaffinity(self._process.pid, self._cpus)  # its threads are begun later, and inherit it
        try:
            self._hear("ready", START_S)
        except BaseException:
            self.stop()
            raise

    def say(self, word: str) -> None:
        """Act as a person at the robot: "user-stop", "guide", "release", or "reflex"."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()
        self._hear(word, ANSWER_S)

    def _hear(self, word: str, timeout_s: float) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while f"{word}\n".encode() not in self._heard:
            left_s = deadline - time.monotonic()
            if left_s <= 0.0 or process.poll() is not None:
                raise RobotError(f"the simulator on {self.host} did not say '{word}': {self.log()[-500:]}")
            if select.select([process.stdout], [], [], min(left_s, 0.2))[0]:
                self._heard += os.read(process.stdout.fileno(), 4096)
        self._heard = self._heard.partition(f"{word}\n".encode())[2]

    def log(self) -> str:
        """Return what it wrote to its standard error."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def stop(self) -> None:
        """End it, as if the robot lost its power. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._log.close()


def _priority() -> list[str]:
    """Return the words that run a command with priority, where permitted: its receiving thread starves easily."""
    words = ["chrt", "-r", "50"]
    try:
        granted = subprocess.run([*words, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return []
    return words if granted else []


def _free_host() -> str:
    """Return a loopback address that no other process of this machine uses for it: the ports are fixed."""
    pid = os.getpid()
    for n in _numbers:
        host = f"127.{64 + n % 128}.{pid >> 8 & 255}.{pid & 255}"
        if _is_free(host):
            return host
    raise AssertionError("counting never ends")


def _is_free(host: str) -> bool:
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
