"""The flat arrays that the compiled laws read, built from typed settings and checked once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from robot_rl.compiled import kernel
from robot_rl.errors import ConfigError
from robot_rl.geometry import Vector
from robot_rl.task import Compliance

# `gains` (16,): stiffness [N/m, N m/rad], damping [N s/m, N m s/rad], clip per axis [m], clip by norm [rad].
STIFFNESS, DAMPING, CLIP_M, CLIP_RAD, GAINS_SIZE = 0, 6, 12, 15, 16

# `limits` (12,): reference speeds [m/s, rad/s], torque rate [N m/s], nullspace posture stiffness [N m/rad] and damping
# [N m s/rad], then one torque limit [N m] per joint.
SPEED_M_S, SPEED_RAD_S, TAU_RATE, NULL_STIFFNESS, NULL_DAMPING, TAU_LIMIT, LIMITS_SIZE = 0, 1, 2, 3, 4, 5, 12

# All that a law reads, in one array, for whoever calls it from Python: each array that a call passes costs a fifth of a
# microsecond, and more in a loop at 1 kHz, which finds its caches cold.

# `reading` (83,): q, dq, torques last told, Coriolis, position and orientation of the tool, wrench, Jacobian by rows.
READ_Q, READ_DQ, READ_TAU, READ_CORIOLIS, READ_P, READ_QUAT, READ_F, READ_J, READING_SIZE = (
    0, 7, 14, 21, 28, 31, 35, 41, 83,
)  # fmt: skip

# `law` (73,) of Cartesian impedance: target and reference pose, posture, torques, gains, wanted gains, limits, seconds
# in which wanted gains take effect.
LAW_TARGET, LAW_REF, LAW_NULL_Q, LAW_TAU, LAW_GAINS, LAW_WANTED, LAW_LIMITS, LAW_GAIN_TIME_S, LAW_SIZE = (
    0, 7, 14, 21, 28, 44, 60, 72, 73,
)  # fmt: skip

FR3_TORQUE_LIMITS_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
"""Largest continuous joint torques of the Franka FR3."""

TAU_RATE_NM_S = 900.0
"""Below the robot's 1000 N m/s: at exactly 1.0 N m per millisecond tick, rounding trips its reflex."""


def nonnegative(name: str, value: float | Sequence[float], size: int) -> list[float]:
    """Return `value` as `size` finite, non-negative floats, or raise a `ConfigError` that names the setting."""
    try:
        numbers = [float(v) for v in (value if isinstance(value, Sequence | np.ndarray) else [value])]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != size or not all(math.isfinite(v) and v >= 0.0 for v in numbers):
        wanted = "a finite, non-negative number" if size == 1 else f"{size} finite, non-negative numbers"
        raise ConfigError(f"{name} must be {wanted}, got {value}. Correct it in the task's settings.")
    return numbers


def pack_gains(compliance: Compliance) -> Vector:
    """Return the gains (16,) of a task's compliance settings."""
    return np.array(
        nonnegative("compliance.stiffness", compliance.stiffness, 6)
        + nonnegative("compliance.damping", compliance.damping, 6)
        + nonnegative("compliance.clip_m", compliance.clip_m, 3)
        + nonnegative("compliance.clip_rad", compliance.clip_rad, 1)
    )


def pack_limits(
    compliance: Compliance,
    *,
    tau_rate_Nm_s: float = TAU_RATE_NM_S,
    null_stiffness: float = 5.0,
    null_damping: float = 2.0,
    tau_limit_Nm: Sequence[float] = FR3_TORQUE_LIMITS_NM,
) -> Vector:
    """Return the limits (12,) of the law.

    Args:
        compliance: gives the speeds of the reference.
        tau_rate_Nm_s: largest change of a joint torque.
        null_stiffness: posture stiffness of the redundant joint [N m/rad].
        null_damping: its damping [N m s/rad].
        tau_limit_Nm: (7,) largest joint torques.
    """
    return np.array(
        nonnegative("compliance.speed_m_s", compliance.speed_m_s, 1)
        + nonnegative("compliance.speed_rad_s", compliance.speed_rad_s, 1)
        + nonnegative("tau_rate_Nm_s", tau_rate_Nm_s, 1)
        + nonnegative("null_stiffness", null_stiffness, 1)
        + nonnegative("null_damping", null_damping, 1)
        + nonnegative("tau_limit_Nm", tau_limit_Nm, 7)
    )


@kernel
def slew_gains(current: Vector, wanted: Vector, dt: float, time_constant: float) -> None:
    """Move gains towards others by a first-order filter, in place; entries that are not finite are ignored.

    Args:
        current: gains in force, changed in place.
        wanted: gains asked for, same layout.
        dt: seconds since the last call.
        time_constant: seconds to cover 63 % of a change; zero applies it at once.
    """
    if not (dt > 0.0):
        return
    share = -math.expm1(-dt / time_constant) if time_constant > 0.0 else 1.0
    for i in range(len(current)):
        if math.isfinite(wanted[i]):
            current[i] += share * (wanted[i] - current[i])
