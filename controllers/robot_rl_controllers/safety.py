"""`SafetyMachine`: whether an arm may follow commands, and who may end a hold or a stop.

    RUN --soft fault--> HOLD --recover (budgeted) or acknowledge--> RECOVERING --recovered--> RUN
    any --hard fault--> STOPPED --acknowledge (a person)----------> RECOVERING

It owns no clock, no thread and no robot: the loop passes the time, moves nothing unless `mode` is RUN, and asks
`admits` about every command. Commands given before the arm runs again are never executed, however late they arrive.
What lies beside these modes (starting, resetting, closed) is the loop's own matter.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from robot_rl.errors import ConfigError, RobotError
from robot_rl_controllers.drive.interface import Mode

log = logging.getLogger(__name__)

_HELD = (Mode.HOLD, Mode.STOPPED)


@dataclass(frozen=True, slots=True)
class _Recovery:
    """An automatic recovery that was granted: when [s], and where the tool was (3,) [m] if that was told."""

    at_s: float
    p: tuple[float, float, float] | None


class SafetyMachine:
    """RUN, HOLD, STOPPED, RECOVERING and FAULT, with a budget of recoveries that nobody has to grant.

    Attributes:
        mode: What the arm may do now.
        reason: Why it does not run, in words; empty in RUN.
        counts: How often each thing happened: "held", "stopped", "lost", "recover", "recover_refused", "acknowledge",
            "old_command". None of them is a rule of the guard, so both may be shown together.

    Args:
        budget: Automatic recoveries within `window_s`.
        window_s: Length of that window, seconds.
        same_place_m: No automatic recovery is granted twice within this distance in one window.
        report: Receives a sentence at each change of mode; a loop that may not wait for a log passes its own.

    Raises:
        ConfigError: A setting is negative or not finite.
    """

    def __init__(
        self,
        budget: int = 3,
        window_s: float = 600.0,
        *,
        same_place_m: float = 0.02,
        report: Callable[[str], None] = log.warning,
    ) -> None:
        if budget < 0 or not 0.0 < window_s < math.inf or not 0.0 <= same_place_m < math.inf:
            raise ConfigError(
                "the budget of recoveries must be a number of at least 0, its window positive and same_place_m at "
                f"least 0, got budget={budget}, window_s={window_s}, same_place_m={same_place_m}."
            )
        self.budget, self.window_s, self.same_place_m = budget, window_s, same_place_m
        self.mode, self.reason = Mode.RUN, ""
        self.counts: dict[str, int] = {}
        self._report = report
        self._granted: deque[_Recovery] = deque()
        self._came_from_stop = False
        self._free = False
        self._seen = self._barrier = 0
        self._barrier_s = -math.inf
        self._told = 0

    @property
    def held(self) -> bool:
        """Whether the arm must hold still: anything but RUN."""
        return self.mode is not Mode.RUN

    def fault(self, reason: str, *, soft: bool, now_s: float, free: bool = False) -> None:
        """Hold (soft) or stop the arm. Calling again in the same mode changes nothing: the first reason is kept.

        Args:
            reason: what happened, in words.
            soft: whether `recover` may end it without a person.
            now_s: monotonic time.
            free: the soft fault is nothing but silence of whoever commands. Ending it still takes `recover` and a new
                command, but costs no budget, for nothing was wrong with the robot.
        """
        reason = reason or "no reason given"
        if self.mode is Mode.FAULT or self.mode is Mode.STOPPED or (self.mode is Mode.HOLD and soft):
            self._free = self._free and free
            return
        # Whatever goes wrong while a stop is being cleared leads back to the stop.
        soft = soft and not (self.mode is Mode.RECOVERING and self._came_from_stop)
        if self.mode is Mode.RECOVERING:
            free = free and self._free
        self._free = free and soft
        self._enter(Mode.HOLD if soft else Mode.STOPPED, reason, now_s)
        self._count("held" if soft else "stopped")

    def stop(self, reason: str, now_s: float) -> None:
        """Latch a stop; only `acknowledge` ends it."""
        self.fault(reason, soft=False, now_s=now_s)

    def lose(self, reason: str, now_s: float) -> None:
        """Note that the robot is gone: nothing but a new start of the driver ends this."""
        if self.mode is not Mode.FAULT:
            self._enter(Mode.FAULT, reason or "no reason given", now_s)
            self._count("lost")

    def acknowledge(self, who: str, now_s: float) -> None:
        """End a hold or a stop on a person's word, and give the whole budget back. Does nothing if the arm runs.

        Raises:
            RobotError: The robot is gone.
        """
        if self.mode is Mode.FAULT:
            raise RobotError(
                f"there is no robot to acknowledge: {self.reason}. Mend the cause, then start the driver again."
            )
        if self.mode not in _HELD:
            return
        self._came_from_stop = self.mode is Mode.STOPPED
        self._granted.clear()
        self._count("acknowledge")
        self._enter(Mode.RECOVERING, f"acknowledged by {who or 'a person'}: {self.reason}", now_s)

    def recover(self, now_s: float, p: Sequence[float] | None = None) -> None:
        """End a hold without a person. Does nothing if the arm runs or recovers already.

        Args:
            now_s: monotonic time.
            p: (3,) where the tool is [m]; at one place this is granted once in a window.

        Raises:
            RobotError: It is a stop, the robot is gone, the budget is spent, or the place is the same.
        """
        if self.mode not in (Mode.HOLD, Mode.STOPPED, Mode.FAULT):
            return
        place = None if p is None else (float(p[0]), float(p[1]), float(p[2]))
        refusal = self._refusal(now_s, place)
        if refusal:
            self._count("recover_refused")
            raise RobotError(refusal)
        if not self._free:
            self._granted.append(_Recovery(now_s, place))
        self._came_from_stop = False
        self._count("recover")
        self._enter(Mode.RECOVERING, f"recovers from: {self.reason}", now_s)

    def recovered(self, now_s: float) -> None:
        """Run again: the robot is clear and the target is the measured pose. Does nothing unless it recovers."""
        if self.mode is Mode.RECOVERING:
            self._came_from_stop = self._free = False
            self._enter(Mode.RUN, "", now_s)

    def recoveries_left(self, now_s: float) -> int:
        """Return how many automatic recoveries would be granted now."""
        if self.mode in (Mode.STOPPED, Mode.FAULT):
            return 0
        # The comparison is written so that a time that is no number frees no budget.
        while self._granted and now_s - self._granted[0].at_s >= self.window_s:
            self._granted.popleft()
        left = self.budget - len(self._granted)
        return max(left, 1) if self.mode is Mode.HOLD and self._free else left

    def admits(self, sequence: int, stamp_s: float) -> bool:
        """Return whether a command may be acted on: the arm runs, and the command is newer than the last fault's end.

        Args:
            sequence: of the command; it grows.
            stamp_s: monotonic time at which it was given.
        """
        if sequence > self._seen:
            self._seen = sequence
        new = sequence > self._barrier and stamp_s >= self._barrier_s
        if not new and sequence > self._told:
            self._told = sequence
            self._count("old_command")
        return new and self.mode is Mode.RUN

    def _refusal(self, now_s: float, place: tuple[float, float, float] | None) -> str:
        """Return why an automatic recovery is not granted; empty if it is."""
        if self.mode is Mode.FAULT:
            return f"the robot is gone: {self.reason}. Mend the cause, then start the driver again."
        if self.mode is Mode.STOPPED:
            return (
                f"the arm is stopped: {self.reason}. A stop ends only on a person's word: look at the cell, then "
                "acknowledge it."
            )
        if self._free:
            return ""
        if self.recoveries_left(now_s) <= 0:
            return (
                f"the arm holds: {self.reason}. It has recovered by itself {self.budget} times within "
                f"{self.window_s:.0f} s, which is all that is allowed; look at the cell, then acknowledge it."
            )
        if place is not None and not all(map(math.isfinite, place)):
            return f"the arm holds: {self.reason}. The place of the tool is not known, so a person must acknowledge it."
        for earlier in self._granted:
            if place is not None and earlier.p is not None and math.dist(place, earlier.p) <= self.same_place_m:
                return (
                    f"the arm holds: {self.reason}. It has recovered by itself at this place "
                    f"{now_s - earlier.at_s:.0f} s ago, and is not let do so twice; look at the cell, then acknowledge "
                    "it."
                )
        return ""

    def _enter(self, mode: Mode, reason: str, now_s: float) -> None:
        self._report(f"the arm goes from {self.mode.name} to {mode.name}{': ' if reason else ''}{reason}")
        self.mode, self.reason = mode, reason
        self._barrier = self._seen
        self._barrier_s = now_s

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
