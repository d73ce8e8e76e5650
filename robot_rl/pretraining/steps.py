"""From logs of navigation to what is learnt from: steps of equal length, each towards a goal given in hindsight.

A drive shows how to get to every place that it came to later. So the goal of most steps is a place further along their
own drive; the others get one drawn around the robot, which also lets be learnt where one does not get (FastRLAP's group
does so too). What is known of a goal is its direction and distance as seen from the robot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import EncoderError
from robot_rl.pretraining.logs import FASTEST_M_S, SIDE, NavigationLog

F32 = NDArray[np.float32]
STEP_S = 0.3
"""Duration of a step, seconds."""
REACHED_M = 0.6
"""A goal nearer than this is reached."""
_TOLERANCE = 0.35  # of a step's duration
_GAP_S = 1.0  # frames further apart do not belong together
_LIKELY = 0.06  # that the goal is no further than the step at hand: 17 steps, 5 s, on average
_DRAWN_SHARE, _DRAWN_M = 0.25, 4.0
_SHIFT = 2  # pixels of 64, as the views of a picture of 128 are shifted by 4
SPEED_M_S, RATE_RAD_S, DISTANCE_M = 3.0, 2.0, 4.0
"""What counts as 1 in what a network is told."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drives:
    """The steps of several logs, in rows.

    Attributes:
        pictures: (n, 64, 64, 3) of all frames.
        p_W, yaw_rad: (n, 2), (n,) of all frames.
        first, then: (m,) frames in which each step begins and ends.
        last: (m,) the last frame of the piece of drive that the step is of.
        motion: (m, 2) speed and turning rate of the step, in units of `SPEED_M_S` and `RATE_RAD_S`.
        moving: (n, 2) the same as each frame finds it: how the robot came there.
        trouble: (m,) whether the step led into trouble.
    """

    pictures: NDArray[np.uint8]
    p_W: NDArray[np.float64]
    yaw_rad: NDArray[np.float64]
    first: NDArray[np.intp]
    then: NDArray[np.intp]
    last: NDArray[np.intp]
    motion: F32
    moving: F32
    trouble: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return how many steps there are."""
        return len(self.first)


def drives_of(logs: Sequence[NavigationLog]) -> Drives:
    """Return the steps of logs; a drive is cut where frames are missing, where a pose jumps, and after trouble.

    Raises:
        EncoderError: There is not one step in them.
    """
    parts = [_steps(log) for log in logs]
    starts = np.cumsum([0, *(len(log) for log in logs)])[:-1]
    first, then, last = (np.concatenate([p[i] + s for p, s in zip(parts, starts, strict=True)]) for i in range(3))
    if not len(first):
        raise EncoderError(
            f"{len(logs)} logs hold no step of {STEP_S:g} s; their frames are too far apart in time, or the poses jump"
        )
    motion, moving, trouble = (np.concatenate([p[i] for p in parts]) for i in (3, 4, 5))
    return Drives(
        pictures=np.concatenate([log.pictures for log in logs]), p_W=np.concatenate([log.p_W for log in logs]),
        yaw_rad=np.concatenate([log.yaw_rad for log in logs]), first=first, then=then, last=last, motion=motion,
        moving=moving, trouble=trouble,
    )  # fmt: skip


def _steps(log: NavigationLog) -> tuple[Any, ...]:
    """Return first, then, last, motion, moving and trouble of one log, frames counted within it."""
    t, n = log.stamp_s, len(log)
    dt, way = np.diff(t), np.linalg.norm(np.diff(log.p_W, axis=0), axis=1)
    cut = np.flatnonzero((dt > _GAP_S) | (way > FASTEST_M_S * dt) | log.trouble[:-1])  # no step goes beyond these
    last = np.append(cut, n - 1)[np.searchsorted(cut, np.arange(n))]
    then = np.searchsorted(t, t + STEP_S)
    then = np.minimum(then, n - 1)
    before = np.maximum(then - 1, 0)
    then = np.where(np.abs(t[before] - t - STEP_S) < np.abs(t[then] - t - STEP_S), before, then)
    first = np.arange(n)
    # The step into trouble may be a short one.
    short = log.trouble[last] & (last > first) & (then >= last)
    then = np.where(short, last, then)
    fits = (np.abs(t[then] - t - STEP_S) <= _TOLERANCE * STEP_S) | short
    kept = (then > first) & (then <= last) & fits
    motion = _motion(log, first, np.where(kept, then, np.minimum(first + 1, n - 1)))
    # How a frame was come to is the motion of the step that ended there; where none did, of the one that begins.
    moving = motion.copy()
    moving[then[kept]] = motion[kept]
    trouble = log.trouble[last] & (then == last)
    return first[kept], then[kept], last[kept], motion[kept], moving, trouble[kept]


def _motion(log: NavigationLog, first: NDArray[np.intp], then: NDArray[np.intp]) -> F32:
    way = log.p_W[then] - log.p_W[first]
    dt = np.maximum(log.stamp_s[then] - log.stamp_s[first], 1e-6)
    yaw = log.yaw_rad[first]
    turn = np.remainder(log.yaw_rad[then] - yaw + math.pi, 2.0 * math.pi) - math.pi
    middle = yaw + 0.5 * turn
    ahead = (way * np.stack([np.cos(middle), np.sin(middle)], axis=1)).sum(axis=1)
    scaled = np.stack([ahead / dt / SPEED_M_S, turn / dt / RATE_RAD_S], axis=1)
    return np.clip(scaled, -2.0, 2.0).astype(np.float32)


class Sampler:
    """Draws batches of steps with goals.

    Args:
        drives: The steps.
        shift: Whether pictures are shifted by some pixels, as the views are that the encoder is used on.
    """

    def __init__(self, drives: Drives, shift: bool = True) -> None:
        self.drives, self._shift = drives, shift

    def sample(self, rng: np.random.Generator, n: int) -> dict[str, NDArray[Any]]:
        """Return n steps, as `robot_rl.agents.navigation.Navigation.update` reads them."""
        d = self.drives
        rows = rng.integers(len(d), size=n)
        first, then = d.first[rows], d.then[rows]
        goal = self._goals(rng, rows)
        away = np.linalg.norm(goal - d.p_W[then], axis=1)
        return {
            "picture": self._pictures(rng, first),
            "next_picture": self._pictures(rng, then),
            "seen": self._seen(first, goal),
            "next_seen": self._seen(then, goal),
            "motion": d.motion[rows],
            "reached": (away < REACHED_M).astype(np.float32),
            "trouble": d.trouble[rows].astype(np.float32),
        }

    def _goals(self, rng: np.random.Generator, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return (n, 2) places: further along the drive, or drawn around the robot."""
        d, n = self.drives, len(rows)
        first, then, last = d.first[rows], d.then[rows], d.last[rows]
        # Steps overlap, one from each frame: count in frames, as many to a step as this one has.
        ahead = (then - first) * rng.geometric(_LIKELY, n)
        later = d.p_W[np.minimum(first + ahead, last)]
        drawn = d.p_W[first] + rng.normal(0.0, _DRAWN_M, (n, 2))
        return np.where((rng.random(n) < _DRAWN_SHARE)[:, None] | d.trouble[rows][:, None], drawn, later)

    def _seen(self, frames: NDArray[np.intp], goal: NDArray[np.float64]) -> F32:
        """Return (n, 5): direction of the goal in the robot's frame, its distance, and how the robot moves."""
        d = self.drives
        to = goal - d.p_W[frames]
        away = np.linalg.norm(to, axis=1)
        c, s = np.cos(d.yaw_rad[frames]), np.sin(d.yaw_rad[frames])
        nearest = np.maximum(away, 1e-6)
        x, y = (c * to[:, 0] + s * to[:, 1]) / nearest, (c * to[:, 1] - s * to[:, 0]) / nearest
        return np.stack([x, y, away / DISTANCE_M, *d.moving[frames].T], axis=1).astype(np.float32)

    def _pictures(self, rng: np.random.Generator, frames: NDArray[np.intp]) -> NDArray[np.uint8]:
        if not self._shift:
            return self.drives.pictures[frames]
        out = np.empty((len(frames), SIDE, SIDE, 3), np.uint8)
        side, shifts = np.arange(SIDE), rng.integers(-_SHIFT, _SHIFT + 1, (len(frames), 2))
        for made, frame, (dy, dx) in zip(out, frames, shifts, strict=True):
            rows, columns = np.clip(side + dy, 0, SIDE - 1), np.clip(side + dx, 0, SIDE - 1)
            made[:] = self.drives.pictures[frame][rows][:, columns]
        return out
