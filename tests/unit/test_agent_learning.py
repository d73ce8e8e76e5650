"""That an agent learns, in every variant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np
import pytest

from robot_rl.agents.config import AgentConfig
from robot_rl.agents.rlpd import Agent
from robot_rl.policy import NumpyPolicy
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ObservationSpec, StateField

OBSERVATION = ObservationSpec(state={"x": StateField(size=2, unit="m", scale=0.5)})
MOVE = ContinuousGroup(size=2, unit="m", scale=0.1)
PLAIN = ActionSpec(continuous={"move": MOVE})
HYBRID = ActionSpec(continuous={"move": MOVE}, discrete={"grip": DiscreteGroup(choices=("open", "close"))})
SMALL = AgentConfig(hidden=(16, 16), critics=3, critic_lr=3e-3, value_min=-1.0)


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation() -> Iterator[None]:
    """Compile without optimisation: these programs are tiny, and compiling them takes longest."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize(
    "settings",
    [
        {"critic_loss": "hl_gauss", "value_bins": 11, "choice_loss": "project"},
        {"actor_subset": 2, "actor_q": "min"},
        {"normalise_q": True, "activation": "relu", "layer_norm": False, "actor_layer_norm": False},
        {"bc_loss": "mse", "hidden": (16,)},
    ],
)
def test_every_variant_learns_the_value_of_a_terminal_reward(settings: dict) -> None:
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal((10, 16, *shape)).astype(np.float32)  # noqa: E731
    batches = {
        "state": draw(2),
        "next_state": draw(2),
        "action": np.tanh(draw(3)),
        "reward": np.full((10, 16), 0.4, np.float32),
        "discount": np.zeros((10, 16), np.float32),
        "demo": (draw() > 0).astype(np.float32),
    }
    agent = Agent(OBSERVATION, HYBRID, replace(SMALL, **settings))
    state, info = agent.init(0), {}
    for _ in range(25):
        state, info = agent.update(state, batches, {"bc_weight": 1.0})
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert all(np.isfinite(float(v)) for v in info.values())
    assert float(info["q_mean"]) == pytest.approx(0.4, abs=0.05)


def reach_and_grip(x: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move points; done within 0.25 of the origin and, where there is a gripper, closed; closing elsewhere costs."""
    after = np.clip(x + 0.25 * a[:, :2], -1.0, 1.0).astype(np.float32)
    near = np.linalg.norm(after, axis=1) < 0.25
    grips = a[:, 2] > 0.0 if a.shape[1] > 2 else np.ones(len(x), bool)
    done = near & grips
    return after, np.where(done, 1.0, -0.2 * (grips & (a.shape[1] > 2))), done


@pytest.mark.parametrize(
    ("action_spec", "settings"),
    [(PLAIN, {}), (HYBRID, {"init_choice_temperature": 0.1}), (HYBRID, {"choice_loss": "project"})],
    ids=["plain", "hybrid", "hybrid-project"],
)
def test_a_point_learns_to_reach_the_origin_and_to_grip_only_there(action_spec: ActionSpec, settings: dict) -> None:
    rng = np.random.default_rng(0)
    n = 6000
    x = rng.uniform(-1, 1, (n, 2)).astype(np.float32)
    a = rng.uniform(-1, 1, (n, action_spec.size)).astype(np.float32)
    a[:, 2:] = rng.choice([-1.0, 1.0], (n, action_spec.size - 2))
    after, reward, done = reach_and_grip(x, a)
    data = {
        "state": x,
        "action": a,
        "next_state": after,
        "reward": reward.astype(np.float32),
        "discount": np.where(done, 0.0, 0.9).astype(np.float32),
        "demo": np.zeros(n, np.float32),
    }
    rates = {"critic_lr": 3e-3, "actor_lr": 1e-3, "polyak": 0.02, "updates_per_actor_update": 2}
    agent = Agent(OBSERVATION, action_spec, AgentConfig(hidden=(32, 32), critics=2, **rates, **settings))
    state = agent.init(0)
    for _ in range(50):
        rows = rng.integers(n, size=(25, 128))
        state, _ = agent.update(state, {k: v[rows] for k, v in data.items()}, {})
    policy = NumpyPolicy(OBSERVATION, action_spec, agent.policy(state))
    x = rng.uniform(-1, 1, (50, 2)).astype(np.float32)
    solved, early = np.zeros(50, bool), np.zeros(50, int)
    for _ in range(12):
        x, reward, done = reach_and_grip(x, np.stack([policy.act(row) for row in x]))
        early += ~solved & (reward < 0)
        solved |= done
    assert solved.mean() >= 0.9
    assert early.mean() <= 0.2
