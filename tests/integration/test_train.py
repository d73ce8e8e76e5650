from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from robot_rl import train
from robot_rl.checkpoint import Checkpoints
from robot_rl.config import Composed, compose
from robot_rl.errors import ConfigError
from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.replay_log import read

TINY = (
    "task=reach", "demos=3", "live=off", "agent.hidden=[16,16]", "agent.critics=2", "agent.batch_size=16",
    "agent.updates_per_actor_update=1", "learner.updates_per_call=4", "learner.updates_per_step=1",
    "learner.clone_updates=50", "learner.hold_steps=40", "evaluation.video_episodes=0", "metrics.sinks=[jsonl]",
    "evaluation.episodes=3", "evaluation.clone_episodes=3",
)  # fmt: skip


def composed(tmp_path: Path, *more: str) -> Composed:
    return compose([*TINY, f"runs={tmp_path}", *more])


def trained(tmp_path: Path, *more: str) -> train.Outcome:
    chosen = composed(tmp_path, *more)
    return train.run(chosen, train.start_run(chosen), lambda: False)


def facts_of(folder: Path) -> dict[str, object]:
    """Return what a run did, without anything that depends on the clock."""
    episodes = [{k: v for k, v in row.items() if k != "t_s"} for row in read_jsonl(folder / "episodes.jsonl")]
    found = Checkpoints(folder / "checkpoints").newest()
    return {"episodes": episodes, "arrays": {k: v.tobytes() for k, v in found.arrays.items()}, "meta": found.meta}


def test_a_seed_repeats_bit_for_bit_in_one_process(tmp_path: Path) -> None:
    outcomes = [trained(tmp_path, "mode=single", "learner.total_env_steps=120", f"name=r{i}") for i in range(2)]
    first, second = (facts_of(o.folder) for o in outcomes)
    assert first["episodes"] == second["episodes"]
    assert first["meta"] == second["meta"]
    assert first["arrays"] == second["arrays"]
    assert all(o.complete for o in outcomes)
    assert outcomes[0].facts["successes"] == outcomes[1].facts["successes"]
    assert read_jsonl(outcomes[0].folder / "eval-final.jsonl") == read_jsonl(outcomes[1].folder / "eval-final.jsonl")


def test_a_run_leaves_everything_that_is_needed_later(tmp_path: Path) -> None:
    outcome = trained(tmp_path, "mode=single", "learner.total_env_steps=100", "seed=3", "name=whole")
    folder = outcome.folder
    summary = read_json(folder / "summary.json")
    assert summary["env_steps"] >= 100
    assert summary["updates"] == 4 * (100 // 4)  # one update a step, four a call, none beyond the plan
    assert summary["n"] == 3
    assert 0.0 <= summary["low"] <= summary["rate"] <= summary["high"] <= 1.0
    assert set(summary["seconds"]) == {"setup", "demonstrations", "training", "evaluation"}
    assert outcome.report == folder / "report.html"
    steps = sum(block.steps for _, _, block in read(folder / "replay"))
    assert steps == summary["env_steps"]
    rows = read_jsonl(folder / "episodes.jsonl")
    assert all(row["source"] == "policy" and row["duration_s"] == pytest.approx(0.1 * row["steps"]) for row in rows)
    assert sum(row["steps"] for row in rows) <= steps
    assert {"clone", "train"} <= {row["kind"] for row in read_jsonl(folder / "metrics.jsonl")}
    assert (folder / "checkpoints" / "policy.ckpt").is_file()
    assert (folder / "checkpoints" / "clone.ckpt").is_file()


def test_cloning_alone_practises_nothing(tmp_path: Path) -> None:
    outcome = trained(tmp_path, "mode=single", "agent=bc", "learner.clone_updates=50", "name=bc")
    assert outcome.complete
    assert outcome.facts["env_steps"] == 0
    assert outcome.facts["algorithm"] == "bc"
    assert not (outcome.folder / "eval-clone.jsonl").exists()


def test_offline_learning_practises_nothing_and_takes_up_what_an_earlier_run_practised(tmp_path: Path) -> None:
    first = trained(tmp_path, "mode=single", "learner.total_env_steps=60", "name=earlier")
    outcome = trained(
        tmp_path, "mode=single", "agent=iql", "demos=0", f"warm_start=[{first.folder.name}]",
        "learner.clone_updates=50", "name=offline",
    )  # fmt: skip
    assert outcome.complete
    assert outcome.facts["env_steps"] == 0
    assert outcome.facts["algorithm"] == "iql"
    assert outcome.facts["n"] == 3
    rows = read_jsonl(outcome.folder / "metrics.jsonl")
    assert np.isfinite(rows[-1]["critic/value_loss"])
    assert not (outcome.folder / "eval-clone.jsonl").exists()
    with pytest.raises(ConfigError, match="is complete"):
        train.resume_run(outcome.folder, composed(tmp_path, "agent=iql", "demos=0", "warm_start=[earlier]"))


def test_without_demonstrations_there_is_no_clone_and_no_hold(tmp_path: Path) -> None:
    outcome = trained(tmp_path, "mode=single", "demos=0", "learner.total_env_steps=60", "name=none")
    assert outcome.complete
    assert not (outcome.folder / "checkpoints" / "clone.ckpt").exists()
    rows = [r for r in read_jsonl(outcome.folder / "metrics.jsonl") if r["kind"] == "train"]
    assert rows[-1]["schedule/actor_scale"] == 1.0


@pytest.mark.parametrize("updates_per_step", [0.03, 0.7])
def test_rare_updates_do_not_make_actor_and_learner_wait_for_each_other(
    tmp_path: Path, updates_per_step: float
) -> None:
    rare = (f"learner.updates_per_step={updates_per_step}", "learner.updates_per_call=7", "learner.lead_steps=1")
    chosen = composed(tmp_path, "mode=single", "learner.total_env_steps=60", "learner.clone_updates=4", *rare)
    give_up_s = time.monotonic() + 120.0  # they would wait for ever
    assert train.run(chosen, train.start_run(chosen), lambda: time.monotonic() > give_up_s).complete


def test_recorded_demonstrations_are_used_and_kept(tmp_path: Path) -> None:
    first = trained(tmp_path, "mode=single", "agent=bc", "learner.clone_updates=10", "name=a", "evaluation.episodes=1")
    second = trained(
        tmp_path, "mode=single", "agent=bc", "learner.clone_updates=10", "name=b", "evaluation.episodes=1",
        f"demos={first.folder / 'demos'}",
    )  # fmt: skip
    a, b = ([block for _, _, block in read(o.folder / "demos")] for o in (first, second))
    assert all(np.array_equal(x.actions, y.actions) for x, y in zip(a, b, strict=True))


@pytest.mark.slow
def test_learner_and_two_actors_as_processes(tmp_path: Path) -> None:
    outcome = trained(tmp_path, "actors=2", "learner.total_env_steps=300", "name=two")
    assert outcome.complete
    blocks = list(read(outcome.folder / "replay"))
    streams = {stream for stream, _, _ in blocks}
    assert {stream.partition("/")[0] for stream in streams} == {"actor0", "actor1"}
    for stream in streams:
        seqs = [seq for s, seq, _ in blocks if s == stream]
        assert seqs == list(range(1, len(seqs) + 1))
    starts = [b.states[0].tobytes() for _, _, b in blocks if b.start == 0]
    assert len(set(starts)) == len(starts), "two actors never practise the same start"
    assert outcome.facts["updates"] == 300
    assert (outcome.folder / "latency-actor1.json").is_file()
    assert "joined" in (outcome.folder / "logs" / "learner.log").read_text()
