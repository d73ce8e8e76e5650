"""Behaviour cloning: of ordinary, saturated and discrete demonstrations."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import pytest

from robot_rl.agents.bc import CloningAgent
from robot_rl.agents.config import AgentConfig, CloneLoss
from robot_rl.agents.rlpd import Agent
from robot_rl.policy import NumpyPolicy
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ObservationSpec, StateField

OBSERVATION = ObservationSpec(state={"x": StateField(size=2, unit="m", scale=0.5)})
ACTION = ActionSpec(
    continuous={"move": ContinuousGroup(size=2, unit="m", scale=0.1)},
    discrete={"grip": DiscreteGroup(choices=("open", "close"))},
)


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation() -> Iterator[None]:
    """Compile without optimisation: these programs are tiny, and compiling them takes longest."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def demonstrated(gain: float, groups: int, rows: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a proportional expert that saturates at 1 for a large gain, and grips on the right-hand side."""
    x = np.random.default_rng(seed).uniform(-1, 1, (groups, rows, 2)).astype(np.float32)
    move = np.clip(-gain * x, -1.0, 1.0)
    grip = np.where(x[..., :1] > 0.0, 1.0, -1.0)
    action = np.concatenate([move, grip], axis=-1).astype(np.float32)
    return {"state": x, "action": action, "demo": np.ones((groups, rows), np.float32)}


@pytest.mark.parametrize("loss", ["nll", "mse"])
@pytest.mark.parametrize("gain", [0.8, 5.0])
def test_the_clone_acts_like_the_demonstrator_even_where_it_saturates(loss: CloneLoss, gain: float) -> None:
    agent = CloningAgent(OBSERVATION, ACTION, AgentConfig(hidden=(32, 32), bc_loss=loss, clone_lr=3e-3))
    state = agent.init(0)
    losses = []
    for i in range(8):
        state, info = agent.update(state, demonstrated(gain, 100, seed=i))
        losses.append(float(info["bc_loss"]))
    assert losses[-1] < losses[0] - 1.0
    assert int(state.step) == 800
    policy = NumpyPolicy(OBSERVATION, ACTION, agent.policy(state))
    held_out = demonstrated(gain, 1, 200, seed=99)
    acted = np.stack([policy.act(x) for x in held_out["state"][0]])
    error = np.abs(acted[:, :2] - held_out["action"][0][:, :2])
    assert np.median(error) < 0.05
    assert (acted[:, 2] == held_out["action"][0][:, 2]).mean() > 0.95


def test_rows_that_are_not_demonstrated_do_not_count() -> None:
    agent = CloningAgent(OBSERVATION, ACTION, AgentConfig(hidden=(16,)))
    batches = demonstrated(1.0, 3)
    batches["demo"][:, 32:] = 0.0
    spoiled = {**batches, "action": batches["action"].copy()}
    spoiled["action"][:, 32:] = 0.7
    results = [agent.update(agent.init(0), b)[0] for b in (batches, spoiled)]
    for a, b in zip(jax.tree.leaves(results[0].actor), jax.tree.leaves(results[1].actor), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_learner_clones_as_the_baseline_does() -> None:
    config = AgentConfig(hidden=(16, 16), critics=2)
    baseline, agent = CloningAgent(OBSERVATION, ACTION, config), Agent(OBSERVATION, ACTION, config)
    bc, rl = baseline.init(3), agent.init(3)
    for i in range(2):
        bc, _ = baseline.update(bc, demonstrated(1.0, 5, seed=i))
        rl, _ = agent.clone(rl, demonstrated(1.0, 5, seed=i))
    for name, weight in baseline.policy(bc).items():
        np.testing.assert_array_equal(agent.policy(rl)[name], weight)


def test_a_clone_term_keeps_the_actor_at_the_demonstrations() -> None:
    agent = Agent(OBSERVATION, ACTION, AgentConfig(hidden=(32, 32), critics=2, clone_lr=3e-3, actor_lr=1e-3))
    kept = {}
    for weight in (0.0, 5.0):
        state = agent.init(0)
        for i in range(4):
            state, _ = agent.clone(state, demonstrated(1.0, 100, seed=i))
        info = {}
        for i in range(8):
            batches = demonstrated(1.0, 25, seed=50 + i)
            # Rewards that pull away from the demonstrations.
            away = np.abs(batches["action"][..., :2]).sum(-1)
            filled = {"reward": away, "discount": np.zeros_like(away), "next_state": batches["state"]}
            state, info = agent.update(state, batches | filled, {"bc_weight": weight})
        kept[weight] = float(info["bc_loss"])
    assert kept[5.0] < kept[0.0] - 0.5
