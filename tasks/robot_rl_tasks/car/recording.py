"""A course from one slow lap: filter the poses, find where it closes, fit a line, measure widths, place gates."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import splev, splprep
from scipy.signal import savgol_filter
from scipy.spatial import KDTree

from robot_rl.errors import ConfigError
from robot_rl_tasks.car.course import Course, GateSpacing, make_course
from robot_rl_tasks.car.line import ClosedLine
from robot_rl_tasks.car.scans import Scans, measured_widths

Array = NDArray[np.float64]
_RATE_HZ = 20.0
_STEP_M = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Drive:
    """The readings of one drive, in the order of time.

    Attributes:
        stamps_s: (n,) times.
        p_W: (n, 2) positions [m].
        yaw_rad: (n,) headings.
        scans: Of a planar lidar, taken with these poses; None without one.
    """

    stamps_s: Array
    p_W: Array
    yaw_rad: Array
    scans: Scans | None = None

    def __post_init__(self) -> None:
        n = len(self.stamps_s)
        if n < 20 or self.p_W.shape != (n, 2) or self.yaw_rad.shape != (n,):
            raise ConfigError(
                f"a drive needs at least 20 readings, each with a time, a position and a heading; got {n} times, "
                f"positions {self.p_W.shape} and headings {self.yaw_rad.shape}"
            )
        if not (np.isfinite(self.stamps_s).all() and np.isfinite(self.p_W).all() and np.isfinite(self.yaw_rad).all()):
            raise ConfigError("a reading of the drive is not finite; look at what gives the poses")
        if (np.diff(self.stamps_s) <= 0).any():
            i = int((np.diff(self.stamps_s) <= 0).argmax())
            raise ConfigError(
                f"the times of the drive do not increase: reading {i + 1} is of {self.stamps_s[i + 1]:.3f} s, the one "
                f"before it of {self.stamps_s[i]:.3f} s"
            )
        if self.scans is not None and len(self.scans.ranges_m) != n:
            raise ConfigError(f"the drive has {n} poses and {len(self.scans.ranges_m)} scans; each scan needs its pose")


@dataclass(frozen=True, kw_only=True)
class RecordSettings:
    """How a course is made from a drive.

    Attributes:
        closure_m, closure_rad: How near the drive must come to an earlier place of its own, and how alike it must
            be heading, to close: what the poses may drift in a lap.
        lap_m: Shortest lap.
        jump_m: A pose further than this from the middle of its neighbours is left out.
        half_width_m: Assumed free way to either side without a lidar.
        most_m: Measured free way beyond this is not used.
    """

    closure_m: float = 0.8
    closure_rad: float = 0.6
    lap_m: float = 5.0
    jump_m: float = 0.3
    half_width_m: float = 0.5
    most_m: float = 2.5

    def __post_init__(self) -> None:
        for f in fields(self):
            if not 0.0 < getattr(self, f.name) < math.inf:
                raise ConfigError(f"record.{f.name} must be positive, got {getattr(self, f.name)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """What became of a drive.

    Attributes:
        course: The course.
        closure_m, closure_rad: How far the drive missed its own beginning; spread over the lap.
        lap_m, lap_s: Length and duration of the slow lap.
        dropped: Readings that jumped and were left out.
        path: (n, 2) the filtered positions of the whole drive [m].
    """

    course: Course
    closure_m: float
    closure_rad: float
    lap_m: float
    lap_s: float
    dropped: int
    path: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chain:
    """Filtered poses at even steps along the way: times, positions, unwrapped headings, way driven."""

    t: Array
    p: Array
    yaw: Array
    s: Array

    def at(self, s_m: float) -> _Chain:
        """Return the one pose at a way driven, between those of the chain."""
        t, yaw, x, y = (np.interp(s_m, self.s, v) for v in (self.t, self.yaw, *self.p.T))
        return _Chain(t=np.asarray(t), p=np.array([x, y]), yaw=np.asarray(yaw), s=np.asarray(s_m, float))


def record_course(
    drive: Drive, name: str, settings: RecordSettings | None = None, spacing: GateSpacing | None = None
) -> Recorded:
    """Return the course that a drive went around once, in its direction.

    Raises:
        ConfigError: The drive is too short, jumps about, or never comes back to where it was.
    """
    set_ = settings or RecordSettings()
    keep = _keep(drive.p_W, set_.jump_m)
    dropped = int((~keep).sum())
    if dropped > 0.2 * len(keep):
        raise ConfigError(
            f"{dropped} of the {len(keep)} poses of the drive jump by more than {set_.jump_m:g} m; the localisation "
            "was lost, so drive again more slowly or in better view of what it looks at"
        )
    chain = _filtered(drive.stamps_s[keep], drive.p_W[keep], np.unwrap(drive.yaw_rad[keep]), set_)
    i, j = _closure(chain, set_)
    # The lap ends abreast of where it began: what is missing along the way is no drift but the next step.
    forward = np.array([math.cos(chain.yaw[i]), math.sin(chain.yaw[i])])
    end = chain.at(chain.s[j] - float((chain.p[j] - chain.p[i]) @ forward))
    begin, inside = chain.at(chain.s[i]), (chain.s > chain.s[i]) & (chain.s < end.s - 0.02)
    miss, turned = end.p - begin.p, float(end.yaw - begin.yaw)
    miss_rad = math.remainder(turned, 2 * math.pi)
    way = np.concatenate([[0.0], chain.s[inside] - chain.s[i], [float(end.s) - chain.s[i]]])
    # What the poses drifted in the lap is spread over it, so that the line closes without a kink.
    lap = np.vstack([begin.p, chain.p[inside], end.p]) - (way / way[-1])[:, None] * miss
    line = _smooth(lap, way, _noise(drive.p_W[keep]))
    course_line = ClosedLine(line)
    left = right = np.full(len(course_line.s), set_.half_width_m)
    if drive.scans is not None:
        shift = np.interp(drive.stamps_s, [float(begin.t), float(end.t)], [0.0, 1.0])[:, None] * miss
        # A pose of the drive stands for the moment of its scan; before the lap nothing had drifted yet.
        left, right = measured_widths(
            course_line, drive.scans, drive.p_W - shift, drive.yaw_rad, keep, set_.half_width_m, set_.most_m
        )
    closure = float(np.hypot(*miss))
    course = make_course(
        name, course_line.points, left, right, spacing=spacing, closure_m=closure,
        widths="assumed" if drive.scans is None else "measured",
        source=f"one lap of {way[-1]:.1f} m in {end.t - begin.t:.1f} s, poses +-{_noise(drive.p_W[keep]):.3f} m",
    )  # fmt: skip
    return Recorded(
        course=course, closure_m=closure, closure_rad=miss_rad, lap_m=float(way[-1]),
        lap_s=float(end.t - begin.t), dropped=dropped, path=chain.p,
    )  # fmt: skip


def _keep(p: Array, jump_m: float) -> NDArray[np.bool_]:
    """Return which positions lie near the median of the five around them."""
    padded = np.pad(p, ((2, 2), (0, 0)), mode="edge")
    middle = np.median(np.stack([padded[k : k + len(p)] for k in range(5)]), axis=0)
    return np.hypot(*(p - middle).T) <= jump_m


def _noise(p: Array) -> float:
    """Return the standard deviation of the positions' noise: what their third differences hold beyond any curve."""
    third = np.diff(p, 3, axis=0)
    return float(1.4826 * np.median(np.abs(third)) / math.sqrt(20.0))


