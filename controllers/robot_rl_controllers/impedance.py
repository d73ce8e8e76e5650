"""Cartesian impedance with a limited reference: the law that hardware, real-time twin and lock-step twin share.

The spring pulls the tool towards a reference, not towards the target. The reference slews to the target at a limited
speed and never leaves the measured pose by more than the clip, so in contact the force is at most stiffness times clip,
and after release the tool starts at the slewing speed instead of jumping at a target that ran away.

    e   = (p_ref - p per axis within +-clip_m,  log(R_ref R^T) within clip_rad by norm)        in the base frame B
    F   = K e - D (J dq)                                                                       wrench on the tool in B
    tau = J^T F + (I - J^T (J J^T + lambda^2 I)^-1 J) (k_n (q_n - q) - d_n dq) + coriolis      gravity is not ours
    tau is limited per joint, then its change per tick is limited

`impedance_torque` is one compiled function without allocation, and a tick always gives finite torques: a target that is
not finite is ignored (the reference holds), a reading that is not finite gives a torque that fades to zero at the
torque-rate limit, and so does a joint whose torque overflows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robot_rl.compiled import kernel
from robot_rl.errors import ConfigError
from robot_rl.geometry import (
    Vec3,
    Vector,
    clip_norm_t,
    copy3,
    copy4,
    finite,
    norm3_t,
    quat_conj_t,
    quat_from_rotvec_t,
    quat_mul_t,
    quat_normalise_t,
    rotation_step_t,
    rotvec_from_quat_t,
)
from robot_rl.task import Compliance
from robot_rl_controllers.gains import (
    CLIP_M,
    CLIP_RAD,
    DAMPING,
    LAW_GAIN_TIME_S,
    LAW_GAINS,
    LAW_LIMITS,
    LAW_NULL_Q,
    LAW_REF,
    LAW_SIZE,
    LAW_TARGET,
    LAW_TAU,
    LAW_WANTED,
    NULL_DAMPING,
    NULL_STIFFNESS,
    READ_CORIOLIS,
    READ_DQ,
    READ_F,
    READ_J,
    READ_P,
    READ_Q,
    READ_QUAT,
    READ_TAU,
    READING_SIZE,
    SPEED_M_S,
    SPEED_RAD_S,
    STIFFNESS,
    TAU_LIMIT,
    TAU_RATE,
    pack_gains,
    pack_limits,
    slew_gains,
)
from robot_rl_controllers.nullspace import project_solve
from robot_rl_controllers.torque import fade_out, limit_torque, torque_step

JOINTS = 7


@kernel
def reset_reference(ref: Vector, p: Any, quat: Any) -> None:
    """Put the reference (7,) onto a measured pose: position [m] and orientation wxyz in B."""
    copy3(ref, p)
    copy4(ref[3:], quat_normalise_t(quat))


@kernel
def slew_reference(ref: Vector, target: Vector, speed_m_s: float, speed_rad_s: float, dt: float) -> None:
    """Move the reference (7,) towards the target (7,) by at most one tick of the two speeds; ignore a bad target."""
    goal = quat_normalise_t((target[3], target[4], target[5], target[6]))
    away = (target[0] - ref[0], target[1] - ref[1], target[2] - ref[2])
    if not finite(target) or not finite(away) or norm3_t((goal[1], goal[2], goal[3])) + abs(goal[0]) == 0.0:
        return
    if not (dt > 0.0):
        return
    if norm3_t(away) <= speed_m_s * dt:
        copy3(ref, target)
    else:
        d = clip_norm_t(away, speed_m_s * dt)
        copy3(ref, (ref[0] + d[0], ref[1] + d[1], ref[2] + d[2]))
    copy4(ref[3:], rotation_step_t((ref[3], ref[4], ref[5], ref[6]), goal, speed_rad_s * dt))


@kernel
def limit_reference(ref: Vector, p: Any, quat: Any, gains: Vector) -> tuple[Vec3, Vec3]:
    """Pull the reference (7,) to within the clip of the measured pose and return the error that is left.

    Args:
        ref: (7,) reference pose in B, changed in place.
        p: (3,) measured position [m] in B.
        quat: unit quaternion of the measured orientation.
        gains: (16,) from `pack_gains`.

    Returns:
        (e_p [m], e_r [rad]) in B: e_p within the clip per axis, e_r the full rotation vector within the clip by norm.
    """
    for i in range(3):
        ref[i] = min(max(ref[i], p[i] - gains[CLIP_M + i]), p[i] + gains[CLIP_M + i])
    e_p = (ref[0] - p[0], ref[1] - p[1], ref[2] - p[2])
    e_r = rotvec_from_quat_t(quat_mul_t((ref[3], ref[4], ref[5], ref[6]), quat_conj_t(quat)))
    if norm3_t(e_r) > gains[CLIP_RAD]:
        e_r = clip_norm_t(e_r, gains[CLIP_RAD])
        copy4(ref[3:], quat_normalise_t(quat_mul_t(quat_from_rotvec_t(e_r), quat)))
    return e_p, e_r


@kernel
def _readable(q: Vector, dq: Vector, p: Vector, quat: Vector, J: Vector, coriolis: Vector) -> bool:
    """Return whether a reading can be trusted: all numbers finite and the orientation a rotation."""
    if not (finite(q) and finite(dq) and finite(p) and finite(quat) and finite(coriolis)):
        return False
    for r in range(6):
        if not finite(J[r]):
            return False
    return abs(quat[0]) + abs(quat[1]) + abs(quat[2]) + abs(quat[3]) > 0.0


@kernel
def _tool_force(row: Vector, dq: Vector, error: float, stiffness: float, damping: float) -> float:
    """Return one entry of the wrench K e - D (J dq) in B [N or N m], given the row of J that belongs to it."""
    speed = 0.0
    for i in range(JOINTS):
        speed += row[i] * dq[i]
    return stiffness * error - damping * speed


@kernel
def impedance_torque(
    q: Vector,
    dq: Vector,
    p: Vector,
    quat: Vector,
    J: Vector,
    coriolis: Vector,
    target: Vector,
    ref: Vector,
    gains: Vector,
    limits: Vector,
    null_q: Vector,
    tau_prev: Vector,
    tau_out: Vector,
    dt: float,
) -> None:
    """Compute the joint torques of one tick. Never raises, never allocates, always writes finite torques.

    Args:
        q, dq: (7,) joint positions [rad] and velocities [rad/s].
        p, quat: (3,) [m] and (4,) wxyz measured tool pose in B.
        J: (6, 7) tool Jacobian in B, rows v then omega.
        coriolis: (7,) [N m], added as it is.
        target: (7,) wanted tool pose in B: position [m], quaternion wxyz.
        ref: (7,) slewed reference pose, changed in place; start it with `reset_reference`.
        gains: (16,) from `pack_gains`.
        limits: (12,) from `pack_limits`.
        null_q: (7,) posture [rad] that the redundant joint is drawn to.
        tau_prev: (7,) torques [N m] of the tick before (what the robot was really told).
        tau_out: (7,) receives the torques [N m], without gravity. May be `tau_prev` itself.
        dt: Seconds since the tick before: 0.001 on hardware.
    """
    step = torque_step(limits[TAU_RATE], dt)
    if not (_readable(q, dq, p, quat, J, coriolis) and finite(gains) and finite(limits)):
        fade_out(tau_prev, tau_out, step)
        return
    measured = quat_normalise_t(quat)
    if not finite(ref) or abs(ref[3]) + abs(ref[4]) + abs(ref[5]) + abs(ref[6]) == 0.0:
        reset_reference(ref, p, measured)
    slew_reference(ref, target, limits[SPEED_M_S], limits[SPEED_RAD_S], dt)
    e_p, e_r = limit_reference(ref, p, measured, gains)
    wrench = (
        _tool_force(J[0], dq, e_p[0], gains[STIFFNESS + 0], gains[DAMPING + 0]),
        _tool_force(J[1], dq, e_p[1], gains[STIFFNESS + 1], gains[DAMPING + 1]),
        _tool_force(J[2], dq, e_p[2], gains[STIFFNESS + 2], gains[DAMPING + 2]),
        _tool_force(J[3], dq, e_r[0], gains[STIFFNESS + 3], gains[DAMPING + 3]),
        _tool_force(J[4], dq, e_r[1], gains[STIFFNESS + 4], gains[DAMPING + 4]),
        _tool_force(J[5], dq, e_r[2], gains[STIFFNESS + 5], gains[DAMPING + 5]),
    )
    k_n = limits[NULL_STIFFNESS] if finite(null_q) else 0.0
    y = project_solve(J, q, dq, null_q, k_n, limits[NULL_DAMPING])
    for i in range(JOINTS):
        wanted = coriolis[i] - limits[NULL_DAMPING] * dq[i]
        if k_n > 0.0:
            wanted += k_n * (null_q[i] - q[i])
        for r in range(6):
            wanted += J[r, i] * (wrench[r] - y[r])
        tau_out[i] = limit_torque(wanted, tau_prev[i], limits[TAU_LIMIT + i], step)


@kernel
def impedance_tick(reading: Vector, law: Vector, dt: float) -> None:
    """Slew the gains and compute the torques of one tick, with everything in two arrays (see `gains`).

    Args:
        reading: (83,) what the robot tells.
        law: (73,) what is followed, changed in place; its torques receive the result [N m].
        dt: Seconds since the tick before.
    """
    slew_gains(law[LAW_GAINS:LAW_WANTED], law[LAW_WANTED:LAW_LIMITS], dt, law[LAW_GAIN_TIME_S])
    impedance_torque(
        reading[READ_Q:READ_DQ],
        reading[READ_DQ:READ_TAU],
        reading[READ_P:READ_QUAT],
        reading[READ_QUAT:READ_F],
        reading[READ_J:READING_SIZE].reshape((6, JOINTS)),
        reading[READ_CORIOLIS:READ_P],
        law[LAW_TARGET:LAW_REF],
        law[LAW_REF:LAW_NULL_Q],
        law[LAW_GAINS:LAW_WANTED],
        law[LAW_LIMITS:LAW_GAIN_TIME_S],
        law[LAW_NULL_Q:LAW_TAU],
        reading[READ_TAU:READ_CORIOLIS],
        law[LAW_TAU:LAW_GAINS],
        dt,
    )


class Impedance:
    """The law with its state, for a driver that calls it once per tick.

    Everything it remembers is set in the constructor or by `start`; nothing is left uninitialised. Until `start` the
    torques are zero.
    """

    def __init__(self, compliance: Compliance, *, gain_time_s: float = 0.2, **limits: Any) -> None:
        """Prepare for a task.

        Args:
            compliance: settings of the task.
            gain_time_s: time constant with which later settings take effect.
            **limits: passed to `pack_limits`.
        """
        if not 0.0 <= gain_time_s < float("inf"):
            raise ConfigError(f"gain_time_s must be a finite, non-negative number of seconds, got {gain_time_s}.")
        self._settings = limits
        self._gain_time_s = gain_time_s
        law = self._law = np.zeros(LAW_SIZE)
        law[LAW_GAIN_TIME_S] = gain_time_s
        self.target, self.reference = law[LAW_TARGET:LAW_REF], law[LAW_REF:LAW_NULL_Q]
        self.null_q, self.tau = law[LAW_NULL_Q:LAW_TAU], law[LAW_TAU:LAW_GAINS]
        self._gains, self._wanted = law[LAW_GAINS:LAW_WANTED], law[LAW_WANTED:LAW_LIMITS]
        self._limits = law[LAW_LIMITS:LAW_GAIN_TIME_S]
        self.set_compliance(compliance)
        self._gains[:] = self._wanted
        self._started = False

    def start(self, q: Vector, p: Vector, quat: Vector) -> None:
        """Hold the measured pose and posture, with torques that begin at zero."""
        reset_reference(self.reference, p, quat)
        self.target[:] = self.reference
        self.null_q[:] = q
        self.tau[:] = 0.0
        self._gains[:] = self._wanted
        self._started = True

    def set_compliance(self, compliance: Compliance) -> None:
        """Change the settings: gains slew over `gain_time_s`, speeds hold from the next tick."""
        gains, limits = pack_gains(compliance), pack_limits(compliance, **self._settings)  # both are sound, or neither
        self._wanted[:], self._limits[:] = gains, limits

    def set_target(self, p: Vector, quat: Vector) -> None:
        """Ask for a tool pose in B: (3,) [m] and (4,) wxyz. A pose that is not finite is ignored by the law."""
        self.target[:3] = p
        self.target[3:] = quat

    def tick(self, reading: Vector, dt: float) -> Vector:
        """Return the torques (7,) [N m] of this tick; the array is reused by the next.

        Args:
            reading: (83,) in one array, see `gains`; with the torques that the robot reports as last commanded.
            dt: seconds since the last tick.
        """
        if self._started:
            impedance_tick(reading, self._law, dt)
        return self.tau

    def update(
        self,
        q: Vector,
        dq: Vector,
        p: Vector,
        quat: Vector,
        J: Vector,
        coriolis: Vector,
        dt: float,
        tau_prev: Vector | None = None,
    ) -> Vector:
        """Return what `tick` returns, for a reading in arrays of its own.

        Args:
            q, dq, p, quat, J, coriolis: the reading, as in `impedance_torque`.
            dt: seconds since the last tick.
            tau_prev: (7,) torques that the robot reports as last commanded; ours if None.
        """
        if not self._started:
            return self.tau
        slew_gains(self._gains, self._wanted, dt, self._gain_time_s)
        before = self.tau if tau_prev is None else tau_prev
        args = (q, dq, p, quat, J, coriolis, self.target, self.reference, self._gains, self._limits, self.null_q)
        impedance_torque(*args, before, self.tau, dt)
        return self.tau


__all__ = [
    "Impedance",
    "impedance_tick",
    "impedance_torque",
    "limit_reference",
    "pack_gains",
    "pack_limits",
    "reset_reference",
    "slew_gains",
    "slew_reference",
]
