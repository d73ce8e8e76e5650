"""Pick a cube off the table: grasp it at a random place and yaw, and lift it 10 cm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl.robot import ResetRequest, RobotState, Vector
from robot_rl.specs import ActionSpec, ObservationSpec, StateField
from robot_rl.task import Compliance, Geom, Limits, Outcome, SceneObject
from robot_rl_tasks.arm import (
    GRIPPER,
    arm_fields,
    fill_arm,
    in_tool_frame,
    relative_yaw,
    tool_delta_groups,
    upright_quat,
    yaw_quat,
)
from robot_rl_tasks.experts import Sloppiness, StagedExpert, Waypoint

HALF_M = 0.025
LIFT_M = 0.10


class PickCube:
    """Success when the cube is 10 cm above where it stood; reward 1 at that moment and 0 before.

    Args:
        max_steps: Time limit in control periods.
        area_x_m, area_y_m: Where the cube may stand.
        start_m: Centre of the tool's start positions.
        start_spread_m, start_yaw_rad: Half widths of the start's random offset.
        object_state: Whether the observation says where the cube is; without it that is left to cameras.
    """

    name = "pick_cube"
    control_hz = 10.0

    def __init__(
        self,
        max_steps: int = 100,
        area_x_m: tuple[float, float] = (0.40, 0.60),
        area_y_m: tuple[float, float] = (-0.15, 0.15),
        start_m: tuple[float, float, float] = (0.45, 0.0, 0.22),
        start_spread_m: float = 0.04,
        start_yaw_rad: float = 0.35,
        object_state: bool = True,
    ) -> None:
        self.max_steps = max_steps
        self.area_x_m, self.area_y_m = area_x_m, area_y_m
        self.start_m, self.start_spread_m, self.start_yaw_rad = start_m, start_spread_m, start_yaw_rad
        self.compliance = Compliance(clip_m=(0.02, 0.02, 0.02), clip_rad=0.25, speed_m_s=0.6, speed_rad_s=3.0)
        self.limits = Limits(
            box_min_m=(0.28, -0.28, 0.012), box_max_m=(0.72, 0.28, 0.40), step_m=0.10, step_rad=0.6, force_n=120.0
        )
        self.scene = {"cube": SceneObject(geoms=(Geom(kind="box", size_m=(HALF_M,) * 3),), mass_kg=0.08)}
        self.action_spec = ActionSpec(continuous=tool_delta_groups(0.04, 0.3), discrete={"gripper": GRIPPER})
        fields = {
            **arm_fields(),
            "gripper_width": StateField(size=1, unit="m", scale=0.02, offset=(0.06,), doc="opening"),
            "gripper_closing": StateField(size=1, unit="1", scale=1.0, doc="1 if last told to close, else -1"),
        }
        if object_state:
            fields |= {
                "cube_position": StateField(size=3, unit="m", scale=0.05, doc="p_EO: cube seen from the tool"),
                "cube_yaw": StateField(
                    size=2, unit="1", doc="sine and cosine of four times the yaw seen from the tool: a cube looks "
                    "the same after a quarter turn"
                ),
                "cube_height": StateField(size=1, unit="m", scale=0.05, doc="cube centre above its rest"),
            }  # fmt: skip
        self._object_state = object_state
        self.observation_spec = ObservationSpec(state=fields)
        self._buffer = np.zeros(self.observation_spec.size)

    def sample_reset(self, rng: np.random.Generator) -> ResetRequest:
        """Draw cube pose and tool start pose."""
        cube = np.array([rng.uniform(*self.area_x_m), rng.uniform(*self.area_y_m), HALF_M])
        yaw = rng.uniform(-np.pi / 4, np.pi / 4)
        p = np.asarray(self.start_m) + rng.uniform(-self.start_spread_m, self.start_spread_m, 3)
        tool_yaw = rng.uniform(-self.start_yaw_rad, self.start_yaw_rad)
        return ResetRequest(
            p_BE=p, quat_BE=yaw_quat(tool_yaw), objects={"cube": np.concatenate([cube, upright_quat(yaw)])}
        )

    def state_vector(self, state: RobotState) -> NDArray[np.float32]:
        """Return the (11,) state of `observation_spec`, (5,) without the cube's."""
        closing = 1.0 if state.gripper_closing else -1.0
        _fill_hand(self._buffer, state.p_BE, state.quat_BE, state.gripper_width_m, closing)
        if self._object_state:
            _fill_cube(self._buffer, state.p_BE, state.quat_BE, state.objects["cube"])
        return self._buffer.astype(np.float32)

    def outcome(self, state: RobotState) -> Outcome:
        """Succeed when the cube is lifted."""
        if state.objects["cube"][2] > HALF_M + LIFT_M:
            return Outcome(1.0, True, True, "lifted")
        return Outcome(0.0, False, False)

    def expert(self, sloppiness: Sloppiness) -> StagedExpert:
        """Return the scripted demonstrator: hover, descend, grasp, lift."""
        return StagedExpert(self.action_spec, _waypoint, 4, sloppiness)


@kernel
def _fill_hand(out: Vector, p: Vector, quat: Vector, width: float, closing: float) -> None:
    fill_arm(out, p, quat)
    out[3] = width
    out[4] = closing


@kernel
def _fill_cube(out: Vector, p: Vector, quat: Vector, cube: Vector) -> None:
    out[5:8] = in_tool_frame(p, quat, cube[0:3])
    yaw = 4.0 * relative_yaw(quat, cube[3:7])
    out[8], out[9] = np.sin(yaw), np.cos(yaw)
    out[10] = cube[2] - HALF_M


def _waypoint(stage: int, state: RobotState) -> Waypoint:
    cube = state.objects["cube"]
    # The nearest of the four equivalent yaws.
    yaw = relative_yaw(state.quat_BE, cube[3:7])
    turn = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
    if stage == 0:
        return Waypoint(np.array([cube[0], cube[1], cube[2] + 0.07]), turn, False, 0.012, 0.12)
    if stage == 1:
        return Waypoint(np.array([cube[0], cube[1], max(cube[2] - 0.003, 0.015)]), turn, False, 0.008, 0.12)
    if stage == 2:
        return Waypoint(state.p_BE.copy(), 0.0, True, 1.0, 1.0, hold_steps=5)
    return Waypoint(np.array([state.p_BE[0], state.p_BE[1], 0.30]), 0.0, True, 0.0, 0.0)
