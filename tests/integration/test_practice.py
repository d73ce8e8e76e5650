"""Whole runs with automatic resets: what they leave, that they stop and go on, and that nothing resets the scene."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from robot_rl import train
from robot_rl.checkpoint import Checkpoints
from robot_rl.config import compose, compose_run
from robot_rl.errors import ConfigError
from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.replay_log import read
from robot_rl.runs import list_runs
from robot_rl_sim.twin import ArmTwin

TINY = (
    "task=bin_relocate", "practice=forward_backward", "task.max_steps=80", "demos=2", "live=off",
    "agent.hidden=[16,16]",
    "agent.critics=2", "agent.batch_size=16", "agent.updates_per_actor_update=1", "learner.updates_per_call=4",
    "learner.updates_per_step=0.2", "learner.clone_updates=50", "learner.hold_steps=40", "evaluation.video_episodes=0",
    "metrics.sinks=[jsonl]", "evaluation.episodes=1", "evaluation.clone_episodes=0", "checkpoint.every_s=0.2",
    "expert.speed=1.0", "expert.wander=0.0", "expert.noise=0.0", "expert.pause_probability=0.0", "expert.detour_m=0.0",
    "practice.trouble.stuck_episodes=2",
)  # fmt: skip
NODES = ("forward", "backward")


def steps(folder: Path) -> int:
    logs = [log for name in NODES if list((log := folder / name / "replay").glob("blocks-*.log"))]
    return sum(block.steps for log in logs for _, _, block in read(log))


def check_no_gaps(folder: Path) -> None:
    for name in NODES:
        after: dict[str, int] = {}
        for stream, seq, _ in read(folder / name / "replay"):
            assert seq == after.get(stream, 0) + 1
            after[stream] = seq


def test_a_run_stops_goes_on_and_leaves_what_is_needed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resets: list[Any] = []
    plain = ArmTwin.reset

    def reset(self: ArmTwin, request: Any) -> Any:
        resets.append(request)
        return plain(self, request)

    composed = compose([*TINY, f"runs={tmp_path}", "name=run", "learner.total_env_steps=120"])
    folder = train.start_run(composed)
    monkeypatch.setattr(ArmTwin, "reset", reset)
    assert not train.run(composed, folder, lambda: steps(folder) >= 90).complete
    saved = {name: Checkpoints(folder / name / "checkpoints").newest() for name in NODES}
    before = read_jsonl(folder / "episodes.jsonl")
    assert before
    scene = read_json(folder / "scene.json")
    assert scene["node"] in NODES
    # Demonstrations are set up by the simulator, and the very first scene is; practice then moves the arm alone.
    first = next(i for i, request in enumerate(resets) if request.keep_scene)
    assert all(request.keep_scene and not request.objects for request in resets[first:])

    del resets[:]
    outcome = train.run(compose_run(folder), folder, lambda: False)
    assert outcome.complete
    practised = [request for request in resets if request.keep_scene]
    assert resets[: len(practised)] == practised, "the scene was there; only the evaluation at the end sets up others"
    rows = read_jsonl(folder / "episodes.jsonl")
    assert rows[: len(before)] == before
    assert {row["node"] for row in rows} <= set(NODES)
    assert [row["robot_s"] for row in rows] == sorted(row["robot_s"] for row in rows)
    for name in NODES:
        own = [row for row in rows if row["node"] == name]
        assert [row["episode"] for row in read_jsonl(folder / name / "episodes.jsonl")] == [r["episode"] for r in own]
        found = Checkpoints(folder / name / "checkpoints").newest()
        assert found is not None
        assert found.meta["updates"] >= saved[name].meta["updates"]  # pyright: ignore[reportOptionalMemberAccess]
    check_no_gaps(folder)
    assert 240 <= steps(folder) < 300, "what was asked for, over both"

    summary = read_json(folder / "summary.json")
    facts = summary["resets"]
    assert facts["episodes"] == len(rows)
    assert facts["rungs"]["rehome"]["tries"] == len(rows)
    assert facts["robot_min"] > sum(row["duration_s"] for row in rows) / 60
    assert summary["n"] == 2, "one evaluation episode of each"
    assert set(summary["nodes"]) == set(NODES)
    page = (folder / "report.html").read_text()
    assert "Automatic resets" in page
    assert "of robot time" in page
    assert [entry.name for entry in list_runs(tmp_path)] == ["run"], "nodes are parts of a run"
    with pytest.raises(ConfigError, match=r"is complete .* learner.total_env_steps=240"):
        train.resume_run(folder, compose_run(folder))
    further = compose_run(folder, ["learner.total_env_steps=160"])  # less than the steps of both nodes, more for each
    train.resume_run(folder, further)
    assert train.run(further, folder, lambda: False).complete
    assert 320 <= steps(folder) < 380
    assert read_jsonl(folder / "episodes.jsonl")[: len(rows)] == rows
    check_no_gaps(folder)
    node = compose_run(folder / "forward").settings()
    assert not node.practice.on
    assert node.task.settings["direction"] == "forward"
    assert compose_run(folder / "backward").settings().task.settings["direction"] == "backward"


@pytest.mark.slow
def test_a_killed_run_comes_back_to_the_scene_that_it_left(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "robot_rl", "train"]
    folder = tmp_path / "run"
    first = subprocess.Popen(
        [*command, *TINY, f"runs={tmp_path}", "name=run", "learner.total_env_steps=200"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until_s = time.monotonic() + 120.0
    while len(read_jsonl(folder / "episodes.jsonl")) < 2 and first.poll() is None:
        assert time.monotonic() < until_s, "it did not begin to practise in time"
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    told, _ = first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL, told
    kept = read_jsonl(folder / "episodes.jsonl")
    assert (folder / "scene.json").is_file()
    done = subprocess.run([*command, f"resume={folder}"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    rows = read_jsonl(folder / "episodes.jsonl")
    assert rows[: len(kept)] == kept
    assert steps(folder) >= 400
    check_no_gaps(folder)
