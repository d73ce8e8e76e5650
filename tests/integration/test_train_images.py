"""A run from pictures, from the demonstrations to the report, with a small trunk that JAX runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trunks import small_trunk

from robot_rl import train
from robot_rl.agents.trunk import jax_trunk
from robot_rl.build import make_env
from robot_rl.config import compose, compose_run
from robot_rl.encoders import encoder
from robot_rl.encoders.program import save_trunk
from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.replay_log import read
from robot_rl.rewards.classifier import load_classifier

TINY = (
    "task=pick_cube", "obs=images", "robot.image_size=16", "obs.views=2", "mode=single", "live=off", "demos=1",
    "agent.hidden=[16,16]", "agent.critics=2", "agent.batch_size=8", "agent.eye_width=8", "agent.eye_masks=2",
    "agent.updates_per_actor_update=1", "learner.updates_per_call=4", "learner.updates_per_step=1",
    "learner.clone_updates=50", "learner.hold_steps=8", "learner.total_env_steps=32", "task.max_steps=60",
    "evaluation.video_episodes=0", "metrics.sinks=[jsonl]", "evaluation.episodes=1", "evaluation.clone_episodes=1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def with_jax(monkeypatch) -> None:
    import jax

    def made(trunk):
        run = jax.jit(jax_trunk(trunk))
        return lambda images: np.asarray(run(images))

    monkeypatch.setattr(encoder, "TorchTrunk", made)


@pytest.mark.gl
def test_a_run_from_pictures_learns_from_features_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = save_trunk(small_trunk(), tmp_path / "small.trunk")
    chosen = compose([*TINY, f"obs.encoder={path}", f"runs={tmp_path}", "name=seen"])
    outcome = train.run(chosen, train.start_run(chosen), lambda: False)
    assert outcome.complete
    assert read_json(outcome.folder / "summary.json")["updates"] == 32
    for folder in ("demos", "replay"):
        for _, _, block in read(outcome.folder / folder):
            assert block.states.shape[1] == 5
            assert block.images["front"].shape[1:] == block.images["wrist"].shape[1:] == (2, 2, 2, 6)
    more = compose_run(outcome.folder, ["learner.total_env_steps=48"])
    train.resume_run(outcome.folder, more)
    again = train.run(more, outcome.folder, lambda: False)
    assert again.complete
    assert read_json(outcome.folder / "summary.json")["updates"] == 48


@pytest.mark.gl
def test_a_classifier_learns_beside_the_policy_and_is_all_that_judges(tmp_path: Path) -> None:
    path = save_trunk(small_trunk(), tmp_path / "small.trunk")
    vice = ("reward=vice", "reward.vice.first_steps=20", "reward.vice.every_steps=10", "reward.vice.steps=2")
    chosen = compose([*TINY, *vice, "reward.vice.batch=16", f"obs.encoder={path}", f"runs={tmp_path}", "name=taught"])
    outcome = train.run(chosen, train.start_run(chosen), lambda: False)
    assert outcome.complete
    made = load_classifier(outcome.folder / "vice.ckpt")
    assert 20 <= made.facts["env_steps"] <= 32
    assert list(made.cameras) == ["front", "wrist"]
    judged = read_json(outcome.folder / "summary.json")["judged"]
    assert judged["evaluation"]["episodes"] == 1
    assert judged["evaluation"]["failures"] + judged["evaluation"]["successes"] > 0, "the twin's truth stands beside"
    rows = [row for row in read_jsonl(outcome.folder / "metrics.jsonl") if "vice/loss" in row]
    assert rows
    assert 0.0 < rows[-1]["vice/goal_probability"] < 1.0


@pytest.mark.gl
def test_a_learner_refuses_the_features_of_another_encoder(tmp_path: Path) -> None:
    from robot_rl.demos import load, record, save
    from robot_rl.errors import CheckpointError

    specs = []
    for seed in (0, 1):
        path = save_trunk(small_trunk(seed), tmp_path / f"{seed}.trunk")
        settings = compose([*TINY, f"obs.encoder={path}"]).settings()
        env = make_env(settings)
        specs.append((env.observation_spec, env.task.action_spec))
        if seed == 0:
            made = record(env, env.task.expert(settings.expert.make()), 1, 0)
            save(tmp_path / "demos", made, env.observation_spec, env.task.action_spec, "pick_cube")
        env.close()
    load(tmp_path / "demos", *specs[0])
    with pytest.raises(CheckpointError, match=r"image front encoder small/0{11}1, the demonstrations have small/0{12}"):
        load(tmp_path / "demos", *specs[1])
