from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl.rewards.scoring import (
    area,
    balanced_loss,
    calibration_error,
    clopper_pearson,
    confusion,
    operating_points,
    roc,
    sigmoid,
    temperature_for,
    threshold_for,
)

scored = st.lists(st.tuples(st.booleans(), st.floats(0.0, 1.0, width=32)), min_size=2, max_size=60).filter(
    lambda rows: len({hit for hit, _ in rows}) == 2
)


def arrays(rows: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([int(hit) for hit, _ in rows]), np.array([score for _, score in rows])


@settings(deadline=None, max_examples=40)
@given(scored)
def test_the_area_is_the_chance_that_a_success_scores_above_a_failure(rows: list[tuple[bool, float]]) -> None:
    labels, scores = arrays(rows)
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None]
    assert area(labels, scores) == pytest.approx(float((pairs > 0).mean() + 0.5 * (pairs == 0).mean()), abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(scored)
def test_a_roc_rises_from_nothing_to_all_and_its_points_are_true(rows: list[tuple[bool, float]]) -> None:
    labels, scores = arrays(rows)
    fpr, tpr, thresholds = roc(labels, scores)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()
    for f, t, threshold in zip(fpr, tpr, thresholds, strict=True):
        c = confusion(labels, scores >= threshold)
        assert c.false_positive == pytest.approx(f * c.negatives)
        assert c.true_positive == pytest.approx(t * c.positives)


@settings(deadline=None, max_examples=40)
@given(scored, st.floats(0.0, 0.99))
def test_a_threshold_keeps_the_false_positive_rate_and_is_the_lowest_that_does(
    rows: list[tuple[bool, float]], rate: float
) -> None:
    labels, scores = arrays(rows)
    threshold = threshold_for(labels, scores, rate)
    assert threshold >= 0.5
    passed = confusion(labels, scores >= threshold)
    assert passed.false_positive <= rate * passed.negatives + 1e-6
    lower = scores[(scores < threshold) & (scores >= 0.5)]
    if len(lower):  # one frame lower, and too many pass, or nothing new does
        below = confusion(labels, scores >= lower.max())
        assert below.false_positive > rate * below.negatives - 1e-6 or below.true_positive == passed.true_positive


def test_a_false_positive_rate_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="lies in 0 to below 1, got 1"):
        threshold_for(np.array([0, 1]), np.array([0.1, 0.9]), 1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(1, 40))
def test_the_exact_interval_holds_what_its_definition_says(k: int, n: int) -> None:
    from scipy.stats import binom

    k = min(k, n)
    found = clopper_pearson(k, n)
    assert found.low <= k / n <= found.high
    if k > 0:
        assert binom.sf(k - 1, n, found.low) == pytest.approx(0.025, abs=1e-6)
    if k < n:
        assert binom.cdf(k, n, found.high) == pytest.approx(0.025, abs=1e-6)


def test_a_temperature_undoes_what_made_logits_too_sure() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 2.0, 20000)
    labels = (rng.random(20000) < sigmoid(logits)).astype(int)
    assert temperature_for(labels, logits) == pytest.approx(1.0, abs=0.05)
    assert temperature_for(labels, 5.0 * logits) == pytest.approx(5.0, rel=0.05)
    assert balanced_loss(labels, logits) < balanced_loss(labels, 5.0 * logits)
    assert calibration_error(labels, sigmoid(logits)) < 0.02
    assert calibration_error(labels, sigmoid(5.0 * logits)) > 0.05


def test_points_for_stricter_rates_pass_less() -> None:
    rng = np.random.default_rng(1)
    labels = (np.arange(600) < 100).astype(int)
    scores = sigmoid(rng.normal(np.where(labels == 1, 2.0, -2.0), 1.5))
    points = operating_points(labels, scores, (0.0, 0.01, 0.05, 0.2))
    assert points[0].counts.false_positive == 0
    assert points[0].false_positive.high > 0.0  # none of 500 is not never
    for strict, loose in itertools.pairwise(points):
        assert strict.threshold >= loose.threshold
        assert strict.counts.true_positive <= loose.counts.true_positive
