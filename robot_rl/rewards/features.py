"""The frozen features of labelled frames: each picture goes through the trunk once, and what came out is kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl import checkpoint
from robot_rl.errors import CheckpointError, LabelError
from robot_rl.rewards.labels import LabelledSet

log = logging.getLogger(__name__)

BATCH = 32
Features = dict[str, NDArray[np.uint8]]


class FrameEncoder(Protocol):
    """A frozen trunk, as `robot_rl.encoders` has them: pictures in, compact maps of features out.

    Attributes:
        shape: (views, h, w, C); view 0 is the picture itself, the others are shifted by a few pixels.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (views, h, w, C)."""
        ...

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, views, h, w, C) uint8 of (N, H, W, 3) uint8 RGB pictures."""
        ...

    def dequantise(self, features: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features as float32 of about unit variance."""
        ...


def fingerprint(encoder: FrameEncoder) -> str:
    """Return 16 hexadecimal digits that change when an encoder gives other features."""
    rng = np.random.default_rng(0)
    size = int(getattr(encoder, "size", 128))
    probe = rng.integers(0, 256, (1, size // 8, size // 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    # Of what is done and not of a file's bytes. Trunks may differ in the last bit between machines, so coarsely.
    made = np.rint(encoder.encode(probe)[:, 0].astype(np.float64).mean((1, 2)) / 4.0).astype(np.int64)
    return hashlib.sha256(str((encoder.shape[1:], made.tolist())).encode()).hexdigest()[:16]


def features_of(
    frames: LabelledSet,
    names: Sequence[str],
    encoder: FrameEncoder,
    encoder_name: str,
    progress: Callable[[int, int], None] = lambda done, n: None,
) -> Features:
    """Return (N, views, h, w, C) uint8 by camera for the named frames, in their order.

    What was computed before is read from the set's folder; the rest is computed and kept there.

    Args:
        frames: The set.
        names: Frames.
        encoder: The trunk.
        encoder_name: Under which its features are kept.
        progress: Told the frames done, and of how many.

    Raises:
        LabelError: A picture is missing or damaged.
    """
    mark = fingerprint(encoder)
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in encoder_name.rsplit("/", 1)[-1])
    path = frames.folder / f"features-{safe}-{mark}.ckpt"
    have, kept = _kept(path, frames, encoder)
    place = {name: i for i, name in enumerate(have)}
    missing = [name for name in dict.fromkeys(names) if name not in place]
    if missing:
        parts: dict[str, list[NDArray[np.uint8]]] = {camera: [kept[camera]] for camera in frames.cameras}
        for start in range(0, len(missing), BATCH):
            some = missing[start : start + BATCH]
            pictures = [frames.pictures(name) for name in some]
            for camera in frames.cameras:
                parts[camera].append(encoder.encode(np.stack([p[camera] for p in pictures])))
            progress(min(start + BATCH, len(missing)), len(missing))
        kept = {camera: np.concatenate(found) for camera, found in parts.items()}
        have = [*have, *missing]
        place = {name: i for i, name in enumerate(have)}
        checkpoint.save(path, kept, {"kind": "features", "encoder": encoder_name, "frames": have})
    rows = np.array([place[name] for name in names], np.int64)
    return {camera: array[rows] for camera, array in kept.items()}


def _kept(path: Path, frames: LabelledSet, encoder: FrameEncoder) -> tuple[list[str], Features]:
    empty: Features = {camera: np.zeros((0, *encoder.shape), np.uint8) for camera in frames.cameras}
    if not path.is_file():
        return [], empty
    try:
        found = checkpoint.load(path)
    except CheckpointError as e:
        log.warning("%s. Its features are computed anew", e)
        return [], empty
    names = [str(name) for name in found.meta.get("frames", ())]
    wanted = {camera: (len(names), *encoder.shape) for camera in frames.cameras}
    if {c: a.shape for c, a in found.arrays.items()} != wanted:
        return [], empty
    return names, {camera: np.asarray(a, np.uint8) for camera, a in found.arrays.items()}


def labelled(frames: LabelledSet) -> tuple[list[str], NDArray[np.int64], list[str]]:
    """Return names, (N,) labels and episodes of the frames that have a label.

    Raises:
        LabelError: One of the two labels is missing, or comes from one episode alone.
    """
    found = [f for f in frames.frames if f.label is not None]
    labels = np.array([f.label for f in found], np.int64)
    for value, word in ((1, "success"), (0, "failure")):
        episodes = {f.episode for f in found if f.label == value}
        if len(episodes) < 2:
            raise LabelError(
                f"{frames.folder} has frames labelled {word} from {len(episodes)} episode(s), and a classifier is "
                "tested on episodes that it has not seen, so it needs them from at least 2; collect more with: "
                f"robot-rl reward collect {frames.folder}"
            )
    return [f.name for f in found], labels, [f.episode for f in found]


def picked(features: Mapping[str, NDArray[np.uint8]], rows: NDArray[np.int64]) -> Features:
    """Return some rows of features."""
    return {camera: array[rows] for camera, array in features.items()}
