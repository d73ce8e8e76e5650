"""One motion on its way, and what became of it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from robot_rl.robot import Executed, RobotState, Vector

Result = Literal["reached", "timed out", "blocked", "missed"]

PROGRESS_M = 0.002  # nearer than before by less than this is no progress
STALL_S = 0.8  # without progress for so long, against the guard, a motion is blocked
CONTACT_M = 0.003  # sinking less than this in STALL_S while told to means that something is below


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a motion.

    Attributes:
        motion: Which it was.
        result: "reached", "timed out", "blocked" (by the guard), or "missed" (the fingers closed on nothing).
        off_m: Distance of the measured tool from where it should be.
        seconds: Robot time that it took.
        reason: Why it did not arrive, in words.
        events: The guard's rules that spoke, and how often.
    """

    motion: str
    result: Result
    off_m: float
    seconds: float
    reason: str = ""
    events: Counter[str] = field(default_factory=Counter)

    @property
    def reached(self) -> bool:
        """Whether it arrived."""
        return self.result == "reached"


class Progress:
    """One motion on its way: its time, its events, and whether it gets anywhere."""

    def __init__(self, name: str, goal: Vector, period_s: float) -> None:
        self._name, self._goal, self._period_s = name, goal, period_s
        self.seconds = 0.0
        self._events: Counter[str] = Counter()
        self._best_m, self._stalled_s = math.inf, 0.0
        self._height_m, self._resting_s = math.inf, 0.0
        self._spoke = False

    def step(self, executed: Executed) -> None:
        """Count a control period."""
        self.seconds += self._period_s
        self._events.update(executed.events)

    def progress(self, off_m: float, refused: bool) -> None:
        """Take in how far it is, and whether the guard changed where it was to go."""
        self._spoke = refused
        if off_m < self._best_m - PROGRESS_M:
            self._best_m, self._stalled_s = off_m, 0.0
        else:
            self._stalled_s += self._period_s

    @property
    def refused(self) -> bool:
        """Whether the guard keeps it from going on."""
        return self._spoke and self._stalled_s >= STALL_S

    def sunk(self, z_m: float) -> bool:
        """Return whether the tool has stopped sinking though it was told to."""
        if z_m < self._height_m - CONTACT_M:
            self._height_m, self._resting_s = z_m, 0.0
        else:
            self._resting_s += self._period_s
        return self._resting_s >= STALL_S

    def off(self, state: RobotState) -> float:
        """Return the distance from the goal [m]."""
        return float(np.linalg.norm(self._goal - state.p_BE))

    def end(self, result: Result, state: RobotState, reason: str = "") -> Outcome:
        """Return what became of it."""
        return Outcome(
            motion=self._name, result=result, off_m=self.off(state), seconds=self.seconds, reason=reason,
            events=self._events,
        )  # fmt: skip


def changed(done: Outcome, result: Result, reason: str, motion: str = "") -> Outcome:
    """Return an outcome with another result, for a reason."""
    return Outcome(
        motion=motion or done.motion, result=result, off_m=done.off_m, seconds=done.seconds, reason=reason,
        events=done.events,
    )  # fmt: skip


def joined(before: Outcome, after: Outcome) -> Outcome:
    """Return the outcome of one motion after another."""
    return Outcome(
        motion=before.motion, result=after.result, off_m=after.off_m, seconds=before.seconds + after.seconds,
        reason=after.reason and f"{after.motion}: {after.reason}", events=before.events + after.events,
    )  # fmt: skip
