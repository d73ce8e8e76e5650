"""The guard's limits: checked, joined with those of the cell, and packed for compiled rules."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from robot_rl.cell import Box, Cell
from robot_rl.errors import ConfigError
from robot_rl.geometry import Vector
from robot_rl.task import Limits

MAX_SIDE_M = 3.0
"""A box with a longer side is no measured workspace but a default: the arm reaches 0.86 m."""
REACH_M = 1.2
"""No arm that is meant here reaches farther than this from its base with any tool, so no measured bound lies there."""


def positive(name: str, value: float, largest: float = 1e6) -> float:
    """Return a number, or refuse it if it is not positive and at most `largest`."""
    if not isinstance(value, int | float | np.floating) or not 0.0 < value <= largest:
        raise ConfigError(f"{name} must be a positive, finite number, got {value}. Correct the task's limits.")
    return float(value)


def pack_workspace(limits: Limits) -> list[float]:
    """Return the first 12 entries of the rules' bounds, or refuse the limits.

    Raises:
        ConfigError: A bound is inverted, degenerate, not finite or evidently a default.
    """
    try:
        low, high, axis = (np.array(v, float) for v in (limits.box_min_m, limits.box_max_m, limits.cone_axis))
    except (TypeError, ValueError):
        raise ConfigError(
            "limits.box_min_m, box_max_m and cone_axis must each be three numbers, got "
            f"{limits.box_min_m}, {limits.box_max_m}, {limits.cone_axis}."
        ) from None
    if any(v.shape != (3,) or not np.isfinite(v).all() for v in (low, high, axis)):
        raise ConfigError(
            "limits.box_min_m, box_max_m and cone_axis must each be three finite numbers, got "
            f"{limits.box_min_m}, {limits.box_max_m}, {limits.cone_axis}."
        )
    sides = high - low
    if sides.min() < 1e-3 or sides.max() > MAX_SIDE_M:
        raise ConfigError(
            f"the workspace box from {limits.box_min_m} to {limits.box_max_m} m has sides of "
            f"{np.round(sides, 4).tolist()} m; each must be between 0.001 and {MAX_SIDE_M} m. "
            "Measure the workspace and set limits.box_min_m and limits.box_max_m."
        )
    if abs(np.linalg.norm(axis) - 1.0) > 1e-3:
        raise ConfigError(f"limits.cone_axis must be a unit vector, got {limits.cone_axis}.")
    for name in ("cone_rad", "step_rad"):
        if positive(f"limits.{name}", getattr(limits, name)) > math.pi:
            raise ConfigError(f"limits.{name} must be at most pi, got {getattr(limits, name)}.")
    step_m = positive("limits.step_m", limits.step_m)
    return [*low, *high, *axis, limits.cone_rad, step_m, limits.step_rad]


def pack_keep_out(boxes: Sequence[Box], limits: Limits) -> Vector:
    """Return the corners of the keep-out boxes one after the other, (6 n,) [m].

    Raises:
        ConfigError: One of them leaves nothing of the workspace.
    """
    for i, box in enumerate(boxes):
        if box.contains(limits.box_min_m) and box.contains(limits.box_max_m):
            raise ConfigError(
                f"keep-out box {i} from {box.min_m} to {box.max_m} m covers the whole workspace from "
                f"{limits.box_min_m} to {limits.box_max_m} m. Correct keep_out in the cell, or the task's limits."
            )
    return np.array([corner for box in boxes for corner in (*box.min_m, *box.max_m)], float)


def within_cell(limits: Limits, cell: Cell, *, hardware: bool) -> Limits:
    """Return a task's limits with the box cut down to the bounds of a cell.

    Args:
        limits: of the task.
        cell: where the robot stands.
        hardware: whether something real moves; bounds must have been measured then.

    Raises:
        ConfigError: Nothing is left of the box, or bounds of hardware are missing or evidently not measured.
    """
    pack_workspace(limits)
    bounds = cell.bounds
    if bounds is None:
        if hardware:
            raise ConfigError(
                f"cell '{cell.name}' has no measured bounds, and hardware does not move without them. "
                "Measure them with: robot-rl calibrate bounds"
            )
        return limits
    if hardware and max(abs(x) for x in (*bounds.min_m, *bounds.max_m)) > REACH_M:
        raise ConfigError(
            f"the bounds of cell '{cell.name}' from {bounds.min_m} to {bounds.max_m} m lie farther out than "
            f"{REACH_M} m, where no arm reaches, so nobody measured them. Measure them with: robot-rl calibrate bounds"
        )
    low = tuple(max(a, b) for a, b in zip(limits.box_min_m, bounds.min_m, strict=True))
    high = tuple(min(a, b) for a, b in zip(limits.box_max_m, bounds.max_m, strict=True))
    empty = [axis for axis, a, b in zip("xyz", low, high, strict=True) if b - a < 1e-3]
    if empty:
        raise ConfigError(
            f"the task's workspace from {limits.box_min_m} to {limits.box_max_m} m and the bounds of cell "
            f"'{cell.name}' from {bounds.min_m} to {bounds.max_m} m have nothing in common along "
            f"{' and '.join(empty)}. Move the task's box into the cell, or measure the cell again."
        )
    return dataclasses.replace(limits, box_min_m=low, box_max_m=high)
