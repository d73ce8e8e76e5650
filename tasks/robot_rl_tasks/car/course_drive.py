"""Driving around a course once to record it: somebody drives, poses and scans are kept, `course.yaml` comes out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from robot_rl.car import Car, CarCommand, CarReset, CarState
from robot_rl.errors import ConfigError, RobotError
from robot_rl.timing import is_real_time
from robot_rl_tasks.car.course_file import save_course
from robot_rl_tasks.car.driver import PurePursuit
from robot_rl_tasks.car.lap import Lap
from robot_rl_tasks.car.pictures import draw_course
from robot_rl_tasks.car.recording import Drive, Recorded, RecordSettings, record_course
from robot_rl_tasks.car.scans import Scans

CAR_WIDTH_M = 0.31
LONGEST_S = 600.0
_PAST_M = 1.5  # how far past its beginning a lap is driven, so that it can close


class Hand(Protocol):
    """Whoever drives."""

    def read(self, state: CarState) -> CarCommand | None:
        """Return what to do now; None when the drive is over."""
        ...


class SlowHand:
    """The classical driver, slowly, a little more than once around: it needs to know the course beforehand.

    Args:
        task: Whose course it drives around.
        speed_m_s: Never faster.
    """

    def __init__(self, task: Lap, speed_m_s: float) -> None:
        self._pursuit = PurePursuit(task.course, replace(task.driver, max_speed_m_s=speed_m_s))
        self._length, self._way, self._s = task.course.line.length_m, 0.0, math.nan

    def read(self, state: CarState) -> CarCommand | None:
        """Return what the driver wants, until it has come around."""
        command, s = self._pursuit.command(state), self._pursuit.s_m
        if not math.isnan(self._s):
            self._way += math.remainder(s - self._s, self._length)
        self._s = s
        return None if self._way >= self._length + _PAST_M else command


def slow_hand(task: Lap, speed_m_s: float = 1.2) -> SlowHand:
    """Return the classical driver as a hand."""
    if not 0.2 <= speed_m_s <= 3.0:
        raise ConfigError(f"--speed is {speed_m_s:g}; a course is recorded at 0.2 to 3 m/s")
    return SlowHand(task, speed_m_s)


def drive(
    car: Car, hand: Hand, start: CarReset, *, paced: bool, stopping: Callable[[], bool] = lambda: False,
    told: Callable[[CarState, float], None] = lambda state, way: None,
) -> Drive:  # fmt: skip
    """Let somebody drive and return the readings.

    Args:
        car: The car.
        hand: Who drives.
        start: Where to begin; a real car begins where it stands.
        paced: Whether a twin in lock-step waits for the clock, because a person looks at it.
        stopping: Asked in every period whether to end the drive.
        told: Shown each reading and the way driven so far [m].

    Raises:
        RobotError: The car's own limits hold it, or it fails.
    """
    state = car.reset(start)
    period_s = float(getattr(car, "period_s", 0.05))
    rows: list[tuple[float, ...]] = []
    scans: list[np.ndarray] = []
    way, began_s, next_s = 0.0, state.stamp_s, time.monotonic()
    while not stopping() and state.stamp_s - began_s < LONGEST_S:
        command = hand.read(state)
        if command is None:
            break
        executed = car.command(command)
        if executed.stopped:
            raise RobotError(executed.reason or "the car's own limits hold it; look at it, then acknowledge")
        before, state = state.p_WC, car.observe()
        way += math.hypot(*(state.p_WC - before))
        if not rows or state.pose_stamp_s > rows[-1][0]:
            rows.append((state.pose_stamp_s, float(state.p_WC[0]), float(state.p_WC[1]), state.yaw_rad))
            scans.append(state.ranges_m)
        told(state, way)
        if paced and not is_real_time(car):
            next_s += period_s
            time.sleep(max(next_s - time.monotonic(), 0.0))
    table = np.array(rows).reshape(-1, 4)
    found = np.array(scans) if len(rows) and len(scans[0]) >= 2 else None
    return Drive(
        stamps_s=table[:, 0], p_W=table[:, 1:3], yaw_rad=table[:, 3],
        scans=None if found is None else Scans(ranges_m=found),
    )  # fmt: skip


def keep(drive: Drive, out: Path, task: Lap, settings: RecordSettings | None = None) -> tuple[Recorded, Path]:
    """Make a course of a drive and write it, with a picture beside it.

    Returns:
        What became of the drive, and the picture's path.

    Raises:
        ConfigError: The drive never closes, or the course is narrower than the car.
        StorageError: The disk refuses.
    """
    recorded = record_course(drive, out.stem, settings)
    recorded.course.check_width(CAR_WIDTH_M)
    save_course(out, recorded.course)
    picture = draw_course(
        out.with_suffix(".png"), recorded.course, task.place, {"driven": recorded.path},
        note=f"closed to {recorded.closure_m:.2f} m, slow lap {recorded.lap_s:.1f} s",
    )  # fmt: skip
    return recorded, picture