def _filtered(t: Array, p: Array, yaw: Array, set_: RecordSettings) -> _Chain:
    """Return poses at even times, smoothed without lag, then at even steps; where the car stood there is one."""
    even = np.arange(t[0], t[-1], 1.0 / _RATE_HZ)
    if len(even) < 25:
        raise ConfigError(f"the drive lasts {t[-1] - t[0]:.1f} s; a lap takes longer")
    raw = np.stack([np.interp(even, t, p[:, 0]), np.interp(even, t, p[:, 1]), np.interp(even, t, yaw)], axis=1)
    x: Array = np.asarray(savgol_filter(raw, 11, 2, axis=0), float)
    chosen = [0]
    for k in range(1, len(x)):
        if math.hypot(*(x[k, :2] - x[chosen[-1], :2])) >= _STEP_M:
            chosen.append(k)
    at = x[chosen]
    s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(at[:, :2], axis=0).T))])
    if s[-1] < set_.lap_m:
        raise ConfigError(
            f"the drive is {s[-1]:.1f} m long, and the shortest lap is {set_.lap_m:g} m; drive around the whole "
            "course, or lower record.lap_m"
        )
    return _Chain(t=even[chosen], p=at[:, :2], yaw=at[:, 2], s=s)


def _closure(chain: _Chain, set_: RecordSettings) -> tuple[int, int]:
    """Return the two places in the chain between which the lap lies: alike in position and heading."""
    pairs = KDTree(chain.p).query_pairs(set_.closure_m, output_type="ndarray")
    i, j = pairs.min(axis=1), pairs.max(axis=1)
    turn = chain.yaw[j] - chain.yaw[i]
    turn = np.abs(turn - 2 * math.pi * np.round(turn / (2 * math.pi)))
    far = chain.s[j] - chain.s[i] >= set_.lap_m
    good = far & (turn <= set_.closure_rad)
    if not good.any():
        raise ConfigError(_never_closes(chain, set_))
    i, j, turn = i[good], j[good], turn[good]
    away = np.hypot(*(chain.p[j] - chain.p[i]).T)
    first = chain.s[j].min()
    # The drive may go on past its beginning: take the best match of the next metres, an earlier one if they are alike.
    late = chain.s[j] - first
    score = np.where(late <= 3.0, away + 0.5 * turn + 0.02 * late, np.inf)
    best = int(score.argmin())
    return int(i[best]), int(j[best])


