"""Finds wrong labels: each frame is judged by classifiers that never saw its episode, and what they contradict is told.

The second round trains without what the first one suspects, so that wrong labels no longer vote on their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.rewards.features import FrameEncoder, features_of, labelled
from robot_rl.rewards.head import HeadConfig
from robot_rl.rewards.labels import LabelledSet
from robot_rl.rewards.scoring import Operating, area, calibration_error, operating_points, threshold_for
from robot_rl.rewards.training import Judged, Progress, chosen_cameras, judge_unseen, linear

ROUNDS = 2
WARY = {"weight_decay": 0.1, "dropout": 0.5, "smoothing": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A frame whose label is contradicted by classifiers that did not see its episode.

    Attributes:
        name: Of the frame.
        label: That it has.
        probability: Of success, as they see it.
        loss: Cross-entropy [nat] of its label; the largest first.
    """

    name: str
    label: int
    probability: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found.

    Attributes:
        judged: Every labelled frame, judged without its episode.
        suspects: Frames whose label is probably wrong, the surest first.
        area: Under the ROC, against the labels as they are.
        calibration_error: See `scoring.calibration_error`.
        points: What the thresholds of several false-positive rates mean.
        threshold: For the rate that was asked for.
    """

    judged: Judged
    suspects: Sequence[Suspect]
    area: float
    calibration_error: float
    points: Sequence[Operating]
    threshold: float


def audit_facts(found: Audit, wanted: float) -> dict[str, Any]:
    """Return what an audit found as plain values, for programs: everything but the pictures.

    Args:
        found: The audit.
        wanted: The false-positive rate that was asked for.
    """
    labels = found.judged.labels
    return {
        "frames": len(labels), "successes": int((labels == 1).sum()), "episodes": len(set(found.judged.episodes)),
        "area": found.area, "calibration_error": found.calibration_error, "wanted_rate": wanted,
        "threshold": found.threshold, "suspects": [asdict(suspect) for suspect in found.suspects],
        "points": [
            {
                "wanted_rate": p.wanted, "threshold": p.threshold, "accuracy": p.counts.accuracy,
                "false_positives": p.counts.false_positive, "failures": p.counts.negatives,
                "true_positives": p.counts.true_positive, "successes": p.counts.positives,
            }
            for p in found.points
        ],
    }  # fmt: skip


def suspected(labels: NDArray[np.integer], p: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which (N,) labels are contradicted, whether successes are taken to be as common as failures or as named.

    The probabilities `p` are those of a frame that is as likely a success as not. Wrong labels are a larger part of the
    rarer label: of 200 successes and 1000 failures with one label in ten turned round, a third of those that are called
    success are none. A threshold from the mean of what has a label, as in confident learning (Northcutt et al. 2021),
    is pulled there by the very mistakes; it found three quarters of them.
    """
    share = np.clip(np.mean(labels == 1), 1e-6, 1.0 - 1e-6)
    odds = np.log(np.clip(p, 1e-12, None)) - np.log(np.clip(1.0 - p, 1e-12, None))
    rarer = odds + np.log(share / (1.0 - share))
    return ((labels == 0) & (odds > 0.0) & (rarer > 0.0)) | ((labels == 1) & (odds < 0.0) & (rarer < 0.0))


def wary(config: HeadConfig) -> HeadConfig:
    """Return settings for a head that may not trust its labels: it shall not learn single frames by heart."""
    return replace(
        config,
        weight_decay=max(config.weight_decay, WARY["weight_decay"]),
        dropout=max(config.dropout, WARY["dropout"]),
        smoothing=max(config.smoothing, WARY["smoothing"]),
    )


def audit_features(
    features: dict[str, NDArray[np.uint8]], names: Sequence[str], labels: NDArray[np.int64], episodes: Sequence[str],
    reading: tuple[NDArray[np.float32], NDArray[np.float32]], config: HeadConfig, false_positive_rate: float = 0.01,
    progress: Progress = lambda what, done, n: None,
) -> Audit:  # fmt: skip
    """Audit labels of frames whose features are known; arguments as for `training.judge_unseen`."""
    config = wary(config)
    keep = np.ones(len(labels), bool)
    judged: Judged | None = None
    wrong = ~keep
    for i in range(ROUNDS):
        what = f"judging, round {i + 1} of {ROUNDS}"
        judged, _ = judge_unseen(
            features, names, labels, episodes, reading, replace(config, seed=config.seed + i),
            lambda _, done, n, what=what: progress(what, done, n), also_all=False, keep=keep,
        )  # fmt: skip
        wrong = suspected(labels, judged.probability)
        cleaned = ~wrong
        # Never clean a label away altogether: then the labels are no worse than the classifier.
        if min(int((labels[cleaned] == v).sum()) for v in (0, 1)) < 8:
            break
        keep = cleaned
    assert judged is not None  # there is at least one round
    p = judged.probability
    loss = np.logaddexp(0.0, np.where(labels == 1, -judged.logits, judged.logits))
    order = [int(i) for i in np.argsort(-loss, kind="stable") if wrong[i]]
    return Audit(
        judged=judged,
        suspects=[
            Suspect(name=names[i], label=int(labels[i]), probability=float(p[i]), loss=float(loss[i])) for i in order
        ],
        area=area(labels, p), calibration_error=calibration_error(labels, p), points=operating_points(labels, p),
        threshold=threshold_for(labels, p, false_positive_rate),
    )  # fmt: skip


def audit(
    frames: LabelledSet, encoder: FrameEncoder, config: HeadConfig, false_positive_rate: float = 0.01,
    progress: Progress = lambda what, done, n: None, cameras: Sequence[str] = (),
) -> Audit:  # fmt: skip
    """Audit a set.

    Args:
        frames: The set.
        encoder: The trunk.
        config: How the judging classifiers are trained; they are held back more than that (see `wary`).
        false_positive_rate: Of the threshold that is told.
        progress: Told what is done, how far, and of how much.
        cameras: Those that are looked at; all when empty.

    Raises:
        LabelError: There is too little to judge by.
    """
    looked_at = chosen_cameras(frames, cameras)
    names, labels, episodes = labelled(frames)
    features = features_of(frames, names, encoder, lambda done, n: progress("encoding", done, n))
    seen = {name: features[name] for name in looked_at}
    return audit_features(
        seen, names, labels, episodes, linear(encoder), config, false_positive_rate, progress
    )  # fmt: skip
