"""Faults over ROS 2, each several times: what was tried, what held, and how soon."""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from verify.children import Finished, Runner
from verify.rows import Row

STAGE = "faults"
FILE = "tests/faults/test_ros_faults.py"
REPEAT = int(os.environ.get("ROBOT_RL_REPEAT", "2"))
SECONDS = 60.0 + 90.0 * REPEAT  # all ten faults once take about 85 s
TIMEOUT_S = 600.0 + 300.0 * REPEAT
HOLD_S = 0.25 + 0.1  # the age limit of a command and one control period


@dataclass(slots=True)
class Tried:
    """One fault, over all its repetitions.

    Attributes:
        passed, failed: How often.
        seconds: How soon what had to happen did, where a test tells it: the age of the newest command when the arm
            began to hold, the time until a car was told to stop.
    """

    passed: int = 0
    failed: int = 0
    seconds: list[float] = field(default_factory=list)


def measure(runner: Runner) -> list[Row]:
    """Run the fault tests and return a row for each fault."""
    found, ended = repeated(runner, f"ros-{STAGE}", FILE, REPEAT, "hold_s", TIMEOUT_S)
    if not found:
        return [Row(stage=STAGE, what="faults over ROS 2", measured=ended.how(), bar="all hold", holds=False)]
    return [row(what, tried) for what, tried in found.items()]


def repeated(
    runner: Runner, name: str, file: str, repeat: int, timed: str, timeout_s: float
) -> tuple[dict[str, Tried], Finished]:
    """Run a file of fault tests, each of them many times; return what came of each, and how the run ended.

    Args:
        runner: Runs it.
        name: Of its logs and results.
        file: Of the tests.
        repeat: How often each is tried.
        timed: Name of the property in which a test tells seconds.
        timeout_s: Of all.
    """
    results = runner.work / f"{name}.xml"
    results.unlink(missing_ok=True)
    words = ["-q", "-o", "junit_family=xunit1", f"--junitxml={results}", f"--repeat={repeat}", file]
    ended = runner.run(name, [sys.executable, "-m", "pytest", *words], timeout_s)
    return (read(results, timed) if results.is_file() else {}), ended


def row(what: str, tried: Tried) -> Row:
    """Return the row of a fault."""
    n = tried.passed + tried.failed
    measured, holds = f"{tried.passed} of {n} held, and resumed on a person's word alone", tried.failed == 0 < n
    bar = "each time"
    if tried.seconds:
        worst = max(tried.seconds)
        measured += f"; held when the newest command was {worst:.3f} s old at most"
        bar += f", within {HOLD_S:g} s"
        holds = holds and worst <= HOLD_S
    return Row(stage=STAGE, what=what, measured=measured, bar=bar, holds=holds)


def read(path: Path, timed: str) -> dict[str, Tried]:
    """Return what a JUnit file says of each fault; empty when it cannot be read.

    Args:
        path: The file.
        timed: Name of the property that tells the seconds.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return {}
    found: dict[str, Tried] = defaultdict(Tried)
    for case in root.iter("testcase"):
        name, _, rest = case.get("name", "").partition("[")
        parameters = rest.rstrip("]").partition("-")[2]
        tried = found[name.removeprefix("test_").replace("_", " ") + (f": {parameters}" if parameters else "")]
        if {child.tag for child in case} & {"failure", "error"}:
            tried.failed += 1
        elif case.find("skipped") is None:
            tried.passed += 1
        for told in case.iter("property"):
            value = float(told.get("value", "nan"))
            if told.get("name") == timed and value == value and value < 10.0:
                tried.seconds.append(value)
    return dict(found)
