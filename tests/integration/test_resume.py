from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from robot_rl import train
from robot_rl.checkpoint import Checkpoints
from robot_rl.config import compose, compose_run
from robot_rl.errors import ConfigError
from robot_rl.jsonl import last_row, read_json, read_jsonl
from robot_rl.replay_log import read

TINY = (
    "task=reach", "demos=3", "live=off", "agent.hidden=[16,16]", "agent.critics=2", "agent.batch_size=16",
    "agent.updates_per_actor_update=1", "learner.updates_per_call=4", "learner.updates_per_step=1",
    "learner.clone_updates=50", "learner.hold_steps=40", "evaluation.video_episodes=0", "metrics.sinks=[jsonl]",
    "evaluation.episodes=2", "evaluation.clone_episodes=0", "checkpoint.every_s=0.2", "metrics.every_s=0.1",
)  # fmt: skip


def wait_for(what: Callable[[], object], seconds: float = 90.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.02)


def env_steps(folder: Path) -> int:
    return int(last_row(folder / "metrics.jsonl").get("env_steps", 0))


def check_nothing_lost_or_twice(folder: Path) -> None:
    """Check the log: every stream without gaps, every episode's steps once and in order."""
    after: dict[str, int] = {}
    following: dict[tuple[str, int], int] = {}
    for stream, seq, block in read(folder / "replay"):
        assert seq == after.get(stream, 0) + 1
        after[stream] = seq
        key = (stream, block.episode)
        assert block.start == following.get(key, 0)
        following[key] = block.start + block.steps


def test_a_stopped_run_goes_on_with_the_same_curve(tmp_path: Path) -> None:
    composed = compose([*TINY, f"runs={tmp_path}", "name=run", "mode=single", "learner.total_env_steps=400"])
    folder = train.start_run(composed)
    turns = iter(range(10**9))
    assert not train.run(composed, folder, lambda: next(turns) > 250).complete
    stopped = Checkpoints(folder / "checkpoints").newest()
    before = read_jsonl(folder / "metrics.jsonl")[-1]
    assert 0 < stopped.meta["updates"] < 400
    assert not (folder / "summary.json").exists()

    again = compose_run(folder)
    outcome = train.run(again, folder, lambda: False)
    assert outcome.complete
    assert outcome.facts["updates"] == 400
    assert outcome.facts["env_steps"] >= 400
    rows = [r for r in read_jsonl(folder / "metrics.jsonl") if r["kind"] == "train"]
    assert [r["t_s"] for r in rows] == sorted(r["t_s"] for r in rows)
    later = rows[rows.index(before) + 1 :]
    assert all(r["env_steps"] >= before["env_steps"] for r in later)
    assert all(r["updates"] >= stopped.meta["updates"] for r in later)
    check_nothing_lost_or_twice(folder)
    assert {s for s, _, _ in read(folder / "replay")} == {"actor0/session0", "actor0/session1"}
    with pytest.raises(ConfigError, match=r"is complete .* learner\.total_env_steps=800"):
        train.resume_run(folder, compose_run(folder))
    train.resume_run(folder, compose_run(folder, ["learner.total_env_steps=500"]))
    assert compose_run(folder).settings().learner.total_env_steps == 500, "a later resume goes on with it"
    assert read_json(folder / "run.json")["total_env_steps"] == 500


def test_a_resumed_learner_is_bit_for_bit_the_one_that_stopped(tmp_path: Path) -> None:
    composed = compose([*TINY, f"runs={tmp_path}", "name=run", "mode=single", "learner.total_env_steps=200"])
    folder = train.start_run(composed)
    turns = iter(range(10**9))
    train.run(composed, folder, lambda: next(turns) > 150)
    before = Checkpoints(folder / "checkpoints").newest()
    train.run(composed, folder, lambda: True)  # comes back, is told to stop, saves
    after = Checkpoints(folder / "checkpoints").newest()
    assert after.meta == before.meta
    assert {k: v.tobytes() for k, v in after.arrays.items()} == {k: v.tobytes() for k, v in before.arrays.items()}


@pytest.mark.slow
def test_ctrl_c_stops_in_order_and_a_killed_run_resumes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "robot_rl", "train"]
    more = [*TINY, f"runs={tmp_path}", "name=run", "learner.total_env_steps=2500", "learner.updates_per_step=0.5"]
    folder = tmp_path / "run"

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    first = start(*more)
    wait_for(lambda: env_steps(folder) > 200 or first.poll() is not None)
    first.send_signal(signal.SIGINT)
    told, _ = first.communicate(timeout=60)
    assert first.returncode == 130, told
    assert "resume=" in told
    assert "Traceback" not in told
    saved = Checkpoints(folder / "checkpoints").newest().meta
    assert saved["env_steps"] == sum(block.steps for _, _, block in read(folder / "replay"))

    second = start(f"resume={folder}")
    wait_for(lambda: env_steps(folder) > saved["env_steps"] + 200 or second.poll() is not None)
    children = [int(p) for p in Path(f"/proc/{second.pid}/task/{second.pid}/children").read_text().split()]
    for pid in [second.pid, *children]:  # a power cut, as far as processes go
        os.kill(pid, signal.SIGKILL)
    second.communicate(timeout=60)
    steps = sum(block.steps for _, _, block in read(folder / "replay"))
    assert saved["env_steps"] < steps

    third = start(f"resume={folder}")
    told, _ = third.communicate(timeout=120)
    assert third.returncode == 0, told
    summary = read_json(folder / "summary.json")
    assert summary["env_steps"] >= 2500
    assert summary["updates"] == 1250 - 1250 % 4
    check_nothing_lost_or_twice(folder)
    ended = sum(block.ended for _, _, block in read(folder / "replay"))
    assert len(read_jsonl(folder / "episodes.jsonl")) == pytest.approx(ended, abs=2)
