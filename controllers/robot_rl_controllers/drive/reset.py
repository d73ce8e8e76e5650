"""Driving the arm to where an episode starts: open the gripper, retreat upwards, move with limited jerk, settle.

This is the part that thinks; it runs beside the node. The driver's guard judges every target and watches every reading
in the driver's own process, which ends the reset when it must: then each step here raises.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robot_rl.errors import RobotError
from robot_rl.geometry import quat_conj, quat_from_rotvec, quat_mul, rotvec_from_quat
from robot_rl.robot import RobotState, Vector
from robot_rl_controllers.drive.fr3_kinematics import Fr3Kinematics
from robot_rl_controllers.guard_workspace import Workspace
from robot_rl_controllers.joint_motion import JointMove, MotionLimits

LOOK_S = 0.02
SPEED_M_S, SPEED_RAD_S = 0.25, 1.0  # of the straight parts, by moving the target this fast
CEILING_M = 0.03  # how far below the top of the workspace the arm travels
FINGERS_S, OPEN_S = 0.5, 2.0  # time for fingers of which nothing is known to open, and for others at most
SETTLE_S = 3.0
NEAR_M, NEAR_RAD = 0.03, 0.1
ARRIVED_M, ARRIVED_RAD = 0.002, 0.02
REST_M_S, REST_RAD_S = 0.005, 0.03
LEAD = 0.2  # share of the error left by joint friction that is added to the target at every look
LEAD_M, LEAD_RAD = 0.01, 0.05
PATIENCE = 3.0  # how many times longer than planned a joint move may take on a busy machine


class Rail(Protocol):
    """What a reset needs of a driver; every call raises `RobotError` once the reset was ended."""

    def look(self) -> RobotState:
        """Return the newest reading."""
        ...

    def stream(self, p: Vector, quat: Vector, finger_m: float) -> None:
        """Ask for a tool pose and finger positions; also the sign of life during a joint move."""
        ...

    def move_joints(self, q: Vector) -> None:
        """Begin a joint move from where the arm rests."""
        ...

    def hold(self) -> None:
        """Hold the measured pose and follow streamed poses from now on."""
        ...


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a reset goes: a tool pose in B, the joint positions [rad] there, and each finger's position [m]."""

    p: Vector
    quat: Vector
    q: Vector
    finger_m: float


