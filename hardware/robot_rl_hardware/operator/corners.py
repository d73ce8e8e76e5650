"""A box from corners that a person touched with the tool."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robot_rl.cell import Box
from robot_rl.errors import ConfigError

MIN_SIDE_M = 0.02
MAX_REACH_M = 1.2
"""No point that an arm of 0.86 m touches with a tool lies further from its base."""
AXES = "xyz"


class Corners:
    """Points (3,) in B that were touched, and the box around them.

    Args:
        margin_m: By how much the box is smaller on each side than what was touched (bounds), or larger if it is
            negative (a box to keep out of).
    """

    def __init__(self, margin_m: float = 0.005) -> None:
        if not math.isfinite(margin_m) or abs(margin_m) > 0.2:
            raise ConfigError(f"the margin is {margin_m} m; allowed: 0 to 0.2")
        self.margin_m = margin_m
        self.points: list[tuple[float, float, float]] = []

    def add(self, p: Sequence[float]) -> None:
        """Take a point.

        Raises:
            ConfigError: It is not finite, or further away than an arm reaches.
        """
        x, y, z = (float(v) for v in p)
        if not all(map(math.isfinite, (x, y, z))) or math.hypot(x, y, z) > MAX_REACH_M:
            raise ConfigError(f"the tool's position {[round(v, 3) for v in (x, y, z)]} m is none that an arm reaches")
        self.points.append((x, y, z))

    def undo(self) -> None:
        """Forget the last point; does nothing if there is none."""
        if self.points:
            self.points.pop()

    def sides_m(self) -> tuple[float, ...]:
        """Return the sides of the box, margin included; negative where the margin is larger than what was touched."""
        if not self.points:
            return (0.0, 0.0, 0.0)
        return tuple(max(v) - min(v) - 2.0 * self.margin_m for v in zip(*self.points, strict=True))

    def missing(self) -> list[str]:
        """Return what is still to be touched, in words; empty if the box is whole."""
        if len(self.points) < 2:
            return ["touch at least two opposite corners"]
        thin = [a for a, side in zip(AXES, self.sides_m(), strict=True) if side < MIN_SIDE_M]
        if thin:
            return [f"the box is thinner than {MIN_SIDE_M} m along {', '.join(thin)}: touch points further apart"]
        return []

    def box(self) -> Box:
        """Return the box.

        Raises:
            ConfigError: It is degenerate.
        """
        missing = self.missing()
        if missing:
            raise ConfigError(f"{missing[0]} ({len(self.points)} touched so far); nothing was written")
        low = [round(min(v) + self.margin_m, 4) for v in zip(*self.points, strict=True)]
        high = [round(max(v) - self.margin_m, 4) for v in zip(*self.points, strict=True)]
        return Box(min_m=(low[0], low[1], low[2]), max_m=(high[0], high[1], high[2]))

    def lines(self) -> list[str]:
        """Return how it stands as lines for a terminal."""
        out = [f"touched {len(self.points)}" + (": last " + _point(self.points[-1]) if self.points else "")]
        if len(self.points) > 1:
            spans = zip(AXES, zip(*self.points, strict=True), self.sides_m(), strict=True)
            out.append("box  " + "   ".join(f"{a} {min(v):+.3f} to {max(v):+.3f} ({s:.3f} m)" for a, v, s in spans))
        return [*out, *(self.missing() or ["the box is whole: S writes it"])]


def _point(p: Sequence[float]) -> str:
    return "(" + ", ".join(f"{v:+.3f}" for v in p) + ") m"
