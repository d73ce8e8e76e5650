"""The compiled parts of the twin in real time: one physics step, and a reading as the robot itself gives it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl_controllers.drive.fr3_kinematics import jacobian
from robot_rl_sim.tick import WRENCH_EVERY, WRENCH_FILTER_S, advance, sound

F64 = NDArray[np.float64]


@kernel
def physics_step(
    dt: float,
    tau: F64,
    finger_target: float,
    finger_step: float,
    addresses: NDArray[np.int64],
    ctrl: F64,
    p: F64,
    tool_bodies: NDArray[np.int64],
    cfrc_ext: F64,
    root_com: F64,
    wrench: F64,
) -> None:
    """Apply torques (7,) [N m] without gravity and finger positions [m], and let physics take one step."""
    share = 1.0 - np.exp(-WRENCH_EVERY * dt / WRENCH_FILTER_S)
    advance(addresses, ctrl, tau, finger_target, finger_step, p, tool_bodies, cfrc_ext, root_com, wrench, share)


@kernel
def fill_sample(
    q: F64,
    dq: F64,
    p_out: F64,
    quat_out: F64,
    F_out: F64,
    J: F64,
    coriolis: F64,
    qpos: F64,
    qvel: F64,
    bias: F64,
    gravcomp: F64,
    p: F64,
    quat: F64,
    xanchor: F64,
    xaxis: F64,
    wrench: F64,
) -> bool:
    """Fill in the arrays of a `Sample`; return false once physics diverged."""
    for i in range(7):
        q[i], dq[i] = qpos[i], qvel[i]
        coriolis[i] = bias[i] - gravcomp[i]
    for i in range(3):
        p_out[i] = p[i]
    for i in range(4):
        quat_out[i] = quat[i]
    for i in range(6):
        F_out[i] = wrench[i]
    jacobian(xanchor, xaxis, p, J)
    return sound(qpos) and sound(qvel)
