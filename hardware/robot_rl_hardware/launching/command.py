"""What `robot-rl launch` calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from robot_rl_hardware.launching import files
from robot_rl_hardware.launching.runner import Launcher, screen


def show(path: Path) -> list[str]:
    """Return the arguments of a launch file as lines for a person."""
    file = files.load(path)
    return [f"arguments of {path}, written as name:=value:", *files.shown(file, os.environ)]


def run(path: Path, words: Sequence[str]) -> int:
    """Run a launch file with `name:=value` words until everything has ended, and return the exit status."""
    file = files.load(path)
    given = files.arguments(file, words)
    return Launcher(file, given, os.environ, say=screen, colours=sys.stdout.isatty()).run()
