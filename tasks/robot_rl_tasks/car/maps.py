"""Courses from F1TENTH maps: a picture of free and occupied cells, and a YAML that says how large they are.

The line is where the distance to the inner wall equals that to the outer one. Needs ``pip install robot-rl[camera]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import splev, splprep

from robot_rl.errors import ConfigError, MissingDependency
from robot_rl_tasks.car.course import make_course
from robot_rl_tasks.car.line import ClosedLine
from robot_rl_tasks.car.place import Place, simplify, surface

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_nd: Any = ndimage  # whose types name every kind of result that its functions could have with other arguments


@dataclass(frozen=True, kw_only=True)
class MapFile:
    """What the YAML of a map says.

    Attributes:
        image: The picture's path.
        resolution_m: Size of a cell.
        origin: x, y [m] of the picture's lower left corner and its rotation [rad].
        negate: Whether white is occupied.
        occupied_thresh, free_thresh: Cells occupied above, and free below, this probability.
    """

    image: Path
    resolution_m: float
    origin: tuple[float, float, float]
    negate: bool
    occupied_thresh: float
    free_thresh: float


def read_map_file(path: Path | str) -> MapFile:
    """Return what a map's YAML says.

    Raises:
        ConfigError: It is missing, is not YAML, or lacks or misstates a value.
    """
    import yaml

    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise ConfigError(f"there is no map file {path}; it is the YAML beside the map's picture") from e
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"the map file {path} cannot be read: {getattr(e, 'strerror', None) or e}") from e
    except yaml.YAMLError as e:
        raise ConfigError(f"the map file {path} is not valid YAML: {' '.join(str(e).split())}") from e
    if not isinstance(values, dict):
        raise ConfigError(f"the map file {path} holds no settings such as 'image: map.png'")
    missing = [k for k in ("image", "resolution", "origin") if k not in values]
    if missing:
        raise ConfigError(f"the map file {path} does not give {', '.join(missing)}")
    try:
        origin = [float(v) for v in values["origin"]]
        found = MapFile(
            image=path.parent / str(values["image"]), resolution_m=float(values["resolution"]),
            origin=(origin[0], origin[1], origin[2] if len(origin) > 2 else 0.0),
            negate=bool(int(values.get("negate", 0))),
            occupied_thresh=float(values.get("occupied_thresh", 0.65)),
            free_thresh=float(values.get("free_thresh", 0.196)),
        )  # fmt: skip
    except (TypeError, ValueError, IndexError) as e:
        raise ConfigError(f"the map file {path} has a value that is no number: {e}") from e
    if not 0.001 <= found.resolution_m <= 1.0 or len(origin) not in (2, 3):
        raise ConfigError(
            f"the map file {path} has resolution {found.resolution_m:g} m (0.001 to 1) and an origin of {len(origin)} "
            "numbers (x, y, yaw); correct it"
        )
    if not 0.0 <= found.free_thresh < found.occupied_thresh <= 1.0:
        raise ConfigError(
            f"the map file {path} calls cells free below {found.free_thresh:g} and occupied above "
            f"{found.occupied_thresh:g}; the first must be the smaller one"
        )
    return found


def place_from_map(
    path: Path | str, *, ground: str = "carpet", car_width_m: float = 0.31, reverse: bool = False
) -> Place:
    """Return the place of an F1TENTH map: the ring of free cells around the origin, or else the largest ring.

    Args:
        path: The map's YAML.
        ground: Surface.
        car_width_m: What must fit through.
        reverse: Drive clockwise.

    Raises:
        ConfigError: The files are unusable, no walls enclose a ring, or it is narrower than the car.
    """
    info = read_map_file(path)
    free = _free_cells(info)
    ring, infield, name = *_ring(free, info, Path(path)), Path(path).stem
    # The outside is whatever is beyond the ring and its own inside.
    outside = ~_nd.binary_fill_holes(ring)
    inner = _nd.distance_transform_edt(~infield)
    outer = _nd.distance_transform_edt(~outside)
    line_px = _outline(inner < outer)
    points = _smooth_loop(_world(line_px, info, free.shape[0]), info.resolution_m)
    if _area(points) < 0.0:
        points = points[::-1]
    if reverse:
        points = points[::-1]
    # Between the walls; a box that stands on the way is an obstacle, and whoever drives goes around it.
    free_way = _free_way(~outside & ~infield, points, info)
    course = make_course(name, points, free_way, free_way, source=f"map {info.image.name}")
    course.check_width(car_width_m)
    walls, obstacles = _walls(ring, infield, outside, info)
    return Place(course=course, walls=walls, obstacles=obstacles, surface=surface(ground))


def _free_cells(info: MapFile) -> Mask:
    try:
        import cv2
    except ImportError as e:
        raise MissingDependency("opencv", "reading a map's picture", "pip install robot-rl[camera]") from e
    if not info.image.exists():
        raise ConfigError(f"the map's picture {info.image} is missing; the YAML names it")
    picture: Any = cv2.imread(str(info.image), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ConfigError(f"the map's picture {info.image} is no PNG or PGM that can be read")
    value = picture.astype(float) / 255.0
    occupied = value if info.negate else 1.0 - value
    return np.asarray(occupied < info.free_thresh)


def _ring(free: Mask, info: MapFile, path: Path) -> tuple[Mask, Mask]:
    """Return the cells of the course and those that it goes around."""
    if free.all() or not free.any():
        raise ConfigError(
            f"the map {path} has no walls: all its cells are {'free' if free.all() else 'occupied or unknown'}; "
            "check its thresholds and 'negate'"
        )
    # Holes of less than a hand's breadth are specks of the lidar, not something to drive around.
    least = max(4, round((0.3 / info.resolution_m) ** 2))
    parts, count = _nd.label(free)
    origin = _cell((0.0, 0.0), info, free.shape)
    best: tuple[float, Mask, Mask] | None = None
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    enclosed = [k for k in range(1, count + 1) if sizes[k] >= least and k not in edge]
    for k in enclosed:
        cells = parts == k
        holes, n = _nd.label(_nd.binary_fill_holes(cells) & ~cells)
        if not n:
            continue
        hole_sizes = np.bincount(holes.ravel())[1:]
        largest = int(hole_sizes.argmax())
        if hole_sizes[largest] < least:
            continue
        weight = float(hole_sizes[largest]) + (1e12 if origin is not None and parts[origin] == k else 0.0)
        if best is None or weight > best[0]:
            best = weight, cells, _nd.binary_fill_holes(holes == largest + 1)
    if best is None:
        why = "no walls enclose its free cells" if not enclosed else "its free cells go around nothing"
        raise ConfigError(
            f"the map {path} holds no closed course: {why}. A course is a ring of free cells between an inner and an "
            "outer wall; close the gaps in the walls"
        )
    return best[1], best[2]


def _cell(p: tuple[float, float], info: MapFile, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return row and column of a point in W, None outside the picture."""
    x0, y0, yaw = info.origin
    dx, dy = p[0] - x0, p[1] - y0
    u, v = math.cos(yaw) * dx + math.sin(yaw) * dy, -math.sin(yaw) * dx + math.cos(yaw) * dy
    column, row = int(u / info.resolution_m), shape[0] - 1 - int(v / info.resolution_m)
    return (row, column) if 0 <= row < shape[0] and 0 <= column < shape[1] else None


