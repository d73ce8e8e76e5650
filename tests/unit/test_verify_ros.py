"""The verification over ROS 2 judges what sessions, traces and fault tests leave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import verify_ros
from verify import ros_faults, ros_policy, ros_tracking


def left_by(folder: Path, successes: int, period_ms: float, image_ms: float) -> Path:
    """Write what an evaluation over ROS leaves beside one in lock-step."""
    for label, good in (("final", 50), ("ros", successes)):
        n = 50 if label == "final" else 20
        rows = [
            {"success": i < good, "steps": 20, "duration_s": 2.0, "reason": "x", "source": "policy"} for i in range(n)
        ]
        (folder / f"eval-{label}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples = {"period_ms": [period_ms] * 100, "image_age_ms/front": [image_ms] * 100, "action_latency_ms": [5.0] * 100}
    (folder / "latency-eval-ros.json").write_text(json.dumps({f"latency/ros/{k}": v for k, v in samples.items()}))
    return folder


@pytest.mark.parametrize(
    ("successes", "period_ms", "image_ms", "holds"),
    [
        (20, 101.0, 40.0, [True, True, True]),
        (19, 101.0, 40.0, [True, True, True]),
        (18, 103.0, 40.0, [False, False, True]),
        (20, 97.0, 70.0, [True, False, False]),
    ],
)
def test_a_policy_over_dds_is_judged_beside_lock_step(
    tmp_path: Path, successes: int, period_ms: float, image_ms: float, holds: list[bool]
) -> None:
    rows = ros_policy.judge(left_by(tmp_path, successes, period_ms, image_ms))
    assert [row.holds for row in rows] == holds


def test_timing_that_was_not_measured_fails() -> None:
    assert [row.holds for row in ros_policy.timing({})] == [False, False]


def test_faults_are_counted_over_their_repetitions(tmp_path: Path) -> None:
    path = tmp_path / "faults.xml"
    path.write_text(
        "<testsuites><testsuite>"
        '<testcase name="test_a_killed_actor[0]"><properties><property name="hold_s" value="0.26"/></properties>'
        '</testcase><testcase name="test_a_killed_actor[1]"><properties><property name="hold_s" value="nan"/>'
        '</properties></testcase><testcase name="test_bad[0-not a number]"><failure/></testcase>'
        '<testcase name="test_bad[1-not a number]"/></testsuite></testsuites>'
    )
    rows = [ros_faults.row(what, tried) for what, tried in ros_faults.read(path, "hold_s").items()]
    assert [(row.what, row.holds) for row in rows] == [("a killed actor", True), ("bad: not a number", False)]
    assert "2 of 2" in rows[0].measured
    assert "0.260 s" in rows[0].measured
    path.write_text("<testsuites><test")
    assert ros_faults.read(path, "hold_s") == {}


def test_a_hold_that_came_too_late_fails() -> None:
    assert ros_faults.row("x", ros_faults.Tried(passed=2, seconds=[0.26, 0.5])).holds is False
    assert ros_faults.row("x", ros_faults.Tried()).holds is False


def test_paths_are_compared_from_their_own_starts() -> None:
    start = np.array([0.5, 0.0, 0.3])
    path = ros_tracking.reference(start)
    other = ros_tracking.reference(start + 0.1) + np.random.default_rng(0).normal(0.0, 1e-4, path.shape)
    other[0] = start + 0.1
    rows = ros_tracking.compare({"lock-step": path, "twin over ROS 2": other, "far": path * 1.2})
    assert [row.holds for row in rows] == [True, True, False]
    assert rows[0].measured == "0.0 mm RMS"
    assert ros_tracking.compare({"twin over ROS 2": other}) == []


def test_every_stage_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        verify_ros.VERIFICATION.choose(["--list"])
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("policy", "tracking", "fci", "faults", "launch"))
