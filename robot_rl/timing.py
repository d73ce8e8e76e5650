"""Timing of a loop in real time: absolute deadlines, and distributions that are kept without keeping every sample.

A robot for which time passes by itself has a method `timing()`, which returns what was measured in its newest step, in
milliseconds by name. Robots in lock-step have none, and nothing here concerns them. The names are:

* `period_ms`: from the command before to this one, within an episode;
* `slack_ms`: time that was left until the deadline; negative when the step came too late;
* `lateness_ms`: how much later than its deadline the loop woke;
* `action_latency_ms`: from the request to the guard's answer;
* `state_age_ms`, `image_age_ms/NAME`: age of the reading and of each picture when they were used.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError, RateError

_SMALLEST, _LARGEST, _RATIO = 1e-3, 1e6, 1.02
_BINS = math.ceil(math.log(_LARGEST / _SMALLEST) / math.log(_RATIO))


class Histogram:
    """A distribution of signed numbers in bins of 2 %, from 0.001 to 1,000,000 on either side of zero.

    It takes a fixed 16 kB, however many samples come, and a percentile is off by 1 % at most.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(2 * _BINS + 1, np.int64)  # most negative first, the middle bin is zero
        self.n = 0
        self.smallest, self.largest = math.inf, -math.inf

    def add(self, value: float) -> None:
        """Add one sample; one that is not finite is left out."""
        if not math.isfinite(value):
            return
        self.n += 1
        self.smallest, self.largest = min(self.smallest, value), max(self.largest, value)
        size = abs(value)
        if size < _SMALLEST:
            self._counts[_BINS] += 1
            return
        bin_ = min(1 + int(math.log(size / _SMALLEST) / math.log(_RATIO)), _BINS)
        self._counts[_BINS + bin_ if value > 0 else _BINS - bin_] += 1

    def percentile(self, percent: float) -> float:
        """Return the value that `percent` of the samples do not exceed; nan without samples."""
        if not self.n:
            return math.nan
        if percent >= 100.0:
            return self.largest
        wanted = max(1, math.ceil(percent / 100.0 * self.n))
        bin_ = int(np.searchsorted(np.cumsum(self._counts), wanted)) - _BINS
        middle = 0.0 if bin_ == 0 else math.copysign(_SMALLEST * _RATIO ** (abs(bin_) - 0.5), bin_)
        return min(max(middle, self.smallest), self.largest)

    def summary(self) -> dict[str, float]:
        """Return count, median, 95th, 99th percentile and the largest."""
        return {
            "n": self.n, "p50": self.percentile(50), "p95": self.percentile(95), "p99": self.percentile(99),
            "max": self.percentile(100),
        }  # fmt: skip


class LoopTimer:
    """Keeps a loop at its rate by absolute deadlines and measures how well that goes.

    Call `start` when a stretch begins (the reset of an episode), then `wait` once in each turn. A turn that comes later
    than a whole period moves the schedule: missed deadlines are never made up for in a burst.

    Args:
        period_s: Nominal period.
        clock, sleep: For tests.
    """

    def __init__(
        self,
        period_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not period_s > 0.0:
            raise ConfigError(f"the period of a loop is {period_s} s; it must be positive")
        self.period_s, self._clock, self._sleep = period_s, clock, sleep
        self.histograms: dict[str, Histogram] = {}
        self.newest: dict[str, float] = {}
        self._deadline_s = self._woke_s = math.nan

    def start(self) -> None:
        """Begin a stretch: its first deadline is a period from now, and the time before it counts nowhere."""
        self._deadline_s = self._clock() + self.period_s
        self._woke_s = math.nan
        self.newest.clear()

    def wait(self) -> float:
        """Sleep until the deadline and return the slack [s]: the time that was left, negative after an overrun."""
        if math.isnan(self._deadline_s):
            self.start()
        slack_s = self._deadline_s - self._clock()
        if slack_s > 0.0:
            self._sleep(slack_s)
        now_s = self._clock()
        self.record("slack_ms", 1e3 * slack_s)
        self.record("lateness_ms", 1e3 * max(now_s - self._deadline_s, 0.0))
        if not math.isnan(self._woke_s):
            self.record("period_ms", 1e3 * (now_s - self._woke_s))
        self._woke_s = now_s
        self._deadline_s += self.period_s
        if self._deadline_s <= now_s:  # a whole period late: go on from here
            self._deadline_s = now_s + self.period_s
        return slack_s

    def record(self, name: str, value: float) -> None:
        """Add a sample of something else, such as "action_latency_ms"."""
        self.histograms.setdefault(name, Histogram()).add(value)
        self.newest[name] = value

    def summary(self) -> dict[str, dict[str, float]]:
        """Return count and percentiles of everything that was measured."""
        return {name: histogram.summary() for name, histogram in self.histograms.items()}


def told(histograms: Mapping[str, Histogram]) -> dict[str, float]:
    """Return the median and the bad end of each distribution: the 99th percentile, of the slack the first."""
    ends = {name: (1, 50) if name == "slack_ms" else (50, 99) for name in histograms}
    return {f"{name}_p{p}": histograms[name].percentile(p) for name, end in ends.items() for p in end}


def is_real_time(robot: Any) -> bool:
    """Return whether time passes for a robot by itself: there is one of it, and it cannot be left in mid-motion."""
    return bool(getattr(robot, "real_time", hasattr(robot, "timing")))


def timing_of(robot: Any) -> dict[str, float]:
    """Return what a robot measured in its newest step [ms]; empty for one in lock-step."""
    timing = getattr(robot, "timing", None)
    if timing is None:
        return {}
    found: Mapping[str, object] = timing()
    return {str(k): float(v) for k, v in found.items() if isinstance(v, (int, float)) and math.isfinite(v)}


class RateCheck:
    """Refuses to go on when a loop misses its rate.

    The 95th percentile of the last `window` periods must stay below `tolerance` times the nominal period. It is judged
    for the first time after `window` periods and then after each further half window.

    Args:
        period_s: Nominal period.
        tolerance: Largest share of it; 0 switches the check off.
        window: How many periods are judged together.
    """

    def __init__(self, period_s: float, tolerance: float, window: int = 50) -> None:
        self.period_s, self.tolerance = period_s, tolerance
        self._periods_ms: deque[float] = deque(maxlen=window)
        self._until = window

    def add(self, period_ms: float) -> None:
        """Take in one period.

        Raises:
            RateError: The loop misses its rate.
        """
        self._periods_ms.append(period_ms)
        self._until -= 1
        if self._until > 0 or not self.tolerance:
            return
        self._until = max(1, len(self._periods_ms) // 2)
        p95 = float(np.percentile(self._periods_ms, 95))
        nominal = 1e3 * self.period_s
        if p95 > self.tolerance * nominal:
            raise RateError(
                f"the control loop misses its rate: the 95th percentile of the last {len(self._periods_ms)} periods is "
                f"{p95:.0f} ms, nominal is {nominal:.0f} ms, allowed {self.tolerance * nominal:.0f} ms "
                "(actor.rate_tolerance). What is learnt at another rate does not hold at this one: free some processor "
                "time, move the learner to another machine, or lower the task's rate; then resume the run"
            )
