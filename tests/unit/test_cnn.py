"""A policy that learns to see from nothing: pictures are kept, and its own convolutions read them."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.agents import cnn
from robot_rl.agents.config import AgentConfig
from robot_rl.agents.eyes import EYES, Eyes
from robot_rl.agents.published import answers
from robot_rl.agents.rlpd import Agent
from robot_rl.config import compose
from robot_rl.encoders.encoder import feature_field, load_encoder
from robot_rl.encoders.raw import SIDE, RawEncoder
from robot_rl.errors import EncoderError, SpecError
from robot_rl.policy import NumpyPolicy
from robot_rl.specs import ActionSpec, ContinuousGroup, FeatureField, ObservationSpec, StateField

SMALL = FeatureField(views=2, height=16, width=16, channels=3, encoder="cnn/16")
SPEC = ObservationSpec(state={"x": StateField(size=1, unit="1")}, images={"front": SMALL})
ACTION = ActionSpec(continuous={"arm": ContinuousGroup(size=1, unit="m", scale=0.1)})
CONFIG = AgentConfig(hidden=(16,), critics=2, batch_size=16, eye_masks=2, eye_width=8, updates_per_actor_update=1,
                     clone_lr=3e-3)  # fmt: skip


def pictures(rng: np.random.Generator, *lead: int) -> np.ndarray:
    return rng.integers(0, 256, (*lead, *SMALL.view_shape), np.uint8)


def patches(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of a bright patch over noise, and how far to the right it is, in -0.8 to 0.8."""
    shown = rng.integers(80, 120, (n, 16, 16, 3), np.uint8)
    places = rng.integers(0, 13, (n, 2))
    for picture, (row, column) in zip(shown, places, strict=True):
        picture[row : row + 4, column : column + 4] = (220, 60, 40)
    return shown, (places[:, 1:] / 6.0 - 1.0).astype(np.float32) * np.float32(0.8)


def test_convolutions_come_to_a_map_of_four_by_four_and_are_what_plain_loops_compute() -> None:
    rng = np.random.default_rng(0)
    head = cnn.init(rng, SMALL.view_shape)
    assert sorted(head) == ["conv0", "conv1", "shift0", "shift1"]
    head["shift0"][:] = rng.standard_normal(cnn.CHANNELS)
    shown = pictures(rng, 2)
    found = np.asarray(cnn.see(head, jnp.asarray(shown)))
    assert found.shape == (2, *cnn.map_shape(SMALL.view_shape)) == (2, 4, 4, 32)
    x = shown[1] / 255.0 - 0.5
    for i in range(2):
        padded, side = np.pad(x, ((0, 1), (0, 1), (0, 0))), x.shape[0] // 2
        x = np.array([
            [np.tensordot(padded[2 * r : 2 * r + 3, 2 * c : 2 * c + 3], head[f"conv{i}"], 3) for c in range(side)]
            for r in range(side)
        ])  # fmt: skip
        x = np.maximum(x + head[f"shift{i}"], 0.0)
    np.testing.assert_allclose(found[1], x, atol=1e-4)


def test_gradients_reach_every_convolution_and_agree_with_differences() -> None:
    eyes, rng = Eyes(SPEC, CONFIG), np.random.default_rng(1)
    params = eyes.init(rng)
    shown = {"front": pictures(rng, 4)}
    weigh = rng.standard_normal((4, eyes.size)).astype(np.float32)
    value = lambda head: (eyes({EYES: {"front": head}}, shown) * weigh).sum()  # noqa: E731
    head = {k: jnp.asarray(v) for k, v in params[EYES]["front"].items()}
    grads = jax.grad(value)(head)
    for part in ("conv0", "conv1", "shift0", "masks", "w"):
        along = rng.standard_normal(head[part].shape).astype(np.float32)
        step = 1e-4  # small: rectified units turn on and off along the way
        ahead, back = (value({**head, part: head[part] + s * step * along}) for s in (1, -1))
        assert float((grads[part] * along).sum()) == pytest.approx(float(ahead - back) / (2 * step), rel=0.02, abs=2e-2)


def test_numpy_and_published_weights_act_as_jax_does_and_read_the_centre_alone() -> None:
    agent, rng = Agent(SPEC, ACTION, CONFIG), np.random.default_rng(2)
    state = agent.init(3)
    weights = agent.policy(state)
    assert "eye/front/conv1" in weights
    policy = NumpyPolicy(SPEC, ACTION, weights)
    shown, x = rng.integers(0, 256, (5, *SMALL.shape), np.uint8), rng.standard_normal((5, 1)).astype(np.float32)
    told = answers(SPEC, ACTION, weights, x, {"front": shown[:, 0]})
    acted = np.stack([policy.act({"state": x[i], "front": shown[i]}) for i in range(5)])
    np.testing.assert_allclose(acted, told.mean, atol=1e-4)
    other = shown[0].copy()
    other[1] = 255 - other[1]
    np.testing.assert_array_equal(policy.act({"state": x[0], "front": other}), acted[0])
    with pytest.raises(SpecError, match="eye/front/conv0"):
        NumpyPolicy(SPEC, ACTION, {k: v for k, v in weights.items() if k != "eye/front/conv0"})


