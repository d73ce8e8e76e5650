"""From a labelled set to a classifier that was tested on episodes it had not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import LabelError, nearest
from robot_rl.rewards.classifier import Classifier
from robot_rl.rewards.features import FrameEncoder, features_of, labelled
from robot_rl.rewards.head import HeadConfig, head_logits
from robot_rl.rewards.labels import LabelledSet
from robot_rl.rewards.scoring import (
    area,
    calibration_error,
    operating_point,
    sigmoid,
    temperature_for,
    threshold_for,
)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What classifiers said of frames of episodes that they had not seen.

    Attributes:
        names: Of the N frames.
        episodes: Of each.
        labels: (N,) as they were trained on.
        logits: (N,) calibrated.
        temperature: That they were calibrated with.
    """

    names: Sequence[str]
    episodes: Sequence[str]
    labels: NDArray[np.int64]
    logits: NDArray[np.float64]
    temperature: float

    @property
    def probability(self) -> NDArray[np.float64]:
        """(N,) probabilities of success."""
        return sigmoid(self.logits)


def split(
    labels: NDArray[np.integer], episodes: Sequence[str], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the (N,) part of each frame: whole episodes, dealt so that each part has its share of both labels."""
    names = list(dict.fromkeys(episodes))
    of = np.array([names.index(e) for e in episodes])
    successes = np.bincount(of, labels == 1, len(names))
    frames = np.bincount(of, minlength=len(names))
    with_both = min(int((successes > 0).sum()), int((frames > successes).sum()))
    folds = min(folds, with_both, len(names))
    if folds < 2:
        raise LabelError("testing on unseen episodes needs both labels in at least two episodes; collect more episodes")
    # The largest first, each to the part that lacks most; ties at random.
    order = sorted(rng.permutation(len(names)), key=lambda i: (-successes[i], -frames[i]))
    loads = np.zeros((folds, 2))
    part = np.zeros(len(names), np.int64)
    total = np.array([max(successes.sum(), 1.0), max((frames - successes).sum(), 1.0)])
    for i in order:
        more = np.array([successes[i], frames[i] - successes[i]])
        cost = ((loads + more) / total) ** 2 - (loads / total) ** 2
        part[i] = int(np.argmin(cost.sum(1)))
        loads[part[i]] += more
    return part[of]


def linear(encoder: FrameEncoder) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the (C,) scale and offset by which an encoder's stored numbers are read."""
    size = encoder.field.channels
    zero = np.asarray(encoder.dequantise(np.zeros((1, size), np.uint8)), np.float32)[0]
    one = np.asarray(encoder.dequantise(np.ones((1, size), np.uint8)), np.float32)[0]
    return one - zero, zero


def judge_unseen(
    features: Mapping[str, NDArray[np.uint8]],
    names: Sequence[str],
    labels: NDArray[np.int64],
    episodes: Sequence[str],
    reading: tuple[NDArray[np.float32], NDArray[np.float32]],
    config: HeadConfig,
    progress: Progress = lambda what, done, n: None,
    also_all: bool = True,
    keep: NDArray[np.bool_] | None = None,
) -> tuple[Judged, dict[str, NDArray[np.float32]]]:
    """Judge each frame by a head that saw none of its episode, and return the head that saw all.

    Args:
        features: (N, views, h, w, C) uint8 by camera.
        names, labels, episodes: Of the N frames.
        reading: Scale and offset, see `linear`.
        config: Settings.
        progress: Told what is done, how far, and of how much.
        also_all: Whether a head is trained on all frames too; without it the weights are empty.
        keep: (N,) frames that may be trained on; the others are judged all the same.
    """
    from robot_rl.agents.success import train_heads  # JAX is the learner's alone

    keep = np.ones(len(labels), bool) if keep is None else keep
    part = split(labels, episodes, config.folds, np.random.default_rng(config.seed))
    parts = int(part.max()) + 1
    trains = [keep & (part != i) for i in range(parts)] + ([keep] if also_all else [])
    heads = train_heads(
        features, labels, np.array(trains), *reading, config, lambda done, n: progress("training", done, n)
    )
    raw = np.empty(len(labels))
    for i in range(parts):
        rows = np.flatnonzero(part == i)
        values = {c: a[rows, 0].astype(np.float32) * reading[0] + reading[1] for c, a in features.items()}
        raw[rows] = head_logits(heads[i], tuple(features), values)
    temperature = temperature_for(labels, raw)
    judged = Judged(
        names=names, episodes=episodes, labels=labels, logits=raw / temperature, temperature=temperature
    )  # fmt: skip
    return judged, (heads[parts] if also_all else {})


def chosen_cameras(frames: LabelledSet, cameras: Sequence[str]) -> list[str]:
    """Return the set's cameras, or those of them that were asked for, in the set's order.

    Raises:
        LabelError: One is not in the set.
    """
    for name in cameras:
        if name not in frames.cameras:
            have = ", ".join(frames.cameras)
            raise LabelError(f"{frames.folder} has no camera '{name}'; it has {have}.{nearest(name, frames.cameras)}")
    return [name for name in frames.cameras if not cameras or name in cameras]


def train_classifier(
    frames: LabelledSet,
    encoder: FrameEncoder,
    encoder_name: str,
    config: HeadConfig,
    false_positive_rate: float = 0.01,
    progress: Progress = lambda what, done, n: None,
    cameras: Sequence[str] = (),
) -> tuple[Classifier, Judged]:
    """Train on all labelled frames; test, calibrate and choose the threshold on episodes left out in turn.

    Args:
        frames: The set.
        encoder, encoder_name: The trunk.
        config: Settings.
        false_positive_rate: Share of the failures that may pass the threshold.
        progress: Told what is done, how far, and of how much.
        cameras: Those that it shall look at; all of the set when empty. Fewer are encoded in less time at each step.

    Raises:
        LabelError: A camera is not in the set, or there is too little to learn from.
    """
    began_s = time.monotonic()
    looked_at = {name: frames.cameras[name] for name in chosen_cameras(frames, cameras)}
    names, labels, episodes = labelled(frames)
    features = features_of(frames, names, encoder, lambda done, n: progress("encoding", done, n))
    features = {name: features[name] for name in looked_at}
    reading = linear(encoder)
    judged, weights = judge_unseen(features, names, labels, episodes, reading, config, progress)
    threshold = threshold_for(labels, judged.probability, false_positive_rate)
    made = Classifier(
        weights=weights, encoder=encoder_name, mark=encoder.field.encoder,
        cameras={n: (s[0], s[1], s[2]) for n, s in looked_at.items()}, view=encoder.field.view_shape,
        scale=reading[0], offset=reading[1], temperature=judged.temperature, threshold=threshold, task=frames.task,
        facts={**tested(judged, threshold, false_positive_rate), "seconds": time.monotonic() - began_s},
    )  # fmt: skip
    return made, judged


def tested(judged: Judged, threshold: float, wanted: float) -> dict[str, Any]:
    """Return plain facts of a test on unseen episodes."""
    labels, p = judged.labels, judged.probability
    point, half = operating_point(labels, p, threshold, wanted), operating_point(labels, p, 0.5)
    return {
        "frames": len(labels), "successes": int((labels == 1).sum()), "episodes": len(set(judged.episodes)),
        "area": area(labels, p), "calibration_error": calibration_error(labels, p), "accuracy_at_half":
        half.counts.accuracy, "accuracy": point.counts.accuracy, "threshold": threshold, "wanted_rate": wanted,
        "false_positives": point.counts.false_positive, "failures": point.counts.negatives,
        "true_positives": point.counts.true_positive, "false_positive_high": point.false_positive.high,
        "true_positive_low": point.true_positive.low,
    }  # fmt: skip
