"""From settings to the environment that a process drives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from robot_rl.env import RobotEnv
from robot_rl.settings import Settings
from robot_rl.specs import CameraField, ImageField, ObservationSpec
from robot_rl.task import Task


def make_env(settings: Settings, render_mode: str | None = "rgb_array", encode: bool = True) -> RobotEnv:
    """Return the environment of the settings: task, robot, and what is seen through the robot's cameras.

    Args:
        settings: All settings.
        render_mode: As gymnasium has it.
        encode: Whether pictures become features where the settings say so; recording keeps the pictures.
    """
    task, images = settings.task.make(), images_of(settings)
    obs = settings.obs
    if not (encode and obs.encoder):
        return RobotEnv(settings.robot.make(task), task, images=images, render_mode=render_mode)
    from robot_rl.encoders.encoder import load_encoder
    from robot_rl.encoders.env import EncodedEnv

    encoder = load_encoder(obs.encoder, _image_size(settings), obs.views)
    return EncodedEnv(settings.robot.make(task), task, images, encoder, render_mode=render_mode)


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
