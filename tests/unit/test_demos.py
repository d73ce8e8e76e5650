from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.demos import Demos, load, record, save
from robot_rl.env import RobotEnv
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.messages import SOURCES
from robot_rl.replay_log import read

SETTINGS = compose(["task=reach"]).settings()


@pytest.fixture(scope="module")
def env() -> RobotEnv:
    return make_env(SETTINGS)


@pytest.fixture(scope="module")
def demos(env: RobotEnv) -> Demos:
    return record(env, env.task.expert(SETTINGS.expert.make()), 4, seed=3)


def same(a: Demos, b: Demos) -> bool:
    return len(a.blocks) == len(b.blocks) and all(
        np.array_equal(x.states, y.states) and np.array_equal(x.actions, y.actions) and x.info == y.info
        for x, y in zip(a.blocks, b.blocks, strict=True)
    )


def test_demonstrations_are_whole_successful_episodes_of_the_expert(demos: Demos, env: RobotEnv) -> None:
    assert len(demos.blocks) == len(demos.rows) == 4
    assert demos.tried >= 4
    for i, (block, row) in enumerate(zip(demos.blocks, demos.rows, strict=True)):
        assert block.episode == row["episode"] == i
        assert block.start == 0
        assert block.ended
        assert block.terminated
        assert block.info["success"]
        assert row["source"] == "demo"
        assert row["duration_s"] == pytest.approx(block.steps / env.task.control_hz)
        assert set(block.sources) == {SOURCES.index("demo")}
        assert block.rewards[-1] == 1.0
        assert np.abs(block.actions).max() <= 1.0


def test_a_seed_gives_the_same_demonstrations_and_another_gives_others(env: RobotEnv, demos: Demos) -> None:
    expert = env.task.expert(SETTINGS.expert.make())
    again = record(env, expert, 4, seed=3)
    for a, b in zip(demos.blocks, again.blocks, strict=True):
        assert np.array_equal(a.states, b.states)
        assert np.array_equal(a.actions, b.actions)
    other = record(env, expert, 1, seed=4)
    assert not np.array_equal(other.blocks[0].states[0], demos.blocks[0].states[0])


def test_what_is_saved_comes_back(tmp_path: Path, demos: Demos, env: RobotEnv) -> None:
    spec = (env.observation_spec, env.task.action_spec)
    folder = save(tmp_path / "demos", demos, *spec, "reach")
    back = load(folder, *spec)
    assert same(back, demos)
    assert back.tried == demos.tried
    assert math.isclose(back.median_s, demos.median_s)
    assert [seq for _, seq, _ in read(folder)] == [1, 2, 3, 4]
    assert same(load(tmp_path, *spec), demos), "a run's folder stands for the demonstrations in it"
    with pytest.raises(ConfigError, match="never overwritten"):
        save(folder, demos, *spec, "reach")


def test_those_of_another_task_are_refused_in_words(tmp_path: Path, demos: Demos, env: RobotEnv) -> None:
    save(tmp_path, demos, env.observation_spec, env.task.action_spec, "reach")
    other = compose(["task=pick_cube"]).settings().task.make()
    with pytest.raises(CheckpointError, match="are of task 'reach', another one: "):
        load(tmp_path, other.observation_spec, other.action_spec)


def test_a_folder_without_demonstrations_says_how_to_get_some(tmp_path: Path, env: RobotEnv) -> None:
    with pytest.raises(CheckpointError, match="robot-rl demos"):
        load(tmp_path, env.observation_spec, env.task.action_spec)


def test_an_expert_that_never_succeeds_is_told_of(env: RobotEnv) -> None:
    class Still:
        def reset(self, rng: np.random.Generator) -> None: ...

        def action(self, state: object) -> np.ndarray:
            return np.zeros(env.task.action_spec.size, np.float32)

    with pytest.raises(ConfigError, match="succeeded in 0 of 5 episodes of reach"):
        record(env, Still(), 1, seed=0)
