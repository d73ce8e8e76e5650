"""The tasks on the arm's twin as gymnasium environments: `gymnasium.make("robot_rl/PickCube-v0")`.

Importing `robot_rl` after gymnasium registers them; so does importing this module, in any order. The environments are
built from the YAML tree, so a keyword argument is a setting: `gymnasium.make("robot_rl/Reach-v0", max_steps=80)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robot_rl.env import RobotEnv

ENVIRONMENTS = {
    "robot_rl/Reach-v0": "reach",
    "robot_rl/PickCube-v0": "pick_cube",
    "robot_rl/PegInsert-v0": "peg_insert",
    "robot_rl/BinRelocate-v0": "bin_relocate",
}


def register_envs() -> None:
    """Register every environment that is not registered yet."""
    from gymnasium.envs.registration import register, registry

    for name, task in ENVIRONMENTS.items():
        if name not in registry:
            register(id=name, entry_point="robot_rl.registration:make", kwargs={"task": task})


def make(
    task: str, render_mode: str | None = None, robot: dict[str, Any] | None = None, **settings: object
) -> RobotEnv:
    """Return the environment of a task.

    Args:
        task: Name of its YAML file.
        render_mode: "rgb_array" or None.
        robot: Settings of the twin, such as {"cameras": ["front"], "control_hz": 50.0}.
        **settings: Settings of the task, such as `max_steps`.
    """
    from robot_rl.build import make_env
    from robot_rl.config import compose

    composed = compose([f"task={task}"])
    changes = {name: {**composed.values[name], **more} for name, more in (("task", settings), ("robot", robot or {}))}
    return make_env(composed.changed(changes).settings(), render_mode)


register_envs()
