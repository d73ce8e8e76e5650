"""Commands in real terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from preflight_rig import OWN_TERMINAL, ROBOT_RL, Terminal, end, environment


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[[Sequence[str]], Terminal]]:
    """Return a function that starts `robot-rl` with arguments in a terminal."""
    made: list[Terminal] = []

    def start(arguments: Sequence[str]) -> Terminal:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        child = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL, *ROBOT_RL, *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
            env=environment(tmp_path), cwd=tmp_path, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        made.append(Terminal(child, ours))
        return made[-1]

    yield start
    for one in made:
        end(one.child)
        if one.fd >= 0:
            os.close(one.fd)
