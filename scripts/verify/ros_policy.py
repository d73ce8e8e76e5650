"""A policy of the lock-step twin on the twin in real time over ROS 2: success, control period, age of the pictures."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from verify.children import Runner
from verify.rows import Row, at_most

from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.stats import number, percentiles, success_summary

STAGE = "policy"
SECONDS = 120.0
DEMO_TIMEOUT_S, TIMEOUT_S = 900.0, 400.0
EPISODES, POINTS = 20, 5.0
PERIOD_MS, PERIOD_LATE_MS, CAMERA_MS = 100.0, 2.0, 60.0
LABEL = "ros"
LAUNCH = "launch/run_policy.launch.py"


def measure(runner: Runner) -> list[Row]:
    """Let the policy of the demo act for some episodes through a launch file, and judge what it left."""
    found = demo_run(runner)
    if isinstance(found, Row):
        return [found]
    words = [f"run:={found}", f"episodes:={EPISODES}", "settings:=robot.cameras=[front]", f"label:={LABEL}"]
    command = [sys.executable, "-m", "robot_rl", "launch", LAUNCH, *words]
    ended = runner.run("ros-policy", command, TIMEOUT_S, {"ROS_DOMAIN_ID": str(free_domain())})
    if ended.status != 0:
        what = f"{EPISODES} episodes of pick_cube over DDS"
        return [Row(stage=STAGE, what=what, measured=ended.how(), bar="ends with status 0", holds=False)]
    return judge(found)


def free_domain() -> int:
    """Return a ROS domain that nobody on this machine uses."""
    from robot_rl_hardware.ros.environment import free_domain

    return free_domain(first=70)


def demo_run(runner: Runner) -> Path | Row:
    """Return a copy of the demo's run, made now if there is none; a row if that fails."""
    made, copy = runner.root / "runs" / "demo", runner.work / "demo"
    if not (made / "summary.json").is_file():
        words = ["demo", f"runs={runner.work}", "live=off", "evaluation.clone_episodes=0"]
        ended = runner.run("ros-demo", [sys.executable, "-m", "robot_rl", *words], DEMO_TIMEOUT_S)
        if ended.status != 0:
            return Row(stage=STAGE, what="robot-rl demo", measured=ended.how(), bar="ends with status 0", holds=False)
        return copy
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(made, copy, ignore=shutil.ignore_patterns("*.mp4", "tensorboard"))
    return copy


def judge(run: Path) -> list[Row]:
    """Return the rows for an evaluation over ROS, beside the run's own in lock-step."""
    rows = read_jsonl(run / f"eval-{LABEL}.jsonl")
    real, lock_step = success_summary(rows), success_summary(read_jsonl(run / "eval-final.jsonl"))
    held = sorted({str(row.get("reason")) for row in rows if not row.get("success")})
    apart = round(100.0 * (lock_step.rate - real.rate), 6)
    note = f" ({real.successes} of {real.n}; lock-step {lock_step.successes} of {lock_step.n})"
    if held:
        note += "; failures: " + ", ".join(held)[:300]
    samples = read_json(run / f"latency-eval-{LABEL}.json")
    return [
        at_most(STAGE, "success over DDS below that in lock-step", apart, POINTS, " points", note),
        *timing(samples),
    ]


def timing(samples: dict[str, object]) -> list[Row]:
    """Return the rows of the control period and of the pictures' age."""

    def spread(name: str) -> dict[str, float]:
        values = samples.get(f"latency/{LABEL}/{name}")
        return percentiles([number(v) for v in values] if isinstance(values, list) else [], (1, 50, 99, 100))

    period, image, answer = spread("period_ms"), spread("image_age_ms/front"), spread("action_latency_ms")
    off_ms = abs(period["p99"] - PERIOD_MS)
    told = f" (1 %, median, 99 %: {period['p1']:.1f}, {period['p50']:.1f}, {period['p99']:.1f} ms)"
    asked = (
        f" (median {image['p50']:.0f} ms; request to answer: median {answer['p50']:.0f}, 99 % {answer['p99']:.0f} ms)"
    )
    return [
        at_most(STAGE, "99th percentile of the 10 Hz period, off nominal by", off_ms, PERIOD_LATE_MS, " ms", told),
        at_most(STAGE, "age of the camera's picture, 99 %", image["p99"], CAMERA_MS, " ms", asked),
    ]
