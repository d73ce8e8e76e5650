"""The compiled inner loop of the twin: control law, physics, repeat.

One call runs a whole control period. Each physics tick reads the fresh kinematics, runs the very impedance law that
runs on the hardware, applies its torques and steps MuJoCo. `mj_step2` comes before `mj_step1`, so that positions,
Jacobian and contacts are those of the newest state when the loop returns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl_controllers.impedance import impedance_torque
from robot_rl_sim.native import call_mj

F64 = NDArray[np.float64]

# Layout of the observation that `read_state` fills.
Q, DQ, P, QUAT, TWIST, WRENCH = slice(0, 7), slice(7, 14), slice(14, 17), slice(17, 21), slice(21, 27), slice(27, 33)
FINGERS = slice(33, 35)
STATE_SIZE = 35

# The robot estimates contact forces through a filter; a bare impact of one tick would read as a thousand newtons.
WRENCH_EVERY = 5
WRENCH_FILTER_S = 0.03


@kernel
def fill_jacobian(J: F64, p: F64, xanchor: F64, xaxis: F64) -> None:
    """Fill the (6, 7) tool Jacobian in the base frame (rows v then omega) from joint anchors and axes."""
    for j in range(7):
        ax, ay, az = xaxis[j, 0], xaxis[j, 1], xaxis[j, 2]
        rx, ry, rz = p[0] - xanchor[j, 0], p[1] - xanchor[j, 1], p[2] - xanchor[j, 2]
        J[0, j] = ay * rz - az * ry
        J[1, j] = az * rx - ax * rz
        J[2, j] = ax * ry - ay * rx
        J[3, j] = ax
        J[4, j] = ay
        J[5, j] = az


@kernel
def _slew_fingers(ctrl: F64, finger_target: float, finger_step: float) -> None:
    for i in (7, 8):
        error = finger_target - ctrl[i]
        ctrl[i] += min(max(error, -finger_step), finger_step)


@kernel
def _filter_wrench(
    wrench: F64, share: float, p: F64, tool_bodies: NDArray[np.int64], cfrc_ext: F64, root_com: F64
) -> None:
    """Let the filtered wrench (6,) take a share of MuJoCo's contact wrench on the tool bodies, moved to the tool."""
    fx = fy = fz = tx = ty = tz = 0.0
    for b in tool_bodies:
        tx += cfrc_ext[b, 0]
        ty += cfrc_ext[b, 1]
        tz += cfrc_ext[b, 2]
        fx += cfrc_ext[b, 3]
        fy += cfrc_ext[b, 4]
        fz += cfrc_ext[b, 5]
    # Moving the reference point from the tree's centre of mass c to p adds (c - p) x f.
    rx, ry, rz = root_com[0] - p[0], root_com[1] - p[1], root_com[2] - p[2]
    wrench[0] += share * (fx - wrench[0])
    wrench[1] += share * (fy - wrench[1])
    wrench[2] += share * (fz - wrench[2])
    wrench[3] += share * (tx + ry * fz - rz * fy - wrench[3])
    wrench[4] += share * (ty + rz * fx - rx * fz - wrench[4])
    wrench[5] += share * (tz + rx * fy - ry * fx - wrench[5])


@kernel
def cartesian_period(
    ticks: int,
    addresses: NDArray[np.int64],
    qpos: F64,
    qvel: F64,
    ctrl: F64,
    bias: F64,
    gravcomp: F64,
    xpos: F64,
    xquat: F64,
    xanchor: F64,
    xaxis: F64,
    tcp: int,
    target: F64,
    ref: F64,
    gains: F64,
    limits: F64,
    null_q: F64,
    tau: F64,
    scratch: F64,
    J: F64,
    finger_target: float,
    finger_step: float,
    dt: float,
    tool_bodies: NDArray[np.int64],
    cfrc_ext: F64,
    root_com: F64,
    wrench: F64,
) -> None:
    """Run `ticks` physics steps under Cartesian impedance control towards `target` (7,) = p, quat wxyz.

    Args:
        ticks: Number of physics steps.
        addresses: mj_step1, mj_step2, mjModel, mjData, mj_rnePostConstraint.
        qpos, qvel, ctrl, bias, gravcomp, xpos, xquat, xanchor, xaxis: Views of MuJoCo's data.
        tcp: Body index of the tool centre point.
        target, ref, gains, limits, null_q: See `robot_rl_controllers.impedance`.
        tau: (7,) torque of the last tick, updated in place.
        scratch: (7,) work space.
        J: (6, 7) Jacobian, updated in place.
        finger_target: Wanted position of each finger [m].
        finger_step: Largest change of the fingers' set-point in one tick [m].
        dt: Physics time step [s].
        tool_bodies, cfrc_ext, root_com: What the contact wrench is summed from.
        wrench: (6,) filtered contact wrench on the tool in the base frame, updated in place.
    """
    share = 1.0 - np.exp(-WRENCH_EVERY * dt / WRENCH_FILTER_S)
    for i_tick in range(ticks):
        p = xpos[tcp]
        fill_jacobian(J, p, xanchor, xaxis)
        for i in range(7):
            scratch[i] = bias[i] - gravcomp[i]
        impedance_torque(
            qpos[:7], qvel[:7], p, xquat[tcp], J, scratch, target, ref, gains, limits, null_q, tau, tau, dt
        )
        for i in range(7):
            ctrl[i] = tau[i]
        _slew_fingers(ctrl, finger_target, finger_step)
        call_mj(addresses[1], addresses[2], addresses[3])
        if (i_tick + 1) % WRENCH_EVERY == 0:
            call_mj(addresses[4], addresses[2], addresses[3])
            _filter_wrench(wrench, share, p, tool_bodies, cfrc_ext, root_com)
        call_mj(addresses[0], addresses[2], addresses[3])


@kernel
def read_state(
    out: F64,
    qpos: F64,
    qvel: F64,
    xpos: F64,
    xquat: F64,
    xanchor: F64,
    xaxis: F64,
    J: F64,
    tcp: int,
    wrench: F64,
) -> None:
    """Fill `out` (35,): q, dq, p_BE, quat_BE, V_BE, F_BE and the two finger positions."""
    for i in range(7):
        out[i] = qpos[i]
        out[7 + i] = qvel[i]
    p = xpos[tcp]
    fill_jacobian(J, p, xanchor, xaxis)
    for i in range(3):
        out[14 + i] = p[i]
    for i in range(4):
        out[17 + i] = xquat[tcp, i]
    for r in range(6):
        s = 0.0
        for j in range(7):
            s += J[r, j] * qvel[j]
        out[21 + r] = s
    out[27:33] = wrench
    out[33] = qpos[7]
    out[34] = qpos[8]
