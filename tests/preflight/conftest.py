"""A real arm node on the twin, and commands in real terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from preflight_rig import ROBOT_RL, Terminal, end, environment, wait_for

from robot_rl_hardware.ros.environment import free_domain


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[[Sequence[str]], Terminal]]:
    """Return a function that starts `robot-rl` with arguments in a terminal."""
    made: list[Terminal] = []

    def start(arguments: Sequence[str]) -> Terminal:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        code = (
            "import os, sys, fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code, *ROBOT_RL, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(tmp_path),
            cwd=tmp_path,
            start_new_session=True,
        )
        os.close(theirs)
        made.append(Terminal(child, ours))
        return made[-1]

    yield start
    for one in made:
        end(one.child)
        if one.fd >= 0:
            os.close(one.fd)


@pytest.fixture(scope="module")
def arm_domain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start an arm node on the real-time twin and return its ROS domain."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    domain = free_domain(first=1 + zlib.crc32(f"{worker} {request.node.nodeid} {os.getpid()}".encode()) % 100)
    folder = tmp_path_factory.mktemp("arm")
    log = folder / "node.log"
    with log.open("wb") as file:
        node = subprocess.Popen(
            [*ROBOT_RL, "node", "arm", "task=reach", "driver=twin", "--domain", str(domain)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(folder),
            start_new_session=True,
        )
    try:
        wait_for(lambda: "is ready" in log.read_text() or node.poll() is not None, "the arm node", 120.0)
        assert node.poll() is None, log.read_text()
        yield domain
    finally:
        end(node)
