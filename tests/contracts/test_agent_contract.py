"""What every agent promises: this suite, and not a docstring, defines `LearningAgent`."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from robot_rl.agents.bc import CloningAgent
from robot_rl.agents.compiling import enable_compilation_cache
from robot_rl.agents.config import AgentConfig
from robot_rl.agents.iql import IqlAgent
from robot_rl.agents.protocol import LearningAgent
from robot_rl.agents.rlpd import Agent
from robot_rl.agents.trees import export, restore
from robot_rl.messages import Policy
from robot_rl.policy import NumpyPolicy
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ObservationSpec, StateField

OBSERVATION = ObservationSpec(state={"x": StateField(size=4, unit="m", scale=0.1, offset=(0.5, 0, 0, 0))})
MOVE = ContinuousGroup(size=2, unit="m", scale=0.1)
GRIP = DiscreteGroup(choices=("open", "close"))
ACTIONS = {
    "continuous": ActionSpec(continuous={"move": MOVE}),
    "hybrid": ActionSpec(continuous={"move": MOVE}, discrete={"grip": GRIP}),
    "discrete": ActionSpec(continuous={}, discrete={"grip": GRIP}),
}
CONFIG = AgentConfig(hidden=(8, 8), critics=3)


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation() -> Iterator[None]:
    """Compile without optimisation: these programs are tiny, and compiling them takes longest."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(params=[Agent, CloningAgent, IqlAgent])
def kind(request: pytest.FixtureRequest) -> type:
    return request.param


@pytest.fixture(params=list(ACTIONS))
def action_spec(request: pytest.FixtureRequest) -> ActionSpec:
    return ACTIONS[request.param]


@pytest.fixture
def agent(kind: type, action_spec: ActionSpec) -> LearningAgent:
    return made(kind, tuple(ACTIONS.values()).index(action_spec))


@functools.cache
def made(kind: type, action: int) -> LearningAgent:
    """Return an agent that tests share, so that each program is compiled once. Agents keep no state."""
    return kind(OBSERVATION, tuple(ACTIONS.values())[action], CONFIG)


@pytest.fixture
def batches(action_spec: ActionSpec) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal((4, 6, *shape)).astype(np.float32)  # noqa: E731
    return {
        "state": draw(4),
        "next_state": draw(4),
        "action": np.tanh(draw(action_spec.size)),
        "reward": draw(),
        "discount": np.full((4, 6), 0.9, np.float32),
        "demo": np.ones((4, 6), np.float32),
    }


def test_updates_are_deterministic_and_change_the_policy(agent: LearningAgent, batches: dict) -> None:
    first = agent.policy(agent.init(0))
    runs = [agent.update(agent.init(0), batches, {}) for _ in range(2)]
    a, b = (agent.policy(state) for state, _ in runs)
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert any(not np.array_equal(first[k], a[k]) for k in a)
    assert all(np.isfinite(float(v)) and np.ndim(v) == 0 for v in runs[0][1].values())


def test_seeds_differ(agent: LearningAgent) -> None:
    a, b = agent.policy(agent.init(0)), agent.policy(agent.init(1))
    assert not np.array_equal(a["w0"], b["w0"])


def test_the_policy_acts_and_is_a_copy(agent: LearningAgent, action_spec: ActionSpec, batches: dict) -> None:
    state = agent.init(0)
    weights = agent.policy(state)
    kept = {k: v.copy() for k, v in weights.items()}
    agent.update(state, batches, {})
    assert all(np.array_equal(weights[k], kept[k]) for k in kept)
    assert all(v.dtype == np.float32 for v in weights.values())
    policy = NumpyPolicy(OBSERVATION, action_spec, weights)
    policy.load(Policy(version=1, weights=weights))
    for rng in (None, np.random.default_rng(0)):
        action = policy.act(np.zeros(4, np.float32), rng)
        assert action.shape == (action_spec.size,)
        assert (np.abs(action) <= 1.0).all()


def test_a_state_goes_through_plain_arrays_and_back(agent: LearningAgent, batches: dict) -> None:
    state, _ = agent.update(agent.init(0), batches, {})
    again = restore(agent.init(1), export(state))
    one, two = (agent.update(s, batches, {})[0] for s in (state, again))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_compiled_programs_are_kept_only_when_asked(tmp_path: Path) -> None:
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in (*names, "jax_persistent_cache_min_entry_size_bytes")}
    assert before["jax_compilation_cache_dir"] is None
    try:
        enable_compilation_cache(tmp_path / "cache")
        assert (tmp_path / "cache").is_dir()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "cache")
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
