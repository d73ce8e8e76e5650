"""Press a component with two pins into the holes of a circuit board, 0.4 mm of clearance on every side of a pin."""

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

PIN_HALF_M = 0.0012  # half the side of a pin
PITCH_M = 0.015  # from pin to pin
PIN_M = 0.008  # a pin's length below the component's body
BODY_M = (0.012, 0.006)  # half length and half width of the body; the fingers close on the width
SEAT_M = 0.014  # the body's underside, along the tool's z axis
TIP_M = SEAT_M + PIN_M
BOARD_M = (0.040, 0.030)  # half sides of the board
PLATE_M = 0.006  # its thickness
TOP_M = 0.020  # height of its upper side, which stands on feet
FINE_M = 0.003
# SERL judges its board so: within these of the seated pose.
NEAR_M, SEATED_M, TURNED_RAD = 0.003, 0.001, 0.1
TOO_FAR_M = 0.10


class PcbInsert:
    """Success when the component's body lies on the board, which it can only with both pins in their holes.

    The component is rigid in the hand. The board stands at a random place and yaw; the component starts within 5 cm and
    20 degrees of the holes and 2 to 4 cm above them. Going further than 10 cm away from them is a failure.

    Stiffness, damping, clips and action scale are those that SERL published for its board, and so are the start's
    offsets: at rest the spring pushes with at most 7.5 N sideways and 9 N down.

    Args:
        max_steps: Time limit in control periods.
        clearance_m: Gap on each side of a pin.
        start_spread_m, start_yaw_rad: Largest offset of the start from above the holes.
        object_state: Whether the observation says where the board is; without it that is left to cameras.
    """

    name = "pcb_insert"
    control_hz = 10.0

    def __init__(
        self,
        max_steps: int = 100,
        clearance_m: float = 0.0004,
        start_spread_m: float = 0.05,
        start_yaw_rad: float = np.pi / 9,
        object_state: bool = True,
    ) -> None:
        self.max_steps, self.clearance_m = max_steps, clearance_m
        self.start_spread_m, self.start_yaw_rad = start_spread_m, start_yaw_rad
        self.compliance = Compliance(
            stiffness=(3000.0, 3000.0, 3000.0, 150.0, 150.0, 150.0), damping=(180.0, 180.0, 180.0, 7.0, 7.0, 7.0),
            clip_m=(0.0025, 0.002, 0.003), clip_rad=0.025, speed_m_s=0.3, speed_rad_s=1.5,
        )  # fmt: skip
        self.limits = Limits(
            box_min_m=(0.34, -0.20, TOP_M + SEAT_M - 0.005), box_max_m=(0.66, 0.20, 0.20), step_m=0.06, step_rad=0.4,
            force_n=60.0,
        )  # fmt: skip
        self.scene = {"component": _component(), "board": _board(PIN_HALF_M + clearance_m)}
        self.action_spec = ActionSpec(continuous=tool_delta_groups(0.02, 0.2))
        board = {
            "pins_to_holes": StateField(size=3, unit="m", scale=0.03, doc="middle of the holes seen from the pins"),
            "pins_to_holes_fine": StateField(size=3, unit="1", doc="tanh of the same over 3 mm, for the end"),
            "board_yaw": StateField(size=1, unit="rad", scale=0.2, doc="yaw of the board seen from the tool"),
            "board_yaw_fine": StateField(size=1, unit="1", doc="tanh of the same over 0.05 rad"),
        }
        self._object_state = object_state
        self.observation_spec = ObservationSpec(
            state={**arm_fields(), **(board if object_state else {}), **wrench_fields()}
        )
        self._buffer = np.zeros(self.observation_spec.size)

    def sample_reset(self, rng: np.random.Generator) -> ResetRequest:
        """Draw the board's pose and the tool's start above it."""
        xy = np.array([rng.uniform(0.45, 0.55), rng.uniform(-0.08, 0.08)])
        yaw = rng.uniform(-np.pi / 6, np.pi / 6)
        radius = self.start_spread_m * np.sqrt(rng.uniform())
        angle = rng.uniform(-np.pi, np.pi)
        start = np.array([*(xy + radius * np.array([np.cos(angle), np.sin(angle)])), 0.0])
        start[2] = TOP_M + TIP_M + rng.uniform(0.02, 0.04)
        turn = rng.uniform(-self.start_yaw_rad, self.start_yaw_rad)
        return ResetRequest(
            p_BE=start,
            quat_BE=yaw_quat(yaw + turn),
            gripper_width_m=2 * BODY_M[1],
            objects={"board": np.concatenate([xy, [0.0], upright_quat(yaw)])},
        )

    def state_vector(self, state: RobotState) -> NDArray[np.float32]:
        """Return the (17,) state of `observation_spec`, (9,) without the board."""
        if self._object_state:
            _fill(self._buffer, state.p_BE, state.quat_BE, state.F_BE, state.objects["board"])
        else:
            fill_own(self._buffer, state.p_BE, state.quat_BE, state.F_BE)
        return self._buffer.astype(np.float32)

    def outcome(self, state: RobotState) -> Outcome:
        """Succeed when the body is seated over its holes; fail when the component was carried away."""
        board = state.objects["board"]
        seat = state.p_BE + rotate(state.quat_BE, np.array([0.0, 0.0, SEAT_M]))
        off = seat - board[:3] - (0.0, 0.0, TOP_M)
        turned = abs(relative_yaw(state.quat_BE, board[3:7]))
        if np.abs(off[:2]).max() < NEAR_M and off[2] < SEATED_M and turned < TURNED_RAD:
            return Outcome(1.0, True, True, "seated")
        if np.hypot(off[0], off[1]) > TOO_FAR_M:
            return Outcome(0.0, True, False, "carried away")
        return Outcome(0.0, False, False)

    def expert(self, sloppiness: Sloppiness) -> StagedExpert:
        """Return the scripted demonstrator: above the holes, align, slide over them, press."""
        return StagedExpert(self.action_spec, _waypoint, 2, sloppiness, overdrive_m=0.0015)


