"""The scripted operator helps as often, as long and as well as it is told, and repeats for a seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError
from robot_rl.operator_scripted import ScriptedOperator
from robot_rl.robot import RobotState


@pytest.fixture(scope="module")
def env() -> Iterator[RobotEnv]:
    made = make_env(compose(["task=reach"]).settings())
    made.reset(seed=0)
    yield made
    made.close()


def operator(env: RobotEnv, **changes: object) -> ScriptedOperator:
    settings = compose(["operator=scripted", *(f"operator.{k}={v}" for k, v in changes.items())]).settings()
    return settings.operator.make(env.task)


def acted(made: ScriptedOperator, state: RobotState, episodes: int, steps: int) -> np.ndarray:
    """(episodes, steps) whether it acted."""
    out = np.zeros((episodes, steps), bool)
    for i in range(episodes):
        made.begin(i)
        out[i] = [made.read(state).action is not None for _ in range(steps)]
    return out


@pytest.mark.parametrize(("share", "length"), [(0.2, 10.0), (0.5, 4.0)])
def test_it_acts_in_the_set_share_of_steps_and_in_segments(env: RobotEnv, share: float, length: float) -> None:
    rows = acted(operator(env, share=share, segment_steps=length), env.robot_state, 150, 50)
    assert rows.mean() == pytest.approx(share, abs=0.04)
    assert rows[:, 0].mean() == pytest.approx(share, abs=0.1), "short episodes get their share too"
    inner = rows[:, 1:]
    starts = (inner & ~rows[:, :-1]).sum()
    ends = (~inner & rows[:, :-1]).sum()
    assert rows[:, :-1].sum() / ends == pytest.approx(length, rel=0.25)
    assert starts > 0


def test_it_leaves_a_share_of_the_episodes_alone(env: RobotEnv) -> None:
    rows = acted(operator(env, episodes=0.5, share=0.6), env.robot_state, 100, 40)
    assert rows.any(axis=1).mean() == pytest.approx(0.5, abs=0.15)


def test_it_waits_first_and_tapers_off(env: RobotEnv) -> None:
    rows = acted(operator(env, share=0.6, patience_steps=10, until_episode=5), env.robot_state, 10, 40)
    assert not rows[:, :10].any()
    assert rows[:5, 10:].any()
    assert not rows[5:].any()


def test_it_repeats_for_a_seed(env: RobotEnv) -> None:
    def actions(seed: int) -> list[np.ndarray | None]:
        made = operator(env, seed=seed, useless=0.5)
        made.begin(4)
        return [made.read(env.robot_state).action for _ in range(60)]

    for first, second in zip(actions(1), actions(1), strict=True):
        assert (first is None) == (second is None)
        assert first is None or second is None or np.array_equal(first, second)
    assert [a is None for a in actions(1)] != [a is None for a in actions(2)]


def test_a_useless_segment_pushes_in_one_direction(env: RobotEnv) -> None:
    made = operator(env, useless=1.0, share=0.9, segment_steps=1000.0)
    made.begin(0)
    given = [a for _ in range(20) if (a := made.read(env.robot_state).action) is not None]
    assert len(given) > 5
    assert all(np.array_equal(a, given[0]) for a in given)
    assert np.linalg.norm(given[0][:3]) == pytest.approx(0.5)


def test_stuck_means_that_the_tool_does_not_get_on(env: RobotEnv) -> None:
    made = operator(env, when="stuck", stuck_steps=5)
    env.reset(seed=1)
    made.begin(0)
    still = [made.read(env.robot_state).action is not None for _ in range(8)]
    assert still[:5] == [False] * 5
    assert still[5]
    made.begin(0)
    for i in range(20):
        assert made.read(env.robot_state).action is None
        env.step(np.array([0.0, 0.0, -0.5 if i < 10 else 0.5, 0.0, 0.0, 0.0], np.float32))


def test_its_help_solves_the_task(env: RobotEnv) -> None:
    made = operator(env, share=0.95, segment_steps=1000.0)
    solved = 0
    for seed in range(10):
        env.reset(seed=seed)
        made.begin(seed)
        for _ in range(env.task.max_steps):
            given = made.read(env.robot_state).action
            *_, terminated, truncated, _info = env.step(np.zeros(6, np.float32) if given is None else given)
            if terminated or truncated:
                solved += terminated
                break
    assert solved >= 8


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("episodes", 1.5, "operator.episodes is 1.5; it must lie in 0 to 1"),
        ("share", 1.5, "operator.share is 1.5; it must lie in 0 to 1"),
        ("segment_steps", 0.5, "operator.segment_steps is 0.5"),
        ("patience_steps", -1, "operator.patience_steps is -1"),
        ("stuck_m", 0.0, "stuck_m 0.0"),
        ("when", "often", "one of share, stuck"),
    ],
)
def test_a_wrong_setting_is_named(env: RobotEnv, name: str, value: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        operator(env, **{name: value})


def test_a_task_without_an_expert_is_refused_in_words(env: RobotEnv) -> None:
    class Silent:
        name = "silent"

    with pytest.raises(ConfigError, match="silent has no scripted expert"):
        compose(["operator=scripted"]).settings().operator.make(Silent())
