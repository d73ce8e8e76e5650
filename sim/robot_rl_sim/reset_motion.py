"""Driving the arm to the start of an episode, as hardware must: never placed, never a jump of torque, always watched.

The gripper opens (unless an object is rigid in the hand), the tool retreats straight up, a joint move with limited jerk
brings the arm to the start's posture, and the Cartesian law settles it there. A joint move that would leave the guard's
workspace on its way is begun anew from above the start. The guard sees every 20 ms.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from robot_rl.errors import RobotError
from robot_rl.geometry import quat_conj, quat_from_rotvec, quat_mul, rotvec_from_quat
from robot_rl.robot import ResetRequest, RobotState, Vector
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.joint_motion import JointMove, MotionLimits
from robot_rl_sim.fr3 import FINGER_TRAVEL_M

if TYPE_CHECKING:
    from robot_rl_sim.twin import ArmTwin

WATCH_S = 0.02
SPEED_M_S, SPEED_RAD_S = 0.25, 1.0  # of the Cartesian parts, by moving the target this fast
CEILING_M = 0.03  # how far below the top of the workspace the arm travels
FINGERS_S = 0.5  # time in which the fingers open
SETTLE_S = 3.0
ARRIVE_S = 10.0  # a compliant task's spring moves the arm at 5 cm/s, long after the target has come to its goal
NEAR_M, NEAR_RAD = 0.03, 0.1
ARRIVED_M, ARRIVED_RAD = 0.002, 0.02
REST_M_S, REST_RAD_S = 0.005, 0.03
MARGIN_M, MARGIN_RAD = 0.01, 0.05  # how far the tool may stray out of the workspace it was in
LEAD = 0.2  # share of the error left by joint friction that is added to the target at every look
LEAD_M, LEAD_RAD = 0.01, 0.05


def move_to_start(twin: ArmTwin, request: ResetRequest, q_start: Vector, finger_m: float) -> None:
    """Drive the arm from where it is to the start pose of a request, and the fingers to their opening.

    Args:
        twin: What is driven.
        request: Gives the start pose, which lies inside the workspace.
        q_start: (7,) joint positions [rad] of that pose.
        finger_m: Position of each finger at the start.

    Raises:
        RobotError: The way leaves the workspace, something blocks it, or the guard stopped it.
    """
    motion = _Motion(twin, twin.hold(), finger_m)
    motion.open_gripper()
    motion.retreat()
    move = motion.plan(q_start)
    if move is None:
        above, _ = motion.highest(np.asarray(request.p_BE, float), np.asarray(request.quat_BE, float))
        motion.go_straight(above, np.asarray(request.quat_BE, float), "the way to above the start pose")
        move = motion.plan(q_start)
    if move is None:
        raise RobotError(
            "the reset's joint move to the start pose would leave the workspace, even from above it; move the task's "
            "start area away from the edge of limits.box_min_m and box_max_m"
        )
    motion.follow(move)
    motion.settle(np.asarray(request.p_BE, float), np.asarray(request.quat_BE, float))


class _Motion:
    """One reset on its way: the newest reading, and whether the arm has been inside the workspace yet."""

    def __init__(self, twin: ArmTwin, state: RobotState, finger_m: float) -> None:
        self._twin, self._state = twin, state
        self._limits = twin.task.limits
        self._ticks = max(round(WATCH_S / twin.config.physics_dt_s), 1)
        self._look_s = self._ticks * twin.config.physics_dt_s
        self._outer = Guard(
            dataclasses.replace(
                self._limits,
                box_min_m=tuple(np.subtract(self._limits.box_min_m, MARGIN_M)),
                box_max_m=tuple(np.add(self._limits.box_max_m, MARGIN_M)),
                cone_rad=min(self._limits.cone_rad + MARGIN_RAD, np.pi),
            ),
            twin.period_s,
        )
        self._been_inside = False
        # A peg that is rigid in the hand stays between fingers that do not open.
        self._finger_m = 0.5 * state.gripper_width_m if twin.holds_object else FINGER_TRAVEL_M
        self._last_finger_m = finger_m

    def open_gripper(self) -> None:
        """Give way to what the tool presses against, while the fingers open; not watched, for the force is still on."""
        for _ in range(round(FINGERS_S / self._look_s)):
            p, quat = self._state.p_BE, self._state.quat_BE
            self._state = self._twin.drive_to(p, quat, self._finger_m, self._ticks)

    def retreat(self) -> None:
        """Move straight up, as high as the workspace and the arm allow, from a place inside the workspace."""
        p, quat = self._state.p_BE, self._state.quat_BE
        inside = np.clip(p, self._limits.box_min_m, self._limits.box_max_m)
        self.go_straight(self.highest(inside, quat)[0], quat, "the way up")

    def highest(self, p: Vector, quat: Vector) -> tuple[Vector, Vector | None]:
        """Return the highest reachable place [m] above a place, and the joint positions there; itself if none is."""
        ceiling = self._limits.box_max_m[2] - CEILING_M
        for z in np.arange(ceiling, p[2], -0.02):
            q = self._twin.kinematics.solve(np.array([p[0], p[1], z]), quat)
            if q is not None:
                return np.array([p[0], p[1], z]), q
        return p.copy(), None

    def go_straight(self, p: Vector, quat: Vector, what: str) -> None:
        """Move the tool in a straight line to a pose in B and come to rest near there.

        Friction weighs more the further the arm is stretched, so the place is not exact, and need not be.

        Raises:
            RobotError: It stays far off.
        """
        start_p, start_quat = self._state.p_BE.copy(), self._state.quat_BE.copy()
        turn = rotvec_from_quat(quat_mul(quat, quat_conj(start_quat)))
        duration_s = max(np.linalg.norm(p - start_p) / SPEED_M_S, np.linalg.norm(turn) / SPEED_RAD_S, self._look_s)
        for i in range(1, 1 + round((duration_s + ARRIVE_S) / self._look_s)):
            u = min(i * self._look_s / duration_s, 1.0)
            u = u * u * (3.0 - 2.0 * u)
            target = quat_mul(quat_from_rotvec(u * turn), start_quat)
            self._look(self._twin.drive_to(start_p + u * (p - start_p), target, self._finger_m, self._ticks))
            off_m, off_rad = self._errors(p, quat)
            if u >= 1.0 and self._at_rest() and off_m < NEAR_M and off_rad < NEAR_RAD:
                return
        raise RobotError(
            f"the reset is blocked: {what} ends {1e3 * self._errors(p, quat)[0]:.1f} mm from its goal; clear the arm's "
            "way, or raise the task's compliance"
        )

    def plan(self, q_goal: Vector) -> JointMove | None:
        """Return the joint move to (7,) joint positions [rad], or None if it leaves the guard's workspace."""
        twin = self._twin
        limits = MotionLimits(q_min=tuple(twin.kinematics.lower), q_max=tuple(twin.kinematics.upper))
        move = JointMove(self._state.q, q_goal, limits)
        been_inside = False
        for t in np.arange(0.0, move.duration_s + WATCH_S, WATCH_S):
            broken = twin.guard.check_waypoint(*twin.kinematics.tool_pose(move.at(t)[0]))
            if broken and been_inside:
                return None
            been_inside = been_inside or not broken
        return move if been_inside else None

    def follow(self, move: JointMove) -> None:
        """Drive along a joint move."""
        for i in range(int(np.ceil(move.duration_s / self._look_s))):
            self._look(self._twin.drive_along(move.plan, i * self._look_s, self._finger_m, self._ticks))

    def settle(self, p: Vector, quat: Vector) -> None:
        """Come to rest at a tool pose in B, the target leading by the error that joint friction leaves.

        Raises:
            RobotError: It does not arrive.
        """
        self._twin.hold()
        lead, lead_turn = np.zeros(3), np.zeros(3)
        for _ in range(round(SETTLE_S / self._look_s)):
            target = quat_mul(quat_from_rotvec(lead_turn), quat)
            self._look(self._twin.drive_to(p + lead, target, self._last_finger_m, self._ticks))
            off_m, off_rad = self._errors(p, quat)
            fingers = abs(0.5 * self._state.gripper_width_m - self._last_finger_m) < 0.002
            if self._at_rest():
                if off_m < 0.5 * ARRIVED_M and off_rad < 0.5 * ARRIVED_RAD and fingers:
                    return
                lead = np.clip(lead + LEAD * (p - self._state.p_BE), -LEAD_M, LEAD_M)
                turn = rotvec_from_quat(quat_mul(quat, quat_conj(self._state.quat_BE)))
                lead_turn = np.clip(lead_turn + LEAD * turn, -LEAD_RAD, LEAD_RAD)
        off_m, off_rad = self._errors(p, quat)
        if off_m > ARRIVED_M or off_rad > ARRIVED_RAD:
            raise RobotError(
                f"the reset ends {1e3 * off_m:.1f} mm and {off_rad:.3f} rad from the start pose; allowed are "
                f"{1e3 * ARRIVED_M:.0f} mm and {ARRIVED_RAD} rad. Clear the arm's way, or raise the task's compliance"
            )

    def _errors(self, p: Vector, quat: Vector) -> tuple[float, float]:
        turn = rotvec_from_quat(quat_mul(quat, quat_conj(self._state.quat_BE)))
        return float(np.linalg.norm(p - self._state.p_BE)), float(np.linalg.norm(turn))

    def _at_rest(self) -> bool:
        V = self._state.V_BE
        return bool(np.linalg.norm(V[:3]) < REST_M_S and np.linalg.norm(V[3:]) < REST_RAD_S)

    def _look(self, state: RobotState) -> None:
        """Let the guard see a reading; end the motion if it stopped, or if the arm left the workspace it was in."""
        self._state = state
        guard = self._twin.guard
        guard.watch(state, state.stamp_s)
        outside = self._outer.check_waypoint(state.p_BE, state.quat_BE)
        if not guard.stopped and outside and self._been_inside:
            guard.stop(f"the tool left the {' and '.join(outside)} during a reset")
        if guard.stopped:
            self._twin.hold()
            raise RobotError(f"the guard stopped the reset: {guard.stop_reason}. Clear the arm's way and reset again")
        self._been_inside = self._been_inside or not outside
