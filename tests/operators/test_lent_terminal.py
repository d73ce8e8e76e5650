"""The terminal of a command, read by a process of its run that has no input of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from robot_rl.cli.terminal import lent_terminal
from robot_rl.config import compose
from robot_rl.errors import ConfigError

PARENT = """
import os, signal, subprocess, sys
from robot_rl.cli.terminal import lent_terminal
from robot_rl.config import compose
with lent_terminal(compose(["operator=keyboard"])) as settings:
    (tty,) = (s.partition("=")[2] for s in settings if s.startswith("operator.tty="))
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1], tty], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, start_new_session=True, text=True)
    print(child.stdout.readline().strip(), flush=True)
    print(child.stdout.readline().strip(), flush=True)
    child.kill()
    child.wait()
print("over", flush=True)
"""
CHILD = """
import sys, time
from operator_rig import operator_of, reading
operator = operator_of("keyboard", tty=sys.argv[1])
operator.connect()
operator.read(reading())  # at rest, so that what follows is a new press
print("ready", flush=True)
while operator.read(reading()).action is None:
    time.sleep(0.01)
print("moved", flush=True)
time.sleep(600)
"""


def test_an_actor_reads_the_keys_and_the_mode_is_put_back_though_it_is_killed() -> None:
    keys, screen = pty.openpty()
    before = termios.tcgetattr(screen)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdin=screen, stdout=subprocess.PIPE, text=True, env=environ
    ) as parent:
        limit = threading.Timer(400.0, parent.kill)
        limit.start()
        try:
            assert parent.stdout.readline() == "ready\n"
            assert termios.tcgetattr(screen) != before
            os.write(keys, b"w")
            assert parent.stdout.readline() == "moved\n"
            assert parent.stdout.readline() == "over\n"
            assert parent.wait(60.0) == 0
            assert termios.tcgetattr(screen) == before
        finally:
            limit.cancel()
            parent.kill()
            os.close(keys)
            os.close(screen)


def test_other_operators_need_no_terminal_and_a_given_one_is_left_alone() -> None:
    for settings in (["operator=none"], ["operator=gamepad"], ["operator=keyboard", "operator.tty=/dev/pts/7"]):
        with lent_terminal(compose(settings)) as lent:
            assert lent == []


def test_without_a_terminal_the_keyboard_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with (
            pytest.raises(ConfigError, match=r"needs a terminal.*operator.tty"),
            lent_terminal(compose(["operator=keyboard"])),
        ):
            pass