def _never_closes(chain: _Chain, set_: RecordSettings) -> str:
    """Return the sentence for a drive that does not come back: how near it came, and which way it headed there."""
    best, where = math.inf, (0, 0)
    for j in range(len(chain.s)):
        before = np.flatnonzero(chain.s <= chain.s[j] - set_.lap_m)
        if len(before):
            away = np.hypot(*(chain.p[before] - chain.p[j]).T)
            if away.min() < best:
                best, where = float(away.min()), (int(before[away.argmin()]), j)
    turn = math.degrees(abs(math.remainder(chain.yaw[where[1]] - chain.yaw[where[0]], 2 * math.pi)))
    return (
        f"the drive of {chain.s[-1]:.1f} m never closes: it came back to {best:.2f} m from an earlier place, heading "
        f"{turn:.0f} degrees away from how it went there; within {set_.closure_m:g} m and "
        f"{math.degrees(set_.closure_rad):.0f} degrees is a lap. Drive on past the start in the same direction, or "
        "raise record.closure_m if the poses drift more than that"
    )


def _smooth(lap: Array, way: Array, noise_m: float) -> Array:
    """Return (n, 2) even points of the periodic spline that stays as near to a lap as its noise allows."""
    u = way / way[-1]
    closed = lap.copy()
    closed[-1] = closed[0]
    # The filter before has taken most of the noise away; what it leaves is told by its length: eleven readings.
    left = max(noise_m * 0.6, 1e-3)
    tck, _ = splprep(closed.T, u=u, s=len(closed) * left**2, per=True, quiet=1)
    count = max(round(way[-1] / _STEP_M), 16)
    return np.stack(splev(np.arange(count) / count, tck), axis=1)
