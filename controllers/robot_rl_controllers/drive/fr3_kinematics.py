"""Where the FR3's tool is and how to bring it somewhere, without a simulator: the driver and its resets use it.

Link frames are those of the maker's published description; E is the tool centre point of the Franka Hand, 0.1034 m
beyond the flange and turned by -45 degrees about its axis, unless another tool is given.
"""

from __future__ import annotations

import math

import numpy as np

from robot_rl.compiled import kernel
from robot_rl.geometry import Quat, Vector, quat_conj, quat_mul, quat_mul_t, rotate_t, rotvec_from_quat

JOINTS = 7
HOME_Q = (0.0, -0.38, 0.0, -2.32, 0.0, 1.94, 0.785398)
"""A posture with the tool straight down over the middle of the table, well inside every joint limit."""
Q_MIN = (-2.7501, -1.7918, -2.9065, -3.0481, -2.8101, 0.54092, -3.0196)
Q_MAX = (2.7501, 1.7918, 2.9065, -0.1458, 2.8101, 4.5205, 3.0196)
"""Joint limits of the FR3 [rad]."""
FLANGE_M, HAND_M = 0.107, 0.1034
JOINT_MARGIN_RAD = 0.02  # a posture that is searched for keeps this far from the limits

_HALF = math.sqrt(0.5)
LINKS = np.array(
    [
        # where the joint's frame lies in the link before, and how it is turned (wxyz)
        (0.0, 0.0, 0.333, 1.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, _HALF, -_HALF, 0.0, 0.0),
        (0.0, -0.316, 0.0, _HALF, _HALF, 0.0, 0.0),
        (0.0825, 0.0, 0.0, _HALF, _HALF, 0.0, 0.0),
        (-0.0825, 0.384, 0.0, _HALF, -_HALF, 0.0, 0.0),
        (0.0, 0.0, 0.0, _HALF, _HALF, 0.0, 0.0),
        (0.088, 0.0, 0.0, _HALF, _HALF, 0.0, 0.0),
    ]
)
HAND_TOOL = (0.0, 0.0, FLANGE_M + HAND_M, math.cos(math.pi / 8), 0.0, 0.0, -math.sin(math.pi / 8))
"""Pose of E in the frame of link 7: position [m] and orientation wxyz."""

STEPS, POSTURE_STEPS = 60, 25  # the first ones also draw the arm to the posture it starts from, the rest only close in
POSTURE = 0.1
REACHED = 1e-6  # m and rad, summed
# Searched from in this order: home, then home with the elbow or the wrist turned, for poses at a joint limit.
_STARTS = np.array(HOME_Q) + 0.6 * np.array(
    [(0,) * 7, (1, 0, -1, 0, 0, 0, 0), (-1, 0, 1, 0, 0, 0, 0), (0, 0, 0, 0, 1, 0, -1), (0, 0, 0, 0, -1, 0, 1)]
)


@kernel
def forward(links: Vector, tool: Vector, q: Vector, anchors: Vector, axes: Vector, pose: Vector) -> None:
    """Fill in joint anchors (7, 3) [m], joint axes (7, 3) and the tool's pose (7,) in B at joint positions (7,)."""
    x, y, z = 0.0, 0.0, 0.0
    turn: Quat = (1.0, 0.0, 0.0, 0.0)
    for i in range(JOINTS):
        step = rotate_t(turn, (links[i, 0], links[i, 1], links[i, 2]))
        x, y, z = x + step[0], y + step[1], z + step[2]
        turn = quat_mul_t(turn, (links[i, 3], links[i, 4], links[i, 5], links[i, 6]))
        axis = rotate_t(turn, (0.0, 0.0, 1.0))
        for k in range(3):
            axes[i, k] = axis[k]
        anchors[i, 0], anchors[i, 1], anchors[i, 2] = x, y, z
        turn = quat_mul_t(turn, (math.cos(0.5 * q[i]), 0.0, 0.0, math.sin(0.5 * q[i])))
    step = rotate_t(turn, (tool[0], tool[1], tool[2]))
    turn = quat_mul_t(turn, (tool[3], tool[4], tool[5], tool[6]))
    pose[0], pose[1], pose[2] = x + step[0], y + step[1], z + step[2]
    pose[3], pose[4], pose[5], pose[6] = turn


