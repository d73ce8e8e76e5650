"""What tests show about ROS 2: launch files, sessions, cameras, peers and commands, a row for each claim."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from verify.children import Runner
from verify.rows import Row
from verify.suite import Case, read_cases

STAGE = "launch"
SECONDS = 300.0
TIMEOUT_S = 900.0

# What is claimed -> the files of the tests that show it.
CLAIMS: dict[str, Sequence[str]] = {
    "launch files run under a small runner: order, any child's death, mistakes, a taken domain": (
        "tests/launching/test_runner.py",
        "tests/launching/test_launch_files.py",
    ),
    "one command trains over ROS 2; a killed learner comes back, a full disk ends it in order": (
        "tests/launching/test_session.py",
    ),
    "CRISP's own client moves our arm; a node of another distribution reads it": ("tests/ros/test_peers.py",),
    "two RealSense software devices, starvation, wrong modes; films and dead devices": (
        "tests/cameras/test_realsense_camera.py",
        "tests/cameras/test_opencv_camera.py",
    ),
    "stop, acknowledge, recover and status from another terminal": ("tests/ros/test_arm_commands.py",),
}


def measure(runner: Runner) -> list[Row]:
    """Run the tests of each claim and return a row for it."""
    return [claim(runner, what, files) for what, files in CLAIMS.items()]


def claim(runner: Runner, what: str, files: Sequence[str]) -> Row:
    """Return the row of one claim."""
    there = [name for name in files if (runner.root / name).exists()]
    if not there:
        return Row(stage=STAGE, what=what, measured=f"{', '.join(files)} missing", bar="all pass", holds=False)
    name = there[0].replace("/", "-").removesuffix(".py")
    results = runner.work / f"{name}.xml"
    results.unlink(missing_ok=True)
    words = ["-q", "-n", "2", f"--junitxml={results}", *there]
    ended = runner.run(f"ros-{name}", [sys.executable, "-m", "pytest", *words], TIMEOUT_S)
    cases: list[Case] = read_cases(results) if results.is_file() else []
    count = {result: sum(c.result == result for c in cases) for result in ("passed", "failed", "skipped")}
    failed = [c.name for c in cases if c.result == "failed"]
    measured = (
        f"{count['passed']} passed, {count['skipped']} skipped, {count['failed']} failed" if cases else ended.how()
    )
    if failed:
        measured += ": " + ", ".join(failed[:5])
    return Row(
        stage=STAGE,
        what=what,
        measured=measured,
        bar="all pass",
        holds=None if ended.status == 0 and count["skipped"] else ended.status == 0 and count["passed"] > 0,
    )
