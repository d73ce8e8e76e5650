"""Scripted demonstrators: walk through a task's stages as a person might, more or less slowly and sloppily."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError
from robot_rl.geometry import quat_conj, rotate
from robot_rl.robot import RobotState, Vector
from robot_rl.specs import ActionSpec


@dataclass(frozen=True, kw_only=True)
class Sloppiness:
    """How far a demonstrator is from a good one.

    Attributes:
        speed: Fraction of the full step used on the way (1 is as fast as the action space allows).
        wander: Size of the slow random drift added to each axis, as a fraction of the movement.
        noise: Size of the step-to-step noise, likewise.
        pause_probability: Chance per step to stop and think for a few steps.
        detour_m: Random offset of the first waypoint, so that the path is not straight.
    """

    speed: float = 1.0
    wander: float = 0.0
    noise: float = 0.0
    pause_probability: float = 0.0
    detour_m: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.speed <= 1.0:
            raise ConfigError(f"expert.speed must lie in (0, 1], got {self.speed}")
        for name in ("wander", "noise", "pause_probability", "detour_m"):
            if getattr(self, name) < 0.0:
                raise ConfigError(f"expert.{name} must not be negative, got {getattr(self, name)}")


@dataclass(slots=True)
class Waypoint:
    """Where a stage leads, and when it is done.

    Attributes:
        p_B: (3,) wanted tool position in the base frame.
        turn_rad: Wanted rotation about the tool's z axis from where it is now.
        close: Whether the gripper shall close.
        near_m, near_rad: The stage ends when the tool is this near (0 never ends it).
        hold_steps: Steps to stay in the stage once near.
    """

    p_B: Vector
    turn_rad: float
    close: bool
    near_m: float
    near_rad: float
    hold_steps: int = 0


class StagedExpert:
    """Moves to each stage's waypoint in turn.

    Args:
        action_spec: Tool-frame deltas (translation, rotation), and perhaps a gripper.
        waypoint: Returns the waypoint of a stage for the present state.
        stages: Number of stages.
        sloppiness: How the demonstrator moves.
        overdrive_m: Added to the wanted step along its direction: joint friction swallows steps below a millimetre.
    """

    def __init__(
        self,
        action_spec: ActionSpec,
        waypoint: Callable[[int, RobotState], Waypoint],
        stages: int,
        sloppiness: Sloppiness,
        overdrive_m: float = 0.0,
    ) -> None:
        self._spec = action_spec
        self._waypoint = waypoint
        self._stages = stages
        self._how = sloppiness
        self._overdrive_m = overdrive_m
        self._scale_m = action_spec.continuous["translation"].scale
        self._scale_rad = action_spec.continuous["rotation"].scale
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Start an episode with the demonstrator's own randomness."""
        self._rng = rng
        self._stage = 0
        self._held = 0
        self._pause = 0
        self._drift = np.zeros(6)
        detour = rng.normal(0.0, 1.0, 3)
        self._detour = self._how.detour_m * detour * (1.0, 1.0, 0.3)

    def action(self, state: RobotState) -> NDArray[np.float32]:
        """Return the demonstrator's action in [-1, 1]."""
        how, rng = self._how, self._rng
        goal = self._advance(state)
        action = np.zeros(self._spec.size, np.float32)
        target = goal.p_B
        if self._stage == 0 and self._detour.any():
            target = target + self._detour
            self._detour = self._detour * 0.93
        away = target - state.p_BE
        distance = float(np.linalg.norm(away))
        if distance > 0.1 * self._overdrive_m:
            away = away * (1.0 + self._overdrive_m / max(distance, 1e-9))
        delta = rotate(quat_conj(state.quat_BE), away) / self._scale_m
        # A person slows down near the goal and is never faster than their own speed on the way.
        norm = float(np.linalg.norm(delta))
        action[0:3] = delta * min(1.0, how.speed / max(norm, 1e-9))
        # The tool's z axis is kept straight down: its tilt is the cross product with the vertical, seen from the tool.
        down_E = rotate(quat_conj(state.quat_BE), np.array([0.0, 0.0, -1.0]))
        turn = np.array([-down_E[1], down_E[0], goal.turn_rad]) / self._scale_rad
        action[3:6] = np.clip(turn, -how.speed, how.speed)
        self._drift = 0.9 * self._drift + np.sqrt(1 - 0.9**2) * rng.normal(0.0, how.wander, 6)
        # Errors grow with the movement; standing still, a fifth of them is left.
        size = min(how.speed, max(norm, 0.2 * how.speed))
        action[:6] += size * (self._drift + rng.normal(0.0, how.noise, 6))
        if self._pause > 0:
            self._pause -= 1
            action[:6] *= 0.1
        elif rng.random() < how.pause_probability:
            self._pause = int(rng.integers(2, 6))
        np.clip(action, -1.0, 1.0, out=action)
        for name, group in self._spec.discrete.items():
            action[self._spec.slices[name]] = group.value(1 if goal.close else 0)
        return action

    def _advance(self, state: RobotState) -> Waypoint:
        goal = self._waypoint(self._stage, state)
        near = np.linalg.norm(goal.p_B - state.p_BE) < goal.near_m and abs(goal.turn_rad) < goal.near_rad
        if near and self._stage < self._stages - 1:
            self._held += 1
            if self._held > goal.hold_steps:
                self._stage += 1
                self._held = 0
                return self._waypoint(self._stage, state)
        return goal
