"""Whole runs with a scripted person: they learn, they come back after a kill, and they begin where others ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robot_rl import train
from robot_rl.cli import main
from robot_rl.config import compose, compose_run
from robot_rl.errors import CheckpointError
from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.link_local import local_link
from robot_rl.messages import SOURCES
from robot_rl.replay_log import read
from robot_rl.train_learner import LearnerRun

HUMAN = SOURCES.index("human")
TINY = (
    "task=reach", "mode=single", "demos=2", "live=off", "agent.hidden=[16,16]", "agent.critics=2",
    "agent.batch_size=16", "agent.updates_per_actor_update=1", "learner.updates_per_call=4",
    "learner.updates_per_step=1", "learner.clone_updates=50", "learner.hold_steps=40", "evaluation.video_episodes=0",
    "evaluation.episodes=2", "evaluation.clone_episodes=0", "metrics.sinks=[jsonl]",
)  # fmt: skip


def begin(tmp_path: Path, name: str, *more: str, stop_after: int = 10**9) -> Path:
    composed = compose([*TINY, f"runs={tmp_path}", f"name={name}", *more])
    folder = train.start_run(composed)
    train.run(composed, folder, after(stop_after))
    return folder


def after(turns: int) -> Callable[[], bool]:
    left = iter(range(10**9))
    return lambda: next(left) > turns


def learner_of(folder: Path) -> LearnerRun:
    """Return a run's learner as a restart makes it."""
    settings = compose_run(folder).settings()
    task = settings.task.make()
    run = LearnerRun(
        folder, settings, (task.observation_spec, task.action_spec), 0.1, lambda last_seq: local_link(session="x")[1]
    )
    assert run.prepare()
    return run


@pytest.fixture(scope="module")
def helped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that a person helps, stopped half-way."""
    more = ("operator=scripted", "operator.share=0.4", "learner.total_env_steps=300")
    return begin(tmp_path_factory.mktemp("runs"), "helped", *more, stop_after=200)


def test_a_helped_run_comes_back_with_every_step_of_the_person(helped: Path) -> None:
    sources = [block.sources for _, _, block in read(helped / "replay")]
    human = int((np.concatenate(sources) == HUMAN).sum())
    assert human > 20
    demonstrated = sum(int(row["steps"]) for row in read_jsonl(helped / "demos" / "episodes.jsonl"))
    run = learner_of(helped)
    # The person's last step may still wait for what it led to.
    assert demonstrated + human - 1 <= len(run.learner.replay.demos) <= demonstrated + human
    assert run.learner.env_steps == sum(map(len, sources))
    run.close()
    outcome = train.run(compose_run(helped), helped, lambda: False)
    assert outcome.complete
    rows = read_jsonl(helped / "episodes.jsonl")
    told = sum(int(row.get("human_steps", 0)) for row in rows)
    logged = [block for _, _, block in read(helped / "replay")]
    ended = {(s, b.episode) for s, _, b in read(helped / "replay") if b.ended}
    inside = sum(
        int((b.sources == HUMAN).sum()) for s, _, b in read(helped / "replay") if (s, b.episode) in ended
    )  # fmt: skip
    assert told == inside
    assert {len(b.sources) == b.steps for b in logged} == {True}
    assert all(row["source"] == ("human" if row["intervened"] else "policy") for row in rows)


def test_a_warm_start_fills_the_replay_and_is_no_practice(helped: Path) -> None:
    earlier = sum(block.steps for _, _, block in read(helped / "replay"))
    folder = begin(helped.parent, "warm", f"warm_start=[{helped}]", "learner.total_env_steps=120", stop_after=60)
    steps = sum(block.steps for _, _, block in read(folder / "replay"))
    assert 0 < steps < 120
    run = learner_of(folder)
    assert run.learner.env_steps == steps
    assert run.learner.replay.online.steps_total == pytest.approx(earlier + steps)
    run.close()
    assert len(read_jsonl(folder / "episodes.jsonl")) < len(read_jsonl(helped / "episodes.jsonl"))
    assert train.run(compose_run(folder), folder, lambda: False).complete, "it resumes with the same beginning"
    assert read_json(folder / "summary.json")["env_steps"] < 200


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("task=pick_cube", "warm_start=[{run}]"), "practised the task 'reach', this run 'pick_cube'"),
        (("warm_start=[{runs}/nowhere]",), "nowhere"),
    ],
)
def test_a_run_of_another_task_warms_nothing(
    helped: Path, change: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [text.format(run=helped, runs=helped.parent) for text in change]
    assert main(["train", *TINY, f"runs={helped.parent}", "name=refused", *words]) != 0
    told = "".join(capsys.readouterr())
    assert sentence in told
    assert "Traceback" not in told
    assert not (helped.parent / "refused").exists()


def test_a_run_that_practised_nothing_is_refused(tmp_path: Path) -> None:
    empty = train.start_run(compose([*TINY, f"runs={tmp_path}", "name=empty"]))
    with pytest.raises(CheckpointError, match="holds no practice to begin with"):
        begin(tmp_path, "next", f"warm_start=[{empty}]")


@pytest.mark.slow
def test_hgdagger_learns_from_a_persons_steps_what_three_demonstrations_do_not_teach(tmp_path: Path) -> None:
    folder = begin(
        tmp_path, "dagger", "agent=hgdagger", "operator=scripted", "operator.share=0.5", "agent.hidden=[64,64]",
        "agent.batch_size=64", "learner.clone_updates=150", "learner.total_env_steps=2000",
        "learner.updates_per_step=2", "evaluation.episodes=30", "evaluation.clone_episodes=30", "seed=3",
    )  # fmt: skip
    facts = read_json(folder / "summary.json")
    assert facts["algorithm"] == "hgdagger"
    assert facts["successes"] >= facts["clone_successes"] + 8
    columns = {name for row in read_jsonl(folder / "metrics.jsonl") for name in row}
    assert "actor/bc_nll" in columns
    assert "critic/loss" not in columns, "there are no critics to learn"
