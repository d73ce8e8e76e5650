"""A launch of tiny real processes, and a way to look at it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PATIENCE_S = 60.0  # a loaded machine takes a second to start a Python

# A process that tells a file what happens to it. Arguments: its name, the file, and which signals it ignores.
WITNESS = """
import os, signal, sys, time
name, path, ignored = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
def tell(what):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{name} {what} {os.getpid()}\\n".encode())
    os.close(fd)
def end(number, frame):
    tell(signal.Signals(number).name)
    if signal.Signals(number).name not in ignored:
        sys.exit(0)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
tell("began")
while True:
    time.sleep(0.02)
"""


@dataclass
class Launch:
    """A running `robot-rl launch`."""

    process: subprocess.Popen[str]
    events: Path
    out: Path
    err: Path
    pids: dict[str, int] = field(default_factory=dict)
    patience_s: float = PATIENCE_S

    def told(self) -> list[list[str]]:
        """Return what the processes told: name, event, process id."""
        return [line.split() for line in self.events.read_text().splitlines()] if self.events.is_file() else []

    def wait_for(self, condition: Callable[[], object], what: str, alive: bool = True) -> None:
        """Wait until something holds, while the launch is alive unless that is not asked for."""
        deadline_s = time.monotonic() + self.patience_s
        while not condition():
            over = alive and self.process.poll() is not None and not condition()
            assert not over, f"ended before {what}: {self.words()}"
            assert time.monotonic() < deadline_s, f"waited in vain for {what}: {self.words()}"
            time.sleep(0.01)

    def began(self, *names: str) -> None:
        """Wait until processes run."""

        def all_began() -> bool:
            self.pids = {name: int(pid) for name, event, pid in self.told() if event == "began"}
            return set(names) <= set(self.pids)

        self.wait_for(all_began, f"the start of {names}")

    def ended(self) -> int:
        """Wait for the end and return the status."""
        return self.process.wait(self.patience_s)

    def words(self) -> str:
        return self.out.read_text() + self.err.read_text()

    def said(self) -> list[str]:
        """Return what processes printed after the mark SAID."""
        return [line.partition("SAID")[2].strip() for line in self.out.read_text().splitlines() if "SAID" in line]

    @staticmethod
    def lives(pid: int) -> bool:
        """Return whether a process runs; a dead one that nobody has collected does not."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def ends(self) -> list[str]:
        """Return the names of those that were asked to end, in that order."""
        return list(dict.fromkeys(name for name, event, _ in self.told() if event.startswith("SIG")))


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """Return a function that writes a launch file and runs it with further words."""
    running: list[Launch] = []

    def run(body: str | Path, *words: str, env: dict[str, str] | None = None) -> Launch:
        if isinstance(body, str):
            path = tmp_path / f"file{len(running)}.launch.py"
            path.write_text(HEADER + textwrap.dedent(body))
        else:
            path = body
        out, err = tmp_path / f"out{len(running)}", tmp_path / f"err{len(running)}"
        environment = {**os.environ, "EVENTS": str(tmp_path / "events"), "ROS_DOMAIN_ID": "0", **(env or {})}
        command = [sys.executable, "-m", "robot_rl", "launch", str(path), *words]
        with open(out, "w") as o, open(err, "w") as e:
            process = subprocess.Popen(command, stdout=o, stderr=e, env=environment, text=True)
        running.append(Launch(process, tmp_path / "events", out, err))
        return running[-1]

    yield run
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        for _, event, pid in each.told():
            if event == "began" and each.lives(int(pid)):
                os.kill(int(pid), signal.SIGKILL)


HEADER = f"""
import os, sys
from launch import LaunchDescription
from launch.actions import *
from launch.conditions import IfCondition, UnlessCondition
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import *
from launch_ros.actions import Node, PushRosNamespace

WITNESS = {WITNESS!r}

def witness(name, ignored="none", **more):
    cmd = [sys.executable, "-c", WITNESS, name, os.environ["EVENTS"], ignored]
    return ExecuteProcess(cmd=cmd, name=name, **more)

def say(name, *words):
    code = "import sys; print('SAID', *sys.argv[1:])"
    return ExecuteProcess(cmd=[sys.executable, "-c", code, *words], name=name)
"""
