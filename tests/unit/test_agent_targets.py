"""Targets and losses of the agent, recomputed by hand with numpy on tiny networks."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.agents.config import AgentConfig
from robot_rl.agents.rlpd import Agent
from robot_rl.agents.state import AgentState, Noise
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ObservationSpec, StateField

OBSERVATION = ObservationSpec(state={"x": StateField(size=3, unit="m", scale=0.5, offset=(0.1, 0.2, 0.3))})
MOVE = ContinuousGroup(size=2, unit="m", scale=0.05)
PLAIN = ActionSpec(continuous={"move": MOVE})
HYBRID = ActionSpec(continuous={"move": MOVE}, discrete={"grip": DiscreteGroup(choices=("open", "hold", "close"))})
ROWS = 5


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation() -> Iterator[None]:
    """Compile without optimisation: these programs are tiny, and compiling them takes longest."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def make(action_spec: ActionSpec, **settings) -> tuple[Agent, AgentState]:
    agent = Agent(OBSERVATION, action_spec, AgentConfig(hidden=(6,), critics=4, layer_norm=False, **settings))
    state = agent.init(0)
    # A target that differs from the online critics, and heads that are not nearly zero.
    rng = np.random.default_rng(1)
    shake = lambda tree: {k: v + 0.5 * rng.standard_normal(v.shape, np.float32) for k, v in tree.items()}  # noqa: E731
    return agent, state._replace(target=shake(state.target), actor=shake(state.actor))


def batch_of(action_spec: ActionSpec, seed: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    action = np.tanh(draw(1, ROWS, action_spec.size))
    if action_spec.discrete:
        action[..., -1] = np.array([-1.0, 0.0, 1.0, 1.0, 0.0])
    return {
        "state": draw(1, ROWS, 3),
        "next_state": draw(1, ROWS, 3),
        "action": action,
        "reward": draw(1, ROWS),
        "discount": np.array([[0.9, 0.0, 0.9, 0.81, 0.5]], np.float32),
        "demo": np.zeros((1, ROWS), np.float32),
    }


def noise_of(drawn: tuple[int, ...]) -> Noise:
    eps = np.random.default_rng(3).standard_normal((ROWS, 2)).astype(np.float32)
    return Noise(eps, eps, jnp.array(drawn), jnp.array(drawn))


def normalised(state: np.ndarray) -> np.ndarray:
    return (state - OBSERVATION.offset) / OBSERVATION.scale


def numpy_policy(agent: Agent, state: AgentState, x: np.ndarray, eps: np.ndarray):
    """Return sampled actions, their log probability and the log probabilities of the choices."""
    p = agent.actor.net.named(state.actor, 0)
    h = x @ p["w0"] + p.get("b0", 0.0)
    if agent.config.actor_layer_norm:
        h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-6) * p["scale0"]
    out = np.tanh(h + p["shift0"]) @ p["head"] + p["bias"]
    low, high = np.log(agent.config.min_std), np.log(agent.config.max_std)
    std = np.exp(low + 0.5 * (high - low) * (1.0 + np.tanh(out[:, 2:4])))
    u = out[:, :2] + std * eps
    gauss = np.exp(-0.5 * eps**2) / (std * np.sqrt(2.0 * np.pi))
    log_prob = np.log(gauss / (1.0 - np.tanh(u) ** 2)).sum(1)
    logits = out[:, 4:] if agent.actor.choices > 1 else np.zeros((len(x), 1))
    log_choice = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return np.tanh(u), log_prob, log_choice


def numpy_values(agent: Agent, params: dict, x_a: np.ndarray) -> np.ndarray:
    """Return (N, B, K)."""
    out = []
    for i in range(agent.config.critics):
        p = agent.critic.named(params, i)
        out.append(np.tanh(x_a @ p["w0"] + p["shift0"]) @ p["head"] + p["bias"])
    return np.stack(out)


def expected_target(agent: Agent, state: AgentState, batch: dict, noise: Noise) -> np.ndarray:
    next_x = normalised(batch["next_state"][0])
    action, log_prob, log_choice = numpy_policy(agent, state, next_x, np.asarray(noise.next_action))
    q = numpy_values(agent, state.target, np.concatenate([next_x, action], axis=1))
    value = (np.exp(log_choice) * q[np.asarray(noise.drawn)].min(axis=0)).sum(axis=1)
    if agent.config.entropy_backup:
        alpha = np.exp(np.asarray(state.log_temperature))
        value = value - alpha[0] * log_prob - alpha[1] * (np.exp(log_choice) * log_choice).sum(axis=1)
    return batch["reward"][0] + batch["discount"][0] * value


