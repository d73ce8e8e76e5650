from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import RobotError
from robot_rl_hardware.operator.keyboard import Keyboard, KeyboardGone, KeyParser
from robot_rl_hardware.operator.view import Panel

PIECES = {b"a": "a", b" ": "space", b"\x1b[A": "up", b"\x1bOD": "left", b"\x1b[5~": "page_up", b"\r": "enter"}


@dataclass
class Terminal:
    """Both ends of a pseudo-terminal."""

    keys: int
    screen: int


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    ends = Terminal(*pty.openpty())
    yield ends
    for fd in (ends.keys, ends.screen):
        if fd >= 0:
            os.close(fd)


def read_until(keyboard: Keyboard, count: int, timeout_s: float = 20.0) -> list[str]:
    """Return the first `count` keys."""
    keys: list[str] = []
    end_s = time.monotonic() + timeout_s
    while len(keys) < count and time.monotonic() < end_s:
        keys += keyboard.read(0.1)
    return keys


@given(st.lists(st.sampled_from(sorted(PIECES)), max_size=30), st.data())
@settings(deadline=None)
def test_keys_do_not_depend_on_how_their_bytes_arrive(pieces: list[bytes], data: st.DataObject) -> None:
    stream, parser, keys = b"".join(pieces), KeyParser(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        keys += parser.feed(stream[:size], 0.0)
        stream = stream[size:]
    assert keys == [PIECES[p] for p in pieces]


@given(st.binary(max_size=64))
@settings(deadline=None)
def test_no_bytes_swallow_the_key_that_stops(noise: bytes) -> None:
    parser = KeyParser()
    parser.feed(noise, 0.0)
    assert "space" in parser.feed(b" ", 0.0)


def test_escape_alone_is_a_key_after_a_moment() -> None:
    parser = KeyParser()
    assert parser.feed(b"\x1b", 0.0) == []
    assert parser.feed(b"", 0.01) == []
    assert parser.feed(b"", 0.2) == ["escape"]
    assert parser.feed("é".encode(), 0.3) == ["unknown"]


def test_keys_come_without_enter_and_the_terminal_is_put_back(terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.screen)
    with Keyboard(terminal.screen) as keyboard:
        os.write(terminal.keys, b"wW \x1b[A")
        assert read_until(keyboard, 4) == ["w", "W", "space", "up"]
        assert keyboard.read() == []
    assert termios.tcgetattr(terminal.screen) == before


def test_keys_that_would_freeze_the_program_do_nothing(terminal: Terminal) -> None:
    with Keyboard(terminal.screen) as keyboard:
        os.write(terminal.keys, b"\x1a\x13\x1cx")  # Ctrl-Z, Ctrl-S, Ctrl-backslash
        assert read_until(keyboard, 4)[-1] == "x"


def test_the_terminal_is_put_back_after_an_error(terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.screen)
    with pytest.raises(ValueError, match="oops"), Keyboard(terminal.screen):
        raise ValueError("oops")
    assert termios.tcgetattr(terminal.screen) == before


def test_a_closed_terminal_is_told(terminal: Terminal) -> None:
    with Keyboard(terminal.screen) as keyboard:
        os.close(terminal.keys)
        terminal.keys = -1
        with pytest.raises(KeyboardGone):
            keyboard.read(20.0)


def test_what_is_no_terminal_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as file, pytest.raises(RobotError, match="need a terminal"):
        Keyboard(file.fileno())


def test_ctrl_c_still_interrupts(terminal: Terminal) -> None:
    code = (
        "import signal\n"
        "from robot_rl_hardware.operator.keyboard import Keyboard\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "with Keyboard() as k:\n"
        "    print('ready', flush=True)\n"
        "    while True: k.read(1.0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=terminal.screen,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as child:
        try:
            assert child.stdout.readline() == b"ready\n"
            child.send_signal(signal.SIGINT)
            assert child.wait(20.0) != 0
        finally:
            child.kill()


def test_drawing_on_a_terminal_that_nobody_reads_never_waits(terminal: Terminal) -> None:
    with open(os.dup(terminal.screen), "w") as stream, Panel(stream) as panel:
        for i in range(2000):
            panel.show([f"line {i}", "x" * 100], "")
        drawn = os.read(terminal.keys, 1 << 20)
        assert b"line 0" in drawn
        assert len(drawn) < 200_000
        os.write(terminal.keys, b" ")
        with Keyboard(terminal.screen) as keyboard:
            assert read_until(keyboard, 1) == ["space"]


def test_a_pipe_is_told_only_what_is_new() -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as stream, Panel(stream) as panel:
        for headline in ("RUN", "RUN", "STOPPED: \x1b[2Jodd", "STOPPED: \x1b[2Jodd"):
            panel.show(["a line"], headline)
    with open(reader, "rb") as file:
        assert file.read() == b"RUN\nSTOPPED:  [2Jodd\n"
