"""The environment that encodes: features to the learner, pictures to recorders and viewers, each frame once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from trunks import run_plainly, small_trunk

from robot_rl.assisted import AssistedEnv
from robot_rl.build import observed
from robot_rl.config import compose
from robot_rl.encoders.encoder import Encoder, feature_field
from robot_rl.encoders.env import EncodedEnv
from robot_rl.encoders.program import save_trunk
from robot_rl.errors import ConfigError, EncoderError
from robot_rl.evaluate import evaluate
from robot_rl.messages import StepBlock
from robot_rl.robot import ArmCommand, Executed, ResetRequest, RobotState
from robot_rl.specs import ImageField
from robot_rl_tasks.pick_cube import PickCube

CAMERAS = {"front": ImageField(height=16, width=16), "wrist": ImageField(height=16, width=16)}


class Still:
    """A robot that goes where it is told at once and whose cameras show noise."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._pose = np.array([0.45, 0.0, 0.2]), np.array([0.0, 1.0, 0.0, 0.0])
        self._closing = False

    def connect(self) -> None: ...

    def reset(self, request: ResetRequest) -> RobotState:
        self._pose = request.p_BE, request.quat_BE
        return self.observe()

    def command(self, command: ArmCommand) -> Executed:
        self._pose, self._closing = (command.p_BE, command.quat_BE), command.close_gripper
        return Executed(command.p_BE, command.quat_BE, command.close_gripper)

    def observe(self) -> RobotState:
        shown = {name: self._rng.integers(0, 256, (16, 16, 3), np.uint8) for name in CAMERAS}
        cube = np.array([0.5, 0.0, 0.025, 1.0, 0.0, 0.0, 0.0])
        zeros = np.zeros(7), np.zeros(7)
        return RobotState(
            0.0, *zeros, *self._pose, np.zeros(6), np.zeros(6), 0.08, self._closing, {"cube": cube}, shown
        )

    def close(self) -> None: ...


class Counted:
    """Runs the trunk by plain loops and counts the pictures."""

    def __init__(self) -> None:
        self.trunk, self.pictures = small_trunk(), 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.pictures += len(images)
        return np.stack([run_plainly(self.trunk, image) for image in images]).astype(np.float32)


def encoded_env(task: PickCube | None = None) -> tuple[EncodedEnv, Counted]:
    run = Counted()
    env = EncodedEnv(Still(), task or PickCube(object_state=False, max_steps=4), CAMERAS, Encoder(run.trunk, 3, run))
    return env, run


class Idle:
    """A policy that keeps what it is shown."""

    version, sampled = 0, False

    def __init__(self) -> None:
        self.seen = []

    def act(self, observation, rng=None):
        self.seen.append(observation)
        return np.zeros(7, np.float32)


def test_an_observation_holds_features_and_fits_its_space() -> None:
    env, run = encoded_env()
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation["front"].shape == env.observation_spec.images["front"].shape == (3, 2, 2, 6)
    assert list(env.observation_spec.state) == ["tool_height", "tool_tilt", "gripper_width", "gripper_closing"]
    assert run.pictures == 2 * 3
    again = Encoder(run.trunk, 3, run).encode(env.robot_state.images["front"][None])[0]
    np.testing.assert_array_equal(observation["front"], again)
    assert not np.array_equal(observation["front"], observation["wrist"])


def test_recorders_and_viewers_get_the_pictures() -> None:
    env, _ = encoded_env()
    assert env.recorded_spec.images == CAMERAS

    class Viewer:
        seen: list = []  # noqa: RUF012

        def reset(self, observation, facts):
            self.seen.append(observation)

        def step(self, seen):
            self.seen.append(seen.observation)

        def buttons(self):
            return ()

        def close(self): ...

    beside = AssistedEnv(env, watchers=(Viewer(),))
    beside.reset(seed=0)
    observation, *_ = beside.step(np.zeros(7, np.float32))
    assert observation["front"].shape == (3, 2, 2, 6)
    for shown in Viewer.seen:
        assert shown["front"].shape == (16, 16, 3)
    np.testing.assert_array_equal(Viewer.seen[-1]["front"], env.robot_state.images["front"])


def test_evaluation_encodes_the_centre_alone_and_learning_goes_on_with_all_views() -> None:
    env, run = encoded_env()
    policy = Idle()
    rows = evaluate(env, policy, 1, seed=0)
    assert run.pictures == 2 * (rows[0]["steps"] + 1)
    for observation in policy.seen:
        for view in observation["front"][1:]:
            np.testing.assert_array_equal(view, observation["front"][0])
    assert env.learning
    observation, _ = env.reset()
    assert not np.array_equal(observation["front"][1], observation["front"][0])


def test_a_recorded_block_is_encoded_as_practice_would_have() -> None:
    env, _ = encoded_env()
    env.reset(seed=0)
    frames = []
    seen = []
    for _ in range(3):
        observation, *_ = env.step(np.zeros(7, np.float32))
        seen.append(observation)
        frames.append({k: v.copy() for k, v in env.robot_state.images.items()})
    block = StepBlock(
        episode=0, start=0, states=np.zeros((2, 5), np.float32), actions=np.zeros((2, 7), np.float32),
        rewards=np.zeros(2, np.float32), sources=np.zeros(2, np.uint8), policy_versions=np.zeros(2, np.int64),
        images={k: np.stack([f[k] for f in frames[:2]]) for k in CAMERAS}, ended=True,
        final_state=np.zeros(5, np.float32), final_images=frames[2],
    )  # fmt: skip
    made = env.encoded(block)
    for name in CAMERAS:
        np.testing.assert_array_equal(made.images[name], np.stack([o[name] for o in seen[:2]]))
        np.testing.assert_array_equal(made.final_images[name], seen[2][name])
    with pytest.raises(EncoderError, match="no pictures of the camera 'wrist'"):
        env.encoded(dataclasses.replace(block, images={"front": block.images["front"]}))


def test_images_need_a_camera() -> None:
    with pytest.raises(ConfigError, match=r"obs=images needs the pictures of a camera.*robot.cameras"):
        EncodedEnv(Still(), PickCube(object_state=False), {}, Encoder(small_trunk(), 1, Counted()))


def test_the_setting_takes_the_cube_out_of_the_state_and_names_two_cameras(tmp_path) -> None:
    settings = compose(["task=pick_cube", "obs=images"]).settings()
    spec = observed(settings, settings.task.make())
    assert spec.size == 5
    assert {name: field.shape for name, field in spec.images.items()} == {
        "front": (5, 4, 4, 48),
        "wrist": (5, 4, 4, 48),
    }
    assert spec.images["front"] == feature_field("efficientnet_lite0", 128, 5)
    path = save_trunk(small_trunk(), tmp_path / "mine.trunk")
    other = compose(["task=pick_cube", "obs=images", f"obs.encoder={path}", "robot.image_size=16", "obs.views=2"])
    mine = observed(other.settings(), other.settings().task.make())
    assert mine.images["wrist"].shape == (2, 2, 2, 6)
    assert mine.images["wrist"].encoder == "small/000000000000"
    plain = compose(["task=pick_cube"]).settings()
    assert observed(plain, plain.task.make()).size == 11
    assert not observed(plain, plain.task.make()).images


def test_a_task_without_a_state_of_its_own_objects_refuses_images_in_words() -> None:
    settings = compose(["task=reach", "obs=images"]).settings()
    with pytest.raises(ConfigError, match=r"there is no setting 'task.object_state'"):
        settings.task.make()