@kernel
def jacobian(anchors: Vector, axes: Vector, pose: Vector, J: Vector) -> None:
    """Fill in the (6, 7) tool Jacobian in B, rows v then omega, from joint anchors and axes and the tool's position.

    `forward` fills them in; a simulator has its own, of which the first seven joints count.
    """
    for j in range(JOINTS):
        ax, ay, az = axes[j, 0], axes[j, 1], axes[j, 2]
        rx, ry, rz = pose[0] - anchors[j, 0], pose[1] - anchors[j, 1], pose[2] - anchors[j, 2]
        J[0, j] = ay * rz - az * ry
        J[1, j] = az * rx - ax * rz
        J[2, j] = ax * ry - ay * rx
        J[3, j] = ax
        J[4, j] = ay
        J[5, j] = az


@kernel
def search(
    links: Vector, tool: Vector, start: Vector, lower: Vector, upper: Vector, wanted: Vector, q: Vector
) -> float:
    """Set `q` (7,) so that the tool takes a pose (7,) in B, and return the error that is left (m and rad, summed).

    A damped Gauss-Newton search; the seventh freedom is drawn to `start`. The same arguments give the same bits.
    """
    anchors, axes = np.zeros((JOINTS, 3)), np.zeros((JOINTS, 3))
    pose, J, e = np.zeros(7), np.zeros((6, JOINTS)), np.zeros(6)
    q[:] = start
    error = np.inf
    for i_step in range(STEPS):
        forward(links, tool, q, anchors, axes, pose)
        jacobian(anchors, axes, pose, J)
        e[0:3] = wanted[0:3] - pose[0:3]
        e[3:6] = rotvec_from_quat(quat_mul(wanted[3:7], quat_conj(pose[3:7])))
        error = np.sqrt(np.sum(e[0:3] ** 2)) + np.sqrt(np.sum(e[3:6] ** 2))
        if error < 1e-12 and i_step > POSTURE_STEPS:
            break
        # Far away the steps are damped; near the goal they are Newton's, or damping would leave an error.
        A = J @ J.T + (1e-10 + 1e-4 * min(error, 1.0)) * np.eye(6)
        drift = (POSTURE if i_step < POSTURE_STEPS else 0.0) * (start - q)
        step = J.T @ np.linalg.solve(A, e - J @ drift) + drift
        size = np.max(np.abs(step))
        if size > 0.3:
            step *= 0.3 / size
        for i in range(JOINTS):
            q[i] = min(max(q[i] + step[i], lower[i]), upper[i])
    return float(error)


class Fr3Kinematics:
    """Forward and inverse kinematics of an FR3 with a tool.

    Attributes:
        lower, upper: (7,) joint limits [rad] that a posture keeps, within those of the arm.
    """

    def __init__(self, tool: tuple[float, ...] = HAND_TOOL) -> None:
        """Take the pose of E in the frame of link 7: position [m] and orientation wxyz."""
        self._tool = np.asarray(tool, float)
        self.lower, self.upper = np.array(Q_MIN) + JOINT_MARGIN_RAD, np.array(Q_MAX) - JOINT_MARGIN_RAD

    def solve(self, p_BE: Vector, quat_BE: Vector) -> Vector | None:
        """Return joint positions (7,) [rad] that bring the tool to a pose in B, or None where there are none."""
        wanted = np.concatenate([np.asarray(p_BE, float), np.asarray(quat_BE, float) / np.linalg.norm(quat_BE)])
        q = np.zeros(JOINTS)
        for start in _STARTS:
            if search(LINKS, self._tool, start, self.lower, self.upper, wanted, q) < REACHED:
                return q
        return None

    def tool_pose(self, q: Vector) -> tuple[Vector, Vector]:
        """Return position (3,) [m] and orientation (4,) wxyz of the tool in B at joint positions (7,) [rad]."""
        pose = np.zeros(7)
        forward(LINKS, self._tool, np.asarray(q, float), np.zeros((JOINTS, 3)), np.zeros((JOINTS, 3)), pose)
        return pose[:3], pose[3:]

    def tool_jacobian(self, q: Vector) -> Vector:
        """Return the (6, 7) Jacobian of the tool in B, rows v then omega."""
        anchors, axes, pose, J = np.zeros((JOINTS, 3)), np.zeros((JOINTS, 3)), np.zeros(7), np.zeros((6, JOINTS))
        forward(LINKS, self._tool, np.asarray(q, float), anchors, axes, pose)
        jacobian(anchors, axes, pose, J)
        return J
