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
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except OSError as e:
        raise StorageError(f"the picture {path} cannot be written: {e.strerror or e}") from e
    return path


def _disc(x: float, y: float, r: float) -> Any:
    from matplotlib.patches import Circle

    return Circle((x, y), r, color="saddlebrown")
