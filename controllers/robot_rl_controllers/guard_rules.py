"""The geometry of the guard: fit a commanded pose into box, keep-outs, cone and steps. Compiled and free of state.

Every rule describes a set of poses, and `fit_pose` returns a pose inside all of them, which is the request itself, bit
for bit, when that already is inside. So fitting twice changes nothing. Where the sets conflict (the tool was measured
outside the workspace, or in a keep-out box), the tool is led straight back, a step at a time, and never further out.
"""

from __future__ import annotations

import math
from typing import Any

from robot_rl.compiled import kernel
from robot_rl.geometry import (
    Quat,
    Vec3,
    Vector,
    clip_norm_t,
    copy3,
    copy4,
    norm3_t,
    quat_angle,
    quat_from_rotvec_t,
    quat_mul_t,
    quat_normalise_t,
    rotate_t,
    rotation_step_t,
    slerp_t,
    vector_angle,
)
from robot_rl_controllers.guard_keep_out import around, depth, way_out
from robot_rl_controllers.guard_layout import (
    BOX_MAX,
    BOX_MIN,
    CONE,
    CONE_AXIS,
    CONE_RAD,
    GROWTH_M,
    GROWTH_RAD,
    KEEP_OUT,
    KEEP_OUT_BOXES,
    LAST_M,
    LAST_RAD,
    MARGIN_M,
    MARGIN_RAD,
    MEASURED_CONE,
    MEASURED_KEEP_OUT,
    MEASURED_WORKSPACE,
    RATE,
    RATE_M,
    RATE_RAD,
    SOFT_FORCE,
    STEP_M,
    STEP_RAD,
    STEPPED_M,
    STEPPED_RAD,
    TOLERANCE,
    WORKSPACE,
)


@kernel
def into_box(x: Any, bounds: Vector) -> Vec3:
    """Return the nearest point [m] of the box, per axis, so that a tool pushed at a wall slides along it."""
    return (
        min(max(x[0], bounds[BOX_MIN]), bounds[BOX_MAX]),
        min(max(x[1], bounds[BOX_MIN + 1]), bounds[BOX_MAX + 1]),
        min(max(x[2], bounds[BOX_MIN + 2]), bounds[BOX_MAX + 2]),
    )


@kernel
def distance(a: Any, b: Any) -> float:
    """Return the distance [m] between two points."""
    return norm3_t((a[0] - b[0], a[1] - b[1], a[2] - b[2]))


@kernel
def tilt(q: Any, bounds: Vector) -> float:
    """Return the angle [rad] between the tool's z axis and the cone's axis."""
    axis = (bounds[CONE_AXIS], bounds[CONE_AXIS + 1], bounds[CONE_AXIS + 2])
    return vector_angle(rotate_t(q, (0.0, 0.0, 1.0)), axis)


@kernel
def into_cone(q: Any, bounds: Vector) -> Quat:
    """Return the orientation tilted straight towards the cone's axis until the tool's z axis is in the cone."""
    angle = tilt(q, bounds)
    if angle <= bounds[CONE_RAD] + TOLERANCE:
        return (q[0], q[1], q[2], q[3])
    return towards_axis(q, bounds, angle - bounds[CONE_RAD])


@kernel
def towards_axis(q: Any, bounds: Vector, angle_rad: float) -> Quat:
    """Return the orientation tilted by an angle straight towards the cone's axis."""
    z = rotate_t(q, (0.0, 0.0, 1.0))
    a = (bounds[CONE_AXIS], bounds[CONE_AXIS + 1], bounds[CONE_AXIS + 2])
    turn = (z[1] * a[2] - z[2] * a[1], z[2] * a[0] - z[0] * a[2], z[0] * a[1] - z[1] * a[0])
    n = norm3_t(turn)
    if n < 1e-12:  # upside down: every way is as short, take the tool's own x axis
        turn = rotate_t(q, (1.0, 0.0, 0.0))
        n = norm3_t(turn)
    f = angle_rad / n
    return quat_normalise_t(quat_mul_t(quat_from_rotvec_t((f * turn[0], f * turn[1], f * turn[2])), q))


@kernel
def _against(z: Any, p: Any, push: Any) -> float:
    """Return how far [m] a point lies from `p` against the unit vector `push`; not positive if it gives way."""
    return (p[0] - z[0]) * push[0] + (p[1] - z[1]) * push[1] + (p[2] - z[2]) * push[2]


