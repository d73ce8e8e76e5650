"""From settings to the environment that a process drives."""

from __future__ import annotations

from typing import Any

from robot_rl.car_env import CarEnv, CarTask
from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError
from robot_rl.settings import Settings
from robot_rl.specs import ImageField


def make_env(settings: Settings, render_mode: str | None = "rgb_array") -> Any:
    """Return the environment of the settings: task, robot, and the robot's cameras among the observations.

    It is a `RobotEnv`, or for a task of a car a `CarEnv`, which has the same methods as far as training, evaluation and
    the link use them.

    Raises:
        ConfigError: A setting is impossible, or the robot is an arm and the task a car's.
    """
    task = settings.task.make()
    if isinstance(task, CarTask):
        if ".car." not in settings.robot.path:
            raise ConfigError(
                f"task {task.name} is driven by a car, and the robot is {settings.robot.path}; choose robot=car_twin"
            )
        if settings.actor.record != "never":
            raise ConfigError(
                f"actor.record is '{settings.actor.record}'; episode files are of arms, so with task {task.name} it is "
                "'never', and laps.csv and the replay keep what a car did"
            )
        return CarEnv(settings.robot.make(task), task, images=images_of(settings), render_mode=render_mode)
    return RobotEnv(settings.robot.make(task), task, images=images_of(settings), render_mode=render_mode)


def images_of(settings: Settings) -> dict[str, ImageField]:
    """Return the pictures among the observations: those of the robot's cameras."""
    size = int(settings.robot.settings.get("image_size", 128))
    return {str(name): ImageField(height=size, width=size) for name in settings.robot.settings.get("cameras", ())}
