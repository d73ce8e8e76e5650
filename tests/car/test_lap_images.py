"""The car seen through its camera: what the state leaves to the pictures, and a run from them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from trunks import small_trunk

from robot_rl import train
from robot_rl.agents.trunk import jax_trunk
from robot_rl.build import make_env, observed
from robot_rl.car import CarReset
from robot_rl.car_env import CarEnv
from robot_rl.config import compose
from robot_rl.demos import record
from robot_rl.encoders import encoder
from robot_rl.encoders.env import EncodedCarEnv
from robot_rl.encoders.program import save_trunk
from robot_rl.errors import ConfigError
from robot_rl.jsonl import read_json
from robot_rl.replay_log import read
from robot_rl_sim.car.settings import CarTwinConfig, Sensors
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.lap import Lap
from robot_rl_tasks.car.places import place

IMAGES = ("task=lap", "obs=images", "robot.image_size=16", "obs.views=2")
TINY = (
    *IMAGES, "mode=single", "live=off", "agent.hidden=[16,16]", "agent.critics=2", "agent.batch_size=8",
    "agent.eye_width=8", "agent.eye_masks=2", "learner.updates_per_call=4", "learner.updates_per_step=1",
    "learner.clone_updates=50", "learner.hold_steps=8", "learner.total_env_steps=48", "evaluation.episodes=1",
    "evaluation.video_episodes=0", "evaluation.clone_episodes=0", "metrics.sinks=[jsonl]",
)  # fmt: skip


@pytest.fixture
def with_jax(monkeypatch) -> None:
    import jax

    def made(trunk):
        run = jax.jit(jax_trunk(trunk))
        return lambda images: np.asarray(run(images))

    monkeypatch.setattr(encoder, "TorchTrunk", made)


def test_without_the_courses_state_only_the_next_goal_is_known_and_nothing_of_borders() -> None:
    where = place("oval")
    task = Lap(course=where.course, place=where, object_state=False)
    env = CarEnv(CarTwin(where, CarTwinConfig(sensors=Sensors.perfect(), control_hz=task.control_hz)), task)
    assert list(env.observation_spec.state) == [
        "speed", "yaw_rate", "acceleration", "goal_direction", "goal_distance", "last_action", "speed_cap",
    ]  # fmt: skip
    gate = where.course.gates[3]
    heading = gate.heading_rad + 0.2
    back = np.array(gate.p_W) - 1.5 * np.array([math.cos(gate.heading_rad), math.sin(gate.heading_rad)])
    observation, _ = env.reset(options={"request": CarReset(p_WC=(float(back[0]), float(back[1])), yaw_rad=heading)})
    assert env.observation_space.contains(observation)
    named = {name: observation[part] for name, part in env.observation_spec.slices.items()}
    assert named["goal_distance"] == pytest.approx([1.5], abs=0.02)
    assert named["goal_direction"] == pytest.approx([math.cos(0.2), -math.sin(0.2)], abs=0.02)
    whole = Lap(course=where.course, place=where)
    assert {"gate", "gate_after", "borders", "askew"} <= set(whole.observation_spec.state)


def test_images_of_a_car_come_from_its_one_camera_and_it_practises_as_long_as_from_state() -> None:
    chosen = compose(["task=lap", "obs=images"]).settings()
    spec = observed(chosen, chosen.task.make())
    assert list(spec.images) == ["front"]
    assert "borders" not in spec.state
    assert chosen.learner.total_env_steps == compose(["task=lap"]).settings().learner.total_env_steps
    assert chosen.agent.target_entropy == compose(["task=lap"]).settings().agent.target_entropy
    cut = compose(["task=lap", "obs=images", "learner.total_env_steps=7", "robot.cameras=[chase]"]).settings()
    assert cut.learner.total_env_steps == 7
    assert list(cut.robot.settings["cameras"]) == ["chase"]
    arm = compose(["task=pick_cube", "obs=images"]).settings()
    assert list(arm.robot.settings["cameras"]) == ["front", "wrist"]


@pytest.mark.gl
def test_a_frame_is_encoded_once_for_the_policy_and_shown_as_a_picture(tmp_path: Path, with_jax) -> None:
    path = save_trunk(small_trunk(), tmp_path / "small.trunk")
    settings = compose([*IMAGES, f"obs.encoder={path}"]).settings()
    env = make_env(settings)
    assert isinstance(env, EncodedCarEnv)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation["front"].shape == (2, 2, 2, 6)
    assert not np.array_equal(observation["front"][0], observation["front"][1]), "a shifted view to learn from"
    assert env.shown(observation)["front"].shape == (16, 16, 3)
    assert env.recorded_spec.images["front"].shape == (16, 16, 3)
    np.testing.assert_array_equal(observation["state"], env.task.state_vector(env.robot_state, env.last_action))
    env.learning = False
    following, *_ = env.step(np.zeros(2, np.float32))
    np.testing.assert_array_equal(following["front"][0], following["front"][1])
    plain = make_env(settings, encode=False)
    assert plain.reset(seed=0)[0]["front"].shape == (16, 16, 3)
    plain.close()
    env.close()
    blind = compose([*IMAGES, f"obs.encoder={path}", "robot.cameras=[]"]).settings()
    with pytest.raises(ConfigError, match=r"obs=images needs the pictures of a camera"):
        make_env(blind)


@pytest.mark.gl
def test_a_car_practises_from_pictures_and_only_features_are_sent(tmp_path: Path, with_jax, monkeypatch) -> None:
    from robot_rl_tasks.car import evidence

    monkeypatch.setattr(evidence, "VIDEOS", {})
    path = save_trunk(small_trunk(), tmp_path / "small.trunk")
    chosen = compose([*TINY, f"obs.encoder={path}", f"runs={tmp_path}", "name=seen"])
    outcome = train.run(chosen, train.start_run(chosen), lambda: False)
    assert outcome.complete
    assert read_json(outcome.folder / "summary.json")["updates"] == 48
    assert read_json(outcome.folder / "leaderboard.json")["rows"][0]["kind"] == "policy"
    for _, _, block in read(outcome.folder / "replay"):
        assert block.states.shape[1] == 10
        assert block.images["front"].shape[1:] == (2, 2, 2, 6)


def test_the_demonstrated_lap_is_driven_without_seeing_the_state() -> None:
    env = make_env(compose(["task=lap", "task.object_state=false"]).settings())
    settings = compose(["task=lap"]).settings()
    found = record(env, env.task.expert(settings.expert.make()), 1, 0)
    assert found.blocks[0].states.shape[1] == 10
    assert found.rows[0]["success"]
