"""How good a classifier is: ROC, calibration, thresholds with their bounds. Pure functions of scores and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError
from robot_rl.stats import Interval

Floats = NDArray[np.float64]
LEAST_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Counts of frames by what is true and what was said."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @property
    def n(self) -> int:
        """All frames."""
        return self.true_positive + self.false_positive + self.true_negative + self.false_negative

    @property
    def accuracy(self) -> float:
        """Share of frames judged rightly; nan without frames."""
        return (self.true_positive + self.true_negative) / self.n if self.n else math.nan

    @property
    def negatives(self) -> int:
        """Frames that are no success."""
        return self.false_positive + self.true_negative

    @property
    def positives(self) -> int:
        """Frames that are a success."""
        return self.true_positive + self.false_negative


def confusion(labels: NDArray[np.integer], said: NDArray[np.bool_]) -> Confusion:
    """Count (N,) labels 0 or 1 against (N,) verdicts."""
    true = labels == 1
    return Confusion(
        true_positive=int((true & said).sum()), false_positive=int((~true & said).sum()),
        true_negative=int((~true & ~said).sum()), false_negative=int((true & ~said).sum()),
    )  # fmt: skip


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the exact two-sided interval of a probability from k of n (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    if n < 0 or not 0 <= k <= n:
        raise ConfigError(f"an interval needs 0 <= k <= n, got {k} of {n}")
    tail = 0.5 * (1.0 - confidence)
    low = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(beta.ppf(1.0 - tail, k + 1, n - k)) if k < n else 1.0
    return Interval(low, high)


def roc(labels: NDArray[np.integer], scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Return false-positive rates, true-positive rates and thresholds, from none said to be a success to all."""
    order = np.argsort(-scores, kind="stable")
    ordered, hit = scores[order], labels[order] == 1
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))  # equal scores pass a threshold together
    tp, fp = np.cumsum(hit)[ends], np.cumsum(~hit)[ends]
    tpr = np.concatenate([[0.0], tp / max(int(hit.sum()), 1)])
    fpr = np.concatenate([[0.0], fp / max(int((~hit).sum()), 1)])
    return fpr, tpr, np.concatenate([[np.inf], ordered[ends]])


def area(labels: NDArray[np.integer], scores: Floats) -> float:
    """Return the area under the ROC: the chance that a success scores above a failure, ties counting half."""
    fpr, tpr, _ = roc(labels, scores)
    return float(np.trapezoid(tpr, fpr))


def threshold_for(labels: NDArray[np.integer], scores: Floats, false_positive_rate: float) -> float:
    """Return the lowest threshold, of 0.5 and more, at which at most this share of the failures passes as a success.

    Halfway between the scores of the first failure that must not pass and of the last frame that may, so that numbers
    that differ in their last digit do not change a verdict.
    """
    if not 0.0 <= false_positive_rate < 1.0:
        raise ConfigError(f"a false-positive rate lies in 0 to below 1, got {false_positive_rate}")
    failures = np.sort(scores[labels == 0])[::-1]
    allowed = math.floor(false_positive_rate * len(failures) + 1e-9)
    if allowed >= len(failures):
        return LEAST_THRESHOLD
    barred = float(failures[allowed])
    above = scores[scores > barred]
    if not len(above):
        return max(LEAST_THRESHOLD, float(np.nextafter(barred, 2.0)))
    return max(LEAST_THRESHOLD, 0.5 * (barred + float(above.min())))


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(x, np.float64)))


def balanced_loss(labels: NDArray[np.integer], logits: Floats) -> float:
    """Return the mean cross-entropy [nat] with both labels weighing the same in all."""
    loss = np.logaddexp(0.0, np.where(labels == 1, -logits, logits))
    return float(0.5 * (loss[labels == 1].mean() + loss[labels == 0].mean()))


def temperature_for(labels: NDArray[np.integer], logits: Floats) -> float:
    """Return what to divide logits by so that they are honest on frames that were not trained on.

    It minimises the balanced cross-entropy (Guo et al. 2017), within 0.05 to 20: probabilities are then those of a
    frame that is as likely a success as not.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: balanced_loss(labels, logits / math.exp(log_t)), bounds=(math.log(0.05), math.log(20.0)),
        method="bounded", options={"xatol": 1e-4},
    )  # fmt: skip
    return float(math.exp(found.x))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Frames whose probabilities lie close together: their mean probability, and the share that is a success."""

    n: int
    said: float
    true: float


def reliability(labels: NDArray[np.integer], p: Floats, bins: int = 10) -> list[Bin]:
    """Return calibration by bins of equal width, with both labels weighing the same in all; empty bins are left out."""
    weight = np.where(labels == 1, 0.5 / max(int((labels == 1).sum()), 1), 0.5 / max(int((labels == 0).sum()), 1))
    index = np.minimum((p * bins).astype(int), bins - 1)
    out = []
    for i in range(bins):
        inside = index == i
        if inside.any():
            w = weight[inside] / weight[inside].sum()
            out.append(Bin(n=int(inside.sum()), said=float(w @ p[inside]), true=float(w @ (labels[inside] == 1))))
    return out


def calibration_error(labels: NDArray[np.integer], p: Floats, bins: int = 10) -> float:
    """Return the mean distance between what is said and what is true over the bins, weighted by their balanced mass."""
    weight = np.where(labels == 1, 0.5 / max(int((labels == 1).sum()), 1), 0.5 / max(int((labels == 0).sum()), 1))
    index = np.minimum((p * bins).astype(int), bins - 1)
    masses = [weight[index == i].sum() for i in range(bins) if (index == i).any()]
    return float(sum(m * abs(b.said - b.true) for m, b in zip(masses, reliability(labels, p, bins), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """What a threshold means on frames that were not trained on.

    Attributes:
        wanted: The false-positive rate that was asked for.
        threshold: Probability from which a frame counts as a success.
        counts: Frames by truth and verdict.
        false_positive, true_positive: Exact 95 % intervals of the two rates.
    """

    wanted: float
    threshold: float
    counts: Confusion
    false_positive: Interval
    true_positive: Interval


def operating_points(
    labels: NDArray[np.integer], p: Floats, rates: Sequence[float] = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05)
) -> list[Operating]:
    """Return what the thresholds of several false-positive rates mean."""
    return [operating_point(labels, p, threshold_for(labels, p, rate), rate) for rate in rates]


def operating_point(labels: NDArray[np.integer], p: Floats, threshold: float, wanted: float = math.nan) -> Operating:
    """Return what one threshold means."""
    c = confusion(labels, p >= threshold)
    return Operating(
        wanted=wanted, threshold=threshold, counts=c,
        false_positive=clopper_pearson(c.false_positive, c.negatives),
        true_positive=clopper_pearson(c.true_positive, c.positives),
    )  # fmt: skip
