"""Joint-space moves from rest to rest within velocity, acceleration and jerk limits, and the law that tracks them.

All joints share one seven-segment profile s(t) from 0 to 1, so the path is a straight line in joint space (inside the
joint limits whenever both ends are) and the slowest joint sets the duration: the shortest that the limits allow on that
line. Resets use it: never a jump, no step in velocity or acceleration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.compiled import kernel
from robot_rl.errors import ConfigError, RobotError
from robot_rl.geometry import Vector, finite
from robot_rl_controllers.gains import (
    LIMITS_SIZE,
    READ_CORIOLIS,
    READ_DQ,
    READ_P,
    READ_Q,
    READ_TAU,
    TAU_LIMIT,
    TAU_RATE,
    nonnegative,
)
from robot_rl_controllers.torque import fade_out, limit_torque, torque_step

JOINTS = 7

# `plan` (18,): start [rad], goal [rad], jerk [1/s^3] of the profile, seconds of a jerk segment, of a ramp (the whole
# speeding up) and of the move.
START, GOAL, JERK, JERK_S, RAMP_S, DURATION_S, PLAN_SIZE = 0, 7, 14, 15, 16, 17, 18

# `gains` (21,): stiffness [N m/rad], damping [N m s/rad], largest error that the spring sees [rad].
JOINT_STIFFNESS, JOINT_DAMPING, JOINT_CLIP, JOINT_GAINS_SIZE = 0, 7, 14, 21

# `move` (65,): all that a joint move is followed with, in one array: plan, reference positions and speeds, gains,
# limits.
MOVE_PLAN, MOVE_Q, MOVE_DQ, MOVE_GAINS = 0, PLAN_SIZE, PLAN_SIZE + JOINTS, PLAN_SIZE + 2 * JOINTS
MOVE_LIMITS = MOVE_GAINS + JOINT_GAINS_SIZE
MOVE_SIZE = MOVE_LIMITS + LIMITS_SIZE

FR3_Q_MIN = (-2.9007, -1.8361, -2.9007, -3.0770, -2.8763, 0.4398, -3.0508)
FR3_Q_MAX = (2.9007, 1.8361, 2.9007, -0.1169, 2.8763, 4.6216, 3.0508)
"""Joint limits of the Franka FR3 [rad]."""


@dataclass(frozen=True, kw_only=True)
class MotionLimits:
    """How fast a joint move may be; the defaults are about a third of what the FR3 allows.

    Attributes:
        velocity_rad_s, acceleration_rad_s2, jerk_rad_s3: (7,) largest magnitudes per joint, positive.
        q_min, q_max: (7,) joint limits [rad] that both ends must respect.
    """

    velocity_rad_s: Sequence[float] = (0.9, 0.9, 0.9, 0.9, 1.5, 1.5, 1.5)
    acceleration_rad_s2: Sequence[float] = (3.0,) * JOINTS
    jerk_rad_s3: Sequence[float] = (30.0,) * JOINTS
    q_min: Sequence[float] = FR3_Q_MIN
    q_max: Sequence[float] = FR3_Q_MAX

    def __post_init__(self) -> None:
        """Refuse limits with which no move would end."""
        for name in ("velocity_rad_s", "acceleration_rad_s2", "jerk_rad_s3"):
            values = getattr(self, name)
            if min(nonnegative(name, values, JOINTS)) <= 0.0:
                raise ConfigError(f"{name} must be positive for every joint, got {values}. Correct the motion limits.")
        low, high = np.asarray(self.q_min, float), np.asarray(self.q_max, float)
        if low.shape != (JOINTS,) or high.shape != (JOINTS,) or not (low < high).all():
            raise ConfigError(f"q_min must be below q_max for 7 joints, got {self.q_min} and {self.q_max}.")


def plan_move(start: Sequence[float] | Vector, goal: Sequence[float] | Vector, limits: MotionLimits) -> Vector:
    """Return the plan (18,) of the shortest straight move that keeps all limits.

    Args:
        start, goal: (7,) joint positions [rad]; the arm rests at both. `goal` must lie within the joint limits; `start`
            is where the arm is and may lie outside, on the way back in.
        limits: what no joint may exceed.

    Raises:
        RobotError: the goal is outside the joint limits, or a number is missing or not finite.
    """
    q0, q1 = np.asarray(start, float), np.asarray(goal, float)
    if q0.shape != (JOINTS,) or q1.shape != (JOINTS,) or not (np.isfinite(q0).all() and np.isfinite(q1).all()):
        raise RobotError(f"a joint move needs 7 finite angles at each end [rad], got {start} to {goal}.")
    outside = np.flatnonzero((q1 < np.asarray(limits.q_min)) | (q1 > np.asarray(limits.q_max)))
    if outside.size:
        i = int(outside[0])
        raise RobotError(
            f"joint {i + 1} cannot go to {q1[i]:.4f} rad; it is limited to [{limits.q_min[i]}, {limits.q_max[i]}]. "
            "Choose a start pose that the arm can reach."
        )
    distance = np.abs(q1 - q0)
    plan = np.zeros(PLAN_SIZE)
    plan[START:GOAL], plan[GOAL:JERK] = q0, q1
    moving = distance > 0.0
    if moving.any():
        scale = [
            float(np.min(np.asarray(values, float)[moving] / distance[moving]))
            for values in (limits.velocity_rad_s, limits.acceleration_rad_s2, limits.jerk_rad_s3)
        ]
        plan[JERK:] = _profile(*scale)
    return plan


def _profile(v: float, a: float, j: float) -> tuple[float, float, float, float]:
    """Return (jerk, jerk segment, ramp, duration) of the fastest profile from 0 to 1 within three limits.

    With a top speed u the ramp lasts u/a + a/j, or 2 sqrt(u/j) if the acceleration limit is not reached, and the two
    ramps together cover u times the ramp.
    """
    if v * j >= a * a:
        jerk_s = a / j
        ramp_s = v / a + jerk_s
    else:
        jerk_s = math.sqrt(v / j)
        ramp_s = 2.0 * jerk_s
    if v * ramp_s <= 1.0:
        return j, jerk_s, ramp_s, ramp_s + 1.0 / v
    top = 0.5 * a * (math.sqrt((a / j) ** 2 + 4.0 / a) - a / j)
    if top * j >= a * a:
        jerk_s = a / j
        ramp_s = top / a + jerk_s
    else:
        jerk_s = (0.5 / j) ** (1.0 / 3.0)
        ramp_s = 2.0 * jerk_s
    return j, jerk_s, ramp_s, 2.0 * ramp_s


@kernel
def _first_half(jerk: float, jerk_s: float, ramp_s: float, t: float) -> tuple[float, float]:
    """Return (s, ds/dt) at `t` before the middle of the profile."""
    if t < jerk_s:
        return jerk * t * t * t / 6.0, 0.5 * jerk * t * t
    flat_s = ramp_s - jerk_s
    top = jerk * jerk_s * flat_s
    if t < flat_s:
        u = t - 0.5 * jerk_s
        return jerk * jerk_s * (0.5 * u * u + jerk_s * jerk_s / 24.0), jerk * jerk_s * u
    if t < ramp_s:
        u = ramp_s - t
        return top * (t - 0.5 * ramp_s) + jerk * u * u * u / 6.0, top - 0.5 * jerk * u * u
    return top * (t - 0.5 * ramp_s), top


@kernel
def evaluate_move(plan: Vector, t: float, q_out: Vector, dq_out: Vector) -> None:
    """Write where the move is at time `t`: exactly the start before it begins and exactly the goal once it is over.

    Args:
        plan: (18,) from `plan_move`.
        t: seconds since the move began; a time that is not finite counts as the start.
        q_out, dq_out: (7,) receive joint positions [rad] and velocities [rad/s].
    """
    duration = plan[DURATION_S]
    s, ds = 0.0, 0.0
    if t >= duration and not math.isnan(t):
        s = 1.0
    elif 0.0 < t <= 0.5 * duration:
        s, ds = _first_half(plan[JERK], plan[JERK_S], plan[RAMP_S], t)
    elif t > 0.0:
        s, ds = _first_half(plan[JERK], plan[JERK_S], plan[RAMP_S], duration - t)
        s = 1.0 - s
    for i in range(JOINTS):
        delta = plan[GOAL + i] - plan[START + i]
        # Measured from the nearer end, so that both ends are exact.
        q_out[i] = plan[START + i] + s * delta if s < 0.5 else plan[GOAL + i] - (1.0 - s) * delta
        dq_out[i] = ds * delta


@kernel
def joint_impedance_torque(
    q: Vector,
    dq: Vector,
    coriolis: Vector,
    q_ref: Vector,
    dq_ref: Vector,
    gains: Vector,
    limits: Vector,
    tau_prev: Vector,
    tau_out: Vector,
    dt: float,
) -> None:
    """Compute the torques that track a joint reference. Never raises or allocates; the torques are always finite.

    The error that a spring sees is clipped, so a blocked arm pushes with stiffness times clip at most. A reference that
    is not finite leaves damping only; a reading that is not finite lets the torques fade to zero.

    Args:
        q, dq, coriolis: (7,) reading [rad, rad/s, N m].
        q_ref, dq_ref: (7,) reference [rad, rad/s].
        gains: (21,) from `pack_joint_gains`.
        limits: (12,) from `pack_limits`; torque rate and torque limits are used.
        tau_prev: (7,) torques of the tick before [N m].
        tau_out: (7,) receives the torques without gravity; may be `tau_prev` itself.
        dt: seconds since the tick before.
    """
    step = torque_step(limits[TAU_RATE], dt)
    if not (finite(q) and finite(dq) and finite(coriolis) and finite(gains) and finite(limits)):
        fade_out(tau_prev, tau_out, step)
        return
    tracked = finite(q_ref) and finite(dq_ref)
    for i in range(JOINTS):
        error, speed = 0.0, -dq[i]
        if tracked:
            clip = gains[JOINT_CLIP + i]
            error = min(max(q_ref[i] - q[i], -clip), clip)
            speed += dq_ref[i]
        wanted = gains[JOINT_STIFFNESS + i] * error + gains[JOINT_DAMPING + i] * speed + coriolis[i]
        tau_out[i] = limit_torque(wanted, tau_prev[i], limits[TAU_LIMIT + i], step)


@kernel
def joint_tick(reading: Vector, move: Vector, at_s: float, tau: Vector, dt: float) -> None:
    """Compute the torques of one tick of a joint move, with everything in few arrays.

    Args:
        reading: (83,) what the robot tells, see `gains`.
        move: (65,) in the layout above; its reference is changed in place.
        at_s: seconds since the move began.
        tau: (7,) receives the torques [N m].
        dt: seconds since the tick before.
    """
    q_ref, dq_ref = move[MOVE_Q:MOVE_DQ], move[MOVE_DQ:MOVE_GAINS]
    evaluate_move(move[MOVE_PLAN:MOVE_Q], at_s, q_ref, dq_ref)
    joint_impedance_torque(
        reading[READ_Q:READ_DQ],
        reading[READ_DQ:READ_TAU],
        reading[READ_CORIOLIS:READ_P],
        q_ref,
        dq_ref,
        move[MOVE_GAINS:MOVE_LIMITS],
        move[MOVE_LIMITS:MOVE_SIZE],
        reading[READ_TAU:READ_CORIOLIS],
        tau,
        dt,
    )


def pack_joint_gains(
    stiffness: Sequence[float] = (600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0),
    damping: Sequence[float] = (50.0, 50.0, 50.0, 50.0, 20.0, 20.0, 10.0),
    clip_rad: Sequence[float] = (0.05,) * JOINTS,
) -> Vector:
    """Return the gains (21,) of `joint_impedance_torque`: (7,) [N m/rad], (7,) [N m s/rad], (7,) [rad]."""
    return np.array(
        nonnegative("joint stiffness", stiffness, JOINTS)
        + nonnegative("joint damping", damping, JOINTS)
        + nonnegative("joint clip_rad", clip_rad, JOINTS)
    )


class JointMove:
    """One planned move, for a driver or twin that evaluates it tick by tick."""

    def __init__(
        self, start: Sequence[float] | Vector, goal: Sequence[float] | Vector, limits: MotionLimits | None = None
    ) -> None:
        """Plan the move; see `plan_move`."""
        self.plan = plan_move(start, goal, limits or MotionLimits())
        self._q, self._dq = np.zeros(JOINTS), np.zeros(JOINTS)

    @property
    def duration_s(self) -> float:
        """Seconds from rest to rest."""
        return float(self.plan[DURATION_S])

    def at(self, t: float) -> tuple[Vector, Vector]:
        """Return (q (7,) [rad], dq (7,) [rad/s]) at `t` seconds; the arrays are reused by the next call."""
        evaluate_move(self.plan, t, self._q, self._dq)
        return self._q, self._dq
