"""Inverse kinematics for resets: a damped Gauss-Newton search that always starts from the same postures."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl.geometry import quat_conj, quat_mul, rotvec_from_quat
from robot_rl.robot import Vector
from robot_rl_controllers.drive.fr3_kinematics import jacobian
from robot_rl_sim.fr3 import ARM_JOINTS, HOME_Q
from robot_rl_sim.native import address_of, call_mj
from robot_rl_sim.tick import F64

STEPS, POSTURE_STEPS = 60, 25  # the first ones also draw the arm to the home posture, the rest only close in
POSTURE = 0.1
JOINT_MARGIN_RAD = 0.02  # a start pose keeps this far from the arm's joint limits
REACHED = 1e-6  # m and rad, summed
# Searched from in this order: home, then home with the elbow or the wrist turned, for poses at a joint limit.
STARTS = np.array(HOME_Q) + 0.6 * np.array(
    [(0,) * 7, (1, 0, -1, 0, 0, 0, 0), (-1, 0, 1, 0, 0, 0, 0), (0, 0, 0, 0, 1, 0, -1), (0, 0, 0, 0, -1, 0, 1)]
)


@kernel
def solve_pose(
    addresses: NDArray[np.int64],
    qpos: F64,
    xpos: F64,
    xquat: F64,
    xanchor: F64,
    xaxis: F64,
    tcp: int,
    lower: F64,
    upper: F64,
    home: F64,
    p_wanted: F64,
    quat_wanted: F64,
) -> float:
    """Set `qpos[:7]` so that the tool takes a pose, and return the remaining error (m and rad, summed).

    The redundant seventh freedom is drawn to the home posture. Deterministic: it always starts from `home`.

    Args:
        addresses: mj_kinematics, mjModel, mjData.
        qpos, xpos, xquat, xanchor, xaxis: Views of MuJoCo's data.
        tcp: Body index of the tool centre point.
        lower, upper: (7,) joint limits.
        home: (7,) start of the search.
        p_wanted, quat_wanted: Tool pose in the base frame.
    """
    J = np.zeros((6, 7))
    e = np.zeros(6)
    qpos[:7] = home
    error = np.inf
    for i_step in range(STEPS):
        call_mj(addresses[0], addresses[1], addresses[2])
        jacobian(xanchor, xaxis, xpos[tcp], J)
        e[0:3] = p_wanted - xpos[tcp]
        e[3:6] = rotvec_from_quat(quat_mul(quat_wanted, quat_conj(xquat[tcp])))
        error = np.sqrt(np.sum(e[0:3] ** 2)) + np.sqrt(np.sum(e[3:6] ** 2))
        if error < 1e-12 and i_step > POSTURE_STEPS:
            break
        # Far away the steps are damped; near the goal they are Newton's, or damping would leave an error.
        A = J @ J.T + (1e-10 + 1e-4 * min(error, 1.0)) * np.eye(6)
        drift = (POSTURE if i_step < POSTURE_STEPS else 0.0) * (home - qpos[:7])
        step = J.T @ np.linalg.solve(A, e - J @ drift) + drift
        size = np.max(np.abs(step))
        if size > 0.3:
            step *= 0.3 / size
        for i in range(7):
            qpos[i] = min(max(qpos[i] + step[i], lower[i]), upper[i])
    call_mj(addresses[0], addresses[1], addresses[2])
    return float(error)


class ArmKinematics:
    """Forward and inverse kinematics on a copy of the data, so that asking moves nothing.

    Attributes:
        tcp: Body index of the tool centre point.
        lower, upper: (7,) joint limits [rad] that a start pose keeps, within those of the arm.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._data = mujoco.MjData(model)
        d = self._data
        self.tcp = int(model.body("fr3_tcp").id)
        limits = np.array([model.joint(n).range for n in ARM_JOINTS])
        self.lower, self.upper = limits[:, 0] + JOINT_MARGIN_RAD, limits[:, 1] - JOINT_MARGIN_RAD
        self._addresses = np.array([address_of("mj_kinematics"), model._address, d._address], np.int64)
        self._views = (d.qpos, d.xpos, d.xquat, d.xanchor, d.xaxis)
        self._model = model

    def solve(self, p_BE: Vector, quat_BE: Vector) -> Vector | None:
        """Return joint positions (7,) [rad] that bring the tool to a pose in B, or None where there are none."""
        pose = (np.asarray(p_BE, float), np.asarray(quat_BE, float) / np.linalg.norm(quat_BE))
        for start in STARTS:
            error = solve_pose(self._addresses, *self._views, self.tcp, self.lower, self.upper, start, *pose)
            if error < REACHED:
                return self._data.qpos[:7].copy()
        return None

    def tool_pose(self, q: Vector) -> tuple[Vector, Vector]:
        """Return position (3,) [m] and orientation (4,) wxyz of the tool in B at joint positions (7,) [rad]."""
        self._data.qpos[:7] = q
        mujoco.mj_kinematics(self._model, self._data)
        return self._data.xpos[self.tcp].copy(), self._data.xquat[self.tcp].copy()
