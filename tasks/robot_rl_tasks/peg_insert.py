"""Insert a square peg into a square hole with half a millimetre of clearance on every side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl.geometry import rotate
from robot_rl.robot import ResetRequest, RobotState, Vector
from robot_rl.specs import ActionSpec, ObservationSpec, StateField
from robot_rl.task import Compliance, Geom, Limits, Outcome, SceneObject
from robot_rl_tasks.arm import (
    arm_fields,
    fill_arm,
    fill_own,
    fill_wrench,
    in_tool_frame,
    relative_yaw,
    tool_delta_groups,
    upright_quat,
    wrench_fields,
    yaw_quat,
)
from robot_rl_tasks.experts import Sloppiness, StagedExpert, Waypoint

PEG_HALF_M = 0.008
TIP_M = 0.06  # the peg's tip, along the tool's z axis
PLATE_M = 0.03  # thickness of the block with the hole
OUTER_HALF_M = 0.05
DEEP_M = 0.02  # this deep counts as inserted
FINE_M = 0.004


class PegInsert:
    """Success when the peg's tip is 20 mm deep inside the hole, judged by geometry.

    The peg is rigid in the hand. The block stands at a random place and yaw; the tip starts within 5 cm of the hole and
    30 degrees of its yaw.

    Args:
        max_steps: Time limit in control periods.
        clearance_m: Gap on each side of the peg.
        start_spread_m, start_yaw_rad: Largest offset of the start from above the hole.
        object_state: Whether the observation says where the hole is; without it that is left to cameras.
    """

    name = "peg_insert"
    control_hz = 10.0

    def __init__(
        self,
        max_steps: int = 100,
        clearance_m: float = 0.0005,
        start_spread_m: float = 0.05,
        start_yaw_rad: float = np.pi / 6,
        object_state: bool = True,
    ) -> None:
        self.max_steps, self.clearance_m = max_steps, clearance_m
        self.start_spread_m, self.start_yaw_rad = start_spread_m, start_yaw_rad
        self.compliance = Compliance(clip_m=(0.006, 0.006, 0.01), clip_rad=0.1, speed_m_s=0.3, speed_rad_s=1.5)
        self.limits = Limits(
            box_min_m=(0.34, -0.20, 0.05), box_max_m=(0.66, 0.20, 0.30), step_m=0.06, step_rad=0.4, force_n=120.0
        )
        self.scene = {"peg": _peg(), "block": _block(PEG_HALF_M + clearance_m)}
        self.action_spec = ActionSpec(continuous=tool_delta_groups(0.02, 0.15))
        hole = {
            "tip_to_hole": StateField(size=3, unit="m", scale=0.03, doc="hole's mouth seen from the tip"),
            "tip_to_hole_fine": StateField(size=3, unit="1", doc="tanh of the same over 4 mm: a ruler for the end"),
            "hole_yaw": StateField(
                size=2, unit="1", doc="sine and cosine of four times the hole's yaw seen from the tool"
            ),
        }
        self._object_state = object_state
        self.observation_spec = ObservationSpec(
            state={**arm_fields(), **(hole if object_state else {}), **wrench_fields()}
        )
        self._buffer = np.zeros(self.observation_spec.size)

    def sample_reset(self, rng: np.random.Generator) -> ResetRequest:
        """Draw the block's pose and the tool's start above it."""
        xy = np.array([rng.uniform(0.45, 0.55), rng.uniform(-0.08, 0.08)])
        yaw = rng.uniform(-np.pi / 6, np.pi / 6)
        radius = self.start_spread_m * np.sqrt(rng.uniform())
        angle = rng.uniform(-np.pi, np.pi)
        start = np.array([*(xy + radius * np.array([np.cos(angle), np.sin(angle)])), 0.0])
        start[2] = PLATE_M + TIP_M + rng.uniform(0.03, 0.05)
        turn = rng.uniform(-self.start_yaw_rad, self.start_yaw_rad)
        return ResetRequest(
            p_BE=start,
            quat_BE=yaw_quat(yaw + turn),
            gripper_width_m=2 * PEG_HALF_M,
            objects={"block": np.concatenate([xy, [0.0], upright_quat(yaw)])},
        )

    def state_vector(self, state: RobotState) -> NDArray[np.float32]:
        """Return the (17,) state of `observation_spec`, (9,) without the hole."""
        if self._object_state:
            _fill(self._buffer, state.p_BE, state.quat_BE, state.F_BE, state.objects["block"])
        else:
            fill_own(self._buffer, state.p_BE, state.quat_BE, state.F_BE)
        return self._buffer.astype(np.float32)

    def outcome(self, state: RobotState) -> Outcome:
        """Succeed when the tip is deep inside the hole's walls."""
        tip = state.p_BE + rotate(state.quat_BE, np.array([0.0, 0.0, TIP_M]))
        block = state.objects["block"]
        offset = tip[:2] - block[:2]
        deep = tip[2] < block[2] + PLATE_M - DEEP_M
        if deep and float(np.hypot(offset[0], offset[1])) < PEG_HALF_M:
            return Outcome(1.0, True, True, "inserted")
        return Outcome(0.0, False, False)

    def expert(self, sloppiness: Sloppiness) -> StagedExpert:
        """Return the scripted demonstrator: above the hole, align, press in."""
        return StagedExpert(self.action_spec, _waypoint, 2, sloppiness, overdrive_m=0.0015)


