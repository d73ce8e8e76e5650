"""`ClosedLine`: a closed curve by arc length: where it is, where it leads, how it bends, how far a point is from it."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from robot_rl.compiled import kernel
from robot_rl.errors import ConfigError

Array = NDArray[np.float64]
STEP_M = 0.05
"""Distance between the samples that projection searches; a quarter of it is far below any pose's noise."""


@kernel
def _nearest(
    points: Array, headings: Array, curvatures: Array, step: float, first: int, count: int, x: float, y: float
) -> tuple[float, float]:
    """Return the arc length of the point nearest to (x, y) among `count` samples from `first` on, and how far left."""
    n = len(points)
    best, i = np.inf, 0
    for k in range(count):
        j = (first + k) % n
        d = (points[j, 0] - x) ** 2 + (points[j, 1] - y) ** 2
        if d < best:
            best, i = d, j
    # One Newton step along the tangent from the nearest sample, with the bend of the line taken into account.
    cos, sin, kappa = np.cos(headings[i]), np.sin(headings[i]), curvatures[i]
    dx, dy = x - points[i, 0], y - points[i, 1]
    along, left = cos * dx + sin * dy, -sin * dx + cos * dy
    along /= max(1.0 - kappa * left, 0.2)
    along = min(max(along, -step), step)
    return (i * step + along) % (n * step), left - 0.5 * kappa * along * along


class ClosedLine:
    """A periodic cubic spline through points, in the order of driving.

    Args:
        points: (n, 2) points in W [m], the first not repeated at the end; evenly spaced ones bend the least.

    Raises:
        ConfigError: There are fewer than four points, two neighbours coincide, or a number is not finite.
    """

    def __init__(self, points: Array) -> None:
        points = np.asarray(points, float)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 4:
            raise ConfigError(f"a closed line needs at least four points (x, y), got an array of shape {points.shape}")
        if not np.isfinite(points).all():
            raise ConfigError("a point of a closed line is not finite; remove it")
        closed = np.vstack([points, points[:1]])
        chords = np.linalg.norm(np.diff(closed, axis=0), axis=1)
        if chords.min() < 1e-9:
            i = int(chords.argmin())
            raise ConfigError(f"points {i} and {(i + 1) % len(points)} of a closed line coincide; remove one")
        # Twice: by chords first, then by the length of the curve which that gives, so that s is arc length.
        knots = np.concatenate([[0.0], np.cumsum(chords)])
        spline = CubicSpline(knots, closed, bc_type="periodic")
        fine = np.linspace(0.0, knots[-1], max(16 * len(points), int(knots[-1] / 0.01)) + 1)
        speed = np.linalg.norm(spline(fine, 1), axis=1)
        length = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(fine))])
        self.length_m = float(length[-1])
        n = max(round(self.length_m / STEP_M), 16)
        self.s = np.arange(n, dtype=np.float64) * (self.length_m / n)
        even = spline(np.interp(self.s, length, fine))
        self._spline = CubicSpline(np.append(self.s, self.length_m), np.vstack([even, even[:1]]), bc_type="periodic")
        self.points = even
        self._first = self._spline.derivative(1)
        self._second = self._spline.derivative(2)

    def at(self, s_m: float | Array) -> Array:
        """Return (..., 2) positions [m] at arc length s, which may lie beyond one round."""
        return self._spline(np.mod(s_m, self.length_m))

    def heading(self, s_m: float | Array) -> Array:
        """Return (...) directions of driving [rad]."""
        d = self._first(np.mod(s_m, self.length_m))
        return np.arctan2(d[..., 1], d[..., 0])

    def curvature(self, s_m: float | Array) -> Array:
        """Return (...) signed curvatures [1/m], positive in left turns."""
        s = np.mod(s_m, self.length_m)
        d, dd = self._first(s), self._second(s)
        return (d[..., 0] * dd[..., 1] - d[..., 1] * dd[..., 0]) / np.maximum(np.hypot(d[..., 0], d[..., 1]), 1e-9) ** 3

    @functools.cached_property
    def curvatures(self) -> Array:
        """(n,) curvature [1/m] at each sample of `s`."""
        return self.curvature(self.s)

    @functools.cached_property
    def headings(self) -> Array:
        """(n,) direction [rad] at each sample of `s`."""
        return self.heading(self.s)

    @functools.cached_property
    def normals(self) -> Array:
        """(n, 2) unit vectors to the left at each sample of `s`."""
        return np.stack([-np.sin(self.headings), np.cos(self.headings)], axis=1)

    def project(self, p: Array, near_s_m: float | None = None, window_m: float = 3.0) -> tuple[float, float]:
        """Return the arc length of the nearest point of the line and the distance from it, left positive.

        Args:
            p: (2,) point in W [m].
            near_s_m: Look only around this arc length, which keeps a car on its own branch where the line crosses or
                nearly touches itself.
            window_m: How far around.
        """
        n = len(self.s)
        step = self.length_m / n
        half = int(window_m / step)
        first, count = 0, n
        if near_s_m is not None and 2 * half + 1 < n:
            first, count = round(near_s_m / step) - half, 2 * half + 1
        x, y = float(p[0]), float(p[1])
        return _nearest(self.points, self.headings, self.curvatures, step, first, count, x, y)

    def point(self, s_m: float) -> tuple[float, float]:
        """Return the position at one arc length, on the chord between samples: fast, and right within a millimetre."""
        at = (s_m % self.length_m) / self.length_m * len(self.s)
        i = int(at)
        share, n = at - i, len(self.s)
        (ax, ay), (bx, by) = self._list[i % n], self._list[(i + 1) % n]
        return ax + share * (bx - ax), ay + share * (by - ay)

    @functools.cached_property
    def _list(self) -> list[list[float]]:
        return self.points.tolist()

    def crosses_itself(self) -> bool:
        """Return whether the line crosses itself, as a figure of eight does."""
        coarse = self.points[:: max(1, round(0.2 / (self.length_m / len(self.s))))]
        a, b = coarse, np.roll(coarse, -1, axis=0)
        n = len(a)
        d = b - a
        rel = a[None, :] - a[:, None]
        cross = d[:, None, 0] * d[None, :, 1] - d[:, None, 1] * d[None, :, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (rel[..., 0] * d[None, :, 1] - rel[..., 1] * d[None, :, 0]) / cross
            u = (rel[..., 0] * d[:, None, 1] - rel[..., 1] * d[:, None, 0]) / cross
        apart = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        apart = np.minimum(apart, n - apart) > 1
        return bool(((t >= 0) & (t < 1) & (u >= 0) & (u < 1) & apart).any())
