"""`Course`: a closed way to race along, as data. Its line, its widths, its gates."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError
from robot_rl_tasks.car.line import ClosedLine

Array = NDArray[np.float64]
SPACING_M = 0.2
"""Distance between the points of a course file: a cubic through them bends as fast as any car can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A line across the course that a lap crosses.

    Attributes:
        s_m: Arc length along the course.
        p_W: (2,) where it crosses the line [m].
        heading_rad: Direction in which it is crossed.
        left_m, right_m: How far it reaches to either side.
    """

    s_m: float
    p_W: tuple[float, float]
    heading_rad: float
    left_m: float
    right_m: float

    @property
    def ends(self) -> Array:
        """(2, 2) its left and its right end [m]."""
        n = np.array([-math.sin(self.heading_rad), math.cos(self.heading_rad)])
        return np.array(self.p_W) + np.array([self.left_m, -self.right_m])[:, None] * n

    def sides(self, p: Sequence[float] | Array) -> tuple[float, float]:
        """Return how far a point is past the gate, and how far left of its middle [m]."""
        dx, dy = float(p[0]) - self.p_W[0], float(p[1]) - self.p_W[1]
        cos, sin = math.cos(self.heading_rad), math.sin(self.heading_rad)
        return cos * dx + sin * dy, -sin * dx + cos * dy


@dataclass(frozen=True, kw_only=True)
class GateSpacing:
    """Where gates go: so many metres or so much of a turn after the gate before, whichever comes first.

    Attributes:
        gap_m: Longest way between two gates.
        turn_rad: Largest turn between two gates; a goal further round a bend would be aimed at through the wall.
    """

    gap_m: float = 3.0
    turn_rad: float = 0.8

    def __post_init__(self) -> None:
        if not (0.2 <= self.gap_m < math.inf and 0.1 <= self.turn_rad < math.inf):
            raise ConfigError(
                f"gates are at least 0.2 m and 0.1 rad apart, got gap_m={self.gap_m:g} and turn_rad={self.turn_rad:g}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """A closed course. The line through its points is driven in their order; lengths in metres in W.

    Attributes:
        name: For people and files.
        points: (n, 2) the line.
        left_m, right_m: (n,) free way to either side of each point, for the middle of the car plus half its width.
        gates_s_m: Arc lengths of the gates, increasing; the first is the start and finish.
        widths: Where the widths are from: "measured" by a lidar, "drawn" by who made the course, or "assumed".
        closure_m: How far the drive that it was recorded from missed its own beginning; 0 for one that was drawn.
        source: What it was made from, in words.
    """

    name: str
    points: Array
    left_m: Array
    right_m: Array
    gates_s_m: tuple[float, ...]
    widths: str = "drawn"
    closure_m: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        n = len(self.points)
        for name in ("left_m", "right_m"):
            width = getattr(self, name)
            if width.shape != (n,) or not np.isfinite(width).all() or (width <= 0).any():
                raise ConfigError(f"the course '{self.name}' needs {n} positive widths in {name}, one for each point")
        if self.widths not in ("measured", "drawn", "assumed"):
            raise ConfigError(f"widths are 'measured', 'drawn' or 'assumed', got '{self.widths}' ('{self.name}')")
        gates = np.asarray(self.gates_s_m, float)
        if len(gates) < 3 or (np.diff(gates) <= 0).any() or gates[0] < 0 or gates[-1] >= self.line.length_m:
            raise ConfigError(
                f"the course '{self.name}' needs at least three gates at increasing arc lengths from 0 to its "
                f"{self.line.length_m:.2f} m, got {[round(float(s), 2) for s in gates]}"
            )

    @functools.cached_property
    def line(self) -> ClosedLine:
        """The curve through the points."""
        return ClosedLine(self.points)

    @functools.cached_property
    def _widths(self) -> tuple[Array, Array]:
        s = np.array([self.line.project(p)[0] for p in self.points]) if self.line.crosses_itself() is False else None
        if s is None:  # at the crossing a projection may take the wrong branch
            chords = np.linalg.norm(np.diff(np.vstack([self.points, self.points[:1]]), axis=0), axis=1)
            s = np.concatenate([[0.0], np.cumsum(chords)[:-1]]) * self.line.length_m / chords.sum()
        s[0] = 0.0
        order = np.argsort(s)
        at = [
            np.interp(self.line.s, s[order], w[order], period=self.line.length_m) for w in (self.left_m, self.right_m)
        ]
        return at[0], at[1]

    @property
    def left_at_s(self) -> Array:
        """Free way to the left at each sample of the line [m]."""
        return self._widths[0]

    @property
    def right_at_s(self) -> Array:
        """Free way to the right at each sample of the line [m]."""
        return self._widths[1]

    @functools.cached_property
    def gates(self) -> tuple[Gate, ...]:
        """The gates in the order of driving; in a bend they end before the centre of its circle."""
        line, gates = self.line, []
        for s in self.gates_s_m:
            i = round(s / line.length_m * len(line.s)) % len(line.s)
            kappa, p = float(line.curvature(s)), line.at(s)
            left, right = float(self.left_at_s[i]), float(self.right_at_s[i])
            if abs(kappa) > 1e-6:
                left = min(left, 0.9 / kappa) if kappa > 0 else left
                right = min(right, -0.9 / kappa) if kappa < 0 else right
            gates.append(
                Gate(
                    s_m=float(s), p_W=(float(p[0]), float(p[1])), heading_rad=float(line.heading(s)),
                    left_m=left, right_m=right,
                )
            )  # fmt: skip
        return tuple(gates)

    def gate_after(self, s_m: float) -> int:
        """Return the index of the first gate ahead of an arc length."""
        s = s_m % self.line.length_m
        return next((i for i, g in enumerate(self.gates_s_m) if g > s + 1e-9), 0)

    def check_width(self, car_width_m: float) -> None:
        """Raise `ConfigError` if somewhere the course is narrower than the car."""
        free = self.left_at_s + self.right_at_s
        i = int(free.argmin())
        if free[i] <= car_width_m:
            x, y = self.line.points[i]
            raise ConfigError(
                f"the course '{self.name}' is {free[i]:.2f} m wide at ({x:.2f}, {y:.2f}) m, and the car is "
                f"{car_width_m:.2f} m wide; widen it there, or check the map's resolution"
            )


def place_gates(line: ClosedLine, spacing: GateSpacing | None = None) -> tuple[float, ...]:
    """Return arc lengths of gates, the first at 0, closer together where the line bends."""
    spacing = spacing or GateSpacing()
    density = np.maximum(1.0 / spacing.gap_m, np.abs(line.curvatures) / spacing.turn_rad)
    step = line.length_m / len(line.s)
    reached = np.concatenate([[0.0], np.cumsum(density * step)])
    count = max(math.ceil(reached[-1]), 3)
    wanted = np.arange(count) * (reached[-1] / count)
    return tuple(float(s) for s in np.interp(wanted, reached, np.append(line.s, line.length_m)))


def make_course(
    name: str, points: Array, left_m: float | Array, right_m: float | Array, *, spacing: GateSpacing | None = None,
    widths: str = "drawn", closure_m: float = 0.0, source: str = "",
) -> Course:  # fmt: skip
    """Return a course along a closed line through points, resampled evenly, with gates.

    Args:
        name: For people and files.
        points: (n, 2) in the order of driving [m].
        left_m, right_m: One width, or one for each point.
        spacing: Where gates go.
        widths, closure_m, source: Of `Course`.
    """
    points = np.asarray(points, float)
    raw = ClosedLine(points)
    count = max(round(raw.length_m / SPACING_M), 8)
    s = np.arange(count) * raw.length_m / count
    chords = np.linalg.norm(np.diff(np.vstack([points, points[:1]]), axis=0), axis=1)
    knots = np.concatenate([[0.0], np.cumsum(chords)[:-1]]) / chords.sum() * raw.length_m
    sides = [
        np.interp(s, knots, np.broadcast_to(np.asarray(w, float), (len(points),)), period=raw.length_m)
        for w in (left_m, right_m)
    ]
    even = np.round(raw.at(s), 4)
    return Course(
        name=name, points=even, left_m=np.round(sides[0], 3), right_m=np.round(sides[1], 3),
        gates_s_m=tuple(round(g, 4) for g in place_gates(ClosedLine(even), spacing)),
        widths=widths, closure_m=round(closure_m, 4), source=source,
    )  # fmt: skip
