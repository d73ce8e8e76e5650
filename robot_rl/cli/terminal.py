"""This terminal, lent to a process of a run whose own input is none: its keys are an operator's device there."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
from collections.abc import Iterator
from typing import TYPE_CHECKING

from robot_rl.errors import ConfigError

if TYPE_CHECKING:
    from robot_rl.config import Composed


KEYBOARD = "robot_rl_hardware.operator.make.make_keyboard"


def reads_keys(composed: Composed) -> bool:
    """Return whether the operator is the keyboard, by whatever name it was chosen."""
    return composed.values.get("operator", {}).get("_target_") == KEYBOARD


def has_terminal() -> bool:
    """Return whether the input of this command is a terminal."""
    try:
        return sys.stdin.isatty()
    except (AttributeError, ValueError):  # closed
        return False


@contextlib.contextmanager
def lent_terminal(composed: Composed) -> Iterator[list[str]]:
    """Yield the settings that let the actor read this terminal, if its operator is the keyboard; else none.

    The mode of the terminal is put back at the end, whatever became of the process that changed it.

    Raises:
        ConfigError: The operator is the keyboard, and there is no terminal.
    """
    if not reads_keys(composed) or composed.values["operator"].get("tty"):
        yield []
        return
    if not has_terminal():
        raise ConfigError(
            "operator=keyboard needs a terminal, and the input of this command is none; run it in one, or say which "
            "with operator.tty=/dev/pts/N (the command 'tty' prints it)"
        )
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        yield [f"operator.tty={os.ttyname(fd)}"]
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSAFLUSH, before)
