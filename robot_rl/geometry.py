"""Rotations and poses for the control path: compiled scalar code, quaternions wxyz, no allocation.

Every operation comes in three forms. `x_t` returns a tuple of floats and takes tuples or arrays alike, so that control
laws chain it in registers; `x_into` writes into an array (which may be one of the inputs); `x` returns a new array.
All three can be called from Python and from other compiled code.

A quaternion here means a unit quaternion; only the normalising functions take others. `q` and `-q` are one rotation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel

Vector = NDArray[np.float64]
Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]


@kernel
def finite(x: Any) -> bool:
    """Return whether every entry of a 1-D array or tuple is a finite number."""
    for i in range(len(x)):  # noqa: SIM110, a generator would not compile
        if not math.isfinite(x[i]):
            return False
    return True


@kernel
def norm3_t(v: Any) -> float:
    """Return the length of a 3-vector without overflow or underflow of its squares."""
    big = max(abs(v[0]), abs(v[1]), abs(v[2]))
    if not (big > 0.0) or math.isinf(big):
        return big
    x, y, z = v[0] / big, v[1] / big, v[2] / big
    return big * math.sqrt(x * x + y * y + z * z)


@kernel
def quat_mul_t(a: Any, b: Any) -> Quat:
    """Return the Hamilton product a b: the rotation b followed by a."""
    return (
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    )


@kernel
def quat_conj_t(q: Any) -> Quat:
    """Return the inverse rotation."""
    return (q[0], -q[1], -q[2], -q[3])


@kernel
def quat_normalise_t(q: Any) -> Quat:
    """Return `q` at unit length; a zero or non-finite quaternion, which is no rotation, gives (0, 0, 0, 0)."""
    big = max(max(abs(q[0]), abs(q[1])), max(abs(q[2]), abs(q[3])))
    if not finite(q) or big == 0.0:
        return (0.0, 0.0, 0.0, 0.0)
    w, x, y, z = q[0] / big, q[1] / big, q[2] / big, q[3] / big
    n = math.sqrt(w * w + x * x + y * y + z * z)
    return (w / n, x / n, y / n, z / n)


@kernel
def quat_from_rotvec_t(r: Any) -> Quat:
    """Return exp(r): the rotation by |r| radians about r."""
    angle = norm3_t(r)
    half = 0.5 * angle
    # sin(x/2)/x by its series near zero, where the quotient loses digits.
    s = 0.5 - angle * angle / 48.0 if angle < 1e-4 else math.sin(half) / angle
    return (math.cos(half), s * r[0], s * r[1], s * r[2])


@kernel
def rotvec_from_quat_t(q: Any) -> Vec3:
    """Return log(q): the rotation vector [rad] of the shortest way, of length at most pi.

    It is the full angle times the axis, not the half that the quaternion's vector part suggests; stable at 0 and pi.
    """
    sign = -1.0 if q[0] < 0.0 else 1.0
    s = norm3_t((q[1], q[2], q[3]))
    factor = 2.0 * sign if s == 0.0 else sign * 2.0 * math.atan2(s, sign * q[0]) / s
    return (factor * q[1], factor * q[2], factor * q[3])


@kernel
def rotate_t(q: Any, v: Any) -> Vec3:
    """Return R(q) v."""
    w, x, y, z = q[0], q[1], q[2], q[3]
    tx = 2.0 * (y * v[2] - z * v[1])
    ty = 2.0 * (z * v[0] - x * v[2])
    tz = 2.0 * (x * v[1] - y * v[0])
    return (
        v[0] + w * tx + y * tz - z * ty,
        v[1] + w * ty + z * tx - x * tz,
        v[2] + w * tz + x * ty - y * tx,
    )


@kernel
def quat_angle(a: Any, b: Any) -> float:
    """Return the angle [rad] in [0, pi] of the shortest rotation between two orientations."""
    return norm3_t(rotvec_from_quat_t(quat_mul_t(quat_conj_t(a), b)))


@kernel
def vector_angle(a: Any, b: Any) -> float:
    """Return the angle [rad] in [0, pi] between two 3-vectors; accurate near 0 and pi."""
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return math.atan2(norm3_t(cross), a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


@kernel
def clip_norm_t(v: Any, limit: float) -> Vec3:
    """Return a 3-vector shortened to at most `limit`; the direction stays."""
    n = norm3_t(v)
    if n <= limit:
        return (v[0], v[1], v[2])
    f = limit / n
    return (f * v[0], f * v[1], f * v[2])


@kernel
def rotation_step_t(a: Any, b: Any, limit_rad: float) -> Quat:
    """Return the orientation at most `limit_rad` from `a` on the shortest way to `b`, exactly `b` if it is near."""
    r = rotvec_from_quat_t(quat_mul_t(quat_conj_t(a), b))
    if norm3_t(r) <= limit_rad:
        return (b[0], b[1], b[2], b[3])
    return quat_normalise_t(quat_mul_t(a, quat_from_rotvec_t(clip_norm_t(r, limit_rad))))


@kernel
def slerp_t(a: Any, b: Any, t: float) -> Quat:
    """Return the orientation at the fraction `t` of the shortest way from `a` to `b`."""
    r = rotvec_from_quat_t(quat_mul_t(quat_conj_t(a), b))
    return quat_normalise_t(quat_mul_t(a, quat_from_rotvec_t((t * r[0], t * r[1], t * r[2]))))


@kernel
def copy3(out: Vector, v: Any) -> None:
    """Copy three numbers into the start of an array."""
    out[0], out[1], out[2] = v[0], v[1], v[2]


@kernel
def copy4(out: Vector, q: Any) -> None:
    """Copy four numbers into the start of an array."""
    out[0], out[1], out[2], out[3] = q[0], q[1], q[2], q[3]


@kernel
def quat_mul_into(out: Vector, a: Any, b: Any) -> None:
    """Write the Hamilton product a b into `out` (4,)."""
    copy4(out, quat_mul_t(a, b))


@kernel
def quat_conj_into(out: Vector, q: Any) -> None:
    """Write the inverse rotation into `out` (4,)."""
    copy4(out, quat_conj_t(q))


@kernel
def quat_normalise_into(out: Vector, q: Any) -> bool:
    """Write `q` at unit length into `out` (4,); return False, writing the identity, when `q` is no rotation."""
    u = quat_normalise_t(q)
    if u[0] == 0.0 and u[1] == 0.0 and u[2] == 0.0 and u[3] == 0.0:
        copy4(out, (1.0, 0.0, 0.0, 0.0))
        return False
    copy4(out, u)
    return True


@kernel
def quat_from_rotvec_into(out: Vector, r: Any) -> None:
    """Write exp(r) into `out` (4,)."""
    copy4(out, quat_from_rotvec_t(r))


@kernel
def rotvec_from_quat_into(out: Vector, q: Any) -> None:
    """Write log(q) [rad] into `out` (3,)."""
    copy3(out, rotvec_from_quat_t(q))


@kernel
def rotate_into(out: Vector, q: Any, v: Any) -> None:
    """Write R(q) v into `out` (3,)."""
    copy3(out, rotate_t(q, v))


@kernel
def rotation_step_into(out: Vector, a: Any, b: Any, limit_rad: float) -> None:
    """Write the orientation at most `limit_rad` from `a` towards `b` into `out` (4,)."""
    copy4(out, rotation_step_t(a, b, limit_rad))


@kernel
def slerp_into(out: Vector, a: Any, b: Any, t: float) -> None:
    """Write the orientation at fraction `t` between `a` and `b` into `out` (4,)."""
    copy4(out, slerp_t(a, b, t))


@kernel
def quat_to_matrix_into(out: Vector, q: Any) -> None:
    """Write the rotation matrix of `q` into `out` (3, 3)."""
    w, x, y, z = q[0], q[1], q[2], q[3]
    out[0, 0], out[0, 1], out[0, 2] = 1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)
    out[1, 0], out[1, 1], out[1, 2] = 2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)
    out[2, 0], out[2, 1], out[2, 2] = 2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)


@kernel
def matrix_to_quat_into(out: Vector, m: Vector) -> None:
    """Write the quaternion of a rotation matrix (3, 3) into `out` (4,), dividing by the largest component only."""
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    if trace >= m[0, 0] and trace >= m[1, 1] and trace >= m[2, 2]:
        q = (1.0 + trace, m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1])
    elif m[0, 0] >= m[1, 1] and m[0, 0] >= m[2, 2]:
        q = (m[2, 1] - m[1, 2], 1.0 + 2.0 * m[0, 0] - trace, m[0, 1] + m[1, 0], m[0, 2] + m[2, 0])
    elif m[1, 1] >= m[2, 2]:
        q = (m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], 1.0 + 2.0 * m[1, 1] - trace, m[1, 2] + m[2, 1])
    else:
        q = (m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1.0 + 2.0 * m[2, 2] - trace)
    quat_normalise_into(out, q)


@kernel
def tool_delta_into(p_out: Vector, q_out: Vector, p: Any, q: Any, dp_E: Any, dr_E: Any) -> None:
    """Write X_BE times a small motion given in the tool frame: p + R dp_E, q exp(dr_E).

    A translation never rotates and a rotation never translates the tool centre point, at any pose.
    """
    d = rotate_t(q, dp_E)
    new_q = quat_mul_t(q, quat_from_rotvec_t(dr_E))
    copy3(p_out, (p[0] + d[0], p[1] + d[1], p[2] + d[2]))
    copy4(q_out, new_q)


@kernel
def tool_delta_inverse_into(dp_out: Vector, dr_out: Vector, p: Any, q: Any, p_t: Any, q_t: Any) -> None:
    """Write the tool-frame motion (dp_E, dr_E) that takes the pose (p, q) to (p_t, q_t)."""
    back = quat_conj_t(q)
    dp = rotate_t(back, (p_t[0] - p[0], p_t[1] - p[1], p_t[2] - p[2]))
    dr = rotvec_from_quat_t(quat_mul_t(back, q_t))
    copy3(dp_out, dp)
    copy3(dr_out, dr)


@kernel
def quat_mul(a: Any, b: Any) -> Vector:
    """Return the Hamilton product a b (4,)."""
    return np.array(quat_mul_t(a, b))


@kernel
def quat_conj(q: Any) -> Vector:
    """Return the inverse rotation (4,)."""
    return np.array(quat_conj_t(q))


@kernel
def quat_normalise(q: Any) -> Vector:
    """Return `q` at unit length (4,), or the identity when `q` is no rotation."""
    out = np.empty(4)
    quat_normalise_into(out, q)
    return out


@kernel
def quat_from_rotvec(r: Any) -> Vector:
    """Return exp(r) (4,) of a rotation vector [rad]."""
    return np.array(quat_from_rotvec_t(r))


@kernel
def rotvec_from_quat(q: Any) -> Vector:
    """Return log(q) (3,) [rad], the shortest way."""
    return np.array(rotvec_from_quat_t(q))


@kernel
def rotate(q: Any, v: Any) -> Vector:
    """Return R(q) v (3,)."""
    return np.array(rotate_t(q, v))


@kernel
def rotation_step(a: Any, b: Any, limit_rad: float) -> Vector:
    """Return the orientation (4,) at most `limit_rad` from `a` towards `b`."""
    return np.array(rotation_step_t(a, b, limit_rad))


@kernel
def slerp(a: Any, b: Any, t: float) -> Vector:
    """Return the orientation (4,) at fraction `t` of the shortest way from `a` to `b`."""
    return np.array(slerp_t(a, b, t))


@kernel
def quat_to_matrix(q: Any) -> Vector:
    """Return the rotation matrix (3, 3)."""
    out = np.empty((3, 3))
    quat_to_matrix_into(out, q)
    return out


@kernel
def matrix_to_quat(m: Vector) -> Vector:
    """Return the quaternion (4,) of a rotation matrix (3, 3)."""
    out = np.empty(4)
    matrix_to_quat_into(out, m)
    return out


@kernel
def tool_delta(p: Any, q: Any, dp_E: Any, dr_E: Any) -> tuple[Vector, Vector]:
    """Return the pose (p (3,), quat (4,)) after a motion (dp_E [m], dr_E [rad]) given in the tool frame."""
    p_out, q_out = np.empty(3), np.empty(4)
    tool_delta_into(p_out, q_out, p, q, dp_E, dr_E)
    return p_out, q_out


@kernel
def tool_delta_inverse(p: Any, q: Any, p_t: Any, q_t: Any) -> tuple[Vector, Vector]:
    """Return (dp_E (3,) [m], dr_E (3,) [rad]) that takes the pose (p, q) to (p_t, q_t)."""
    dp_out, dr_out = np.empty(3), np.empty(3)
    tool_delta_inverse_into(dp_out, dr_out, p, q, p_t, q_t)
    return dp_out, dr_out
