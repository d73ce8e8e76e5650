"""Numbers over time for small plots, kept short however long a session lasts."""

from __future__ import annotations

import math
from collections.abc import Mapping

MOST_POINTS = 600
MOST_NAMES = 64

Point = tuple[float, float]


class Curves:
    """Points (t, value) by name. A curve that grows long keeps every second point.

    Points are numbered in the order in which they came, so that each viewer is sent what it has not seen.
    """

    def __init__(self) -> None:
        self.count = 0
        self._points: dict[str, list[tuple[int, float, float]]] = {}

    def add(self, t_s: float, values: Mapping[str, object]) -> None:
        """Add what is a finite number; the names are whatever a session gives."""
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                continue
            if name not in self._points and len(self._points) >= MOST_NAMES:
                continue
            points = self._points.setdefault(name, [])
            self.count += 1
            points.append((self.count, t_s, float(value)))
            if len(points) > MOST_POINTS:
                del points[1::2]

    def after(self, number: int) -> dict[str, list[Point]]:
        """Return the points that came after the one with this number, oldest first."""
        found: dict[str, list[Point]] = {}
        for name, points in self._points.items():
            if not points or points[-1][0] <= number:
                continue
            start = len(points)
            while start and points[start - 1][0] > number:
                start -= 1
            found[name] = [(t, value) for _, t, value in points[start:]]
        return found
