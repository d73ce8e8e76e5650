"""The Franka's driver against the simulator of its protocol: a minute of tracking, faults by name, reach over ROS 2."""

from __future__ import annotations

import sys
from pathlib import Path

from fci_sim_process import why_not
from verify.children import Finished, Runner
from verify.rows import Row
from verify.suite import Case, read_cases

from robot_rl.jsonl import read_json
from robot_rl.stats import number

STAGE = "fci"
SECONDS = 240.0
TRACK_TIMEOUT_S, TESTS_TIMEOUT_S = 200.0, 600.0
RESPONSE_US = 100.0
QUIET_LOAD = 1.5  # above this load average two cores are not quiet: the loop, the robot and this program run on them
RESPONSE = "runs/bench_fci/response.json"

# What is claimed -> (file, words in the names of the tests that show it).
CLAIMS = {
    "connect, hold, frames and forces are ours": ("test_fci_plant.py", ("frames", "holds", "world_pushes")),
    "a stall of 60 ms holds the arm until it is recovered": ("test_fci_faults.py", ("stall",)),
    "a target that jumps aborts nothing": ("test_fci_driver.py", ("jump",)),
    "SIGKILL of driver or parent: the arm rests": ("test_fci_faults.py", ("killed",)),
    "pressing the table stops at the task's force, until acknowledged": ("test_fci_driver.py", ("pressing",)),
    "a collision, a user stop and guiding wait for a person": ("test_fci_faults.py", ("collision", "person")),
    "a robot that loses power is gone until it answers again": ("test_fci_plant.py", ("power",)),
    "arm node and RosRobot drive reach through it": ("test_fci_ros.py", ("reach",)),
}


def measure(runner: Runner) -> list[Row]:
    """Return a row for each claim; they cannot be shown where the simulator is not installed."""
    if reason := why_not():
        what = "the Franka's driver against the simulator of its protocol"
        return [Row(stage=STAGE, what=what, measured=reason, bar="can be run", holds=None)]
    return [*measure_tracking(runner), *measure_faults(runner)]


def measure_tracking(runner: Runner) -> list[Row]:
    """Follow a target for a minute and judge aborts and response."""
    path = runner.root / RESPONSE
    path.unlink(missing_ok=True)
    ended = runner.run("fci-track", [sys.executable, "-m", "benchmarks.bench_fci"], TRACK_TIMEOUT_S)
    what = "track an impedance target for 60 s without an abort"
    if ended.status != 0 or not path.is_file():
        return [Row(stage=STAGE, what=what, measured=ended.how(), bar="0 aborts", holds=False)]
    return judge_tracking(path)


def judge_tracking(path: Path) -> list[Row]:
    """Return the rows for what the benchmark left."""
    facts = read_json(path)
    response = facts.get("response_us")
    p99 = number(response.get("p99")) if isinstance(response, dict) else float("nan")
    load, stops = number(facts.get("load_average")), facts.get("holds_and_stops")
    count = len(stops) if isinstance(stops, list) else -1
    ticks, missed = number(facts.get("ticks")), number(facts.get("missed"))
    why = f": {stops[0]}" if isinstance(stops, list) and stops else ""
    quick = p99 <= RESPONSE_US
    return [
        Row(
            stage=STAGE,
            what="track an impedance target for 60 s without an abort",
            measured=f"{count} aborts in {number(facts.get('seconds')):.0f} s, {ticks:.0f} ticks, "
            f"{missed:.0f} states missed{why}",
            bar="0 aborts",
            holds=count == 0,
        ),
        Row(
            stage=STAGE,
            what="response p99, from state arrived to torque sent, on a quiet machine",
            measured=f"{p99:.0f} us at load {load:.1f} ({facts.get('real_time')}); histogram in {RESPONSE}",
            bar=f"<= {RESPONSE_US:g} us",
            holds=True if quick else None if load > QUIET_LOAD else False,
        ),
    ]


def measure_faults(runner: Runner) -> list[Row]:
    """Run the tests against the simulator and judge each claim by those that show it."""
    results = runner.work / "fci.xml"
    results.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={results}", "tests/hardware_sim"]
    ended = runner.run("fci-tests", command, TESTS_TIMEOUT_S)
    cases = read_cases(results) if results.is_file() else []
    return [_claim(what, file, words, cases, ended) for what, (file, words) in CLAIMS.items()]


def _claim(what: str, file: str, words: tuple[str, ...], cases: list[Case], ended: Finished) -> Row:
    mine = [c for c in cases if c.file.endswith(file) and any(word in c.name for word in words)]
    passed = sum(c.result == "passed" for c in mine)
    skipped = sum(c.result == "skipped" for c in mine)
    measured = f"{passed} of {len(mine)} tests pass" if mine else f"nothing ran ({ended.how()})"
    holds = None if mine and skipped == len(mine) else passed == len(mine) > 0
    return Row(stage=STAGE, what=what, measured=measured, bar="all pass", holds=holds)
