"""The damped solve behind the nullspace projector, unrolled so that it needs no scratch memory."""

from __future__ import annotations

import math

from robot_rl.compiled import kernel
from robot_rl.geometry import Vector

LAMBDA_SQUARED = 0.02**2
"""Damping of the projector. It only has to keep the solve well conditioned at a singularity: the projector's norm is at
most 1 whatever its value, and a large one lets the posture pull on the tool (0.2, often used, leaks a tenth)."""

Six = tuple[float, float, float, float, float, float]


@kernel
def _dot(a: Vector, b: Vector) -> float:
    """Return the scalar product of two rows of a Jacobian (7,)."""
    total = 0.0
    for i in range(7):
        total += a[i] * b[i]
    return total


@kernel
def _along(row: Vector, q: Vector, dq: Vector, null_q: Vector, k: float, d: float) -> float:
    """Return the scalar product of a row of J with the posture torque z = k (null_q - q) - d dq."""
    total = 0.0
    for i in range(7):
        z = -d * dq[i]
        if k > 0.0:
            z += k * (null_q[i] - q[i])
        total += row[i] * z
    return total


@kernel
def project_solve(J: Vector, q: Vector, dq: Vector, null_q: Vector, k: float, d: float) -> Six:
    """Return y = (J J^T + lambda^2 I)^-1 J z for the posture torque z; then z - J^T y moves no tool axis.

    Args:
        J: (6, 7) tool Jacobian in B.
        q, dq, null_q: (7,) joint positions, velocities and the wanted posture [rad, rad/s, rad].
        k: Posture stiffness [N m/rad]; with zero, null_q is not read.
        d: Posture damping [N m s/rad].

    Returns:
        y (6,), by an unrolled Cholesky factorisation L L^T.
    """
    # Rows, not numbers of rows: numba would compile the helpers anew for every literal index.
    r0, r1, r2, r3, r4, r5 = J[0], J[1], J[2], J[3], J[4], J[5]
    l00 = math.sqrt(_dot(r0, r0) + LAMBDA_SQUARED)
    l10 = _dot(r1, r0) / l00
    l20 = _dot(r2, r0) / l00
    l30 = _dot(r3, r0) / l00
    l40 = _dot(r4, r0) / l00
    l50 = _dot(r5, r0) / l00
    l11 = math.sqrt(_dot(r1, r1) + LAMBDA_SQUARED - l10 * l10)
    l21 = (_dot(r2, r1) - l20 * l10) / l11
    l31 = (_dot(r3, r1) - l30 * l10) / l11
    l41 = (_dot(r4, r1) - l40 * l10) / l11
    l51 = (_dot(r5, r1) - l50 * l10) / l11
    l22 = math.sqrt(_dot(r2, r2) + LAMBDA_SQUARED - l20 * l20 - l21 * l21)
    l32 = (_dot(r3, r2) - l30 * l20 - l31 * l21) / l22
    l42 = (_dot(r4, r2) - l40 * l20 - l41 * l21) / l22
    l52 = (_dot(r5, r2) - l50 * l20 - l51 * l21) / l22
    l33 = math.sqrt(_dot(r3, r3) + LAMBDA_SQUARED - l30 * l30 - l31 * l31 - l32 * l32)
    l43 = (_dot(r4, r3) - l40 * l30 - l41 * l31 - l42 * l32) / l33
    l53 = (_dot(r5, r3) - l50 * l30 - l51 * l31 - l52 * l32) / l33
    l44 = math.sqrt(_dot(r4, r4) + LAMBDA_SQUARED - l40 * l40 - l41 * l41 - l42 * l42 - l43 * l43)
    l54 = (_dot(r5, r4) - l50 * l40 - l51 * l41 - l52 * l42 - l53 * l43) / l44
    l55 = math.sqrt(_dot(r5, r5) + LAMBDA_SQUARED - l50 * l50 - l51 * l51 - l52 * l52 - l53 * l53 - l54 * l54)

    f0 = _along(r0, q, dq, null_q, k, d) / l00
    f1 = (_along(r1, q, dq, null_q, k, d) - l10 * f0) / l11
    f2 = (_along(r2, q, dq, null_q, k, d) - l20 * f0 - l21 * f1) / l22
    f3 = (_along(r3, q, dq, null_q, k, d) - l30 * f0 - l31 * f1 - l32 * f2) / l33
    f4 = (_along(r4, q, dq, null_q, k, d) - l40 * f0 - l41 * f1 - l42 * f2 - l43 * f3) / l44
    f5 = (_along(r5, q, dq, null_q, k, d) - l50 * f0 - l51 * f1 - l52 * f2 - l53 * f3 - l54 * f4) / l55

    y5 = f5 / l55
    y4 = (f4 - l54 * y5) / l44
    y3 = (f3 - l43 * y4 - l53 * y5) / l33
    y2 = (f2 - l32 * y3 - l42 * y4 - l52 * y5) / l22
    y1 = (f1 - l21 * y2 - l31 * y3 - l41 * y4 - l51 * y5) / l11
    y0 = (f0 - l10 * y1 - l20 * y2 - l30 * y3 - l40 * y4 - l50 * y5) / l00
    return (y0, y1, y2, y3, y4, y5)
