"""A policy that sees is exported with its encoder: pictures go in, and it acts as one that is given features."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from policies import random_states, random_weights
from trunks import run_plainly, small_trunk

from robot_rl.agents.config import AgentConfig
from robot_rl.agents.rlpd import Agent
from robot_rl.encoders.encoder import Encoder, field_of
from robot_rl.encoders.pictures import drawn_pictures
from robot_rl.encoders.program import Trunk
from robot_rl.encoders.raw import RawEncoder
from robot_rl.errors import ExportError
from robot_rl.export import parity
from robot_rl.export.acting import ExportedActor
from robot_rl.export.description import Origin
from robot_rl.export.eyes import eyes_module
from robot_rl.export.recorded import Observations, practised_pictures
from robot_rl.export.run_policy import ExportedPolicy, PolicyError, check_examples
from robot_rl.export.writer import export_policy
from robot_rl.specs import (
    FEATURE_OFFSET,
    FEATURE_SCALE,
    ActionSpec,
    ContinuousGroup,
    DiscreteGroup,
    ImageField,
    ObservationSpec,
    StateField,
)

TRUNK = small_trunk()
CAMERAS = ("front", "wrist")
SEEN = ObservationSpec(
    state={"p": StateField(size=3, unit="m", scale=0.1, offset=(0.5, 0.0, 0.2))},
    images=dict.fromkeys(CAMERAS, field_of(TRUNK, 5)),
)
PICTURED = dataclasses.replace(SEEN, images=dict.fromkeys(CAMERAS, ImageField(height=TRUNK.size, width=TRUNK.size)))
ACTION = ActionSpec(
    continuous={"move": ContinuousGroup(size=3, unit="m", scale=0.1)},
    discrete={"grip": DiscreteGroup(choices=("open", "close"))},
)
COUNT = 12
ORIGIN = Origin(task="made_up", control_hz=10.0, run="r", policy="final", version=7, sampled=False)


def weights_of_an_agent(seed: int = 0, spec: ObservationSpec = SEEN) -> dict[str, np.ndarray]:
    agent = Agent(spec, ACTION, AgentConfig(hidden=(32,), critics=2, eye_masks=3, eye_width=10))
    rng = np.random.default_rng(seed)
    weights = agent.policy(agent.init(seed))
    fixed = ("activation", "std_bounds")
    return {
        k: v if k in fixed else (v + 0.2 * rng.standard_normal(v.shape)).astype(np.float32) for k, v in weights.items()
    }


def observations() -> Observations:
    shots = drawn_pictures(TRUNK.size, 2 * COUNT)
    return Observations(random_states(SEEN, COUNT), {"front": shots[:COUNT], "wrist": shots[COUNT:]})


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def test_the_trunk_is_the_program_that_it_says(torch) -> None:
    eyes = eyes_module(SEEN.images, weights_of_an_agent(), Encoder(TRUNK, 1))
    pictures = drawn_pictures(TRUNK.size, 6)
    with torch.inference_mode():
        found = eyes.see(torch.from_numpy(pictures)).numpy() * FEATURE_SCALE + FEATURE_OFFSET
    wanted = np.stack([run_plainly(TRUNK, picture) for picture in pictures])
    steps = (wanted - TRUNK.feature_mean) / TRUNK.feature_std
    inside = np.abs(steps) < 5.9
    assert inside.mean() > 0.9
    assert np.abs(found - steps)[inside].max() < 0.5 * 12.0 / 255.0 + 1e-4, "beyond the half step of a byte"


def test_features_of_another_shape_are_refused(torch) -> None:
    other = dataclasses.replace(TRUNK, ops=TRUNK.ops[:4], feature_mean=np.zeros(8), feature_std=np.ones(8))
    assert isinstance(other, Trunk)
    with pytest.raises(ExportError, match=r"of the camera 'front', the encoder small/0+ makes .*obs.encoder"):
        eyes_module(SEEN.images, weights_of_an_agent(), Encoder(other, 1))


@pytest.mark.parametrize("format_name", ["torch", "onnx"])
def test_pictures_go_in_and_the_learners_action_comes_out(format_name: str, tmp_path: Path) -> None:
    for name in ("torch",) if format_name == "torch" else ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    weights, shown = weights_of_an_agent(), observations()
    done = export_policy(tmp_path / "out", format_name, SEEN, ACTION, weights, shown, ORIGIN, Encoder(TRUNK, 1))
    assert done.deviation <= parity.TOLERANCE
    told = json.loads((tmp_path / "out" / "policy.json").read_text())
    assert told["encoder"] == SEEN.images["front"].encoder
    assert [c["name"] for c in told["images"]] == list(CAMERAS)
    policy, actor = ExportedPolicy(tmp_path / "out"), ExportedActor(tmp_path / "out", PICTURED, ACTION)
    with np.load(tmp_path / "out" / "examples.npz") as examples:
        state, pictures, action = shown.states[0], dict[str, np.ndarray](), np.zeros(0)
        for i, state in enumerate(shown.states):
            pictures = {name: shots[i] for name, shots in shown.images.items()}
            action = policy.act(state, pictures)
            np.testing.assert_allclose(action[:3], examples["action"][i, :3], atol=parity.TOLERANCE)
            np.testing.assert_array_equal(actor.act({"state": state, **pictures}), action)
    assert np.abs(policy.act(state, {**pictures, "wrist": 255 - pictures["wrist"]}) - action).max() > 1e-3
    with pytest.raises(PolicyError, match=r"camera 'wrist' must give a uint8 RGB picture .*got none"):
        policy.act(state, {"front": pictures["front"]})
    with pytest.raises(PolicyError, match="got float64 of shape"):
        policy.act(state, {**pictures, "front": pictures["front"] / 255.0})


@pytest.mark.parametrize("format_name", ["torch", "onnx"])
def test_a_policy_with_convolutions_of_its_own_is_exported_too(format_name: str, tmp_path: Path) -> None:
    for name in ("torch",) if format_name == "torch" else ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    encoder = RawEncoder(128, 1)
    spec = ObservationSpec(state=SEEN.state, images=dict.fromkeys(CAMERAS, encoder.field))
    shots = drawn_pictures(128, 2 * COUNT)
    shown = Observations(random_states(spec, COUNT), {"front": shots[:COUNT], "wrist": shots[COUNT:]})
    done = export_policy(
        tmp_path / "out", format_name, spec, ACTION, weights_of_an_agent(0, spec), shown, ORIGIN, encoder
    )
    assert done.deviation <= parity.TOLERANCE
    told = json.loads((tmp_path / "out" / "policy.json").read_text())
    assert told["encoder"] == "cnn/128"
    assert told["parity"]["bytes"]["one_step_apart"] == 0
    policy = ExportedPolicy(tmp_path / "out")
    pictures = {name: images[0] for name, images in shown.images.items()}
    action = policy.act(shown.states[0], pictures)
    assert np.abs(policy.act(shown.states[0], {**pictures, "wrist": 255 - pictures["wrist"]}) - action).max() > 1e-3


class _Seeing:
    """Stands for an environment of pictures: its episodes end after nine steps."""

    cameras, real_time, learning = CAMERAS, False, True

    def __init__(self) -> None:
        self.starts: list[int] = []
        self._left = 0

    def reset(self, *, seed: int):
        self.starts.append(seed)
        self._left = 9
        return {"state": np.full(3, seed, np.float32)}, {}

    def step(self, action):
        self._left -= 1
        return {"state": np.asarray(action, np.float32)}, 0.0, self._left == 0, False, {}

    def shown(self, observation):
        return {**observation, **{name: np.zeros((4, 4, 3), np.uint8) for name in CAMERAS}}


class _Still:
    def act(self, observation):
        return observation["state"] + 1.0


def test_a_twin_shows_what_the_policy_comes_to_see() -> None:
    env = _Seeing()
    shown = practised_pictures(env, _Still(), 20, seed=40)
    assert shown.states.shape == (20, 3)
    assert shown.images["wrist"].shape == (20, 4, 4, 3)
    assert env.starts == [40, 41, 42]
    np.testing.assert_array_equal(shown.states[:10, 0], [*range(40, 49), 41])


def test_a_robot_is_not_moved_for_an_export() -> None:
    env = _Seeing()
    env.real_time = True
    with pytest.raises(ExportError, match="does not move a robot"):
        practised_pictures(env, _Still(), 20, seed=0)
    assert env.starts == []


def test_a_feature_may_be_stored_one_step_apart_and_now_and_then_alone() -> None:
    rng = np.random.default_rng(0)
    features = {name: rng.integers(1, 255, (20, 4, 4, 10), np.uint8) for name in CAMERAS}
    stored = np.stack(list(features.values()), axis=1)
    assert parity.moved_bytes("it", features, stored) == 0
    stored[3, 1, 0, 0, 0] += 1
    stored[4, 0, 3, 3, 9] -= 1
    assert parity.moved_bytes("it", features, stored) == 2
    many = stored.copy()
    many[5, 0, 0, 0, :5] += 1
    with pytest.raises(ExportError, match=r"it stores 7 of 6400 features otherwise .* up to 1 steps; allowed is one"):
        parity.moved_bytes("it", features, many)
    stored[3, 1, 0, 0, 0] += 1
    with pytest.raises(ExportError, match=r"2 of 6400 features otherwise .*, by up to 2 steps"):
        parity.moved_bytes("it", features, stored)


def test_the_runner_leaves_out_what_rounding_has_moved_and_refuses_what_it_has_not(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = tmp_path / "out"
    export_policy(folder, "torch", SEEN, ACTION, weights_of_an_agent(), observations(), ORIGIN, Encoder(TRUNK, 1))
    policy = ExportedPolicy(folder)
    assert json.loads((folder / "policy.json").read_text())["parity"]["bytes"]["compared"] == COUNT * 2 * 2 * 2 * 6
    with np.load(folder / "examples.npz") as found:
        kept = dict(found)
    assert kept["stored"].shape == (COUNT, 2, 2, 2, 6)

    def changed(steps: int, rows: slice, action: float = 0.0) -> tuple[int, float]:
        stored = kept["stored"].astype(np.int16)
        stored[rows, 0, 0, 0, 0] += np.where(stored[rows, 0, 0, 0, 0] < 128, steps, -steps)
        moved = kept["action"].copy()
        moved[rows, :3] += action
        np.savez(folder / "examples.npz", **{**kept, "stored": stored.astype(np.uint8), "action": moved})
        return check_examples(policy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robot_rl.export.run_policy.MOST_MOVED", 0.05)  # one of these 48 features is more than usual
        assert changed(1, slice(0, 2), action=0.01)[0] == COUNT - 2, "the answer is that of another picture"
        with pytest.raises(PolicyError, match="by up to 2 steps; do not use it"):
            changed(2, slice(0, 1))
        with pytest.raises(PolicyError, match="none can be compared"):
            changed(1, slice(0, COUNT))
    with pytest.raises(PolicyError, match="1 of 48 features differ"):
        changed(1, slice(0, 1))


def test_weights_of_the_state_alone_are_still_compared() -> None:
    plain = dataclasses.replace(SEEN, images={})
    weights = random_weights(plain, ACTION)
    states = random_states(plain, 5)
    examples = parity.reference(plain, ACTION, weights, states)
    acted = parity.numpy_answers(plain, ACTION, weights, states)
    parity.check("the policy", parity.deviations(examples, ACTION, acted))
