"""Reach a pose: bring the tool to a random position and yaw. The smallest task, for tests and first steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.geometry import rotate
from robot_rl.robot import ResetRequest, RobotState
from robot_rl.specs import ActionSpec, ObservationSpec, StateField
from robot_rl.task import Compliance, Geom, Limits, Outcome, SceneObject
from robot_rl_tasks.arm import (
    arm_fields,
    fill_arm,
    in_tool_frame,
    relative_yaw,
    tool_delta_groups,
    upright_quat,
    yaw_quat,
)
from robot_rl_tasks.experts import Sloppiness, StagedExpert, Waypoint


class Reach:
    """Success when the tool is within 1 cm and 0.1 rad of the goal marker.

    Args:
        max_steps: Time limit in control periods.
        near_m, near_rad: How close counts as reached.
    """

    name = "reach"
    control_hz = 10.0

    def __init__(self, max_steps: int = 50, near_m: float = 0.01, near_rad: float = 0.1) -> None:
        self.max_steps, self.near_m, self.near_rad = max_steps, near_m, near_rad
        self.compliance = Compliance(clip_m=(0.02, 0.02, 0.02), clip_rad=0.25, speed_m_s=0.6, speed_rad_s=3.0)
        self.limits = Limits(box_min_m=(0.28, -0.30, 0.02), box_max_m=(0.72, 0.30, 0.50), step_m=0.10, step_rad=0.6)
        marker = (
            Geom(kind="sphere", size_m=(0.012,), rgba=(0.2, 0.7, 0.3, 1.0), collides=False),
            Geom(kind="box", size_m=(0.03, 0.003, 0.003), rgba=(0.2, 0.7, 0.3, 1.0), collides=False),
        )
        self.scene = {"goal": SceneObject(geoms=marker, motion="placed")}
        self.action_spec = ActionSpec(continuous=tool_delta_groups(0.04, 0.3))
        self.observation_spec = ObservationSpec(
            state={
                **arm_fields(),
                "goal_position": StateField(size=3, unit="m", scale=0.1, doc="p_EG: goal seen from the tool"),
                "goal_yaw": StateField(size=1, unit="rad", scale=0.5, doc="yaw of the goal seen from the tool"),
            }
        )

    def sample_reset(self, rng: np.random.Generator) -> ResetRequest:
        """Draw goal and start pose."""
        goal = np.array([rng.uniform(0.38, 0.62), rng.uniform(-0.18, 0.18), rng.uniform(0.08, 0.3)])
        start = np.array([0.45, 0.0, 0.25]) + rng.uniform(-0.05, 0.05, 3)
        return ResetRequest(
            p_BE=start,
            quat_BE=yaw_quat(rng.uniform(-0.4, 0.4)),
            gripper_width_m=0.0,
            objects={"goal": np.concatenate([goal, upright_quat(rng.uniform(-0.8, 0.8))])},
        )

    def state_vector(self, state: RobotState) -> NDArray[np.float32]:
        """Return the (7,) state of `observation_spec`."""
        out = np.zeros(self.observation_spec.size)
        goal = state.objects["goal"]
        fill_arm(out, state.p_BE, state.quat_BE)
        out[3:6] = in_tool_frame(state.p_BE, state.quat_BE, goal[:3])
        out[6] = relative_yaw(state.quat_BE, goal[3:7])
        return out.astype(np.float32)

    def outcome(self, state: RobotState) -> Outcome:
        """Succeed when position and yaw are near the goal and the tool points down."""
        goal = state.objects["goal"]
        near = np.linalg.norm(goal[:3] - state.p_BE) < self.near_m
        tilt = np.arccos(np.clip(-rotate(state.quat_BE, np.array([0.0, 0.0, 1.0]))[2], -1.0, 1.0))
        if near and abs(relative_yaw(state.quat_BE, goal[3:7])) < self.near_rad and tilt < self.near_rad:
            return Outcome(1.0, True, True, "reached")
        return Outcome(0.0, False, False)

    def expert(self, sloppiness: Sloppiness) -> StagedExpert:
        """Return the scripted demonstrator: go there."""
        return StagedExpert(self.action_spec, _waypoint, 1, sloppiness)


def _waypoint(_stage: int, state: RobotState) -> Waypoint:
    goal = state.objects["goal"]
    return Waypoint(goal[:3], relative_yaw(state.quat_BE, goal[3:7]), False, 0.0, 0.0)
