"""A planar lidar against the walls and obstacles of a place, all beams in one compiled call.

It looks in the plane of the ground: what the car's rolling and pitching does to a beam is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel

F64 = NDArray[np.float64]


@kernel
def scan_into(out: F64, x: float, y: float, first: float, step: float, far: float, walls: F64, posts: F64) -> None:
    """Fill `out` (n,) with the distance to the nearest thing along each beam [m], infinite beyond `far`.

    Args:
        out: One entry for each beam.
        x, y: Where the beams begin, in W.
        first, step: Direction of the first beam, and from one to the next [rad].
        far: Furthest distance.
        walls: (m, 4) ends of the straight pieces.
        posts: (k, 3) middle and radius of each cylinder.
    """
    for i in range(len(out)):
        c, s = np.cos(first + i * step), np.sin(first + i * step)
        best = np.inf
        for j in range(len(walls)):
            ax, ay = walls[j, 0] - x, walls[j, 1] - y
            dx, dy = walls[j, 2] - walls[j, 0], walls[j, 3] - walls[j, 1]
            across = c * dy - s * dx
            if across == 0.0:
                continue
            t = (ax * dy - ay * dx) / across
            if 0.0 <= t < best:
                u = (ax * s - ay * c) / across
                if 0.0 <= u <= 1.0:
                    best = t
        for j in range(len(posts)):
            ax, ay, r = posts[j, 0] - x, posts[j, 1] - y, posts[j, 2]
            along = ax * c + ay * s
            off2 = ax * ax + ay * ay - along * along
            if along > 0.0 and off2 < r * r:
                t = max(along - np.sqrt(r * r - off2), 0.0)
                best = min(best, t)
        out[i] = best if best <= far else np.inf


@kernel
def scans_into(out: F64, poses: F64, first: float, step: float, far: float, walls: F64, posts: F64) -> None:
    """Fill `out` (b, n) with the scans from (b, 3) poses x, y, yaw."""
    for b in range(len(poses)):
        scan_into(out[b], poses[b, 0], poses[b, 1], poses[b, 2] + first, step, far, walls, posts)
