"""The words of ROS 2's launch that a launch file may use here, as modules that stand in for launch's own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from robot_rl.errors import ConfigError, nearest
from robot_rl_hardware.launching import actions, substitutions

_ACTIONS = (
    "DeclareLaunchArgument", "ExecuteProcess", "GroupAction", "IncludeLaunchDescription", "LogInfo", "OpaqueFunction",
    "RegisterEventHandler", "SetEnvironmentVariable", "SetLaunchConfiguration", "Shutdown", "TimerAction",
)  # fmt: skip
_SUBSTITUTIONS = (
    "EnvironmentVariable", "LaunchConfiguration", "PathJoinSubstitution", "PythonExpression", "TextSubstitution",
    "ThisLaunchFileDir",
)  # fmt: skip

# Module of launch -> what of it a launch file may import.
NAMES: dict[str, dict[str, Any]] = {
    "launch": {"LaunchDescription": actions.LaunchDescription, "LaunchContext": substitutions.Context},
    "launch.actions": {name: getattr(actions, name) for name in _ACTIONS},
    "launch.conditions": {
        "IfCondition": substitutions.IfCondition, "UnlessCondition": substitutions.UnlessCondition,
    },
    "launch.event_handlers": {"OnProcessExit": actions.OnProcessExit},
    "launch.launch_description_sources": {"PythonLaunchDescriptionSource": actions.PythonLaunchDescriptionSource},
    "launch.substitutions": {name: getattr(substitutions, name) for name in _SUBSTITUTIONS},
    "launch_ros": {},
    "launch_ros.actions": {"Node": actions.Node, "PushRosNamespace": actions.PushRosNamespace},
}  # fmt: skip


def refusal(module: str, name: str) -> str:
    """Return the sentence for a word that is not in the vocabulary."""
    if module not in NAMES:
        return (
            f"it imports {module}, which robot-rl launch does not know; it knows {', '.join(NAMES)}. "
            "Run it with ros2 launch on a system ROS, or do without"
        )
    return (
        f"it uses {module}.{name}, which robot-rl launch does not know; it knows {', '.join(NAMES[module])}."
        f"{nearest(name, NAMES[module])} Run it with ros2 launch on a system ROS, or do without"
    )


class _StandIn(ModuleType):
    """A module with some of launch's names, which says what it lacks."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__dict__.update(NAMES[name])
        self.__path__ = []  # so that its submodules are looked for, and missed, below it

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or f"{self.__name__}.{name}" in NAMES:
            raise AttributeError(name)
        raise ConfigError(refusal(self.__name__, name))


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Let `import launch` find our vocabulary meanwhile, whatever else is called so on this machine."""
    before = {name: m for name, m in sys.modules.items() if name.partition(".")[0] in ("launch", "launch_ros")}
    for name in before:
        del sys.modules[name]
    for name in NAMES:
        sys.modules[name] = module = _StandIn(name)
        parent, _, short = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], short, module)
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] in ("launch", "launch_ros")]:
            del sys.modules[name]
        sys.modules.update(before)
