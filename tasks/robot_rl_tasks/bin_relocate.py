"""Move a cube from one bin into the other, in either direction: the result of one is the beginning of the other."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl.geometry import quat_to_matrix
from robot_rl.robot import ResetRequest, RobotState, Vector
from robot_rl.specs import ActionSpec, ObservationSpec, StateField
from robot_rl.task import Compliance, Geom, Limits, Outcome, SceneObject
from robot_rl_tasks.arm import (
    GRIPPER,
    arm_fields,
    fill_arm,
    in_tool_frame,
    tool_delta_groups,
    upright_quat,
    yaw_quat,
)
from robot_rl_tasks.bin_expert import make_waypoint
from robot_rl_tasks.bins import (
    BIN_HALF_M,
    BINS_X_M,
    FLOOR_M,
    GAP_M,
    HALF_M,
    LEFT_Y_M,
    RIGHT_Y_M,
    WALL_M,
    in_left,
    in_right,
    lost,
)
from robot_rl_tasks.experts import Sloppiness, StagedExpert

Direction = Literal["forward", "backward"]


class BinRelocate:
    """Success when the cube lies in the other bin and the gripper was told to let go.

    Seen from the base, the left bin is at positive y. Forward brings the cube from the left to the right, backward the
    other way, so the two can practise in turn without anyone touching the scene: `rehome` begins an episode with the
    arm alone. A cube outside both bins ends the episode: nothing that the arm does from there is worth learning.

    Stiffness, damping, clips and action scale are those that SERL published for its bins, and so is the workspace, but
    for 8 cm more above, so that a cube in the hand clears the walls. The time limit is 15 s instead of 10, because the
    clips let this arm move at no more than 7 cm/s up and down.

    Args:
        max_steps: Time limit in control periods.
        direction: From which bin to which.
        start_spread_m, start_yaw_rad: Half widths of the start's random offset from above the bin that holds the cube.
        object_state: Whether the observation says where the cube is; without it that is left to cameras.
    """

    name = "bin_relocate"
    control_hz = 10.0

    def __init__(
        self,
        max_steps: int = 150,
        direction: Direction = "forward",
        start_spread_m: float = 0.03,
        start_yaw_rad: float = np.pi / 6,
        object_state: bool = True,
    ) -> None:
        self.max_steps, self.direction = max_steps, direction
        self.start_spread_m, self.start_yaw_rad = start_spread_m, start_yaw_rad
        from_left = direction == "forward"
        self.source_y_m, self.goal_y_m = (LEFT_Y_M, RIGHT_Y_M) if from_left else (RIGHT_Y_M, LEFT_Y_M)
        self._arrived = in_right if from_left else in_left
        self.compliance = Compliance(clip_m=(0.006, 0.006, 0.005), clip_rad=0.05, speed_m_s=0.5, speed_rad_s=2.0)
        self.limits = Limits(
            box_min_m=(BINS_X_M - 0.07, -0.15, 0.012), box_max_m=(BINS_X_M + 0.07, 0.15, 0.19), step_m=0.12,
            step_rad=0.4, force_n=80.0,
        )  # fmt: skip
        self.scene = {"cube": _cube(self.source_y_m), "left_bin": _bin(LEFT_Y_M), "right_bin": _bin(RIGHT_Y_M)}
        self.action_spec = ActionSpec(continuous=tool_delta_groups(0.05, 0.1), discrete={"gripper": GRIPPER})
        fields = {
            **arm_fields(),
            "gripper_width": StateField(size=1, unit="m", scale=0.02, offset=(0.06,), doc="opening"),
            "gripper_closing": StateField(size=1, unit="1", doc="1 if last told to close, else -1"),
            "goal_position": StateField(size=3, unit="m", scale=0.1, doc="middle of the goal's floor seen from E"),
        }
        if object_state:
            fields |= {
                "cube_position": StateField(size=3, unit="m", scale=0.05, doc="p_EO: cube seen from the tool"),
                "cube_yaw": StateField(
                    size=2, unit="1", doc="sine and cosine of four times the yaw seen from the tool: a cube looks "
                    "the same after a quarter turn, whichever side it lies on"
                ),
                "cube_height": StateField(size=1, unit="m", scale=0.05, doc="cube centre above its rest in a bin"),
                "cube_to_goal": StateField(size=2, unit="m", scale=0.1, doc="from the cube to the goal's middle in B"),
            }  # fmt: skip
        self._object_state = object_state
        self.observation_spec = ObservationSpec(state=fields)
        self.predicates = {"in_left": in_left, "in_right": in_right, "lost": lost}
        self._goal = np.array([BINS_X_M, self.goal_y_m, FLOOR_M])
        self._buffer = np.zeros(self.observation_spec.size)

    def sample_reset(self, rng: np.random.Generator) -> ResetRequest:
        """Draw where in its bin the cube lies, near the walls too, and where the tool starts above that bin."""
        yaw = rng.uniform(-np.pi / 4, np.pi / 4)
        room = BIN_HALF_M - HALF_M * (abs(np.cos(yaw)) + abs(np.sin(yaw))) - GAP_M
        xy = np.array([BINS_X_M, self.source_y_m]) + rng.uniform(-room, room, 2)
        cube = np.concatenate([xy, [FLOOR_M + HALF_M], upright_quat(yaw)])
        home = self.rehome(rng)
        return ResetRequest(p_BE=home.p_BE, quat_BE=home.quat_BE, objects={"cube": cube})

    def rehome(self, rng: np.random.Generator) -> ResetRequest:
        """Draw a start above the bin that should hold the cube, and leave the cube where the last episode left it."""
        p = np.array([BINS_X_M, self.source_y_m, 0.12])
        p[:2] += rng.uniform(-self.start_spread_m, self.start_spread_m, 2)
        p[2] += rng.uniform(-0.01, 0.03)
        return ResetRequest(p_BE=p, quat_BE=yaw_quat(rng.uniform(-self.start_yaw_rad, self.start_yaw_rad)))

    def state_vector(self, state: RobotState) -> NDArray[np.float32]:
        """Return the (16,) state of `observation_spec`, (8,) without the cube's."""
        closing = 1.0 if state.gripper_closing else -1.0
        _fill_hand(self._buffer, state.p_BE, state.quat_BE, state.gripper_width_m, closing, self._goal)
        if self._object_state:
            _fill_cube(self._buffer, state.p_BE, state.quat_BE, state.objects["cube"], self._goal)
        return self._buffer.astype(np.float32)

    def outcome(self, state: RobotState) -> Outcome:
        """Succeed when the cube lies in the goal's bin, let go; fail when it is in no bin at all."""
        if self._arrived(state) and not state.gripper_closing:
            return Outcome(1.0, True, True, "relocated")
        if lost(state):
            return Outcome(0.0, True, False, "lost")
        return Outcome(0.0, False, False)

    def expert(self, sloppiness: Sloppiness) -> StagedExpert:
        """Return the scripted demonstrator: free the cube from a wall if need be, grasp it, carry it over, let go."""
        return StagedExpert(self.action_spec, make_waypoint(self.source_y_m, self.goal_y_m), 1, sloppiness)


