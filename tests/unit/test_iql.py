"""Implicit Q-learning: what it learns from recorded steps that a clone does not, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.agents.bc import CloningAgent
from robot_rl.agents.config import AgentConfig
from robot_rl.agents.iql import IqlAgent, advantage_weight, expectile_loss
from robot_rl.config import compose
from robot_rl.errors import ConfigError
from robot_rl.learner import Learner, LearnerConfig
from robot_rl.messages import StepBlock
from robot_rl.policy import NumpyPolicy
from robot_rl.replay import DEMO, POLICY
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ObservationSpec, StateField

OBSERVATION = ObservationSpec(state={"x": StateField(size=1, unit="m")})
ACTION = ActionSpec(
    continuous={"move": ContinuousGroup(size=1, unit="m", scale=0.1)},
    discrete={"grip": DiscreteGroup(choices=("open", "close"))},
)
CONFIG = AgentConfig(
    hidden=(32, 32), critics=2, actor_lr=3e-3, critic_lr=3e-3, expectile=0.8, advantage_weight=10.0, clone_lr=3e-3
)


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation() -> Iterator[None]:
    """Compile without optimisation: these programs are tiny, and compiling them takes longest."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def recorded(groups: int, rows: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    """Return steps of somebody who mostly does the wrong thing: a move towards 0 with a closed grip is worth 1."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.0, 1.0, (groups, rows, 1)).astype(np.float32)
    towards, closed = rng.random((groups, rows)) < 0.35, rng.random((groups, rows)) < 0.4
    move = np.where(towards, -0.7, 0.7) * np.sign(x[..., 0])
    action = np.stack([move, np.where(closed, 1.0, -1.0)], axis=-1).astype(np.float32)
    good = towards & closed
    return {
        "state": x, "next_state": x, "action": action, "reward": good.astype(np.float32),
        "discount": np.zeros((groups, rows), np.float32), "demo": np.ones((groups, rows), np.float32),
    }  # fmt: skip


def right(policy: NumpyPolicy) -> float:
    """Return the share of places in which the policy's mode is the good action."""
    places = np.linspace(-1.0, 1.0, 40, dtype=np.float32)
    acted = np.stack([policy.act(np.array([x])) for x in places])
    return float(((np.sign(acted[:, 0]) == -np.sign(places)) & (acted[:, 1] > 0.0)).mean())


def test_it_picks_the_good_seventh_of_what_was_done_where_a_clone_does_what_is_common() -> None:
    agent, clone = IqlAgent(OBSERVATION, ACTION, CONFIG), CloningAgent(OBSERVATION, ACTION, CONFIG)
    state, cloned, info = agent.init(0), clone.init(0), {}
    for i in range(8):
        batches = recorded(50, seed=i)
        state, info = agent.update(state, batches)
        cloned, _ = clone.update(cloned, batches)
    assert right(NumpyPolicy(OBSERVATION, ACTION, agent.policy(state))) > 0.9
    assert right(NumpyPolicy(OBSERVATION, ACTION, clone.policy(cloned))) < 0.2
    assert int(state.step) == 400
    # A seventh of the steps is worth 1: above their mean of 0.14, below the best.
    assert 0.2 < float(info["value_mean"]) < 0.95


def test_values_come_back_through_time() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (60, 64)).astype(np.float32)  # 0 -> 1 -> 2 -> end, where the reward is
    batches = {
        "state": x[..., None], "next_state": x[..., None] + 1.0, "reward": (x == 2).astype(np.float32),
        "discount": np.where(x == 2, 0.0, 0.5).astype(np.float32), "demo": np.zeros((60, 64), np.float32),
        "action": np.tile(np.array([0.3, 1.0], np.float32), (60, 64, 1)),
    }  # fmt: skip
    agent = IqlAgent(OBSERVATION, ACTION, AgentConfig(hidden=(32,), critics=2, critic_lr=1e-2, polyak=0.05))
    state = agent.init(0)
    for _ in range(12):
        state, _ = agent.update(state, batches)
    places = jnp.array([[0.0], [1.0], [2.0]])
    found = agent.value(state.value, agent.actor.normalise(places))[0, :, 0]
    np.testing.assert_allclose(found, [0.25, 0.5, 1.0], atol=0.06)


@pytest.mark.parametrize("expectile", [0.5, 0.9])
def test_the_expectile_of_a_coin_is_where_it_should_be(expectile: float) -> None:
    coin = jnp.array([0.0, 1.0])
    v = jnp.linspace(0.0, 1.0, 1001)
    loss = jax.vmap(lambda one: expectile_loss(coin - one, expectile).mean())(v)
    assert float(v[loss.argmin()]) == pytest.approx(expectile, abs=2e-3)


def test_weights_rise_with_the_advantage_and_are_clipped() -> None:
    weights = advantage_weight(jnp.array([-1.0, 0.0, 1.0, 50.0]), 3.0, 100.0)
    np.testing.assert_allclose(weights, [np.exp(-3.0), 1.0, np.exp(3.0), 100.0], rtol=1e-5)


def block(source: int, episode: int, good: bool) -> StepBlock:
    made = recorded(1, 40, seed=episode)
    action = np.stack([(-1.0 if good else 1.0) * 0.7 * np.sign(made["state"][0, :, 0]), np.ones(40)], axis=1)
    return StepBlock(
        episode=episode, start=0, states=made["state"][0], actions=action.astype(np.float32),
        rewards=np.full(40, float(good), np.float32), sources=np.full(40, source, np.uint8),
        policy_versions=np.zeros(40, np.int64), ended=True, terminated=True, final_state=np.zeros(1, np.float32),
    )  # fmt: skip


def test_a_learner_learns_offline_from_demonstrations_and_earlier_practice() -> None:
    config = LearnerConfig(clone_updates=400, n_step=1, gamma=0.5, demo_fraction=0.5)
    learner = Learner(OBSERVATION, ACTION, config, CONFIG, 0, "iql")
    learner.add_demos([block(DEMO, 0, good=False)])
    for i in range(3):
        learner.warm_up("earlier", block(POLICY, 1 + i, good=True))
    assert list(learner.clone())[-1] == 1.0
    assert right(NumpyPolicy(OBSERVATION, ACTION, learner.policy().weights)) > 0.9, "practice was better than the demos"
    assert learner.env_steps == 0
    assert "value_loss" in learner.metrics()


def test_what_cannot_be_learnt_from_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"demos is 0 and warm_start names no run"):
        compose(["agent=iql", "demos=0"]).settings()
    assert compose(["agent=iql", "demos=0", "warm_start=[mine]"]).settings().algorithm == "iql"
    with pytest.raises(ConfigError, match=r"algorithm is iql, which practises nothing"):
        compose(["agent=iql", "task=bin_relocate", "practice=forward_backward"]).settings()
    with pytest.raises(ConfigError, match=r"agent.expectile is 1.0; allowed: a number between 0 and 1"):
        AgentConfig(expectile=1.0)
