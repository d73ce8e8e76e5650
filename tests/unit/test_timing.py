"""The loop keeps absolute deadlines, tells how well, and refuses to go on when it misses its rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, RateError
from robot_rl.timing import Histogram, LoopTimer, RateCheck, is_real_time, timing_of


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@given(st.lists(st.floats(-1e5, 1e5).filter(lambda x: x == 0.0 or abs(x) > 0.01), min_size=1, max_size=200))
def test_percentiles_are_within_two_per_cent_of_the_exact_ones(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    ordered = np.sort(values)
    for percent in (50, 95, 99, 100):
        exact = ordered[max(1, math.ceil(percent / 100 * len(values))) - 1]
        assert histogram.percentile(percent) == pytest.approx(exact, rel=0.02, abs=1e-3)
    assert histogram.n == len(values)


def test_what_is_not_finite_is_left_out() -> None:
    histogram = Histogram()
    for value in (math.nan, math.inf, 1.0):
        histogram.add(value)
    assert histogram.n == 1
    assert math.isnan(Histogram().percentile(50))


@given(st.lists(st.floats(0.0, 0.3), min_size=2, max_size=60))
def test_deadlines_are_absolute_and_never_made_up_for_in_a_burst(work_s: list[float]) -> None:
    clock = Clock()
    timer = LoopTimer(0.1, clock, clock.sleep)
    timer.start()
    woke = []
    for seconds in work_s:
        clock.now_s += seconds
        slack_s = timer.wait()
        woke.append(clock.now_s)
        assert slack_s <= 0.1 + 1e-9
    if max(work_s) <= 0.1 - 1e-6:  # never late: no drift
        assert np.allclose(woke, 100.0 + 0.1 * np.arange(1, len(woke) + 1))
    # A turn may be short after a late one, but two of them never cover less than one period.
    assert all(b - a >= 0.1 - 1e-9 for a, b in zip(woke, woke[2:], strict=False))
    assert timer.histograms["period_ms"].n == len(woke) - 1


def test_the_gap_between_two_stretches_is_no_period() -> None:
    clock = Clock()
    timer = LoopTimer(0.1, clock, clock.sleep)
    for _ in range(3):
        timer.start()
        timer.wait()
        timer.wait()
        clock.now_s += 50.0
    assert timer.histograms["period_ms"].n == 3
    assert timer.histograms["period_ms"].largest == pytest.approx(100.0)


def test_a_period_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        LoopTimer(0.0)


def test_a_loop_at_its_rate_goes_on_and_one_that_misses_it_is_refused() -> None:
    check = RateCheck(0.1, 1.2)
    for i in range(500):
        check.add(130.0 if i % 25 == 0 else 100.0)  # 4 % of late periods are borne
    late = [130.0] * 50

    def go_on() -> None:
        for period_ms in late:
            check.add(period_ms)

    with pytest.raises(RateError, match="rate_tolerance"):
        go_on()


def test_the_first_judgement_needs_a_whole_window_and_a_tolerance_of_zero_none() -> None:
    check, off = RateCheck(0.1, 1.2), RateCheck(0.1, 0.0)
    for _ in range(49):
        check.add(500.0)
    with pytest.raises(RateError, match="misses its rate"):
        check.add(500.0)
    for _ in range(200):
        off.add(500.0)


def test_only_a_robot_with_a_timing_is_one_in_real_time() -> None:
    class Twin:
        pass

    class Real:
        def timing(self) -> dict[str, object]:
            return {"period_ms": 100.0, "note": "text", "slack_ms": math.nan}

    assert not is_real_time(Twin())
    assert timing_of(Twin()) == {}
    assert is_real_time(Real())
    assert timing_of(Real()) == {"period_ms": 100.0}
