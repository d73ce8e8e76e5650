"""The numpy policy acts as the actor in JAX does, and refuses weights of another task."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.agents.config import Activation, AgentConfig
from robot_rl.agents.rlpd import Agent
from robot_rl.errors import SpecError
from robot_rl.messages import Policy
from robot_rl.policy import NumpyPolicy
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ObservationSpec, StateField

OBSERVATION = ObservationSpec(
    state={
        "p": StateField(size=3, unit="m", scale=0.1, offset=(0.5, 0.0, 0.2)),
        "v": StateField(size=4, unit="m/s", scale=0.7),
    }
)
MOVE = ContinuousGroup(size=3, unit="m", scale=0.1)
GRIP = DiscreteGroup(choices=("open", "hold", "close"))
PLAIN = ActionSpec(continuous={"move": MOVE})
HYBRID = ActionSpec(continuous={"move": MOVE}, discrete={"grip": GRIP, "mode": DiscreteGroup(choices=("a", "b"))})


def agent_of(action_spec: ActionSpec, **overrides) -> tuple[Agent, dict[str, np.ndarray]]:
    agent = Agent(OBSERVATION, action_spec, AgentConfig(hidden=(32, 24), critics=2, **overrides))
    rng = np.random.default_rng(0)
    state = agent.init(0)
    state = state._replace(
        actor={k: v + 0.3 * rng.standard_normal(v.shape, np.float32) for k, v in state.actor.items()}
    )
    return agent, agent.policy(state)


@pytest.mark.parametrize("action_spec", [PLAIN, HYBRID], ids=["plain", "hybrid"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("norm", [True, False])
def test_the_mode_is_the_actors(action_spec: ActionSpec, activation: Activation, norm: bool) -> None:
    agent, weights = agent_of(action_spec, activation=activation, actor_layer_norm=norm)
    policy = NumpyPolicy(OBSERVATION, action_spec, weights)
    params = {k: jnp.asarray(v) for k, v in pack(agent, weights).items()}
    states = np.random.default_rng(1).standard_normal((50, 7)).astype(np.float32)
    out = agent.actor(params, agent.actor.normalise(jnp.asarray(states)))
    acted = np.stack([policy.act(s) for s in states])
    np.testing.assert_allclose(acted[:, :3], np.tanh(out.mean), atol=1e-5)
    choice = np.asarray(out.log_choice).argmax(axis=1)
    np.testing.assert_array_equal(acted[:, 3:], action_spec.joint_values[choice])


def pack(agent: Agent, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    net = agent.actor.net
    vectors = np.concatenate([weights[name] for name in net.vectors])
    w0 = np.concatenate([weights["w0"], weights["b0"][None]]) if net.norm else weights["w0"]
    return {"w0": w0[None], "w1": weights["w1"][None], "head": weights["head"][None], "vectors": vectors[None]}


def test_samples_have_the_actors_distribution() -> None:
    agent, weights = agent_of(HYBRID)
    policy = NumpyPolicy(OBSERVATION, HYBRID, weights)
    state = np.array([0.5, 0.1, 0.2, 0.1, 0.0, -0.1, 0.2], np.float32)
    params = {k: jnp.asarray(v) for k, v in pack(agent, weights).items()}
    out = agent.actor(params, agent.actor.normalise(jnp.asarray(state[None])))
    rng = np.random.default_rng(0)
    acted = np.stack([policy.act(state, rng) for _ in range(4000)])
    u = np.arctanh(np.clip(acted[:, :3].astype(np.float64), -1 + 1e-7, 1 - 1e-7))
    std = np.exp(np.asarray(out.log_std[0]))
    inside = np.abs(np.asarray(out.mean[0])) + 3 * std < 6.0  # where float32 still tells tanh from 1
    np.testing.assert_allclose(np.median(u, axis=0)[inside], np.asarray(out.mean[0])[inside], atol=0.1)
    np.testing.assert_allclose(np.std(u, axis=0)[inside], std[inside], rtol=0.1)
    share = np.bincount(HYBRID.joint_index(acted), minlength=6) / 4000
    np.testing.assert_allclose(share, np.exp(out.log_choice[0]), atol=0.04)


def test_noise_scale_scales_the_spread_and_zero_is_the_mode() -> None:
    _, weights = agent_of(PLAIN, init_std=0.1, max_std=0.2)
    state = np.array([0.5, 0.0, 0.2, 0, 0, 0, 0], np.float32)
    spread = {}
    for scale in (0.0, 0.5, 1.0):
        policy = NumpyPolicy(OBSERVATION, PLAIN, weights, noise_scale=scale)
        rng = np.random.default_rng(0)
        spread[scale] = np.arctanh(np.stack([policy.act(state, rng) for _ in range(200)])).std(axis=0)
    np.testing.assert_allclose(spread[0.0], 0.0, atol=1e-5)
    np.testing.assert_allclose(spread[0.5], 0.5 * spread[1.0], rtol=0.02)


@given(state=st.lists(st.floats(-1e6, 1e6, width=32), min_size=7, max_size=7), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_actions_are_legal_for_any_state(state: list[float], seed: int) -> None:
    _, weights = WEIGHTS
    policy = NumpyPolicy(OBSERVATION, HYBRID, weights)
    for rng in (None, np.random.default_rng(seed)):
        action = policy.act(np.array(state, np.float32), rng)
        assert action.shape == (5,)
        assert action.dtype == np.float32
        assert (np.abs(action) <= 1.0).all()
        assert any(np.array_equal(action[3:], row) for row in HYBRID.joint_values)


WEIGHTS = agent_of(HYBRID)


def test_actions_are_not_overwritten_by_later_ones() -> None:
    policy = NumpyPolicy(OBSERVATION, HYBRID, WEIGHTS[1])
    first = policy.act(np.zeros(7, np.float32))
    kept = first.copy()
    policy.act(np.ones(7, np.float32))
    np.testing.assert_array_equal(first, kept)


def test_loading_newer_weights_changes_the_action_and_the_version() -> None:
    _, weights = WEIGHTS
    policy = NumpyPolicy(OBSERVATION, HYBRID, weights)
    state = np.zeros(7, np.float32)
    before = policy.act(state)
    policy.load(Policy(version=7, weights={**weights, "bias": weights["bias"] + 1.0}))
    assert policy.version == 7
    assert not np.allclose(policy.act(state)[:3], before[:3])


def test_unfit_weights_are_refused_and_the_old_ones_go_on_acting() -> None:
    _, weights = WEIGHTS
    policy = NumpyPolicy(OBSERVATION, HYBRID, weights)
    before = policy.act(np.zeros(7, np.float32))
    bad = [
        ({k: v for k, v in weights.items() if k != "shift1"}, "lack"),
        ({**weights, "extra": np.zeros(3, np.float32)}, "unknown"),
        ({**weights, "w0": weights["w0"][:-1]}, r"'w0' has shape \(6, 32\)"),
        ({**weights, "head": weights["head"][:, :-1]}, "'head'"),
        ({**weights, "bias": np.full_like(weights["bias"], np.nan)}, "not finite"),
        ({**weights, "w1": np.float32(1.0)}, "policy weight"),
        ({}, "w0"),
    ]
    for unfit, message in bad:
        with pytest.raises(SpecError, match=message):
            policy.load(Policy(version=9, weights=unfit))
    assert policy.version == 0
    np.testing.assert_array_equal(policy.act(np.zeros(7, np.float32)), before)


def test_a_state_of_the_wrong_size_is_refused() -> None:
    policy = NumpyPolicy(OBSERVATION, HYBRID, WEIGHTS[1])
    with pytest.raises(SpecError, match=r"\(7,\)"):
        policy.act(np.zeros(6, np.float32))
