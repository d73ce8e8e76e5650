"""What an agent sees of features: SERL's spatial embeddings, alike in JAX and numpy, each with the right gradient."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.agents.bc import CloningAgent
from robot_rl.agents.config import AgentConfig
from robot_rl.agents.eyes import EYES, Eyes, without_eyes
from robot_rl.agents.rlpd import Agent
from robot_rl.errors import SpecError
from robot_rl.messages import Policy
from robot_rl.policy import NumpyPolicy
from robot_rl.specs import (
    FEATURE_OFFSET,
    FEATURE_SCALE,
    ActionSpec,
    ContinuousGroup,
    DiscreteGroup,
    FeatureField,
    ImageField,
    ObservationSpec,
    StateField,
)
from robot_rl.wire import decode, encode

FRONT = FeatureField(views=3, height=2, width=3, channels=5)
WRIST = FeatureField(views=2, height=2, width=2, channels=4)
OBSERVATION = ObservationSpec(
    state={"where": StateField(size=2, unit="m", scale=0.5, offset=(1.0, 2.0))},
    images={"front": FRONT, "wrist": WRIST},
)
ACTION = ActionSpec(
    continuous={"arm": ContinuousGroup(size=2, unit="m", scale=0.1)},
    discrete={"gripper": DiscreteGroup(choices=("open", "close"))},
)
CONFIG = AgentConfig(hidden=(16, 16), critics=3, batch_size=8, eye_masks=3, eye_width=6, updates_per_actor_update=2)


def images_of(rng: np.random.Generator, *lead: int) -> dict[str, np.ndarray]:
    return {k: rng.integers(0, 256, (*lead, *f.view_shape), np.uint8) for k, f in OBSERVATION.images.items()}


def batches_of(seed: int = 0, groups: int = 4, n: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    out = {
        "state": rng.standard_normal((groups, n, 2)).astype(np.float32),
        "next_state": rng.standard_normal((groups, n, 2)).astype(np.float32),
        "action": np.clip(rng.standard_normal((groups, n, 3)), -1, 1).astype(np.float32),
        "reward": rng.uniform(size=(groups, n)).astype(np.float32),
        "discount": np.full((groups, n), 0.9, np.float32),
        "demo": np.tile(np.arange(n) < n // 2, (groups, 1)).astype(np.float32),
    }
    for prefix in ("image", "next_image"):
        out |= {f"{prefix}/{k}": v for k, v in images_of(rng, groups, n).items()}
    return out


def test_the_composed_product_is_serls_spatial_embedding() -> None:
    eyes, rng = Eyes(OBSERVATION, CONFIG), np.random.default_rng(0)
    params, images = eyes.init(rng), images_of(rng, 4)
    wanted = []
    for name, head in params[EYES].items():
        f = images[name].reshape(4, -1, images[name].shape[-1]).astype(np.float64) * FEATURE_SCALE + FEATURE_OFFSET
        sums = np.einsum("bpc,pck->bck", f, head["masks"])
        h = sums.reshape(4, -1) @ head["w"].reshape(-1, CONFIG.eye_width) + head["vectors"][0]
        h = (h - h.mean(axis=1, keepdims=True)) / np.sqrt(h.var(axis=1, keepdims=True) + 1e-6)
        wanted.append(np.tanh(h * head["vectors"][1] + head["vectors"][2]))
    got = np.asarray(eyes(params, images))
    assert got.shape == (4, eyes.size) == (4, 12)
    np.testing.assert_allclose(got, np.concatenate(wanted, axis=1), atol=1e-4)


def test_gradients_reach_masks_and_weights_and_agree_with_differences() -> None:
    eyes, rng = Eyes(OBSERVATION, CONFIG), np.random.default_rng(1)
    params, images = eyes.init(rng), images_of(rng, 4)
    weigh = rng.standard_normal((4, eyes.size)).astype(np.float32)

    def value(head: dict) -> jax.Array:
        return (eyes({EYES: {**params[EYES], "front": head}}, images) * weigh).sum()

    head = {k: jnp.asarray(v) for k, v in params[EYES]["front"].items()}
    grads = jax.grad(value)(head)
    for part in ("masks", "w", "vectors"):
        along = rng.standard_normal(head[part].shape).astype(np.float32)
        step = 1e-2
        ahead, back = (value({**head, part: head[part] + s * step * along}) for s in (1, -1))
        assert float((grads[part] * along).sum()) == pytest.approx(float(ahead - back) / (2 * step), rel=0.05, abs=2e-2)


@pytest.mark.parametrize("trained", [False, True])
def test_numpy_acts_as_jax_does(trained) -> None:
    agent = Agent(OBSERVATION, ACTION, CONFIG)
    state = agent.init(3)
    if trained:
        state, _ = agent.update(state, batches_of(), {"bc_weight": 1.0})
    policy = NumpyPolicy(OBSERVATION, ACTION, agent.policy(state))
    rng = np.random.default_rng(5)
    for _ in range(5):
        x = rng.standard_normal(2).astype(np.float32)
        views = {k: rng.integers(0, 256, f.shape, np.uint8) for k, f in OBSERVATION.images.items()}
        out = agent.actor(state.actor, agent.actor.normalise(x[None]), {k: v[:1] for k, v in views.items()})
        action = policy.act({"state": x, **views})
        np.testing.assert_allclose(action[:2], np.tanh(out.mean[0]), atol=2e-4)
        assert action[2] == (-1.0, 1.0)[int(out.log_choice[0].argmax())]


def test_a_policy_reads_the_centre_view_alone() -> None:
    agent = Agent(OBSERVATION, ACTION, CONFIG)
    policy = NumpyPolicy(OBSERVATION, ACTION, agent.policy(agent.init(0)))
    rng = np.random.default_rng(0)
    views = {k: rng.integers(0, 256, f.shape, np.uint8) for k, f in OBSERVATION.images.items()}
    state = np.zeros(2, np.float32)
    first = policy.act({"state": state, **views})
    shifted = {k: np.concatenate([v[:1], 255 - v[1:]]) for k, v in views.items()}
    np.testing.assert_array_equal(policy.act({"state": state, **shifted}), first)
    moved = {k: np.concatenate([255 - v[:1], v[1:]]) for k, v in views.items()}
    assert not np.array_equal(policy.act({"state": state, **moved}), first)


def test_weights_cross_the_wire_and_act_alike() -> None:
    agent = Agent(OBSERVATION, ACTION, CONFIG)
    weights = agent.policy(agent.init(0))
    sent = decode([bytes(f) for f in encode(Policy(version=3, weights=weights))], (Policy,))
    rng = np.random.default_rng(0)
    seen = {"state": np.zeros(2, np.float32)}
    seen |= {k: rng.integers(0, 256, f.shape, np.uint8) for k, f in OBSERVATION.images.items()}
    a, b = (NumpyPolicy(OBSERVATION, ACTION, w).act(seen) for w in (weights, sent.weights))
    np.testing.assert_array_equal(a, b)


def test_what_a_policy_cannot_see_is_said_in_words() -> None:
    agent = Agent(OBSERVATION, ACTION, CONFIG)
    weights = agent.policy(agent.init(0))
    policy = NumpyPolicy(OBSERVATION, ACTION, weights)
    with pytest.raises(SpecError, match=r"features of the camera 'front', uint8 of shape .*, got nothing; encode"):
        policy.act(np.zeros(2, np.float32))
    pictures = {"state": np.zeros(2, np.float32), "front": np.zeros((8, 8, 3), np.uint8)}
    with pytest.raises(SpecError, match=r"got uint8 of shape \(8, 8, 3\)"):
        policy.act(pictures)
    other = {**weights, "eye/front/masks": np.zeros((5, 5, 3), np.float32)}
    with pytest.raises(SpecError, match=r"'eye/front/masks' has shape \(5, 5, 3\), .* need \(6, 5, 3\)"):
        NumpyPolicy(OBSERVATION, ACTION, other)
    blind = {k: v for k, v in weights.items() if not k.startswith("eye/wrist")}
    with pytest.raises(SpecError, match=r"lack \['eye/wrist/masks'"):
        NumpyPolicy(OBSERVATION, ACTION, blind)


def test_the_critics_eyes_follow_the_critics_loss_and_the_actors_the_actors() -> None:
    agent = Agent(OBSERVATION, ACTION, CONFIG)
    begin = agent.init(0)
    before = jax.tree.map(np.asarray, begin)
    held, _ = agent.update(begin, batches_of(), {"actor_scale": 0.0})
    held = jax.tree.map(np.asarray, held)
    for name in ("front", "wrist"):
        for part in ("masks", "w", "vectors"):
            np.testing.assert_array_equal(held.actor[EYES][name][part], before.actor[EYES][name][part])
            assert not np.array_equal(held.critic[EYES][name][part], before.critic[EYES][name][part])
            # The target follows at its own pace.
            assert not np.array_equal(held.target[EYES][name][part], held.critic[EYES][name][part])
    cloned, _ = agent.clone(agent.init(0), batches_of())
    cloned = jax.tree.map(np.asarray, cloned)
    for name in ("front", "wrist"):
        assert not np.array_equal(cloned.actor[EYES][name]["masks"], before.actor[EYES][name]["masks"])
        np.testing.assert_array_equal(cloned.critic[EYES][name]["masks"], before.critic[EYES][name]["masks"])


def test_critics_begin_with_the_eyes_that_cloning_has_taught() -> None:
    agent = Agent(OBSERVATION, ACTION, CONFIG)
    state, _ = agent.clone(agent.init(0), {k: v for k, v in batches_of().items() if "next" not in k})
    taught = jax.tree.map(np.array, state.actor[EYES])
    before = jax.tree.map(np.array, without_eyes(state.critic))
    state = agent.share_eyes(state)
    for critics in (state.critic, state.target):
        jax.tree.map(np.testing.assert_array_equal, critics[EYES], taught)
        jax.tree.map(np.testing.assert_array_equal, without_eyes(critics), before)
    state, _ = agent.update(state, batches_of(), {})  # the three sets of eyes share no buffer that it gives away
    assert np.isfinite(np.asarray(state.critic[EYES]["front"]["masks"])).all()
    plain = Agent(ObservationSpec(state=OBSERVATION.state), ACTION, CONFIG)
    blind = plain.init(0)
    assert plain.share_eyes(blind) is blind


def test_the_target_looks_at_the_next_frame_with_the_targets_eyes() -> None:
    agent = Agent(OBSERVATION, ACTION, CONFIG)
    state, batch = agent.init(0), {k: v[0] for k, v in batches_of().items()}
    _, noise = agent._draw_noise(state.key, 1, 8)
    noise = jax.tree.map(lambda v: v[0], noise)
    next_x = agent.actor.normalise(batch["next_state"])
    images = {k: batch[f"next_image/{k}"] for k in OBSERVATION.images}
    y = agent.target_value(state, batch["reward"], batch["discount"], next_x, noise, images)
    out = agent.actor(state.actor, next_x, images)
    u = np.tanh(np.asarray(out.mean + jnp.exp(out.log_std) * noise.next_action))
    seen = np.concatenate([next_x, agent.eyes(state.target, images), u], axis=1)
    values = np.asarray(agent.critic(without_eyes(state.target), jnp.asarray(seen)))[np.asarray(noise.drawn)]
    wanted = batch["reward"] + batch["discount"] * (np.exp(out.log_choice) * values.min(axis=0)).sum(axis=-1)
    np.testing.assert_allclose(np.asarray(y), wanted, atol=1e-4)


def test_cloning_learns_an_action_that_only_a_camera_tells() -> None:
    agent = CloningAgent(OBSERVATION, ACTION, CONFIG)
    state, rng = agent.init(0), np.random.default_rng(0)

    def batch(groups: int, n: int) -> dict[str, np.ndarray]:
        out = {k: v for k, v in batches_of(int(rng.integers(1 << 30)), groups, n).items() if "next" not in k}
        where = out["image/front"][..., 1, 2, 3].astype(np.float32) / 255.0
        action = np.stack([0.8 * (2 * where - 1)] * 2 + [np.where(where > 0.5, 1.0, -1.0)], axis=-1)
        out["action"] = action.astype(np.float32)
        return out | {"demo": np.ones((groups, n), np.float32)}

    for _ in range(12):
        state, _ = agent.update(state, batch(40, 32))
    held = {k: v[0] for k, v in batch(1, 256).items()}
    out = agent.actor(state.actor, agent.actor.normalise(held["state"]), agent.actor.eyes.of(held))
    assert float(jnp.abs(jnp.tanh(out.mean) - held["action"][:, :2]).mean()) < 0.15  # 0.4 without looking
    assert float((out.log_choice.argmax(axis=1) == (held["action"][:, 2] > 0)).mean()) > 0.9


def test_pictures_that_are_not_encoded_leave_an_agent_as_it_was_without_them() -> None:
    plain = ObservationSpec(state=OBSERVATION.state)
    beside = ObservationSpec(state=OBSERVATION.state, images={"front": ImageField(height=8, width=8)})
    a, b = (Agent(spec, ACTION, CONFIG) for spec in (plain, beside))
    wanted, got = a.policy(a.init(0)), b.policy(b.init(0))
    assert wanted.keys() == got.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(value, got[name])


def test_a_batch_without_features_is_refused() -> None:
    agent = Agent(OBSERVATION, ACTION, CONFIG)
    lacking = {k: v for k, v in batches_of().items() if k != "next_image/wrist"}
    with pytest.raises(SpecError, match=r"lack \['next_image/wrist'\]"):
        agent.update(agent.init(0), lacking, {})


def test_acting_on_two_cameras_takes_less_than_a_millisecond() -> None:
    camera = FeatureField(views=5, height=4, width=4, channels=48)
    spec = ObservationSpec(state=OBSERVATION.state, images={"front": camera, "wrist": camera})
    agent = Agent(spec, ACTION, AgentConfig(hidden=(256, 256)))
    policy = NumpyPolicy(spec, ACTION, agent.policy(agent.init(0)))
    seen = {"state": np.zeros(2, np.float32)} | dict.fromkeys(spec.images, np.zeros(camera.shape, np.uint8))
    took = []
    for _ in range(200):
        began = time.perf_counter()
        policy.act(seen)
        took.append(time.perf_counter() - began)
    assert min(took) < 1e-3