@kernel
def _within_step(home: Any, y: Any, p: Any, step: float) -> Vec3:
    """Return the last point within a step of `p` on the way from `home`, which is near enough, to `y`, which is not."""
    u = (y[0] - home[0], y[1] - home[1], y[2] - home[2])
    w = (home[0] - p[0], home[1] - p[1], home[2] - p[2])
    a = u[0] * u[0] + u[1] * u[1] + u[2] * u[2]
    b = u[0] * w[0] + u[1] * w[1] + u[2] * w[2]
    c = w[0] * w[0] + w[1] * w[1] + w[2] * w[2] - step * step
    t = min(max((math.sqrt(max(b * b - a * c, 0.0)) - b) / a, 0.0), 1.0)
    return (home[0] + t * u[0], home[1] + t * u[1], home[2] + t * u[2])


@kernel
def _towards(home: Any, x: Any, p: Any, bounds: Vector) -> tuple[Vec3, int]:
    """Return (the point nearest a request that box, keep-outs and step allow, rules that changed it).

    `home` is allowed and within a step of the measured position `p`; so is the whole way from there to the result.
    """
    step = bounds[STEP_M]
    y = into_box(x, bounds)
    rules = 0 if y[0] == x[0] and y[1] == x[1] and y[2] == x[2] else WORKSPACE
    if distance(y, p) > step + TOLERANCE:
        y, rules = into_box(_within_step(home, y, p, step), bounds), rules | STEPPED_M
    if bounds.shape[0] == KEEP_OUT_BOXES:
        return y, rules
    z = around(home, y, bounds)
    if z[0] != y[0] or z[1] != y[1] or z[2] != y[2]:
        rules |= KEEP_OUT
    if distance(z, p) > step + TOLERANCE:
        z = into_box(_within_step(home, z, p, step), bounds)
    return z, rules


@kernel
def fit_position(x: Any, p: Any, push: Any, bounds: Vector) -> tuple[Vec3, int]:
    """Return (position, rules that changed it): in the box, out of keep-outs, and within a step of the measured one.

    Args:
        x, p: requested and measured position [m].
        push: direction of a contact force that is large already, or zeros; nothing is advanced against it.
        bounds: see the layout.
    """
    home, rules = into_box(p, bounds), 0
    deep = depth(home, bounds) if bounds.shape[0] > KEEP_OUT_BOXES else 0.0
    if deep > 0.0:
        home, open_way = way_out(home, bounds)
        if not open_way:
            return (p[0], p[1], p[2]), KEEP_OUT
    out, ahead = distance(home, p), _against(x, p, push)
    if ahead > TOLERANCE:
        x, rules = (x[0] + ahead * push[0], x[1] + ahead * push[1], x[2] + ahead * push[2]), SOFT_FORCE
    if out > bounds[STEP_M]:
        d = clip_norm_t((home[0] - p[0], home[1] - p[1], home[2] - p[2]), bounds[STEP_M])
        z = (p[0] + d[0], p[1] + d[1], p[2] + d[2])
        rules = MEASURED_WORKSPACE | WORKSPACE if deep == 0.0 else KEEP_OUT
    elif deep > bounds[MARGIN_M]:
        z, rules = home, KEEP_OUT
    else:
        z, more = _towards(home, x, p, bounds)
        rules |= more
    if _against(z, p, push) <= TOLERANCE:
        return z, rules
    # What the other rules made of it pushes again: stay, where that is allowed.
    stay = home if _against(home, p, push) <= TOLERANCE and out <= bounds[STEP_M] else (p[0], p[1], p[2])
    return stay, rules | SOFT_FORCE


@kernel
def _slew(x: Any, p: Any, push: Any, share: float, bounds: Vector, previous: Vector) -> tuple[Vec3, float, int]:
    """Return (position, its distance [m] from the last command per period, rules that changed it)."""
    position, rules = fit_position(x, p, push, bounds)
    before, _ = fit_position((previous[0], previous[1], previous[2]), p, push, bounds)
    moved = distance(position, before)
    allowed = min(bounds[RATE_M], previous[LAST_M] + bounds[GROWTH_M] * share) * share
    if moved <= allowed + TOLERANCE:
        return position, moved / share, rules
    d = clip_norm_t((position[0] - before[0], position[1] - before[1], position[2] - before[2]), allowed)
    y = (before[0] + d[0], before[1] + d[1], before[2] + d[2])
    if distance(into_box(p, bounds), p) <= bounds[STEP_M]:
        if distance(into_box(before, bounds), before) > 0.0:
            return before, 0.0, rules | RATE  # a force keeps the tool from going back, and from half the way too
        y = into_box(y, bounds)
    if bounds.shape[0] > KEEP_OUT_BOXES:
        # A way that is shortened may lead elsewhere: if it does not stay allowed, the last command does.
        z, changed = fit_position(y, p, push, bounds)
        if changed and distance(z, y) > TOLERANCE:
            return before, 0.0, rules | RATE
    return y, allowed / share, rules | RATE


