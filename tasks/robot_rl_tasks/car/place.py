"""`Place`: where a course lies, as data. Walls, obstacles and ground, for a twin to build and for pictures."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, nearest
from robot_rl_tasks.car.course import Course

Array = NDArray[np.float64]
_SIMPLER_M = 0.02


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What the tyres roll on.

    Attributes:
        name: For people.
        friction: Coefficient of sliding friction of these tyres on it.
        rolling: Rolling resistance over the load.
        stiffness, shape, falloff: B, C and E of Pacejka's formula; its D is the friction.
        rgb: Colour.
    """

    name: str
    friction: float
    rolling: float
    stiffness: float = 8.0
    shape: float = 1.4
    falloff: float = 0.2
    rgb: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if not (0.01 <= self.friction <= 3.0 and 0.0 <= self.rolling <= 0.5):
            raise ConfigError(
                f"the surface '{self.name}' has friction {self.friction:g} (0.01 to 3) and rolling resistance "
                f"{self.rolling:g} (0 to 0.5); one of them is no coefficient"
            )


SURFACES = {
    s.name: s
    for s in (
        Surface(name="carpet", friction=0.9, rolling=0.03, rgb=(0.42, 0.36, 0.33)),
        Surface(name="asphalt", friction=1.0, rolling=0.015, rgb=(0.35, 0.35, 0.37)),
        Surface(name="grass", friction=0.55, rolling=0.07, stiffness=5.0, rgb=(0.30, 0.50, 0.20)),
        Surface(name="ice", friction=0.15, rolling=0.005, stiffness=6.0, rgb=(0.75, 0.85, 0.92)),
    )
}


def surface(name: str) -> Surface:
    """Return a surface by name. Raises `ConfigError` for one that is not there."""
    if name not in SURFACES:
        raise ConfigError(f"there is no surface '{name}'; there are {sorted(SURFACES)}.{nearest(name, SURFACES)}")
    return SURFACES[name]


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A course and what stands around it; lengths in metres in W.

    Attributes:
        course: What is driven.
        walls: (k, 2) points of each wall; a closed one ends where it begins.
        obstacles: (m, 3) upright cylinders: x, y, radius.
        surface: What the tyres roll on.
        wall_height_m: Of walls; obstacles are twice as high.
        outdoor: A sky instead of a room.
    """

    course: Course
    walls: tuple[Array, ...] = ()
    obstacles: Array
    surface: Surface
    wall_height_m: float = 0.3
    outdoor: bool = False

    @functools.cached_property
    def segments(self) -> Array:
        """(n, 4) straight pieces of all walls: x, y of one end and of the other."""
        parts = [np.hstack([wall[:-1], wall[1:]]) for wall in self.walls if len(wall) > 1]
        return np.ascontiguousarray(np.vstack(parts)) if parts else np.zeros((0, 4))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Smallest and largest x, smallest and largest y of everything."""
        everything = [self.course.points, *self.walls, *([self.obstacles[:, :2]] if len(self.obstacles) else [])]
        points = np.vstack(everything)
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        return float(x0), float(x1), float(y0), float(y1)

    def clearance(self, p: Array) -> float:
        """Return the distance of a point from the nearest wall or obstacle [m], infinite where there is none."""
        best = math.inf
        if len(self.segments):
            a, b = self.segments[:, :2], self.segments[:, 2:]
            d = b - a
            t = np.clip(((p - a) * d).sum(1) / np.maximum((d * d).sum(1), 1e-12), 0.0, 1.0)
            best = float(np.hypot(*(p - a - t[:, None] * d).T).min())
        if len(self.obstacles):
            best = min(best, float((np.hypot(*(self.obstacles[:, :2] - p).T) - self.obstacles[:, 2]).min()))
        return best


def simplify(points: Array, tolerance_m: float = _SIMPLER_M) -> Array:
    """Return fewer points of an open chain such that none left out is further than the tolerance from it."""
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    stack = [(0, len(points) - 1)]
    while stack:
        i, j = stack.pop()
        if j - i < 2:
            continue
        a, b = points[i], points[j]
        d = b - a
        norm = float(np.hypot(*d))
        inner = points[i + 1 : j] - a
        away = np.abs(d[0] * inner[:, 1] - d[1] * inner[:, 0]) / norm if norm > 1e-9 else np.hypot(*inner.T)
        k = int(away.argmax())
        if away[k] > tolerance_m:
            keep[i + 1 + k] = True
            stack += [(i, i + 1 + k), (i + 1 + k, j)]
    return points[keep]
