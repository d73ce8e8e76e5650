"""A node of the graph at work: its task on the shared robot, and what its predicates say of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError
from robot_rl.practice.graph import NodeConfig
from robot_rl.practice.predicates import TASK, Predicate, Seen, looks, predicate
from robot_rl.typed import Target

SHARED = ("control_hz", "compliance", "limits")
"""What tasks on one robot must have in common: the robot was made for it."""


class NodeEnv:
    """An environment whose episodes begin where the last one left the scene, judged by the node's goal.

    All else is that of the environment inside, whichever kind that is.

    Args:
        inner: The node's task on the shared robot.
        goal: Says whether a step succeeded, instead of the task's outcome; None leaves it to the task.

    Attributes:
        info: Of the newest step.
        reset_s: Robot time that the newest reset took.
    """

    def __init__(self, inner: RobotEnv, goal: Predicate | None = None) -> None:
        self.inner, self._judge = inner, goal
        self.info: dict[str, Any] = {}
        self.reset_s = 0.0

    def __getattr__(self, name: str) -> Any:
        """Return what the environment inside has."""
        return getattr(self.inner, name)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Drive the arm to a drawn start, and observe. Everything else stays where it is."""
        inner = self.inner
        inner.connect()
        before_s = inner.robot.observe().stamp_s
        inner.keep_scene = True
        found = inner.reset(seed=seed, options=options)
        self.reset_s = inner.robot_state.stamp_s - before_s
        self.info = {}
        return found

    def step(self, action: NDArray[np.floating]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Let the robot act for one control period, and judge what came of it."""
        inner = self.inner
        observation, reward, terminated, truncated, info = inner.step(action)
        if self._judge is not None:
            success = self._judge(Seen(state=inner.robot_state, observation=observation, info=info))
            failed = terminated and not info["success"]  # the task may still give an attempt up
            terminated, reward = success or failed, float(success)
            truncated = not terminated and (truncated or inner._step >= inner.task.max_steps)
            reason = "the goal holds" if success else "" if info["success"] else info["reason"]
            info.update(success=success, reason=reason or ("time limit" if truncated else ""))
        self.info = info
        return observation, reward, terminated, truncated, info

    def look(self) -> Seen:
        """Return what predicates may look at now."""
        state = self.inner.robot.observe()
        return Seen(state=state, observation=self.inner.see(state), info=self.info)


class Node:
    """A node with its predicates.

    Args:
        name: Of the node.
        config: Names the predicates.
        lost: Predicate of the whole graph; a name, or a target.
        env: Its task on the shared robot.
    """

    def __init__(self, name: str, config: NodeConfig, lost: str | Target, env: RobotEnv) -> None:
        where, task = f"practice.nodes.{name}", env.task
        self.name, self.task = name, task
        self.lost = predicate(lost, task, "practice.lost")
        self.start = predicate(config.start, task, f"{where}.start")
        goal = None if config.goal == TASK else predicate(config.goal, task, f"{where}.goal")
        if goal is not None and looks(goal):
            raise ConfigError(
                f"{where}.goal asks after each step, and what was chosen needs the arm out of the way or a person; "
                "take a predicate that needs neither, or let the operator press success"
            )
        self.looks = looks(self.start) or looks(self.lost)
        self.env = NodeEnv(env, goal)


def as_env(node: Node) -> RobotEnv:
    """Return a node's environment as what it stands in for."""
    return cast(RobotEnv, node.env)


def check_shared(nodes: Sequence[Node]) -> None:
    """Raise `ConfigError` unless one robot can serve all nodes as it is."""
    first = nodes[0]
    for node in nodes[1:]:
        for name in SHARED:
            if getattr(node.task, name) != getattr(first.task, name):
                raise ConfigError(
                    f"practice: the tasks of '{first.name}' and '{node.name}' have different {name}, but share one "
                    "robot; choose tasks that agree in it"
                )
        if set(node.task.scene) != set(first.task.scene):
            raise ConfigError(
                f"practice: the scene of '{first.name}' has {', '.join(first.task.scene) or 'nothing'}, that of "
                f"'{node.name}' {', '.join(node.task.scene) or 'nothing'}; nodes share one scene"
            )
