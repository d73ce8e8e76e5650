"""How soon the car is told to stop over ROS 2: policy, link, joystick, localisation, VESC, each killed or silenced."""

from __future__ import annotations

import os

from verify.children import Runner
from verify.ros_faults import Tried, repeated
from verify.rows import Row

STAGE = "stops"
FILE = "tests/faults/test_car_faults.py"
REPEAT = int(os.environ.get("ROBOT_RL_REPEAT", "2"))
SECONDS = 15.0 + 55.0 * REPEAT
TIMEOUT_S = 300.0 + 200.0 * REPEAT
STOP_S = 0.2
TESTS = 8
"""Faults that must have been tried, or one of them has vanished."""


def measure(runner: Runner) -> list[Row]:
    """Run the faults of the car and return a row for each."""
    found, ended = repeated(runner, f"car-{STAGE}", FILE, REPEAT, "stop_s", TIMEOUT_S)
    rows = [row(what, tried) for what, tried in found.items()]
    if len(rows) < TESTS:
        measured = f"{len(rows)} tried; {ended.how()}"
        rows.append(Row(stage=STAGE, what="faults of the car", measured=measured, bar=f"{TESTS} tried", holds=False))
    return rows


def row(what: str, tried: Tried) -> Row:
    """Return the row of a fault; one that was skipped cannot be judged here."""
    n = tried.passed + tried.failed
    measured, bar = f"{tried.passed} of {n} as they should", "each time"
    holds: bool | None = None if n == 0 else tried.failed == 0
    if tried.seconds:
        worst = max(tried.seconds)
        measured += f"; told to stop {min(tried.seconds):.3f} to {worst:.3f} s after the last sign"
        bar += f", within {STOP_S:g} s"
        holds = holds and worst <= STOP_S
    return Row(stage=STAGE, what=what, measured=measured, bar=bar, holds=holds)
