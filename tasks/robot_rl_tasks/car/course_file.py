"""`course.yaml`: a course on disk, versioned, written whole, and read with every mistake named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.jsonl import write_text_atomic
from robot_rl_tasks.car.course import Course

VERSION = 1
KIND = "robot_rl course"
_KEYS = ("kind", "version", "name", "source", "widths", "closure_m", "length_m", "gates_s_m", "points")
HEADER = (
    "# A course: the line that is driven, and the free way to either side of it. Metres, in the frame of the poses it\n"
    "# was recorded with. points: [x, y, left, right]; gates_s_m: way along the line, the first is start and finish.\n"
)


def save_course(path: Path | str, course: Course) -> None:
    """Write a course, all or nothing.

    Raises:
        StorageError: The disk refuses; what was there before is intact.
    """
    import yaml

    head = {
        "kind": KIND, "version": VERSION, "name": course.name, "source": course.source, "widths": course.widths,
        "closure_m": course.closure_m, "length_m": round(course.line.length_m, 3),
        "gates_s_m": [round(float(s), 4) for s in course.gates_s_m],
    }  # fmt: skip
    text = HEADER + yaml.safe_dump(head, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    rows = np.column_stack([course.points, course.left_m, course.right_m])
    lines = [f"- [{x:.4f}, {y:.4f}, {left:.3f}, {right:.3f}]" for x, y, left, right in rows]
    write_text_atomic(Path(path), text + "points:\n" + "\n".join(lines) + "\n")


def load_course(path: Path | str) -> Course:
    """Return the course in a file.

    Raises:
        ConfigError: The file is missing, is no course of this version, or a value in it is impossible.
    """
    import yaml

    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise ConfigError(f"there is no course file {path}; record one by driving a slow lap") from e
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"the course file {path} cannot be read: {getattr(e, 'strerror', None) or e}") from e
    except yaml.YAMLError as e:
        raise ConfigError(f"the course file {path} is not valid YAML: {' '.join(str(e).split())}") from e
    try:
        return _course(values)
    except ConfigError as e:
        raise ConfigError(f"the course file {path}: {e}") from e


def _course(values: Any) -> Course:
    if not isinstance(values, dict) or values.get("kind") != KIND:
        raise ConfigError(f"this is no course; one begins with 'kind: {KIND}'")
    if values.get("version") != VERSION:
        raise ConfigError(
            f"it has version {values.get('version')}, and this program reads version {VERSION}; record the course "
            "again, or use the program that wrote it"
        )
    missing = [key for key in _KEYS if key not in values]
    unknown = [str(key) for key in values if key not in _KEYS]
    if missing or unknown:
        raise ConfigError(f"it lacks {missing} and has the unknown {unknown}; its keys are {list(_KEYS)}")
    rows = _numbers(values["points"], "points", 2)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ConfigError("each of its points has four numbers: x, y, left, right")
    gates = _numbers(values["gates_s_m"], "gates_s_m", 1)
    closure = values["closure_m"]
    if not isinstance(closure, int | float) or isinstance(closure, bool) or not 0.0 <= closure < math.inf:
        raise ConfigError(f"closure_m is no length: {closure}")
    return Course(
        name=str(values["name"]), points=rows[:, :2].copy(), left_m=rows[:, 2].copy(), right_m=rows[:, 3].copy(),
        gates_s_m=tuple(float(s) for s in gates), widths=str(values["widths"]), closure_m=float(closure),
        source=str(values["source"]),
    )  # fmt: skip


def _numbers(value: Any, name: str, ndim: int) -> Any:
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError) as e:
        raise ConfigError(f"{name} holds something that is no number, or rows of different lengths") from e
    if array.ndim != ndim or not np.isfinite(array).all():
        raise ConfigError(f"{name} must be {'a list' if ndim == 1 else 'rows'} of finite numbers")
    return array
