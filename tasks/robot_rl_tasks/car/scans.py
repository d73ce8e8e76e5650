"""Widths of a course from the scans of a planar lidar."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d
from scipy.spatial import KDTree

from robot_rl.errors import ConfigError
from robot_rl_tasks.car.line import ClosedLine

Array = NDArray[np.float64]
_BIN_M = 0.2
_SHARE = 0.1
"""The nearest tenth of the hits of a bin is noise; what follows is the wall."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scans:
    """The scans of a drive.

    Attributes:
        ranges_m: (n, b) distances, infinite where nothing was hit.
        angle_rad: From the first beam, on the right, to the last; symmetric about the car's x axis.
        forward_m: Where the lidar stands on the car's middle line, ahead of the rear axle.
    """

    ranges_m: Array
    angle_rad: float = 4.7
    forward_m: float = 0.27

    def __post_init__(self) -> None:
        if self.ranges_m.ndim != 2 or self.ranges_m.shape[1] < 2:
            raise ConfigError(f"scans have two or more beams each, got an array of shape {self.ranges_m.shape}")


def measured_widths(
    line: ClosedLine, scans: Scans, p_W: Array, yaw_rad: Array, use: NDArray[np.bool_], assumed_m: float, most_m: float
) -> tuple[Array, Array]:
    """Return the free way to the left and to the right at each sample of the line.

    Args:
        line: What is driven.
        scans: Distances.
        p_W, yaw_rad: (n, 2), (n,) poses at which they were taken.
        use: (n,) which of them.
        assumed_m: Where no beam met anything within `most_m` although the lidar looked, the way is `most_m` wide; where
            it never looked, this.
        most_m: Hits further from the line than this say nothing of it.
    """
    beams = scans.ranges_m.shape[1]
    angles = yaw_rad[use, None] + np.linspace(-0.5 * scans.angle_rad, 0.5 * scans.angle_rad, beams)
    at = p_W[use] + scans.forward_m * np.stack([np.cos(yaw_rad[use]), np.sin(yaw_rad[use])], axis=1)
    ranges = scans.ranges_m[use]
    hit = np.isfinite(ranges) & (ranges > 0.02)
    r = np.where(hit, ranges, 0.0)
    points = np.stack([at[:, :1] + r * np.cos(angles), at[:, 1:] + r * np.sin(angles)], axis=-1)[hit]
    n = len(line.s)
    sides = [np.full(n, np.nan), np.full(n, np.nan)]
    if len(points):
        nearest: NDArray[np.int64] = np.asarray(KDTree(line.points).query(points)[1], np.int64)
        left = ((points - line.points[nearest]) * line.normals[nearest]).sum(axis=1)
        away = np.hypot(*(points - line.points[nearest]).T)
        bins = max(round(line.length_m / _BIN_M), 4)
        slot = (nearest * bins) // n
        for side, sign in zip(sides, (1.0, -1.0), strict=True):
            chosen = (sign * left > 0.0) & (away <= most_m)
            order = np.argsort(slot[chosen], kind="stable")
            groups, values = slot[chosen][order], away[chosen][order]
            starts = np.searchsorted(groups, np.arange(bins + 1))
            for b in range(bins):
                inside = values[starts[b] : starts[b + 1]]
                if len(inside) >= 3:
                    first, last = math.ceil(b * n / bins), math.ceil((b + 1) * n / bins)
                    side[first:last] = np.quantile(inside, _SHARE)
    looked = len(points) > 0
    reach = max(1, round(0.3 / (line.length_m / n)))
    found = []
    for side in sides:
        # Unseen within reach of the lidar means free that far; and the narrowest of a car's length counts.
        side[np.isnan(side)] = most_m if looked else assumed_m
        found.append(minimum_filter1d(side, 2 * reach + 1, mode="wrap"))
    return found[0], found[1]
