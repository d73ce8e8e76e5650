"""Route a cable: pull it taut across a clip and press it in until it is under the clip's lips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl.geometry import quat_conj, rotate
from robot_rl.robot import ResetRequest, RobotState, Vector
from robot_rl.specs import ActionSpec, ObservationSpec, StateField
from robot_rl.task import Compliance, Limits, Outcome
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
from robot_rl_tasks.cable import (
    ANCHOR_M,
    CHANNEL_HALF_M,
    CLIP_HALF_M,
    INSIDE_M,
    LENGTH_M,
    LIP_M,
    cable,
    cable_names,
    clip,
    crossing,
)
from robot_rl_tasks.experts import Sloppiness, StagedExpert, Waypoint

FINE_M = 0.004
START_X_M = -0.09  # middle of the tool's starts, in the clip's frame
TAUT = 0.985  # share of the cable's length that a start may use
LEEWAY_M = (0.0, 0.0, 0.03)


class CableRoute:
    """Success when the cable lies in the clip, under its lips, over the whole length of the channel.

    One end of the cable is held in the hand, the other is tied to a post behind the clip. The clip stands at a random
    place and yaw. Stiffness, damping, clips and action scale are those that SERL published for its cable, and so are
    the 30 degrees of the start's yaw and the 10 cm of its height; SERL's 10 cm to every side become 5 cm, and less
    where the cable would not reach.

    Args:
        max_steps: Time limit in control periods.
        jaw_stiffness_n_m_rad: Spring of each jaw of the clip.
        start_spread_m, start_yaw_rad: Largest offset of the start.
        object_state: Whether the observation says where the clip and the cable are; without it that is left to cameras.
    """

    name = "cable_route"
    control_hz = 10.0

    def __init__(
        self,
        max_steps: int = 100,
        jaw_stiffness_n_m_rad: float = 0.5,
        start_spread_m: float = 0.05,
        start_yaw_rad: float = np.pi / 6,
        object_state: bool = True,
    ) -> None:
        self.max_steps, self.jaw_stiffness_n_m_rad = max_steps, jaw_stiffness_n_m_rad
        self.start_spread_m, self.start_yaw_rad = start_spread_m, start_yaw_rad
        self.compliance = Compliance(clip_m=(0.005, 0.005, 0.005), clip_rad=0.05, speed_m_s=0.5, speed_rad_s=2.0)
        self.limits = Limits(
            box_min_m=(0.28, -0.28, 0.012), box_max_m=(0.66, 0.28, 0.25), step_m=0.12, step_rad=0.6, force_n=60.0
        )
        self.scene = {**clip("clip", jaw_stiffness_n_m_rad), **cable("clip")}
        self.action_spec = ActionSpec(continuous=tool_delta_groups(0.05, 0.3))
        route = {
            "clip_position": StateField(size=3, unit="m", scale=0.1, doc="the clip's mouth seen from the tool"),
            "clip_yaw": StateField(size=1, unit="rad", scale=0.3, doc="yaw of the clip seen from the tool"),
            "slack": StateField(size=1, unit="m", scale=0.03, doc="length of the cable beyond the way to its post"),
            "cable_in_clip": StateField(
                size=2, unit="m", scale=0.02, doc="to the left of and above the mouth, where the cable crosses it"
            ),
            "cable_in_clip_fine": StateField(size=2, unit="1", doc="tanh of the same over 4 mm"),
        }
        self._object_state = object_state
        self.observation_spec = ObservationSpec(
            state={**arm_fields(), **(route if object_state else {}), **wrench_fields()}
        )
        self._names = cable_names()
        self._points = np.zeros((len(self._names) + 1, 3))
        self._buffer, self._cross = np.zeros(self.observation_spec.size), np.zeros(3)

    def sample_reset(self, rng: np.random.Generator) -> ResetRequest:
        """Draw the clip's pose and, within reach of the cable, the tool's start."""
        xy = np.array([rng.uniform(0.50, 0.56), rng.uniform(-0.06, 0.06)])
        yaw = rng.uniform(-np.pi / 6, np.pi / 6)
        spread = self.start_spread_m
        start = np.array([START_X_M, 0.0, 0.10]) + rng.uniform(-spread, spread, 3) * (1.0, 1.0, 0.4)
        turn = rng.uniform(-self.start_yaw_rad, self.start_yaw_rad)
        # Towards the anchor until the cable would reach a little higher up too: it shall hang, and the arm can move.
        away = start + LEEWAY_M - ANCHOR_M
        start = ANCHOR_M + away * min(1.0, TAUT * LENGTH_M / float(np.linalg.norm(away))) - LEEWAY_M
        pose = np.concatenate([xy, [0.0], upright_quat(yaw)])
        return ResetRequest(
            p_BE=pose[:3] + rotate(pose[3:], start), quat_BE=yaw_quat(yaw + turn), gripper_width_m=0.008,
            objects={"clip": pose},
        )  # fmt: skip

    def state_vector(self, state: RobotState) -> NDArray[np.float32]:
        """Return the (18,) state of `observation_spec`, (9,) without clip and cable."""
        if not self._object_state:
            fill_own(self._buffer, state.p_BE, state.quat_BE, state.F_BE)
            return self._buffer.astype(np.float32)
        pose = state.objects["clip"]
        crossing(self._cross, self.cable_points(state), pose, 0.0)
        _fill(self._buffer, state.p_BE, state.quat_BE, state.F_BE, pose, self._cross)
        return self._buffer.astype(np.float32)

    def cable_points(self, state: RobotState) -> Vector:
        """Return points (n, 3) [m] along the cable in B, from the hand to its anchor; overwritten by the next call."""
        for i, name in enumerate(self._names):
            self._points[i] = state.objects[name][:3]
        pose = state.objects["clip"]
        self._points[-1] = pose[:3] + rotate(pose[3:7], np.array(ANCHOR_M))
        return self._points

    def outcome(self, state: RobotState) -> Outcome:
        """Succeed when the cable's middle is under the lips at both ends of the channel and between its walls."""
        points, pose, at = self.cable_points(state), state.objects["clip"], self._cross
        for x in (-CLIP_HALF_M, 0.0, CLIP_HALF_M):
            crosses = crossing(at, points, pose, x)
            if not crosses or at[2] > INSIDE_M or abs(at[1]) > 2.0 * CHANNEL_HALF_M:
                return Outcome(0.0, False, False)
        return Outcome(1.0, True, True, "routed")

    def expert(self, sloppiness: Sloppiness) -> StagedExpert:
        """Return the scripted demonstrator: lift the cable taut over the clip, bring it in line, press it in."""
        return StagedExpert(self.action_spec, self._waypoint, 1, sloppiness, overdrive_m=0.0015)

    def _waypoint(self, _stage: int, state: RobotState) -> Waypoint:
        pose = state.objects["clip"]
        turn = relative_yaw(state.quat_BE, pose[3:7])
        crossing(self._cross, self.cable_points(state), pose, 0.0)
        aside, height = float(self._cross[1]), float(self._cross[2])
        seen = rotate(quat_conj(pose[3:7]), state.p_BE - pose[:3])
        in_line = abs(aside) < 0.0025 and abs(turn) < 0.15
        if in_line or (abs(aside) < CHANNEL_HALF_M and height < LIP_M):
            # Aiming beyond the cable's length keeps it taut on the way down.
            goal = _behind(0.006, LENGTH_M + 0.008, -aside)
        elif height > LIP_M + 0.006:
            goal = _behind(max(seen[2], 0.07), 0.98 * LENGTH_M, float(seen[1]) - 2.0 * aside)
        else:
            # Caught beside the clip, or hanging through: up, until it is free.
            goal = _behind(0.12, 0.98 * LENGTH_M, float(seen[1]))
        return Waypoint(pose[:3] + rotate(pose[3:7], goal), turn, True, 0.0, 0.0)


def _behind(z_m: float, length_m: float, y_m: float) -> Vector:
    """Return the place in the clip's frame at a height and a length of cable away from the anchor."""
    off = length_m**2 - (z_m - ANCHOR_M[2]) ** 2 - y_m**2
    return np.array([ANCHOR_M[0] - np.sqrt(max(off, 0.01)), y_m, z_m])


@kernel
def _fill(out: Vector, p: Vector, quat: Vector, F: Vector, pose: Vector, cross: Vector) -> None:
    fill_arm(out, p, quat)
    mouth = pose[0:3].copy()
    mouth[2] += LIP_M
    out[3:6] = in_tool_frame(p, quat, mouth)
    out[6] = relative_yaw(quat, pose[3:7])
    anchor = pose[0:3] + rotate(pose[3:7], np.array([ANCHOR_M[0], ANCHOR_M[1], ANCHOR_M[2]]))
    out[7] = LENGTH_M - np.sqrt(np.sum((anchor - p) ** 2))
    out[8], out[9] = cross[1], cross[2] - LIP_M
    out[10], out[11] = np.tanh(out[8] / FINE_M), np.tanh(out[9] / FINE_M)
    fill_wrench(out[12:18], quat, F)
