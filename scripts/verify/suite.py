"""The tests: whether and how fast they pass, and those that kill processes by name."""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from verify.children import Finished, Runner
from verify.rows import Row, at_most

TESTS, SIGKILL = "tests", "sigkill"
LIMIT_S, TIMEOUT_S = 480.0, 1500.0

# What is claimed -> the tests that show it.
KILLS = {
    "learner, then actor, killed at random: training goes on, nothing lost beyond the unsent tail, nothing twice": (
        "tests/faults/test_kill.py",
        "tests/faults/test_transport_faults.py",
    ),
    "both killed: resume continues the curve and reaches the same success": ("tests/integration/test_resume.py",),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test: its file, its name, and how it ended ("passed", "failed", "skipped")."""

    file: str
    name: str
    result: str


def measure(runner: Runner) -> list[Row]:
    """Run all tests, two at a time, and judge them."""
    ended, cases = _pytest(runner, TESTS, ["-n", "2", "-m", "not robot"])
    count = {result: sum(c.result == result for c in cases) for result in ("passed", "failed", "skipped")}
    failed = [c.name for c in cases if c.result == "failed"]
    measured = f"{count['passed']} passed, {count['skipped']} skipped, {count['failed']} failed"
    if failed:
        measured += ": " + ", ".join(failed[:5])
    good = ended.status == 0 and count["passed"] > 0
    return [
        Row(
            stage=TESTS,
            what="make test passes",
            measured=measured if cases else ended.how(),
            bar="all pass",
            holds=good,
        ),
        at_most(TESTS, "make test, set-up left out", ended.seconds, LIMIT_S, " s"),
    ]


def measure_kills(runner: Runner) -> list[Row]:
    """Judge the tests that kill processes, from the run of all tests if there was one just now, else run them."""
    results = runner.work / f"{TESTS}.xml"
    if results.is_file():
        ended, cases = None, read_cases(results)
    else:
        files = [file for group in KILLS.values() for file in group if (runner.root / file).is_file()]
        ended, cases = _pytest(runner, SIGKILL, files)
    return [_kill_row(what, files, cases, ended) for what, files in KILLS.items()]


def _kill_row(what: str, files: tuple[str, ...], cases: list[Case], ended: Finished | None) -> Row:
    mine = [c for c in cases if c.file in files]
    passed = sum(c.result == "passed" for c in mine)
    missing = [file for file in files if not any(c.file == file for c in mine)]
    measured = f"{passed} of {len(mine)} tests pass"
    if missing:
        measured += f"; nothing ran of {', '.join(missing)}"
        if ended is not None and ended.status:
            measured += f" ({ended.how()})"
    return Row(
        stage=SIGKILL, what=what, measured=measured, bar="all pass", holds=not missing and passed == len(mine) > 0
    )


def _pytest(runner: Runner, name: str, arguments: list[str]) -> tuple[Finished, list[Case]]:
    """Run pytest and return how it ended, and its cases."""
    results = runner.work / f"{name}.xml"
    results.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={results}", *arguments]
    ended = runner.run(name, command, TIMEOUT_S)
    return ended, read_cases(results) if results.is_file() else []


def read_cases(path: Path) -> list[Case]:
    """Return the tests of a JUnit file; empty when it cannot be read."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return []
    cases = []
    for case in root.iter("testcase"):
        kinds = {child.tag for child in case}
        result = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        file = case.get("classname", "").replace(".", os.sep) + ".py"
        cases.append(Case(file=file, name=case.get("name", ""), result=result))
    return cases
