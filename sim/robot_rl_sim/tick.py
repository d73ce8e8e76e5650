"""The compiled inner loops of the twin: control law, physics, repeat.

One call runs a whole control period. Each physics tick reads the fresh kinematics, runs the very law that runs on the
hardware (Cartesian impedance in episodes, a joint move in resets), applies its torques and steps MuJoCo. `mj_step2`
comes before `mj_step1`, so that positions, Jacobian and contacts are those of the newest state when the loop returns.
Nothing depends on where one period ends and the next begins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl_controllers.drive.fr3_kinematics import jacobian
from robot_rl_controllers.impedance import impedance_torque
from robot_rl_controllers.joint_motion import evaluate_move, joint_impedance_torque
from robot_rl_sim.native import call_mj

F64 = NDArray[np.float64]

# Layout of the observation that `read_state` fills.
Q, DQ, P, QUAT, TWIST, WRENCH = slice(0, 7), slice(7, 14), slice(14, 17), slice(17, 21), slice(21, 27), slice(27, 33)
FINGERS = slice(33, 35)
STATE_SIZE = 35  # then seven numbers for each object

# The robot estimates contact forces through a filter; a bare impact of one tick would read as a thousand newtons.
WRENCH_EVERY = 5
WRENCH_FILTER_S = 0.03
WRENCH_AGE, WRENCH_SIZE = 6, 7
UNSOUND = 1e10
"""A position or velocity this large means that the simulation diverged; MuJoCo's own bound."""


@kernel
def _slew_fingers(ctrl: F64, finger_target: float, finger_step: float) -> None:
    for i in (7, 8):
        error = finger_target - ctrl[i]
        ctrl[i] += min(max(error, -finger_step), finger_step)


@kernel
def _filter_wrench(
    wrench: F64, share: float, p: F64, tool_bodies: NDArray[np.int64], cfrc_ext: F64, root_com: F64
) -> None:
    """Let the filtered wrench take a share of MuJoCo's contact wrench on the tool bodies, moved to the tool."""
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
def sound(values: F64) -> bool:
    """Return whether all values are finite and of a size that a simulation has."""
    for value in values:  # noqa: SIM110 (numba compiles no generator expressions)
        if not abs(value) < UNSOUND:
            return False
    return True


@kernel
def advance(
    addresses: NDArray[np.int64],
    ctrl: F64,
    tau: F64,
    finger_target: float,
    finger_step: float,
    p: F64,
    tool_bodies: NDArray[np.int64],
    cfrc_ext: F64,
    root_com: F64,
    wrench: F64,
    share: float,
) -> None:
    """Apply the torques, let physics take one step, and measure the contact wrench at every fifth."""
    for i in range(7):
        ctrl[i] = tau[i]
    _slew_fingers(ctrl, finger_target, finger_step)
    call_mj(addresses[1], addresses[2], addresses[3])
    # Counted over periods, so that ten periods of one tick and one of ten ticks are the same.
    wrench[WRENCH_AGE] += 1.0
    if wrench[WRENCH_AGE] >= WRENCH_EVERY:
        wrench[WRENCH_AGE] = 0.0
        call_mj(addresses[4], addresses[2], addresses[3])
        _filter_wrench(wrench, share, p, tool_bodies, cfrc_ext, root_com)
    call_mj(addresses[0], addresses[2], addresses[3])


