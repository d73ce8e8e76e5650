"""A node of the graph at work: its task on the shared robot, and what its predicates say of the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError
from robot_rl.practice.graph import NodeConfig
from robot_rl.practice.predicates import TASK, Predicate, Seen, looks, predicate
from robot_rl.robot import Robot, RobotState
from robot_rl.specs import ImageField
from robot_rl.task import Task

SHARED = ("control_hz", "compliance", "limits")
"""What tasks on one robot must have in common: the robot was made for it."""


class NodeEnv(RobotEnv):
    """A `RobotEnv` whose episodes begin where the last one left the scene, judged by the node's goal.

    Args:
        robot: Shared by all nodes.
        task: The node's.
        goal: Says whether a step succeeded, instead of the task's outcome; None leaves it to the task.
        images: As of `RobotEnv`.

    Attributes:
        info: Of the newest step.
        reset_s: Robot time that the newest reset took.
    """

    def __init__(
        self, robot: Robot, task: Task, goal: Predicate | None = None, images: Mapping[str, ImageField] | None = None
    ) -> None:
        super().__init__(robot, task, images=images, render_mode="rgb_array", keep_scene=True)
        self._judge = goal
        self.info: dict[str, Any] = {}
        self.reset_s = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Drive the arm to a drawn start, and observe. Everything else stays where it is."""
        self.connect()
        before_s = self.robot.observe().stamp_s
        found = super().reset(seed=seed, options=options)
        self.reset_s = self.robot_state.stamp_s - before_s
        self.info = {}
        return found

    def step(self, action: NDArray[np.floating]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Let the robot act for one control period, and judge what came of it."""
        observation, reward, terminated, truncated, info = super().step(action)
        if self._judge is not None:
            success = self._judge(Seen(state=self.robot_state, observation=observation, info=info))
            failed = terminated and not info["success"]  # the task may still give an attempt up
            terminated, reward = success or failed, float(success)
            truncated = not terminated and (truncated or self._step >= self.task.max_steps)
            reason = "the goal holds" if success else "" if info["success"] else info["reason"]
            info.update(success=success, reason=reason or ("time limit" if truncated else ""))
        self.info = info
        return observation, reward, terminated, truncated, info

    def look(self) -> Seen:
        """Return what predicates may look at now."""
        state: RobotState = self.robot.observe()
        self._state = state
        return Seen(state=state, observation=self._observation(state), info=self.info)


class Node:
    """A node with its predicates.

    Args:
        name: Of the node.
        config: Names the predicates.
        lost: Predicate of the whole graph.
        robot, task: Of its environment.
        images: Pictures that are observed.
    """

    def __init__(
        self, name: str, config: NodeConfig, lost: Predicate, robot: Robot, task: Task,
        images: Mapping[str, ImageField] | None = None,
    ) -> None:  # fmt: skip
        where = f"practice.nodes.{name}"
        self.name, self.task, self.lost = name, task, lost
        self.start = predicate(config.start, task, f"{where}.start")
        goal = None if config.goal == TASK else predicate(config.goal, task, f"{where}.goal")
        if goal is not None and looks(goal):
            raise ConfigError(
                f"{where}.goal asks after each step, and what was chosen needs the arm out of the way or a person; "
                "take a predicate that needs neither, or let the operator press success"
            )
        self.looks = looks(self.start) or looks(lost)
        self.env = NodeEnv(robot, task, goal, images)


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
