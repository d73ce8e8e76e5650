"""What an update moves, what it leaves alone and what it refuses."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np
import pytest

from robot_rl.agents import networks
from robot_rl.agents.config import AgentConfig
from robot_rl.agents.rlpd import Agent
from robot_rl.agents.trees import export, restore
from robot_rl.errors import CheckpointError, ConfigError, SpecError
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ObservationSpec, StateField

OBSERVATION = ObservationSpec(state={"x": StateField(size=2, unit="m", scale=0.5)})
MOVE = ContinuousGroup(size=2, unit="m", scale=0.1)
PLAIN = ActionSpec(continuous={"move": MOVE})
HYBRID = ActionSpec(continuous={"move": MOVE}, discrete={"grip": DiscreteGroup(choices=("open", "close"))})
SMALL = AgentConfig(hidden=(16, 16), critics=3)
QUIET = {"updates_per_actor_update": 3, "target_subset": 3, "min_std": 1e-7, "init_std": 1.1e-7, "max_std": 1.2e-7}


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation() -> Iterator[None]:
    """Compile without optimisation: these programs are tiny, and compiling them takes longest."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@functools.cache
def agent_of(action_spec_name: str, **settings) -> Agent:
    """Return an agent that tests share, so that each program is compiled once. Agents keep no state."""
    spec = {"plain": PLAIN, "hybrid": HYBRID}[action_spec_name]
    return Agent(OBSERVATION, spec, replace(SMALL, **settings))


def batches_of(action_spec: ActionSpec, groups: int, rows: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.standard_normal((groups, rows, *shape)).astype(np.float32)  # noqa: E731
    return {
        "state": draw(2),
        "next_state": draw(2),
        "action": np.tanh(draw(action_spec.size)),
        "reward": draw(),
        "discount": np.full((groups, rows), 0.95, np.float32),
        "demo": (draw() > 0).astype(np.float32),
    }


def snapshot(tree) -> list[np.ndarray]:
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_held_actor_and_its_optimisers_stay_bit_identical() -> None:
    agent = agent_of("hybrid")
    state, _ = agent.update(agent.init(0), batches_of(HYBRID, 4), {})
    pick = lambda s: (s.actor, s.actor_opt, s.log_temperature, s.temperature_opt, s.clone_opt)  # noqa: E731
    before, critic = snapshot(pick(state)), snapshot(state.critic)
    state, info = agent.update(state, batches_of(HYBRID, 4, seed=1), {"actor_scale": 0.0, "bc_weight": 3.0})
    assert same(before, snapshot(pick(state)))
    assert not same(critic, snapshot(state.critic))
    assert float(info["actor_updates"]) == 0.0


def test_the_actor_moves_once_per_so_many_critic_updates_whatever_the_group() -> None:
    agent = agent_of("plain", **QUIET)
    state, done = agent.init(0), 0.0
    for groups in (4, 1, 1, 4):
        before = snapshot(state.actor)
        state, info = agent.update(state, batches_of(PLAIN, groups), {})
        assert same(before, snapshot(state.actor)) == (float(info["actor_updates"]) == 0.0)
        done += float(info["actor_updates"])
    assert (int(state.step), done) == (10, 3.0)


def test_actor_scale_scales_the_step() -> None:
    agent = agent_of("plain", updates_per_actor_update=1)
    steps = []
    for scale in (1.0, 0.25):
        state = agent.init(0)
        before = snapshot(state.actor)
        state, _ = agent.update(state, batches_of(PLAIN, 1), {"actor_scale": scale})
        steps.append(np.concatenate([(b - a).ravel() for a, b in zip(before, snapshot(state.actor), strict=True)]))
    np.testing.assert_allclose(steps[1], 0.25 * steps[0], atol=1e-6)


def test_cloning_moves_the_actor_alone() -> None:
    agent = agent_of("hybrid")
    state = agent.init(0)
    rest = lambda s: s._replace(actor=None, clone_opt=None)  # noqa: E731
    before, actor = snapshot(rest(state)), snapshot(state.actor)
    state, _ = agent.clone(state, batches_of(HYBRID, 5))
    assert same(before, snapshot(rest(state)))
    assert not same(actor, snapshot(state.actor))


def test_the_target_follows_by_polyak_averaging() -> None:
    agent = agent_of("plain", updates_per_actor_update=1)
    state = agent.init(0)
    state = state._replace(target=jax.tree.map(lambda v: v + 1.0, state.target))
    old = snapshot(state.target)
    state, _ = agent.update(state, batches_of(PLAIN, 1), {})
    tau = SMALL.polyak
    for before, online, after in zip(old, snapshot(state.critic), snapshot(state.target), strict=True):
        np.testing.assert_allclose(after, (1.0 - tau) * before + tau * online, atol=1e-6)


def test_the_first_critic_step_is_adams() -> None:
    # Adam's first step is the learning rate times the sign of the gradient, wherever there is one.
    agent = agent_of("plain", updates_per_actor_update=1)
    state = agent.init(0)
    before = np.array(state.critic["w0"])
    state, _ = agent.update(state, batches_of(PLAIN, 1), {})
    np.testing.assert_allclose(np.abs(np.asarray(state.critic["w0"]) - before), SMALL.critic_lr, rtol=0.05)


@pytest.mark.parametrize(("std", "falls"), [(1.9, True), (0.021, False)])
def test_a_temperature_falls_when_there_is_more_entropy_than_wanted(std: float, falls: bool) -> None:
    agent = agent_of("hybrid")
    state = agent.init(0)
    bias = agent.actor.net.vectors["bias"].start
    raw = networks.raw_of_std(std, SMALL.min_std, SMALL.max_std)
    state.actor["vectors"] = state.actor["vectors"].at[0, bias + 2 : bias + 4].set(raw)
    state.actor["vectors"] = state.actor["vectors"].at[0, bias + 4].set(0.0 if falls else 9.0)
    before = np.array(state.log_temperature)
    state, info = agent.update(state, batches_of(HYBRID, 4), {})
    assert (float(info["entropy"]) > -1.0) == falls
    assert ((np.asarray(state.log_temperature) < before) == falls).all()


def test_members_of_the_ensemble_are_and_stay_different() -> None:
    agent = agent_of("plain")
    state, info = agent.update(agent.init(0), batches_of(PLAIN, 4), {})
    assert all(np.std(np.asarray(state.critic[k]), axis=0).max() > 1e-4 for k in ("w0", "w1", "head"))
    assert float(info["q_std"]) > 0.0


def test_one_call_of_several_updates_is_several_calls_of_one() -> None:
    # All critics are drawn and actions hardly vary, so that the grouping of random numbers does not matter.
    agent, batches, held = agent_of("plain", **QUIET), batches_of(PLAIN, 4), {"actor_scale": 0.0}
    together, _ = agent.update(agent.init(0), batches, held)
    apart = agent.init(0)
    for g in range(4):
        apart, _ = agent.update(apart, {k: v[g : g + 1] for k, v in batches.items()}, held)
    for a, b in zip(snapshot(together.critic), snapshot(apart.critic), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_schedule_does_not_compile_anew() -> None:
    agent = agent_of("plain")
    state, _ = agent.update(agent.init(0), batches_of(PLAIN, 4), {})
    compiled = agent._update._cache_size()
    for weight in (0.0, 0.5, 2.0):
        state, _ = agent.update(state, batches_of(PLAIN, 4), {"bc_weight": weight, "actor_scale": weight})
    assert agent._update._cache_size() == compiled


def test_the_state_that_was_passed_is_given_up() -> None:
    agent = agent_of("plain")
    old = agent.init(0)
    new, _ = agent.update(old, batches_of(PLAIN, 4), {})
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.critic))
    assert all(not leaf.is_deleted() for leaf in jax.tree.leaves(new))