class ResetMotion:
    """One reset on its way.

    Args:
        rail: The driver.
        workspace: Where the tool may be.
        kinematics: Of the arm with its tool.
        open_m: Position of each finger on the way.
    """

    def __init__(self, rail: Rail, workspace: Workspace, kinematics: Fr3Kinematics, open_m: float) -> None:
        self._rail, self._workspace, self._kinematics, self._finger_m = rail, workspace, kinematics, open_m
        self._limits = workspace.limits
        self._next_s = time.monotonic()
        self._state = rail.look()

    def to_start(self, start: Start) -> None:
        """Drive to the start of an episode.

        Raises:
            RobotError: The way leaves the workspace, something blocks it, or the driver ended the reset.
        """
        self.open_gripper()
        self.retreat()
        if not self._fits(start.q):
            above, _ = self._highest(start.p, start.quat)
            self.go_straight(above, start.quat, "the way to above the start pose")
            if not self._fits(start.q):
                raise RobotError(
                    "the reset's joint move to the start pose would leave the workspace, even from above it; move the "
                    "task's start area away from the edge of limits.box_min_m and box_max_m"
                )
        self.follow(start.q)
        self.settle(start)

    def to_joints(self, q: Vector) -> None:
        """Drive to joint positions (7,) [rad] without touching the gripper, upwards first.

        Raises:
            RobotError: As in `to_start`.
        """
        self.retreat()
        if not self._fits(q):
            raise RobotError("the joint move would leave the workspace; bring the tool nearer to its middle first")
        self.follow(q)

    def open_gripper(self) -> None:
        """Give way to what the tool presses against, while the fingers open."""
        known = bool(np.isfinite(self._state.gripper_width_m))
        for _ in range(round((OPEN_S if known else FINGERS_S) / LOOK_S)):
            self._stream(self._state.p_BE, self._state.quat_BE)
            if known and self._fingers_there():
                return

    def retreat(self) -> None:
        """Move straight up, as high as the workspace and the arm allow, from a place inside the workspace."""
        p, quat = self._state.p_BE, self._state.quat_BE
        inside = np.clip(p, self._limits.box_min_m, self._limits.box_max_m)
        self.go_straight(self._highest(inside, quat)[0], quat, "the way up")

    def _highest(self, p: Vector, quat: Vector) -> tuple[Vector, Vector | None]:
        """Return the highest reachable place [m] above a place, and the joint positions there; itself if none is."""
        ceiling = self._limits.box_max_m[2] - CEILING_M
        for z in np.arange(ceiling, p[2], -0.02):
            q = self._kinematics.solve(np.array([p[0], p[1], z]), quat)
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
        duration_s = max(np.linalg.norm(p - start_p) / SPEED_M_S, np.linalg.norm(turn) / SPEED_RAD_S, LOOK_S)
        for i in range(1, 1 + round((duration_s + SETTLE_S) / LOOK_S)):
            u = min(i * LOOK_S / duration_s, 1.0)
            u = u * u * (3.0 - 2.0 * u)
            self._stream(start_p + u * (p - start_p), quat_mul(quat_from_rotvec(u * turn), start_quat))
            off_m, off_rad = self._errors(p, quat)
            if u >= 1.0 and self._at_rest() and off_m < NEAR_M and off_rad < NEAR_RAD:
                return
        raise RobotError(
            f"the reset is blocked: {what} ends {1e3 * self._errors(p, quat)[0]:.1f} mm from its goal; clear the arm's "
            "way, or raise the task's compliance"
        )

    def _plan(self, q: Vector) -> JointMove:
        limits = MotionLimits(q_min=tuple(self._kinematics.lower), q_max=tuple(self._kinematics.upper))
        return JointMove(self._state.q, q, limits)

    def _fits(self, q: Vector) -> bool:
        """Return whether the joint move from here stays in the workspace once it is inside, and ends inside."""
        move, been_inside = self._plan(q), False
        for t in np.arange(0.0, move.duration_s + LOOK_S, LOOK_S):
            broken = self._workspace.check_waypoint(*self._kinematics.tool_pose(move.at(t)[0]))
            if broken and been_inside:
                return False
            been_inside = been_inside or not broken
        return been_inside

    def follow(self, q: Vector) -> None:
        """Drive to joint positions (7,) [rad] and come to rest.

        Raises:
            RobotError: The arm does not get there.
        """
        duration_s = self._plan(q).duration_s
        self._rail.move_joints(q)
        begun_s = time.monotonic()
        while time.monotonic() - begun_s < PATIENCE * duration_s + SETTLE_S:
            self._stream(self._state.p_BE, self._state.quat_BE)
            off = float(np.abs(self._state.q - q).max())
            if time.monotonic() - begun_s >= duration_s and off < NEAR_RAD and self._at_rest():
                return
        raise RobotError(
            f"the reset is blocked: a joint is {np.abs(self._state.q - q).max():.3f} rad from where its move ends; "
            "clear the arm's way"
        )

    def settle(self, start: Start) -> None:
        """Come to rest at a tool pose in B, the target leading by the error that joint friction leaves.

        Raises:
            RobotError: It does not arrive.
        """
        self._rail.hold()
        self._finger_m = start.finger_m
        p, quat = start.p, start.quat
        lead, lead_turn = np.zeros(3), np.zeros(3)
        for _ in range(round(SETTLE_S / LOOK_S)):
            self._stream(p + lead, quat_mul(quat_from_rotvec(lead_turn), quat))
            if self._at_rest():
                off_m, off_rad = self._errors(p, quat)
                if off_m < 0.5 * ARRIVED_M and off_rad < 0.5 * ARRIVED_RAD and self._fingers_there():
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

    def _fingers_there(self) -> bool:
        width = self._state.gripper_width_m
        return not np.isfinite(width) or abs(0.5 * width - self._finger_m) < 0.002

    def _errors(self, p: Vector, quat: Vector) -> tuple[float, float]:
        turn = rotvec_from_quat(quat_mul(quat, quat_conj(self._state.quat_BE)))
        return float(np.linalg.norm(p - self._state.p_BE)), float(np.linalg.norm(turn))

    def _at_rest(self) -> bool:
        V = self._state.V_BE
        return bool(np.linalg.norm(V[:3]) < REST_M_S and np.linalg.norm(V[3:]) < REST_RAD_S)

    def _stream(self, p: Vector, quat: Vector) -> None:
        """Ask for a pose, let a look's time go by, and look."""
        self._rail.stream(p, quat, self._finger_m)
        self._next_s = max(self._next_s + LOOK_S, time.monotonic())
        time.sleep(max(self._next_s - time.monotonic(), 0.0))
        self._state = self._rail.look()
