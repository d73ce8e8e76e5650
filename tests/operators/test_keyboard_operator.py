from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from operator_rig import Clock, operator_of, reading

from robot_rl.errors import ConfigError, RobotError
from robot_rl.operator import NOBODY


class Terminal:
    """A pseudo-terminal whose other end the operator opens by its path."""

    def __init__(self) -> None:
        self.keys, self.screen = pty.openpty()
        self.path = os.ttyname(self.screen)

    def type(self, data: bytes) -> None:
        os.write(self.keys, data)

    def hang_up(self) -> None:
        if self.keys >= 0:
            os.close(self.keys)
        self.keys = -1


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.hang_up()
    os.close(made.screen)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def person(terminal: Terminal, clock: Clock) -> Iterator[Any]:
    operator = operator_of("keyboard", tty=terminal.path)
    operator._clock = clock
    operator.connect()
    operator.read(reading())
    yield operator
    operator.close()


def test_a_press_moves_one_axis_for_the_period_that_sees_it(terminal: Terminal, person: Any, clock: Clock) -> None:
    assert person.read(reading()).action is None
    terminal.type(b"w")
    np.testing.assert_allclose(person.read(reading()).action, [0.25, 0, 0, 0, 0, 0, -1], atol=1e-6)
    clock.now_s += 0.1
    assert person.read(reading()).action is None
    terminal.type(b"a\x1b[5~")  # left, then page up: the last one counts
    np.testing.assert_allclose(person.read(reading()).action[:3], [0, 0, -0.25], atol=1e-6)


def test_a_key_that_repeats_moves_all_the_time_and_a_burst_moves_once(
    terminal: Terminal, person: Any, clock: Clock
) -> None:
    for _ in range(10):
        terminal.type(b"www")
        assert person.read(reading()).action is not None
        clock.now_s += 0.1
    terminal.type(b"w" * 500)  # a link that hung delivers all at once
    assert person.read(reading()).action is not None
    clock.now_s += 0.1
    assert person.read(reading()).action is None


def test_a_key_that_repeats_for_ever_counts_as_let_go(terminal: Terminal, person: Any, clock: Clock) -> None:
    told = NOBODY
    for _ in range(250):
        terminal.type(b"w")
        told = person.read(reading())
        clock.now_s += 0.1
    assert told.action is None
    assert "counts as let go" in told.note
    assert person.read(reading()).note == ""
    terminal.type(b"w")
    assert person.read(reading()).action is not None


def test_any_other_key_ends_the_motion(terminal: Terminal, person: Any) -> None:
    terminal.type(b"w?")
    assert person.read(reading()).action is None


def test_keys_are_buttons(terminal: Terminal, person: Any) -> None:
    terminal.type(b"\r\x7fxp ")
    assert person.read(reading()).buttons == ("success", "failure", "discard", "pause", "stop")
    assert person.read(reading()).buttons == ()


def test_the_gripper_key_acts_with_the_arm_at_rest(terminal: Terminal, person: Any, clock: Clock) -> None:
    terminal.type(b"g")
    told = person.read(reading())
    assert told.action[6] == 1.0
    assert not told.action[:6].any()
    clock.now_s += 0.1
    assert person.read(reading()).action[6] == 1.0  # the reading has not heard of it yet
    assert person.read(reading(closing=True)).action is None
    terminal.type(b"r")
    assert person.read(reading(closing=True)).action[6] == 1.0


def test_slower_and_faster(terminal: Terminal, person: Any) -> None:
    terminal.type(b"-w")
    assert person.read(reading()).action[0] == pytest.approx(0.125)
    terminal.type(b"+++w")
    assert person.read(reading()).action[0] == pytest.approx(1.0)


def test_keys_of_before_the_episode_count_no_more(terminal: Terminal, person: Any) -> None:
    terminal.type(b"w\r")
    person.begin(1)
    told = person.read(reading())
    assert told.action is None
    assert told.buttons == ()


def test_a_terminal_that_is_closed_counts_as_let_go(terminal: Terminal, person: Any) -> None:
    terminal.type(b"w")
    person.read(reading())
    terminal.hang_up()
    told = person.read(reading())
    assert told.action is None
    assert "terminal was closed" in told.note
    assert "terminal was closed" in person.gone


def test_the_terminal_is_put_back(terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.screen)
    operator = operator_of("keyboard", tty=terminal.path)
    operator.connect()
    assert termios.tcgetattr(terminal.screen) != before
    operator.close()
    operator.close()
    assert termios.tcgetattr(terminal.screen) == before


def test_a_terminal_that_is_not_there_is_told() -> None:
    with pytest.raises(RobotError, match="/dev/pts/99999 cannot be opened"):
        operator_of("keyboard", tty="/dev/pts/99999").connect()
    with pytest.raises(RobotError, match="need a terminal"):
        operator_of("keyboard", tty="/dev/null").connect()
    with pytest.raises(ConfigError, match=r"operator.grant_s is 2.0"):
        operator_of("keyboard", grant_s=2.0)


CHILD = """
import sys, time
from operator_rig import operator_of, reading
operator = operator_of("keyboard", tty=sys.argv[1])
operator.connect()
operator.read(reading())  # at rest, so that what follows is a new press
print("ready", flush=True)
until = time.monotonic() + 60
while (told := operator.read(reading())).action is None and time.monotonic() < until:
    time.sleep(0.01)
print(told.action[0] > 0, flush=True)
operator.close()
"""


def test_a_process_without_input_reads_the_terminal_that_it_is_given(terminal: Terminal) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, terminal.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        env=environ, start_new_session=True,
    ) as child:  # fmt: skip
        limit = threading.Timer(400.0, child.kill)
        limit.start()
        try:
            assert child.stdout.readline() == "ready\n"
            terminal.type(b"w")
            assert child.stdout.readline() == "True\n"
            assert child.wait(60.0) == 0
        finally:
            limit.cancel()
            child.kill()
