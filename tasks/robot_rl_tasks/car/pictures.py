"""Pictures of courses from above. Needs ``pip install robot-rl[report]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import MissingDependency, StorageError
from robot_rl_tasks.car.course import Course
from robot_rl_tasks.car.place import Place


def draw_course(
    path: Path | str, course: Course, place: Place | None = None,
    paths: Mapping[str, NDArray[np.float64]] | None = None, note: str = "",
) -> Path:  # fmt: skip
    """Write a PNG of a course from above: its line, borders and gates, walls, obstacles, and driven paths.

    Args:
        path: Where to.
        course: What is drawn.
        place: What stands around it.
        paths: (n, 2) driven positions [m] by label.
        note: A second line of the title.

    Returns:
        The path.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingDependency("matplotlib", "the picture of a course", "pip install robot-rl[report]") from e
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    ax: Any = figure.add_subplot()
    if place is not None:
        ax.set_facecolor((*place.surface.rgb, 0.25))
        for wall in place.walls:
            ax.plot(wall[:, 0], wall[:, 1], color="black", lw=2)
        for x, y, r in place.obstacles:
            ax.add_patch(_disc(x, y, r))
    line, n = course.line, course.line.normals
    closed = np.append(np.arange(len(line.s)), 0)
    for offset in (course.left_at_s, -course.right_at_s):
        border = (line.points + offset[:, None] * n)[closed]
        ax.plot(border[:, 0], border[:, 1], color="tab:gray", lw=0.8, ls=":" if course.widths == "assumed" else "-")
    ax.plot(*line.points[closed].T, color="tab:blue", lw=1.2, label="line")
    for i, gate in enumerate(course.gates):
        ends = gate.ends
        ax.plot(ends[:, 0], ends[:, 1], color="tab:red" if i == 0 else "tab:green", lw=2.5 if i == 0 else 1.2)
        ax.annotate(str(i), ends[0], fontsize=7, color="tab:green")
    start = course.gates[0]
    ax.annotate("", start.p_W + 0.8 * np.array([np.cos(start.heading_rad), np.sin(start.heading_rad)]), start.p_W,
                arrowprops={"arrowstyle": "->", "color": "tab:red", "lw": 2})  # fmt: skip
    for label, driven in (paths or {}).items():
        ax.plot(driven[:, 0], driven[:, 1], lw=0.9, label=label, color=None if len(paths or {}) > 1 else "tab:orange")
    ax.set_aspect("equal")
    ax.set_xlabel("x [m]")
    ax.set_ylabel("y [m]")
    title = f"{course.name}: {line.length_m:.1f} m, {len(course.gates)} gates, widths {course.widths}"
    ax.set_title(title + (f"\n{note}" if note else ""), fontsize=10)
    ax.legend(fontsize=7, loc="upper right")
    return _saved(figure, Path(path))


def draw_lines(
    path: Path | str, course: Course, place: Place | None, trails: Mapping[str, NDArray[np.float64]]
) -> Path:
    """Write a PNG with driven lines from above, one picture beside the other, coloured by speed on one scale.

    Args:
        path: Where to.
        course: Its borders and gates are drawn.
        place: What stands around it.
        trails: (n, 3) x, y [m] and speed [m/s] by label.

    Returns:
        The path.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.collections import LineCollection
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingDependency("matplotlib", "the picture of the lines", "pip install robot-rl[report]") from e
    figure = Figure(figsize=(6.0 * max(len(trails), 1), 5), layout="constrained")
    FigureCanvasAgg(figure)
    speeds = np.concatenate([t[:, 2] for t in trails.values()]) if trails else np.zeros(1)
    norm = {"vmin": 0.0, "vmax": max(float(speeds.max()), 0.1)}
    axes: Any = figure.subplots(1, max(len(trails), 1), squeeze=False)[0]
    for ax, (label, trail) in zip(axes, trails.items(), strict=False):
        _around(ax, course, place)
        pieces = np.stack([trail[:-1, :2], trail[1:, :2]], axis=1)
        near = np.hypot(*(pieces[:, 1] - pieces[:, 0]).T) < 1.0  # a car that was carried drew no line
        lines = LineCollection(list(pieces[near]), array=trail[1:, 2][near], cmap="viridis", linewidths=1.5)
        lines.set_clim(norm["vmin"], norm["vmax"])
        ax.add_collection(lines)
        ax.set_title(f"{label}, {course.name}", fontsize=10)
        ax.set_aspect("equal")
        ax.set_xlabel("x [m]")
        figure.colorbar(lines, ax=ax, label="speed [m/s]", shrink=0.7)
    return _saved(figure, Path(path))


def _around(ax: Any, course: Course, place: Place | None) -> None:
    """Draw what stands around a course, its borders and its start line."""
    if place is not None:
        for wall in place.walls:
            ax.plot(wall[:, 0], wall[:, 1], color="black", lw=1.5)
        for x, y, r in place.obstacles:
            ax.add_patch(_disc(x, y, r))
    closed = np.append(np.arange(len(course.line.s)), 0)
    for offset in (course.left_at_s, -course.right_at_s):
        border = (course.line.points + offset[:, None] * course.line.normals)[closed]
        ax.plot(border[:, 0], border[:, 1], color="tab:gray", lw=0.6)
    ends = course.gates[0].ends
    ax.plot(ends[:, 0], ends[:, 1], color="tab:red", lw=2)


def _saved(figure: Any, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except OSError as e:
        raise StorageError(f"the picture {path} cannot be written: {e.strerror or e}") from e
    return path


def _disc(x: float, y: float, r: float) -> Any:
    from matplotlib.patches import Circle

    return Circle((x, y), r, color="saddlebrown")