def _component() -> SceneObject:
    """Return the component in the tool's frame: a body between the fingers, two square pins with round tips."""
    blue, tin = (0.16, 0.28, 0.62, 1.0), (0.85, 0.83, 0.72, 1.0)
    body = Geom(kind="box", size_m=(*BODY_M, (SEAT_M + 0.008) / 2), pos_m=(0, 0, (SEAT_M - 0.008) / 2), rgba=blue)
    pins = []
    for x in (-PITCH_M / 2, PITCH_M / 2):
        half = (PIN_M - PIN_HALF_M) / 2
        pins += [
            Geom(kind="box", size_m=(PIN_HALF_M, PIN_HALF_M, half), pos_m=(x, 0, SEAT_M + half), rgba=tin),
            Geom(kind="sphere", size_m=(PIN_HALF_M,), pos_m=(x, 0, TIP_M - PIN_HALF_M), rgba=tin),
        ]
    return SceneObject(
        geoms=(body, *pins), mass_kg=0.01, motion="held", pos_m=(0.0, 0.0, 0.0), friction=(0.3, 0.005, 0.0001)
    )


def _board(hole_half_m: float) -> SceneObject:
    """Return the board: five boxes that leave two square holes, on four feet, with copper drawn around the holes."""
    green, copper = (0.06, 0.36, 0.20, 1.0), (0.85, 0.62, 0.25, 1.0)
    length, width = BOARD_M
    z, thick = TOP_M - PLATE_M / 2, PLATE_M / 2
    near, far = PITCH_M / 2 - hole_half_m, PITCH_M / 2 + hole_half_m
    strip = (width - hole_half_m) / 2
    side = (length - far) / 2
    plates = [
        Geom(kind="box", size_m=(length, strip, thick), pos_m=(0, s * (hole_half_m + strip), z), rgba=green)
        for s in (1, -1)
    ]
    plates += [
        Geom(kind="box", size_m=(side, hole_half_m, thick), pos_m=(s * (far + side), 0, z), rgba=green) for s in (1, -1)
    ]
    plates.append(Geom(kind="box", size_m=(near, hole_half_m, thick), pos_m=(0, 0, z), rgba=green))
    foot = (TOP_M - PLATE_M) / 2
    feet = [
        Geom(kind="cylinder", size_m=(0.003, foot), pos_m=(sx * 0.034, sy * 0.024, foot), rgba=(0.8, 0.8, 0.8, 1.0))
        for sx in (1, -1)
        for sy in (1, -1)
    ]
    ring, gap = 0.0012, hole_half_m
    rings = []
    for x in (-PITCH_M / 2, PITCH_M / 2):
        for s in (1, -1):
            long, short = (gap + 2 * ring, ring, 0.0001), (ring, gap, 0.0001)
            rings.append(_paint(long, (x, s * (gap + ring)), copper))
            rings.append(_paint(short, (x + s * (gap + ring), 0.0), copper))
    return SceneObject(
        geoms=(*plates, *feet, *rings), mass_kg=0.1, motion="placed", pos_m=(0.5, 0.0, 0.0),
        friction=(0.3, 0.005, 0.0001),
    )  # fmt: skip


def _paint(
    half_m: tuple[float, float, float], at_m: tuple[float, float], rgba: tuple[float, float, float, float]
) -> Geom:
    return Geom(kind="box", size_m=half_m, pos_m=(*at_m, TOP_M), rgba=rgba, collides=False)


@kernel
def _fill(out: Vector, p: Vector, quat: Vector, F: Vector, board: Vector) -> None:
    fill_arm(out, p, quat)
    holes = board[0:3].copy()
    holes[2] += TOP_M
    to_holes = in_tool_frame(p, quat, holes)
    to_holes[2] -= TIP_M
    out[3:6] = to_holes
    out[6:9] = np.tanh(to_holes / FINE_M)
    yaw = relative_yaw(quat, board[3:7])
    out[9], out[10] = yaw, np.tanh(yaw / 0.05)
    fill_wrench(out[11:17], quat, F)


def _waypoint(stage: int, state: RobotState) -> Waypoint:
    board = state.objects["board"]
    turn = relative_yaw(state.quat_BE, board[3:7])
    touch_z = board[2] + TOP_M + TIP_M
    if stage == 0:
        return Waypoint(np.array([board[0], board[1], touch_z + 0.012]), turn, True, 0.004, 0.06)
    error = float(np.hypot(state.p_BE[0] - board[0], state.p_BE[1] - board[1]))
    inside = state.p_BE[2] < touch_z - 0.0015
    # Far off, hover above the board; near, slide the tips over it with a light touch; over the holes, press.
    turned = abs(turn) < 0.05
    depth = -0.013 if inside or (error < 0.0004 and turned) else -0.002 if error < 0.0015 and turned else 0.002
    return Waypoint(np.array([board[0], board[1], touch_z + depth]), turn, True, 0.0, 0.0)