def _peg() -> SceneObject:
    length = TIP_M + 0.02
    body = Geom(kind="box", size_m=(PEG_HALF_M, PEG_HALF_M, length / 2), pos_m=(0, 0, TIP_M - length / 2))
    return SceneObject(geoms=(body,), mass_kg=0.05, motion="held", pos_m=(0.0, 0.0, 0.0), friction=(0.3, 0.005, 0.0001))


def _block(hole_half_m: float) -> SceneObject:
    wall = (OUTER_HALF_M - hole_half_m) / 2
    centre = hole_half_m + wall
    grey = (0.35, 0.42, 0.50, 1.0)
    z = PLATE_M / 2
    long, short = (wall, OUTER_HALF_M, z), (hole_half_m, wall, z)
    walls = (
        Geom(kind="box", size_m=long, pos_m=(centre, 0, z), rgba=grey),
        Geom(kind="box", size_m=long, pos_m=(-centre, 0, z), rgba=grey),
        Geom(kind="box", size_m=short, pos_m=(0, centre, z), rgba=grey),
        Geom(kind="box", size_m=short, pos_m=(0, -centre, z), rgba=grey),
    )
    return SceneObject(geoms=walls, mass_kg=1.0, motion="placed", friction=(0.3, 0.005, 0.0001))


@kernel
def _fill(out: Vector, p: Vector, quat: Vector, F: Vector, block: Vector) -> None:
    fill_arm(out, p, quat)
    mouth = block[0:3].copy()
    mouth[2] += PLATE_M
    to_hole = in_tool_frame(p, quat, mouth)
    to_hole[2] -= TIP_M
    out[3:6] = to_hole
    out[6:9] = np.tanh(to_hole / FINE_M)
    yaw = 4.0 * relative_yaw(quat, block[3:7])
    out[9], out[10] = np.sin(yaw), np.cos(yaw)
    fill_wrench(out[11:17], quat, F)


def _waypoint(stage: int, state: RobotState) -> Waypoint:
    block = state.objects["block"]
    yaw = relative_yaw(state.quat_BE, block[3:7])
    turn = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
    mouth_z = block[2] + PLATE_M + TIP_M
    if stage == 0:
        return Waypoint(np.array([block[0], block[1], mouth_z + 0.012]), turn, True, 0.004, 0.06)
    error = float(np.hypot(state.p_BE[0] - block[0], state.p_BE[1] - block[1]))
    inside = state.p_BE[2] < mouth_z - 0.002
    # Far off, hover above the plate; near, slide over it with a light touch; over the hole, press.
    turned = abs(turn) < 0.05
    depth = -0.05 if inside or (error < 0.0004 and turned) else -0.002 if error < 0.0015 and turned else 0.002
    return Waypoint(np.array([block[0], block[1], mouth_z + depth]), turn, True, 0.0, 0.0)