@pytest.mark.parametrize("action_spec", [PLAIN, HYBRID], ids=["plain", "hybrid"])
@pytest.mark.parametrize("backup", [False, True])
@pytest.mark.parametrize("drawn", [(0, 1), (3, 1)])
def test_the_target_is_the_formula(action_spec: ActionSpec, backup: bool, drawn: tuple[int, int]) -> None:
    settings = {"entropy_backup": backup, "init_temperature": 0.7, "init_choice_temperature": 0.3}
    agent, state = make(action_spec, **settings)
    batch, noise = batch_of(action_spec), noise_of(drawn)
    next_x = agent.actor.normalise(batch["next_state"][0])
    y = jax.jit(agent.target_value)(state, batch["reward"][0], batch["discount"][0], next_x, noise)
    np.testing.assert_allclose(y, expected_target(agent, state, batch, noise), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backup", [False, True])
def test_termination_leaves_the_reward_alone_and_a_time_limit_bootstraps(backup: bool) -> None:
    agent, state = make(HYBRID, entropy_backup=backup, init_temperature=0.7)
    batch, noise = batch_of(HYBRID), noise_of((0, 2))
    next_x = agent.actor.normalise(batch["next_state"][0])
    ended = agent.target_value(state, batch["reward"][0], np.zeros(ROWS, np.float32), next_x, noise)
    np.testing.assert_array_equal(ended, batch["reward"][0])
    # A truncated row arrives with its discount, and so counts its next state in full.
    cut = agent.target_value(state, batch["reward"][0], np.full(ROWS, 0.9, np.float32), next_x, noise)
    assert (np.abs(np.asarray(cut) - batch["reward"][0]) > 1e-3).all()


def test_only_the_drawn_critics_enter_the_target() -> None:
    agent, state = make(HYBRID)
    batch, noise = batch_of(HYBRID), noise_of((2, 0))
    next_x = agent.actor.normalise(batch["next_state"][0])
    args = (batch["reward"][0], batch["discount"][0], next_x, noise)
    y = agent.target_value(state, *args)
    broken = {k: jnp.asarray(v).at[jnp.array([1, 3])].set(jnp.nan) for k, v in state.target.items()}
    np.testing.assert_array_equal(agent.target_value(state._replace(target=broken), *args), y)


def test_subsets_are_drawn_without_replacement_and_evenly() -> None:
    agent = Agent(OBSERVATION, PLAIN, AgentConfig(hidden=(6,), critics=5, target_subset=3))
    _, noise = agent._draw_noise(agent.init(0).key, 2000, 1)
    drawn = np.sort(np.asarray(noise.drawn), axis=1)
    assert (np.diff(drawn, axis=1) > 0).all()
    share = np.bincount(drawn.ravel(), minlength=5) / 2000
    np.testing.assert_allclose(share, 0.6, atol=0.05)


@pytest.mark.parametrize("action_spec", [PLAIN, HYBRID], ids=["plain", "hybrid"])
def test_the_critic_loss_counts_the_choice_that_was_taken(action_spec: ActionSpec) -> None:
    agent, state = make(action_spec)
    batch = batch_of(action_spec)
    x_a = np.concatenate([normalised(batch["state"][0]), batch["action"][0][:, :2]], axis=1).astype(np.float32)
    y = np.arange(ROWS, dtype=np.float32)
    choice = action_spec.joint_index(batch["action"][0])
    np.testing.assert_array_equal(agent.actor.choice_of(jnp.asarray(batch["action"][0])), choice)
    _, info = agent._critic_loss(state.critic, jnp.asarray(x_a), jnp.asarray(choice), jnp.asarray(y))
    q = numpy_values(agent, state.critic, x_a)[:, np.arange(ROWS), choice]
    assert float(info["critic_loss"]) == pytest.approx(((q - y) ** 2).mean(), rel=1e-4)


def test_joint_choices_of_several_groups_match_the_specification() -> None:
    grip, mode = DiscreteGroup(choices=("open", "hold", "close")), DiscreteGroup(choices=("slow", "fast"))
    spec = ActionSpec(continuous={"move": MOVE}, discrete={"grip": grip, "mode": mode})
    agent = Agent(OBSERVATION, spec, AgentConfig(hidden=(6,), critics=2))
    actions = np.random.default_rng(0).uniform(-1, 1, (200, spec.size)).astype(np.float32)
    np.testing.assert_array_equal(agent.actor.choice_of(jnp.asarray(actions)), spec.joint_index(actions))
    levels = np.concatenate([np.zeros((6, 2), np.float32), spec.joint_values], axis=1)
    np.testing.assert_array_equal(agent.actor.choice_of(jnp.asarray(levels)), np.arange(6))


@pytest.mark.parametrize("actor_q", ["mean", "min"])
def test_the_actor_climbs_the_expected_value(actor_q: str) -> None:
    agent, state = make(HYBRID, actor_q=actor_q, updates_per_actor_update=1, init_temperature=0.2, critic_lr=1e-12)
    batch = batch_of(HYBRID) | {"demo": np.array([[1, 0, 1, 0, 0]], np.float32)}
    _, noise = agent._draw_noise(jnp.array(state.key), 1, ROWS)
    x = normalised(batch["state"][0])
    action, log_prob, log_choice = numpy_policy(agent, state, x, np.asarray(noise.action[0]))
    q = numpy_values(agent, state.critic, np.concatenate([x, action], axis=1))
    value = (np.exp(log_choice) * (q.min(0) if actor_q == "min" else q.mean(0))).sum(1).mean()
    entropy = -(np.exp(log_choice) * log_choice).sum(1).mean()
    alpha = np.exp(np.asarray(state.log_temperature))
    clone = float(agent.actor.clone_loss(agent.actor(state.actor, x), batch["action"][0], batch["demo"][0]))
    _, info = agent.update(state, batch, {"q_weight": 2.0, "bc_weight": 0.5})
    assert float(info["actor_q"]) == pytest.approx(value, rel=1e-3, abs=1e-5)
    assert float(info["choice_entropy"]) == pytest.approx(entropy, rel=1e-3)
    assert float(info["bc_loss"]) == pytest.approx(clone, rel=1e-4)
    loss = -2.0 * value + 0.5 * clone + alpha[0] * log_prob.mean() - alpha[1] * entropy
    assert float(info["actor_loss"]) == pytest.approx(loss, rel=1e-3, abs=1e-4)