@kernel
def _turn_ok(q: Any, quat: Any, bounds: Vector) -> bool:
    """Return whether an orientation is in the cone and within a step of the measured one."""
    if tilt(q, bounds) > bounds[CONE_RAD] + TOLERANCE:
        return False
    return quat_angle(q, quat) <= bounds[STEP_RAD] + TOLERANCE


@kernel
def _retreat(inside: Any, wanted: Any, quat: Any, bounds: Vector) -> Quat:
    """Return the allowed orientation farthest along the rotation from `inside`, which is allowed, to `wanted`.

    The axis of the rotation is kept and its angle reduced. A straight rotation between two orientations in the cone may
    bulge out of it, hence the search.
    """
    if _turn_ok(wanted, quat, bounds):
        return (wanted[0], wanted[1], wanted[2], wanted[3])
    best = (inside[0], inside[1], inside[2], inside[3])
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        q = slerp_t(inside, wanted, middle)
        if _turn_ok(q, quat, bounds):
            low, best = middle, q
        else:
            high = middle
    return best


@kernel
def fit_rotation(q: Any, quat: Any, bounds: Vector) -> tuple[Quat, int]:
    """Return (orientation, rules that changed it): in the cone, and within a step of the measured orientation."""
    out = tilt(quat, bounds) - bounds[CONE_RAD]
    step = bounds[STEP_RAD]
    if out > step:
        return towards_axis(quat, bounds, step), MEASURED_CONE | CONE
    home = into_cone(quat, bounds)
    wanted = into_cone(q, bounds)
    rules = 0 if wanted[0] == q[0] and wanted[1] == q[1] and wanted[2] == q[2] and wanted[3] == q[3] else CONE
    if _turn_ok(wanted, quat, bounds):
        return wanted, rules
    if out <= 0.0:
        wanted = rotation_step_t(quat, wanted, step)
    return _retreat(home, wanted, quat, bounds), rules | STEPPED_RAD


@kernel
def fit_pose(
    x: Any, q: Any, p: Any, quat: Any, push: Any, share: float, bounds: Vector, previous: Vector, out: Vector
) -> int:
    """Write the pose that may be executed, remember it as the previous one, and return the rules that changed it.

    Args:
        x, q: requested tool pose in B: position [m] and unit quaternion wxyz.
        p, quat: measured tool pose.
        push: direction of a contact force that is large already, or zeros.
        share: time since the last command, in periods, at most 1.
        bounds: see the layout.
        previous: (10,) see the layout; changed in place.
        out: (7,) receives the pose.
    """
    position, moved, rules = _slew(x, p, push, share, bounds, previous)
    rotation, turn_rules = fit_rotation(q, quat, bounds)
    rules |= turn_rules
    last = (previous[3], previous[4], previous[5], previous[6])
    heading, _ = fit_rotation(last, quat, bounds)
    turned = quat_angle(heading, rotation)
    allowed = min(bounds[RATE_RAD], previous[LAST_RAD] + bounds[GROWTH_RAD] * share) * share
    if turned > allowed + TOLERANCE:
        rotation = _retreat(heading, rotation_step_t(heading, rotation, allowed), quat, bounds)
        turned = allowed
        rules |= RATE

    if distance(into_box(p, bounds), p) > bounds[MARGIN_M]:
        rules |= MEASURED_WORKSPACE
    if tilt(quat, bounds) - bounds[CONE_RAD] > bounds[MARGIN_RAD]:
        rules |= MEASURED_CONE
    if depth(p, bounds) > bounds[MARGIN_M]:
        rules |= MEASURED_KEEP_OUT
    copy3(out, position)
    copy4(out[3:], rotation)
    for i in range(7):
        previous[i] = out[i]
    previous[LAST_M], previous[LAST_RAD] = moved, turned / share
    return rules
