"""Intervals, windows and times of lists of episodes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl.stats import (
    first_reaching,
    percentiles,
    rolling_rate,
    success_summary,
    wilson,
    worst_window,
)

outcomes = st.lists(st.booleans(), max_size=120)


def episodes(results: list[bool], **fields: object) -> list[dict[str, object]]:
    return [
        {"success": ok, "source": "policy", "env_steps": 10 * (i + 1), "t_s": float(i), "duration_s": 2.0} | fields
        for i, ok in enumerate(results)
    ]


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # By hand with z = 1.96, z^2 = 3.8416. 0 of 10: high = 3.8416 / 13.8416.
        (0, 10, 0.0, 0.277540),
        (10, 10, 0.722460, 1.0),
        # 5 of 10: half = 1.96 / 1.38416 * sqrt(0.025 + 0.0096040) = 0.263410.
        (5, 10, 0.236590, 0.763410),
        # 49 of 50: centre = (0.98 + 0.038416) / 1.076832, half = 1.96 / 1.076832 * sqrt(0.000392 + 0.00038416).
        (49, 50, 0.895043, 0.996461),
        (1, 1, 1 / 4.8416, 1.0),
    ],
)
def test_wilson_interval_agrees_with_the_formula_by_hand(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson(successes, n)
    assert interval.low == pytest.approx(low, abs=1e-6)
    assert interval.high == pytest.approx(high, abs=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2000))
def test_wilson_interval_holds_the_rate_and_is_symmetric_in_failures(a: int, b: int) -> None:
    n = a + b
    interval = wilson(a, n)
    mirrored = wilson(b, n)
    assert 0.0 <= interval.low <= interval.high <= 1.0
    assert interval.low == pytest.approx(1.0 - mirrored.high, abs=1e-12)
    if n:
        assert interval.low <= a / n <= interval.high
        assert wilson(2 * a, 2 * n).high - wilson(2 * a, 2 * n).low < interval.high - interval.low


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ConfigError, match="0 <= successes <= n"):
        wilson(successes, n)


def test_summary_counts_failures_as_the_time_limit() -> None:
    rows = episodes([True, True, False], duration_s=2.0)
    rows[1]["duration_s"] = 4.0
    rows[2]["duration_s"] = 1.0  # broke off early; the task was still not done
    summary = success_summary(rows, time_limit_s=10.0)
    assert (summary.n, summary.successes) == (3, 2)
    assert summary.median_time_to_success_s == pytest.approx(3.0)
    assert summary.restricted_mean_time_s == pytest.approx((2.0 + 4.0 + 10.0) / 3)


def test_people_are_never_mixed_into_autonomous_success() -> None:
    rows = [
        *episodes([True, False]),
        *episodes([True] * 3, intervened=True),
        *episodes([True, False], source="human"),
        *episodes([True] * 7, source="demo"),
    ]
    summary = success_summary(rows)
    assert (summary.n, summary.successes) == (2, 1)
    assert (summary.intervened, summary.intervened_successes) == (5, 4)
    assert "1 of 2 autonomous successes" in summary.sentence()
    assert "4 of 5" in summary.sentence()


def test_summary_of_nothing_knows_nothing() -> None:
    summary = success_summary([])
    assert summary.n == 0
    assert (summary.low, summary.high) == (0.0, 1.0)
    assert math.isnan(summary.rate)
    assert math.isnan(summary.restricted_mean_time_s)
    assert summary.sentence() == "no autonomous episodes"


@settings(deadline=None)
@given(outcomes, st.integers(1, 30))
def test_rolling_rate_is_the_mean_of_the_last_k(results: list[bool], k: int) -> None:
    rate = rolling_rate(results, k)
    expected = [np.mean(results[max(0, i + 1 - k) : i + 1]) for i in range(len(results))]
    np.testing.assert_allclose(rate, expected, atol=1e-12)


@settings(deadline=None)
@given(outcomes, st.integers(1, 60))
def test_worst_window_is_the_minimum_over_all_windows(results: list[bool], k: int) -> None:
    window = worst_window(episodes(results), k)
    sums = [sum(results[i : i + k]) for i in range(len(results) - k + 1)]
    if not sums:
        assert window is None
    else:
        assert window is not None
        assert window.successes == min(sums)
        assert sum(results[window.start : window.start + k]) == window.successes


@settings(deadline=None)
@given(outcomes, st.integers(1, 30), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_level_is_reached_at_the_first_full_window_that_holds_it(results: list[bool], k: int, rate: float) -> None:
    reached = first_reaching(episodes(results), rate, k)
    ends = [i for i in range(k - 1, len(results)) if sum(results[i + 1 - k : i + 1]) >= rate * k - 1e-9]
    if not ends:
        assert reached is None
    else:
        assert reached is not None
        assert (reached.episode, reached.env_steps, reached.t_s) == (ends[0], 10 * (ends[0] + 1), float(ends[0]))


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_percentiles_ignore_what_is_not_finite(values: list[float]) -> None:
    found = percentiles([*values, math.nan, math.inf])
    assert found["p50"] == pytest.approx(np.median(values), abs=1e-6)
    assert min(values) - 1e-6 <= found["p50"] <= found["p90"] + 1e-6
    assert found["p99"] <= max(values) + 1e-6


def test_percentiles_of_nothing_are_unknown() -> None:
    assert all(math.isnan(v) for v in percentiles([]).values())