def test_an_actor_learns_where_a_patch_is_from_nothing() -> None:
    agent, rng = Agent(SPEC, ACTION, CONFIG), np.random.default_rng(4)
    state, info = agent.init(0), dict[str, jax.Array]()
    for _ in range(15):
        shown, action = patches(rng, 20 * 64)
        state, info = agent.clone(state, {
            "state": np.zeros((20, 64, 1), np.float32), "action": action.reshape(20, 64, 1),
            "demo": np.ones((20, 64), np.float32), "image/front": shown.reshape(20, 64, *SMALL.view_shape),
        })  # fmt: skip
    assert np.isfinite(float(info["bc_loss"]))
    shown, action = patches(rng, 100)
    told = answers(SPEC, ACTION, agent.policy(state), np.zeros((100, 1), np.float32), {"front": shown})
    assert np.abs(told.mean - action).mean() < 0.15, "a guess of the middle errs by 0.43"


def test_an_update_moves_the_critics_convolutions_and_the_actors_own() -> None:
    agent, rng = Agent(SPEC, ACTION, CONFIG), np.random.default_rng(5)
    state = agent.init(0)
    before = {k: np.array(v) for k, v in state.critic[EYES]["front"].items()}
    acting = np.array(state.actor[EYES]["front"]["conv0"])
    batches = {
        "state": np.zeros((2, 8, 1), np.float32), "next_state": np.zeros((2, 8, 1), np.float32),
        "action": rng.uniform(-1, 1, (2, 8, 1)).astype(np.float32), "reward": np.ones((2, 8), np.float32),
        "discount": np.full((2, 8), 0.9, np.float32), "demo": np.ones((2, 8), np.float32),
        "image/front": pictures(rng, 2, 8), "next_image/front": pictures(rng, 2, 8),
    }  # fmt: skip
    state, _ = agent.update(state, batches, {"bc_weight": 1.0})
    for part in ("conv0", "conv1", "shift1", "masks"):
        assert not np.array_equal(state.critic[EYES]["front"][part], before[part]), part
    assert not np.array_equal(state.actor[EYES]["front"]["conv0"], acting)


def test_pictures_are_kept_smaller_in_shifted_views_the_first_as_it_is() -> None:
    encoder, rng = load_encoder("cnn", 128, 3), np.random.default_rng(6)
    assert isinstance(encoder, RawEncoder)
    assert encoder.field == feature_field("cnn", 128, 3)
    shown = np.repeat(np.repeat(rng.integers(0, 256, (2, SIDE, SIDE, 3), np.uint8), 2, axis=1), 2, axis=2)
    kept = encoder.encode(shown)
    assert kept.shape == (2, 3, SIDE, SIDE, 3)
    np.testing.assert_array_equal(kept[:, 0], shown[:, ::2, ::2])
    np.testing.assert_array_equal(encoder.encode_centre(shown), kept[:, 0])
    np.testing.assert_array_equal(encoder.encode(shown), kept)
    assert not np.array_equal(kept[:, 1], kept[:, 0])
    assert not np.array_equal(kept[:, 1], kept[:, 2])
    assert encoder.dequantise(np.array([0, 255], np.uint8)).tolist() == [-0.5, 0.5]
    with pytest.raises(EncoderError, match=r"pictures of 100 pixels do not fit obs.encoder=cnn; allowed are multiples"):
        load_encoder("cnn", 100, 1)
    with pytest.raises(EncoderError, match="views is 0; allowed are 1 to 81"):
        load_encoder("cnn", 64, 0)
    with pytest.raises(EncoderError, match=r"reads \(N, 128, 128, 3\) uint8 pictures, got \(1, 64, 64, 3\)"):
        encoder.encode(np.zeros((1, 64, 64, 3), np.uint8))


@pytest.mark.gl
def test_a_run_that_learns_to_see_goes_to_its_end_without_torch(tmp_path: Path) -> None:
    from robot_rl import train
    from robot_rl.jsonl import read_json
    from robot_rl.replay_log import read

    tiny = [
        "task=pick_cube", "obs=images", "obs.encoder=cnn", "robot.image_size=64", "obs.views=2", "mode=single",
        "live=off", "demos=1", "agent.hidden=[16]", "agent.critics=2", "agent.batch_size=4", "agent.eye_width=8",
        "learner.updates_per_call=2", "learner.updates_per_step=1", "learner.clone_updates=10", "learner.hold_steps=4",
        "learner.total_env_steps=12", "task.max_steps=60", "evaluation.video_episodes=0", "metrics.sinks=[jsonl]",
        "evaluation.episodes=1", "evaluation.clone_episodes=0", f"runs={tmp_path}", "name=raw",
    ]  # fmt: skip
    chosen = compose(tiny)
    outcome = train.run(chosen, train.start_run(chosen), lambda: False)
    assert outcome.complete
    assert read_json(outcome.folder / "summary.json")["updates"] == 12
    for _, _, block in read(outcome.folder / "replay"):
        assert block.images["wrist"].shape[1:] == (2, SIDE, SIDE, 3)
    from robot_rl.cli import main

    pytest.importorskip("torch", reason="exporting needs it, training does not")
    assert main(["export", str(outcome.folder), "--format", "torch"]) == 0
    assert (outcome.folder / "export-torch" / "policy.pt2").is_file()
    gone = ["reward=classifier", f"reward.path={tmp_path / 'gone.ckpt'}"]
    assert main(["export", str(outcome.folder), "--format", "torch", "--to", str(tmp_path / "again"), *gone]) == 0
