"""Keep-out boxes: points out of them, and ways around them. Compiled and free of state.

A box is open: its faces may be touched. Points less than `TOLERANCE` deep count as outside, so that a point put on a
face stays allowed whatever rounding does to it.
"""

from __future__ import annotations

from typing import Any

from robot_rl.compiled import kernel
from robot_rl.geometry import Vec3, Vector
from robot_rl_controllers.guard_layout import BOX_MAX, BOX_MIN, KEEP_OUT_BOXES, TOLERANCE

SLIDES = 4  # how many faces in turn a way may slide along: three meet in a corner
_FAR = 1e9


@kernel
def with_axis(x: Any, axis: int, value: float) -> Vec3:
    """Return a point with one of its coordinates replaced."""
    return (value if axis == 0 else x[0], value if axis == 1 else x[1], value if axis == 2 else x[2])


@kernel
def depth_in(x: Any, bounds: Vector, at: int) -> float:
    """Return how deep [m] a point lies in the box that begins at an entry of `bounds`; not positive outside."""
    deep = _FAR
    for i in range(3):
        deep = min(deep, min(x[i] - bounds[at + i], bounds[at + 3 + i] - x[i]))
    return deep


@kernel
def depth(x: Any, bounds: Vector) -> float:
    """Return how deep [m] a point lies in the keep-out boxes; 0 outside."""
    deep = 0.0
    for at in range(KEEP_OUT_BOXES, bounds.shape[0], 6):
        deep = max(deep, depth_in(x, bounds, at))
    return deep


@kernel
def way_out(p: Any, bounds: Vector) -> tuple[Vec3, bool]:
    """Return (the nearest allowed point [m] straight through a face, whether there is one); `p` itself if it is out."""
    best, nearest, inside = (p[0], p[1], p[2]), _FAR, False
    for at in range(KEEP_OUT_BOXES, bounds.shape[0], 6):
        if depth_in(p, bounds, at) <= TOLERANCE:
            continue
        inside = True
        for side in range(6):
            axis = side % 3
            face = bounds[at + side]
            way = abs(p[axis] - face)
            if way >= nearest or not bounds[BOX_MIN + axis] <= face <= bounds[BOX_MAX + axis]:
                continue
            through = with_axis(p, axis, face)
            if depth(through, bounds) <= TOLERANCE:
                best, nearest = through, way
    return best, nearest < _FAR or not inside


@kernel
def first_hit(a: Any, b: Any, bounds: Vector) -> tuple[int, float, float]:
    """Return (axis, coordinate [m], fraction of the way) of the first face met on the way from `a` to `b`.

    `a` is outside every box. The axis is -1 if none is met.
    """
    hit, value, first = -1, 0.0, 1.0
    for at in range(KEEP_OUT_BOXES, bounds.shape[0], 6):
        enters, leaves, axis, face = 0.0, 1.0, -1, 0.0
        missed = False
        for i in range(3):
            low, high, way = bounds[at + i] + TOLERANCE, bounds[at + 3 + i] - TOLERANCE, b[i] - a[i]
            if way == 0.0:
                missed = missed or a[i] <= low or a[i] >= high
                continue
            near, far = (low - a[i]) / way, (high - a[i]) / way
            if way < 0.0:
                near, far = far, near
            if near >= enters:
                enters, axis, face = near, i, bounds[at + i] if way > 0.0 else bounds[at + 3 + i]
            leaves = min(leaves, far)
        if not missed and axis >= 0 and enters < leaves and enters < first:
            hit, value, first = axis, face, enters
    return hit, value, first


@kernel
def around(a: Any, b: Any, bounds: Vector) -> Vec3:
    """Return where a straight way from `a` towards `b` may end: on `b`, beside it along a face, or where it is barred.

    The way from `a`, which is outside every box, to the point that is returned is free.
    """
    goal = (b[0], b[1], b[2])
    for _ in range(SLIDES):
        axis, value, _t = first_hit(a, goal, bounds)
        if axis < 0:
            return goal
        goal = with_axis(goal, axis, value)
    axis, value, t = first_hit(a, goal, bounds)
    if axis < 0:
        return goal
    way = (goal[0] - a[0], goal[1] - a[1], goal[2] - a[2])
    return with_axis((a[0] + t * way[0], a[1] + t * way[1], a[2] + t * way[2]), axis, value)
