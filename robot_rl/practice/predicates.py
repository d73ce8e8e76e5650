"""Predicates: what is asked of a scene, by whatever can tell: geometry, a classifier of pictures, or a person.

In the configuration a predicate is the name of one that the task offers (`task.predicates`, functions of a reading), or
a `_target_` whose factory is called with the task and returns a callable over `Seen`. A classifier is such a callable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

from robot_rl.errors import ConfigError, nearest
from robot_rl.robot import RobotState
from robot_rl.task import Task
from robot_rl.typed import Target

ALWAYS, NEVER, TASK = "always", "never", "task"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a predicate may look at.

    Attributes:
        state: The reading of the robot.
        observation: What the policy sees of it.
        info: Of the step that led here; empty after a reset.
    """

    state: RobotState
    observation: Any = None
    info: Mapping[str, Any] = field(default_factory=dict)


Predicate = Callable[[Seen], bool]


@runtime_checkable
class Looks(Protocol):
    """A predicate may say that the arm must be out of the way first, as before a camera: `looks = True`."""

    looks: bool


@dataclass(frozen=True, slots=True)
class Geometric:
    """A predicate over the reading alone, from the poses that the rig measures.

    Attributes:
        name: For reports.
        holds: The function.
    """

    name: str
    holds: Callable[[RobotState], bool]

    def __call__(self, seen: Seen) -> bool:
        """Return whether it holds."""
        return bool(self.holds(seen.state))


def predicate(given: str | Target, task: Task, where: str) -> Predicate:
    """Return the predicate that the configuration names.

    Args:
        given: Name or target.
        task: Offers `predicates`, a mapping of names to functions of a `RobotState`; "task" is its own success.
        where: Where it is set, for messages.

    Raises:
        ConfigError: The task has no such predicate, or what was made cannot be called.
    """
    if isinstance(given, Target):
        made: Any = given.make(task)
        if not callable(made):
            raise ConfigError(f"{where}._target_ is '{given.path}', which makes no callable, so it is no predicate")
        return cast(Predicate, made)
    offered: dict[str, Callable[[RobotState], bool]] = {
        ALWAYS: lambda state: True,
        NEVER: lambda state: False,
        TASK: lambda state: task.outcome(state).success,
        **getattr(task, "predicates", {}),
    }
    if given not in offered:
        raise ConfigError(
            f"{where} is '{given}'; the task {task.name} offers {', '.join(offered)}.{nearest(given, offered)}"
        )
    return Geometric(given, offered[given])


def looks(holds: Predicate) -> bool:
    """Return whether the arm must be out of the way before a predicate is asked."""
    return bool(getattr(holds, "looks", False))