@kernel
def cartesian_period(
    ticks: int,
    target: F64,
    ref: F64,
    gains: F64,
    limits: F64,
    null_q: F64,
    tau: F64,
    finger_target: float,
    finger_step: float,
    dt: float,
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
    tool_bodies: NDArray[np.int64],
    cfrc_ext: F64,
    root_com: F64,
    wrench: F64,
    scratch: F64,
    J: F64,
) -> None:
    """Run `ticks` physics steps under Cartesian impedance control towards `target` (7,) = p, quat wxyz.

    Stops early when physics diverges, which `read_state` then reports.

    Args:
        ticks: Number of physics steps.
        target, ref, gains, limits, null_q: See `robot_rl_controllers.impedance`.
        tau: (7,) torque of the last tick, updated in place.
        finger_target: Wanted position of each finger [m].
        finger_step: Largest change of the fingers' set-point in one tick [m].
        dt: Physics time step [s].
        addresses: mj_step1, mj_step2, mjModel, mjData, mj_rnePostConstraint.
        qpos, qvel, ctrl, bias, gravcomp, xpos, xquat, xanchor, xaxis: Views of MuJoCo's data.
        tcp: Body index of the tool centre point.
        tool_bodies, cfrc_ext, root_com: What the contact wrench is summed from.
        wrench: (7,) filtered contact wrench on the tool in the base frame and its age in ticks, updated in place.
        scratch: (7,) work space.
        J: (6, 7) Jacobian, updated in place.
    """
    share = 1.0 - np.exp(-WRENCH_EVERY * dt / WRENCH_FILTER_S)
    p = xpos[tcp]
    for _ in range(ticks):
        if not sound(qvel):
            return
        jacobian(xanchor, xaxis, p, J)
        for i in range(7):
            scratch[i] = bias[i] - gravcomp[i]
        impedance_torque(
            qpos[:7], qvel[:7], p, xquat[tcp], J, scratch, target, ref, gains, limits, null_q, tau, tau, dt
        )
        advance(addresses, ctrl, tau, finger_target, finger_step, p, tool_bodies, cfrc_ext, root_com, wrench, share)


@kernel
def joint_period(
    ticks: int,
    plan: F64,
    start_s: float,
    gains: F64,
    limits: F64,
    q_ref: F64,
    dq_ref: F64,
    tau: F64,
    finger_target: float,
    finger_step: float,
    dt: float,
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
    tool_bodies: NDArray[np.int64],
    cfrc_ext: F64,
    root_com: F64,
    wrench: F64,
    scratch: F64,
    J: F64,
) -> None:
    """Run `ticks` physics steps along a planned joint move. The arguments from `tau` on are those of its sibling.

    Args:
        ticks: Number of physics steps.
        plan: (18,) of `robot_rl_controllers.joint_motion.plan_move`.
        start_s: Seconds since the move began.
        gains: (21,) of `pack_joint_gains`.
        limits: (12,) of `pack_limits`.
        q_ref, dq_ref: (7,) work space.
    """
    share = 1.0 - np.exp(-WRENCH_EVERY * dt / WRENCH_FILTER_S)
    for i_tick in range(ticks):
        if not sound(qvel):
            return
        evaluate_move(plan, start_s + (i_tick + 1) * dt, q_ref, dq_ref)
        for i in range(7):
            scratch[i] = bias[i] - gravcomp[i]
        joint_impedance_torque(qpos[:7], qvel[:7], scratch, q_ref, dq_ref, gains, limits, tau, tau, dt)
        advance(
            addresses, ctrl, tau, finger_target, finger_step, xpos[tcp], tool_bodies, cfrc_ext, root_com, wrench, share
        )


@kernel
def read_state(
    out: F64,
    bodies: NDArray[np.int64],
    qpos: F64,
    qvel: F64,
    xpos: F64,
    xquat: F64,
    xanchor: F64,
    xaxis: F64,
    J: F64,
    tcp: int,
    wrench: F64,
) -> bool:
    """Fill `out` (35 + 7 n,) with q, dq, p_BE, quat_BE, V_BE, F_BE, the two finger positions and n objects' poses.

    Returns:
        Whether physics is sound: false once a position or velocity is not finite or absurdly large.
    """
    for i in range(7):
        out[i] = qpos[i]
        out[7 + i] = qvel[i]
    p = xpos[tcp]
    jacobian(xanchor, xaxis, p, J)
    for i in range(3):
        out[14 + i] = p[i]
    for i in range(4):
        out[17 + i] = xquat[tcp, i]
    for r in range(6):
        s = 0.0
        for j in range(7):
            s += J[r, j] * qvel[j]
        out[21 + r] = s
        out[27 + r] = wrench[r]
    out[33] = qpos[7]
    out[34] = qpos[8]
    for n in range(len(bodies)):
        for i in range(3):
            out[STATE_SIZE + 7 * n + i] = xpos[bodies[n], i]
        for i in range(4):
            out[STATE_SIZE + 7 * n + 3 + i] = xquat[bodies[n], i]
    return sound(qpos) and sound(qvel)
