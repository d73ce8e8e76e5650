"""Whole trainings of the task `lap`, short ones: with a lidar, and on top of the classical driver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robot_rl import train
from robot_rl.config import compose
from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.replay_log import read
from robot_rl_tasks.car import evidence

TINY = (
    "task=lap", "mode=single", "live=off", "agent.hidden=[16,16]", "agent.critics=2", "agent.batch_size=16",
    "agent.updates_per_actor_update=1", "learner.updates_per_call=4", "learner.updates_per_step=1",
    "learner.clone_updates=20", "learner.hold_steps=20", "learner.total_env_steps=200", "task.max_steps=150",
    "expert.speed_m_s=3",
    "evaluation.video_episodes=0", "evaluation.episodes=1", "evaluation.clone_episodes=1", "metrics.sinks=[jsonl]",
)  # fmt: skip


@pytest.mark.parametrize(
    ("more", "state"),
    [(("task.beams=36",), 18 + 36), (("task.residual=[0.25,0.4]", "task.course=hall"), 18 + 2)],
    ids=["lidar", "residual"],
)
def test_it_practises_evaluates_and_races(
    more: tuple[str, ...], state: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "VIDEOS", {})
    chosen = compose([*TINY, f"runs={tmp_path}", "name=short", *more])
    outcome = train.run(chosen, train.start_run(chosen), lambda: False)
    run = outcome.folder
    assert outcome.complete
    assert read_json(run / "summary.json")["n"] == 1
    blocks = [block for _, _, block in read(run / "replay")]
    assert sum(block.steps for block in blocks) >= 200
    assert blocks[0].states.shape[1] == state
    driven = [row for row in read_jsonl(run / "episodes.jsonl") if row["source"] == "policy"]
    assert sum(row["driven_m"] for row in driven) > 1.0
    kinds = {row["kind"] for row in json.loads((run / "leaderboard.json").read_text())["rows"]}
    assert kinds == {"policy", "classical", "demonstration"}
    assert (run / "laps.csv").is_file()
    assert not (run / "console.json").exists(), "the page's address is withdrawn when the session ends"
