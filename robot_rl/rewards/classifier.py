"""A success classifier as one safe file: weights, what it reads, its calibration and threshold, how it was tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl import checkpoint
from robot_rl.errors import CheckpointError
from robot_rl.rewards.features import FrameEncoder
from robot_rl.rewards.head import head_logits
from robot_rl.rewards.scoring import sigmoid

KIND = "success_classifier"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """What judges a frame.

    Attributes:
        weights: As in `head.shapes`.
        encoder: Name or file of the trunk; `mark` says which weights it had, so that another one is refused.
        mark: `encoder.field.encoder`.
        cameras: (H, W, 3) of the pictures by camera, in the order of the training.
        view: (h, w, C) of the features.
        scale, offset: Stored features times scale plus offset are what the head reads.
        temperature: Logits are divided by it.
        threshold: Probability from which a frame counts as a success.
        task: Of the set.
        facts: What it was trained on, and how it did on episodes that it had not seen.
    """

    weights: Mapping[str, NDArray[np.float32]]
    encoder: str
    mark: str
    cameras: Mapping[str, tuple[int, int, int]]
    view: tuple[int, int, int]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    temperature: float
    threshold: float
    task: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def logits(self, features: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return (N,) calibrated logits of (N, h, w, C) uint8 features by camera."""
        values = {c: features[c].astype(np.float32) * self.scale + self.offset for c in self.cameras}
        return np.asarray(head_logits(self.weights, tuple(self.cameras), values), np.float64) / self.temperature

    def probability(self, features: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return (N,) probabilities of success of (N, h, w, C) uint8 features by camera."""
        return sigmoid(self.logits(features))

    def check_encoder(self, encoder: FrameEncoder) -> None:
        """Raise `CheckpointError` unless the encoder gives the features that this was trained on."""
        if (encoder.field.view_shape, encoder.field.encoder) != (self.view, self.mark):
            raise CheckpointError(
                f"the classifier was trained on features {self.view} of '{self.mark}', and the encoder here gives "
                f"{encoder.field.view_shape} of '{encoder.field.encoder}'; load the encoder that it was trained with, "
                "or train the classifier anew"
            )


def save_classifier(path: Path, made: Classifier) -> Path:
    """Write a classifier, all or nothing: a run that watches the file sees the old one or the new one."""
    meta = {
        "kind": KIND, "version": VERSION, "encoder": made.encoder, "mark": made.mark,
        "cameras": [[name, list(shape)] for name, shape in made.cameras.items()], "view": list(made.view),
        "temperature": float(made.temperature), "threshold": float(made.threshold), "task": made.task,
        "facts": dict(made.facts),
    }  # fmt: skip
    return checkpoint.save(path, {**made.weights, "_scale": made.scale, "_offset": made.offset}, meta)


def load_classifier(path: Path) -> Classifier:
    """Read a classifier.

    Raises:
        CheckpointError: It is missing, damaged, or something else.
    """
    found = checkpoint.load(path)
    if found.meta.get("kind") != KIND:
        raise CheckpointError(
            f"{path} holds a {found.meta.get('kind') or 'checkpoint'}, no success classifier; make one with: "
            "robot-rl reward train SET"
        )
    if found.meta.get("version") != VERSION:
        raise CheckpointError(
            f"the classifier {path} has version {found.meta.get('version')}, this release reads {VERSION}; train it "
            "anew"
        )
    try:
        arrays = {name: np.asarray(a, np.float32) for name, a in found.arrays.items()}
        made = Classifier(
            weights={n: a for n, a in arrays.items() if not n.startswith("_")},
            encoder=str(found.meta["encoder"]), mark=str(found.meta["mark"]),
            cameras={str(n): _three(s) for n, s in found.meta["cameras"]}, view=_three(found.meta["view"]),
            scale=arrays["_scale"], offset=arrays["_offset"], temperature=float(found.meta["temperature"]),
            threshold=float(found.meta["threshold"]), task=str(found.meta.get("task", "")),
            facts=dict(found.meta.get("facts", {})),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as e:
        raise CheckpointError(f"the classifier {path} lacks what one needs ({e!r}); train it anew") from e
    if not all(np.isfinite(a).all() for a in arrays.values()) or not made.temperature > 0.0:
        raise CheckpointError(f"the classifier {path} holds numbers that are not finite; train it anew")
    return made


def _three(values: Sequence[Any]) -> tuple[int, int, int]:
    a, b, c = (int(v) for v in values)
    return a, b, c
