"""Places to race in: four with names, and as many drawn at random as a seed allows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, nearest
from robot_rl_tasks.car.course import Course, make_course
from robot_rl_tasks.car.line import ClosedLine
from robot_rl_tasks.car.place import Place, simplify, surface

Array = NDArray[np.float64]
_NONE = np.zeros((0, 3))
_TRIES = 200


def place(name: str) -> Place:
    """Return a place by its name, or one drawn at random: "indoor-7" and "outdoor-7" are those of seed 7.

    Raises:
        ConfigError: There is none of that name.
    """
    if name in PRESETS:
        return PRESETS[name]()
    kind, _, seed = name.partition("-")
    if kind in ("indoor", "outdoor") and seed.isdecimal():
        return random_place(int(seed), outdoor=kind == "outdoor")
    known = sorted(PRESETS)
    raise ConfigError(
        f"there is no course '{name}'; there are {known}, and 'indoor-SEED' and 'outdoor-SEED' drawn at random."
        + nearest(name, known)
    )


def random_place(seed: int, *, outdoor: bool = False, size_m: float = 5.0, half_width_m: float = 0.8) -> Place:
    """Draw a closed course: a smooth line through points at random distances around a centre, walls or trees beside it.

    Args:
        seed: Same seed, same place.
        outdoor: Grass, trees and stones instead of carpet and walls.
        size_m: Middle distance of the line from its centre.
        half_width_m: Free way to either side.

    Raises:
        ConfigError: No course of this size and width was found; the size is too small for the width.
    """
    rng = np.random.default_rng([seed, int(outdoor)])
    for _ in range(_TRIES):
        count = int(rng.integers(6, 11))
        angles = (np.arange(count) + rng.uniform(-0.25, 0.25, count)) * 2 * math.pi / count
        radius = size_m * rng.uniform(0.55, 1.25, count)
        corners = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
        if rng.random() < 0.5:
            corners = corners[::-1]
        line = ClosedLine(corners)
        width = half_width_m * float(rng.uniform(0.85, 1.2))
        if drivable(line, width):
            course = make_course(f"{'outdoor' if outdoor else 'indoor'}-{seed}", line.points, width, width,
                                 source=f"drawn with seed {seed}")  # fmt: skip
            return _on_grass(course, rng) if outdoor else between_walls(course)
    raise ConfigError(
        f"no course of size {size_m:g} m leaves {half_width_m:g} m to either side ({_TRIES} were drawn); "
        "make it larger or narrower"
    )


def drivable(line: ClosedLine, half_width_m: float) -> bool:
    """Return whether a car can follow a line, and whether walls beside it keep clear of each other."""
    if np.abs(line.curvatures).max() > 1.0 / (half_width_m + 0.25):
        return False
    step = max(1, round(0.2 / (line.length_m / len(line.s))))
    p = line.points[::step]
    apart = np.abs(np.subtract.outer(np.arange(len(p)), np.arange(len(p))))
    along = np.minimum(apart, len(p) - apart) * line.length_m / len(p)
    distance = np.linalg.norm(p[:, None] - p[None], axis=2)
    # Pieces that are far along the line and near across the floor: their walls would meet.
    return not bool(((along > math.pi * (half_width_m + 0.25)) & (distance < 2.0 * half_width_m + 0.3)).any())


def between_walls(course: Course, ground: str = "carpet", obstacles: Array = _NONE) -> Place:
    """Return a course with a wall along either border."""
    n, p = course.line.normals, course.line.points
    walls = []
    for side in (p + course.left_at_s[:, None] * n, p - course.right_at_s[:, None] * n):
        # Simplified in two halves: the ends of a closed chain are one point, and its distance from itself says nothing.
        half = len(side) // 2
        first, second = simplify(side[: half + 1]), simplify(np.vstack([side[half:], side[:1]]))
        walls.append(np.vstack([first, second[1:]]))
    return Place(course=course, walls=tuple(walls), obstacles=obstacles, surface=surface(ground))


def _on_grass(course: Course, rng: np.random.Generator, ground: str = "grass", count: int = 40) -> Place:
    """Return a place without walls, with trees and stones that keep clear of the way."""
    x0, y0 = course.points.min(axis=0) - 3.0
    x1, y1 = course.points.max(axis=0) + 3.0
    found: list[tuple[float, float, float]] = []
    widest = float(max(course.left_m.max(), course.right_m.max()))
    for _ in range(count * 20):
        if len(found) == count:
            break
        x, y, r = float(rng.uniform(x0, x1)), float(rng.uniform(y0, y1)), float(rng.choice([0.08, 0.12, 0.25]))
        if np.hypot(*(course.line.points - (x, y)).T).min() < widest + r:
            continue
        if all(math.hypot(x - a, y - b) > r + c + 0.4 for a, b, c in found):
            found.append((round(x, 3), round(y, 3), r))
    return Place(
        course=course, obstacles=np.array(found).reshape(-1, 3), surface=surface(ground), outdoor=True
    )  # fmt: skip


def _rounded(corners: list[tuple[float, float]], radius: float) -> Array:
    """Return points along a polygon whose corners are arcs."""
    points: list[Array] = []
    p = np.asarray(corners, float)
    for before, at, after in zip(np.roll(p, 1, axis=0), p, np.roll(p, -1, axis=0), strict=True):
        u, v = (before - at) / np.linalg.norm(before - at), (after - at) / np.linalg.norm(after - at)
        half = 0.5 * math.acos(float(np.clip(u @ v, -1.0, 1.0)))
        back = radius / math.tan(half)
        centre = at + (u + v) / np.linalg.norm(u + v) * radius / math.sin(half)
        a, b = at + back * u - centre, at + back * v - centre
        turn = math.atan2(a[0] * b[1] - a[1] * b[0], float(a @ b))
        for t in np.linspace(0.0, turn, max(int(abs(turn) * radius / 0.15), 4)):
            points.append(centre + np.array([math.cos(t) * a[0] - math.sin(t) * a[1],
                                             math.sin(t) * a[0] + math.cos(t) * a[1]]))  # fmt: skip
    chain = np.array(points)
    # Straights get points too, so that the spline stays straight there.
    out: list[Array] = []
    for a, b in zip(chain, np.roll(chain, -1, axis=0), strict=True):
        pieces = max(int(np.linalg.norm(b - a) / 0.3), 1)
        out += [a + (b - a) * k / pieces for k in range(pieces)]
    return np.array(out)


def _oval() -> Place:
    points = _rounded([(-5.0, -2.2), (5.0, -2.2), (5.0, 2.2), (-5.0, 2.2)], 2.15)
    return between_walls(make_course("oval", points, 0.9, 0.9, source="preset"), "carpet")


def _corridor() -> Place:
    corners = [(0.0, 0.0), (14.0, 0.0), (14.0, 5.0), (8.0, 5.0), (8.0, 11.0), (0.0, 11.0)]
    return between_walls(make_course("corridor", _rounded(corners, 1.25), 0.8, 0.8, source="preset"), "carpet")


def _hall() -> Place:
    """A room with tables: narrow bends both ways, and table legs beside the way."""
    corners = [(0.0, 0.0), (7.0, 0.0), (7.0, 4.5), (4.9, 4.5), (4.9, 2.3), (2.6, 2.3), (2.6, 5.5), (0.0, 5.5)]
    course = make_course("hall", _rounded(corners, 1.04), 0.58, 0.58, source="preset")
    room = np.array([(-1.0, -1.0), (8.0, -1.0), (8.0, 6.6), (-1.0, 6.6), (-1.0, -1.0)])
    legs = [(1.3, 1.15), (5.95, 1.15), (1.3, 3.6), (3.75, 1.15), (3.75, 4.0), (5.95, 3.2), (3.75, 5.6), (5.95, 5.6)]
    obstacles = np.array([(x, y, 0.12) for x, y in legs])
    return Place(course=course, walls=(room,), obstacles=obstacles, surface=surface("carpet"))


def _meadow() -> Place:
    corners = np.array([(-9, -4), (-3, -6), (3, -4.5), (9, -5.5), (10.5, 0), (6, 3), (1, 1.5), (-3, 5.5), (-9.5, 4)])
    course = make_course("meadow", corners * 1.2, 1.2, 1.2, source="preset")
    return _on_grass(course, np.random.default_rng(4))


PRESETS: dict[str, Callable[[], Place]] = {"oval": _oval, "corridor": _corridor, "hall": _hall, "meadow": _meadow}