def _cube(y_m: float) -> SceneObject:
    body = Geom(kind="box", size_m=(HALF_M,) * 3)
    return SceneObject(
        geoms=(body,), mass_kg=0.06, pos_m=(BINS_X_M, y_m, FLOOR_M + HALF_M), friction=(0.3, 0.005, 0.0001)
    )


def _bin(y_m: float) -> SceneObject:
    """Return a bin of four walls and a smooth floor, over which a cube can be dragged from above."""
    blue, green = (0.25, 0.38, 0.62, 1.0), (0.30, 0.55, 0.38, 1.0)
    rgba = blue if y_m > 0.0 else green
    half, middle, z = BIN_HALF_M, BIN_HALF_M + 0.005, WALL_M / 2
    # Slippery walls: the fingers open with up to 60 N, and wedged between rough ones they would hold the arm fast.
    sides = ((middle, 0.0, 0.005, half + 0.01), (0.0, middle, half, 0.005))
    walls = [
        Geom(kind="box", size_m=(a, b, z), pos_m=(s * x, s * y, z), rgba=rgba, sliding=0.05)
        for x, y, a, b in sides
        for s in (1, -1)
    ]
    grey = (0.62, 0.64, 0.66, 1.0)
    floor = Geom(kind="box", size_m=(half, half, FLOOR_M / 2), pos_m=(0.0, 0.0, FLOOR_M / 2), rgba=grey)
    return SceneObject(
        geoms=(*walls, floor), mass_kg=0.5, motion="placed", pos_m=(BINS_X_M, y_m, 0.0), friction=(0.3, 0.005, 0.0001)
    )


@kernel
def _fill_hand(out: Vector, p: Vector, quat: Vector, width: float, closing: float, goal: Vector) -> None:
    fill_arm(out, p, quat)
    out[3] = width
    out[4] = closing
    out[5:8] = in_tool_frame(p, quat, goal)


@kernel
def _fill_cube(out: Vector, p: Vector, quat: Vector, cube: Vector, goal: Vector) -> None:
    out[8:11] = in_tool_frame(p, quat, cube[0:3])
    # Whichever of its sides the cube lies on, the axis that is most level tells its yaw up to a quarter turn.
    m = quat_to_matrix(cube[3:7])
    level = np.argmin(np.abs(m[2]))
    tool = quat_to_matrix(quat)
    x = m[0, level] * tool[0, 0] + m[1, level] * tool[1, 0]
    y = m[0, level] * tool[0, 1] + m[1, level] * tool[1, 1]
    yaw = 4.0 * np.arctan2(y, x)
    out[11], out[12] = np.sin(yaw), np.cos(yaw)
    out[13] = cube[2] - FLOOR_M - HALF_M
    out[14], out[15] = goal[0] - cube[0], goal[1] - cube[1]
