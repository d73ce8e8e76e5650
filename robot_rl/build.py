"""From settings to the environment that a process drives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from robot_rl.car_env import CarEnv, CarTask
from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError
from robot_rl.rewards.make import make_judge
from robot_rl.rewards.shared import RememberingEncoder
from robot_rl.settings import Settings
from robot_rl.specs import CameraField, ImageField, ObservationSpec
from robot_rl.task import Task


def make_env(settings: Settings, render_mode: str | None = "rgb_array", encode: bool = True) -> Any:
    """Return the environment of the settings: task, robot, and what is seen through the robot's cameras.

    It is a `RobotEnv`, or for a task of a car a `CarEnv`, which has the same methods as far as training, evaluation and
    the link use them.

    Args:
        settings: All settings.
        render_mode: As gymnasium has it.
        encode: Whether pictures become features where the settings say so; recording keeps the pictures.

    Raises:
        ConfigError: A setting is impossible, or the robot is an arm and the task a car's.
    """
    task, images = settings.task.make(), images_of(settings)
    obs, reward = settings.obs, settings.reward
    if isinstance(task, CarTask):
        if ".car." not in settings.robot.path:
            raise ConfigError(
                f"task {task.name} is driven by a car, and the robot is {settings.robot.path}; choose robot=car_twin"
            )
        if reward.source != "truth":
            raise ConfigError(
                f"reward.source is '{reward.source}'; task {task.name} is judged by its own rule alone: reward=truth"
            )
        if settings.actor.record != "never":
            raise ConfigError(
                f"actor.record is '{settings.actor.record}'; episode files are of arms, so with task {task.name} it is "
                "'never', and laps.csv and the replay keep what a car did"
            )
        if not (encode and obs.encoder):
            return CarEnv(settings.robot.make(task), task, images=images, render_mode=render_mode)
        from robot_rl.encoders.encoder import load_encoder
        from robot_rl.encoders.env import EncodedCarEnv

        seeing = load_encoder(obs.encoder, _image_size(settings), obs.views)
        return EncodedCarEnv(settings.robot.make(task), task, images, seeing, render_mode=render_mode)
    if not (encode and obs.encoder):
        judge = make_judge(reward, task)
        return RobotEnv(settings.robot.make(task), task, images=images, render_mode=render_mode, judge=judge)
    from robot_rl.encoders.encoder import load_encoder
    from robot_rl.encoders.env import EncodedEnv

    encoder = load_encoder(obs.encoder, _image_size(settings), obs.views)
    if reward.source not in ("classifier", "vice"):
        env = EncodedEnv(settings.robot.make(task), task, images, encoder, render_mode=render_mode)
        env.judge = make_judge(reward, task)
        return env
    shared = RememberingEncoder(encoder)
    env = EncodedEnv(settings.robot.make(task), task, images, cast(Any, shared), render_mode=render_mode)
    shared.whole = lambda: env.learning  # then the policy will want the shifted views of the same picture
    env.judge = make_judge(reward, task, shared)
    return env


def observed(settings: Settings, task: Task) -> ObservationSpec:
    """Return what a learner of these settings is sent: the task's state, and pictures or features of each camera.

    It needs neither the robot nor torch, so a learner's machine may have neither.
    """
    images: Mapping[str, CameraField] = images_of(settings)
    if settings.obs.encoder:
        from robot_rl.encoders.encoder import feature_field

        images = dict.fromkeys(images, feature_field(settings.obs.encoder, _image_size(settings), settings.obs.views))
    return dataclasses.replace(task.observation_spec, images=images)


def images_of(settings: Settings) -> dict[str, ImageField]:
    """Return the pictures among the observations: those of the robot's cameras."""
    size = _image_size(settings)
    return {str(name): ImageField(height=size, width=size) for name in settings.robot.settings.get("cameras", ())}


def _image_size(settings: Settings) -> int:
    return int(settings.robot.settings.get("image_size", 128))