def test_buffers_do_not_pile_up() -> None:
    agent = agent_of("plain")
    state, info = agent.update(agent.init(0), batches_of(PLAIN, 4), {})
    count = len(jax.live_arrays())
    for _ in range(5):
        state, info = agent.update(state, batches_of(PLAIN, 4), {})
    assert len(jax.live_arrays()) <= count
    assert np.isfinite(float(info["critic_loss"]))


def test_normalised_values_make_the_actor_indifferent_to_the_scale_of_rewards() -> None:
    agent = Agent(
        OBSERVATION, PLAIN, replace(SMALL, normalise_q=True, init_temperature=1e-9, updates_per_actor_update=1)
    )
    moved = []
    for scale in (1.0, 100.0):
        state = agent.init(0)
        head = {k: state.critic[k] * scale if k == "head" else state.critic[k] for k in state.critic}
        before = np.array(state.actor["w0"])
        state, _ = agent.update(state._replace(critic=head), batches_of(PLAIN, 1), {"bc_weight": 1.0})
        moved.append(np.asarray(state.actor["w0"]) - before)
    np.testing.assert_allclose(moved[0], moved[1], atol=2e-5)


def test_a_restored_agent_continues_exactly_and_another_is_refused() -> None:
    agent = agent_of("hybrid")
    state, _ = agent.update(agent.init(0), batches_of(HYBRID, 4), {})
    stored = export(state)
    assert all(isinstance(v, np.ndarray) for v in stored.values())
    again = restore(agent.init(5), stored)
    one, _ = agent.update(state, batches_of(HYBRID, 4, seed=1), {})
    two, _ = agent.update(again, batches_of(HYBRID, 4, seed=1), {})
    assert same(snapshot(one), snapshot(two))
    assert same(list(stored.values()), list(export(restore(agent.init(1), stored)).values()))
    with pytest.raises(CheckpointError, match="resume with the settings"):
        restore(agent_of("plain").init(0), stored)
    with pytest.raises(CheckpointError, match="lacks"):
        restore(agent.init(0), {k: v for k, v in stored.items() if "target" not in k})


def test_wrong_batches_and_schedules_are_refused_by_name() -> None:
    agent = agent_of("plain")
    state, batches = agent.init(0), batches_of(PLAIN, 4)
    with pytest.raises(SpecError, match=r"lack \['demo'\]"):
        agent.update(state, {k: v for k, v in batches.items() if k != "demo"}, {})
    with pytest.raises(SpecError, match=r"'action'\] has shape"):
        agent.update(state, batches | {"action": batches["action"][..., :1]}, {})
    with pytest.raises(ConfigError, match="Did you mean 'actor_scale'"):
        agent.update(state, batches, {"actor_scal": 1.0})
    with pytest.raises(ConfigError, match="at least 0"):
        agent.update(state, batches, {"bc_weight": -1.0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": -1}, "batch_size is -1"),
        ({"critics": 2, "target_subset": 3}, "target_subset is 3"),
        ({"hidden": ()}, "hidden"),
        ({"polyak": 0.0}, "polyak"),
        ({"actor_lr": float("nan")}, "actor_lr"),
        ({"activation": "tahn"}, "Did you mean 'tanh'"),
        ({"init_std": 5.0}, "init_std"),
        ({"actor_subset": 11}, "actor_subset"),
        ({"bc_clip": 1.0}, "bc_clip"),
        ({"layer_norm": "yes"}, "true or false"),
        ({"critic_loss": "hl_gauss", "value_max": -1.0}, "value_max"),
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AgentConfig(**settings)
