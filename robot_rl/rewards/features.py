"""The frozen features of labelled frames: each picture goes through the trunk once, and what came out is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl import checkpoint
from robot_rl.errors import CheckpointError, LabelError
from robot_rl.rewards.labels import LabelledSet
from robot_rl.rewards.pixels import PixelEncoder
from robot_rl.specs import FeatureField

log = logging.getLogger(__name__)

BATCH = 32
Features = dict[str, NDArray[np.uint8]]


class FrameEncoder(Protocol):
    """A frozen trunk, as `robot_rl.encoders` has them: pictures in, compact maps of features out."""

    @property
    def field(self) -> FeatureField:
        """Return what is kept of a picture: (views, h, w, C), and what makes it."""
        ...

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, views, h, w, C) uint8 of (N, H, W, 3) uint8 RGB pictures; view 0 is the picture as it is."""
        ...

    def encode_centre(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, h, w, C) uint8 of the pictures as they are."""
        ...

    def dequantise(self, features: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features as float32 of about unit variance."""
        ...


def open_encoder(name: str, size: int, views: int = 5) -> FrameEncoder:
    """Return the encoder of that name: "pixels", or what `robot_rl.encoders` knows by name or as a file.

    Raises:
        EncoderError: There is no such encoder.
        MissingDependency: It needs the extra `vision`.
    """
    if name == PixelEncoder.name:
        return PixelEncoder(size, views)
    from robot_rl.encoders.encoder import load_encoder

    return load_encoder(name, size, views)


def size_of(cameras: Mapping[str, Sequence[int]]) -> int:
    """Return the common height and width of the cameras' pictures.

    Raises:
        LabelError: They are not square, or not all of one size.
    """
    sizes = {int(v) for shape in cameras.values() for v in shape[:2]}
    if len(sizes) != 1:
        raise LabelError(
            f"a classifier reads square pictures of one size, the cameras give {dict(cameras)}; set robot.image_size"
        )
    return sizes.pop()


def features_of(
    frames: LabelledSet,
    names: Sequence[str],
    encoder: FrameEncoder,
    progress: Callable[[int, int], None] = lambda done, n: None,
) -> Features:
    """Return (N, views, h, w, C) uint8 by camera for the named frames, in their order.

    What was computed before is read from the set's folder; the rest is computed and kept there.

    Args:
        frames: The set.
        names: Frames.
        encoder: The trunk.
        progress: Told the frames done, and of how many.

    Raises:
        LabelError: A picture is missing or damaged.
    """
    shape, mark = encoder.field.shape, encoder.field.encoder
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in mark)
    path = frames.folder / f"features-{safe}-{shape[0]}.ckpt"
    have, kept = _kept(path, frames, shape)
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
        checkpoint.save(path, kept, {"kind": "features", "encoder": mark, "frames": have})
    rows = np.array([place[name] for name in names], np.int64)
    return {camera: array[rows] for camera, array in kept.items()}


def _kept(path: Path, frames: LabelledSet, shape: tuple[int, ...]) -> tuple[list[str], Features]:
    empty: Features = {camera: np.zeros((0, *shape), np.uint8) for camera in frames.cameras}
    if not path.is_file():
        return [], empty
    try:
        found = checkpoint.load(path)
    except CheckpointError as e:
        log.warning("%s. Its features are computed anew", e)
        return [], empty
    names = [str(name) for name in found.meta.get("frames", ())]
    wanted = {camera: (len(names), *shape) for camera in frames.cameras}
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
