"""Inverse kinematics for resets: a damped Gauss-Newton search that always starts from the home posture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl.geometry import quat_conj, quat_mul, rotvec_from_quat
from robot_rl_sim.native import call_mj
from robot_rl_sim.tick import F64, fill_jacobian

DAMPING = 1e-4


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
    for _ in range(60):
        call_mj(addresses[0], addresses[1], addresses[2])
        fill_jacobian(J, xpos[tcp], xanchor, xaxis)
        e[0:3] = p_wanted - xpos[tcp]
        e[3:6] = rotvec_from_quat(quat_mul(quat_wanted, quat_conj(xquat[tcp])))
        error = np.sqrt(np.sum(e[0:3] ** 2)) + np.sqrt(np.sum(e[3:6] ** 2))
        A = J @ J.T + DAMPING * np.eye(6)
        drift = 0.1 * (home - qpos[:7])
        step = J.T @ np.linalg.solve(A, e - J @ drift) + drift
        if error < 1e-10 and np.max(np.abs(step)) < 1e-9:
            break
        size = np.max(np.abs(step))
        if size > 0.3:
            step *= 0.3 / size
        for i in range(7):
            qpos[i] = min(max(qpos[i] + step[i], lower[i]), upper[i])
    call_mj(addresses[0], addresses[1], addresses[2])
    return float(error)
