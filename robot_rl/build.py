"""From settings to the environment that a process drives."""

from __future__ import annotations

from robot_rl.env import RobotEnv
from robot_rl.settings import Settings
from robot_rl.specs import ImageField


def make_env(settings: Settings, render_mode: str | None = "rgb_array") -> RobotEnv:
    """Return the environment of the settings: task, robot, and the robot's cameras among the observations."""
    task = settings.task.make()
    return RobotEnv(settings.robot.make(task), task, images=images_of(settings), render_mode=render_mode)


def images_of(settings: Settings) -> dict[str, ImageField]:
    """Return the pictures among the observations: those of the robot's cameras."""
    size = int(settings.robot.settings.get("image_size", 128))
    return {str(name): ImageField(height=size, width=size) for name in settings.robot.settings.get("cameras", ())}