def _world(pixels: Array, info: MapFile, height: int) -> Array:
    """Return (n, 2) points in W of (n, 2) columns and rows."""
    x0, y0, yaw = info.origin
    u, v = (pixels[:, 0] + 0.5) * info.resolution_m, (height - 0.5 - pixels[:, 1]) * info.resolution_m
    c, s = math.cos(yaw), math.sin(yaw)
    return np.stack([x0 + c * u - s * v, y0 + s * u + c * v], axis=1)


def _outline(mask: Mask) -> Array:
    """Return (n, 2) columns and rows along the longest outer edge of a region."""
    import cv2

    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return max(contours, key=len)[:, 0, :].astype(float)


def _smooth_loop(points: Array, cell_m: float) -> Array:
    """Return an even, smooth loop within a cell or so of one that goes from cell to cell."""
    keep = np.concatenate([[True], np.hypot(*np.diff(points, axis=0).T) > 1e-9])
    points = np.vstack([points[keep], points[:1]])
    # The middle line of a map has corners where its walls have; a car takes them in an arc.
    rough = max(0.7 * cell_m, 0.03)
    tck, _ = splprep(points.T, s=len(points) * rough**2, per=True, quiet=1)
    length = np.hypot(*np.diff(points, axis=0).T).sum()
    n = max(round(length / 0.1), 32)
    return np.stack(splev(np.arange(n) / n, tck), axis=1)


def _area(points: Array) -> float:
    x, y = points.T
    return 0.5 * float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _free_way(between: Mask, points: Array, info: MapFile) -> Array:
    """Return (n,) how far each point of the line is from the nearer wall."""
    away = _nd.distance_transform_edt(between) * info.resolution_m
    cells = [_cell((float(x), float(y)), info, between.shape) for x, y in ClosedLine(points).at(_even(points))]
    return np.array([max(float(away[c]) if c is not None else 0.0, 0.01) for c in cells])


def _even(points: Array) -> Array:
    chords = np.hypot(*np.diff(np.vstack([points, points[:1]]), axis=0).T)
    return np.concatenate([[0.0], np.cumsum(chords)[:-1]]) / chords.sum() * ClosedLine(points).length_m


def _walls(ring: Mask, infield: Mask, outside: Mask, info: MapFile) -> tuple[tuple[Array, ...], Array]:
    """Return the outlines of the walls, and small things in the way as cylinders."""
    walls, posts = [], []
    for region in (infield, ~outside):
        loop = _world(_outline(region), info, ring.shape[0])
        half = len(loop) // 2
        first = simplify(loop[: half + 1], 1.2 * info.resolution_m)
        second = simplify(np.vstack([loop[half:], loop[:1]]), 1.2 * info.resolution_m)
        walls.append(np.vstack([first, second[1:]]))
    specks, n = _nd.label(_nd.binary_fill_holes(ring) & ~ring & ~infield)
    for k in range(1, n + 1):
        rows, columns = np.nonzero(specks == k)
        centre = _world(np.array([[columns.mean(), rows.mean()]]), info, ring.shape[0])[0]
        radius = max(np.hypot(rows - rows.mean(), columns - columns.mean()).max() + 0.5, 1.0) * info.resolution_m
        posts.append((float(centre[0]), float(centre[1]), float(radius)))
    return tuple(walls), np.array(posts).reshape(-1, 3)
