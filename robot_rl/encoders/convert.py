"""From pretrained weights to a trunk: converted once, checked, and kept under the user's cache folder."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_rl.encoders.networks import NETWORKS, network_of, program_of
from robot_rl.encoders.pictures import drawn_pictures
from robot_rl.encoders.program import Conv, Trunk, load_trunk, save_trunk, value_shapes
from robot_rl.encoders.torch_trunk import TorchTrunk
from robot_rl.encoders.weights import file_digest, packaged_weights, read_weights
from robot_rl.errors import EncoderError, StorageError

log = logging.getLogger(__name__)

REVISION = 2
"""Rises when a conversion comes to other numbers, so that older files in a cache are not taken for new ones."""
SUFFIX = ".trunk"


def cache_folder() -> Path:
    """Return where converted trunks are kept: $XDG_CACHE_HOME/robot_rl/encoders, by default under ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "robot_rl" / "encoders"


def convert(path: Path, size: int, network: str = "") -> Trunk:
    """Return the trunk of a file of weights, with its features' spread measured; see `robot_rl.encoders.pictures`.

    Args:
        path: The file.
        size: Height and width of the pictures, pixels.
        network: What it is of; told by the names in the file when empty.

    Raises:
        EncoderError: The weights do not fit: says which layer, what was found and what is supported.
    """
    arrays = read_weights(path)
    name = network or network_of(arrays)
    ops, pictures = program_of(name, size, arrays), drawn_pictures(size)
    channels = value_shapes(name, ops, size)[-1][2]
    trunk = Trunk(
        name=name, ops=ops, size=size, source=file_digest(path),
        input_mean=np.array(NETWORKS[name].input_mean, np.float32),
        input_std=np.array(NETWORKS[name].input_std, np.float32),
        feature_mean=np.zeros(channels, np.float32), feature_std=np.ones(channels, np.float32),
    )  # fmt: skip
    trunk = squeezed(trunk, pictures)
    mean, std = _spread(trunk, pictures)
    return dataclasses.replace(trunk, feature_mean=mean.astype(np.float32), feature_std=std.astype(np.float32))


def squeezed(trunk: Trunk, pictures: NDArray[np.uint8]) -> Trunk:
    """Return a trunk whose last operation keeps the directions in which the channels before it vary most.

    Principal components of the channels, each in its own standard deviations, over all places of the pictures. They are
    turned such that the largest weight of each is positive: two machines come to the same ones.
    """
    last, before = trunk.ops[-1], trunk.shapes[-2][2]
    if not isinstance(last, Conv) or last.source != len(trunk.ops) - 1 or last.weight.any():
        return trunk  # it had few enough channels
    ones = np.ones(before, np.float32)
    whole = dataclasses.replace(trunk, ops=trunk.ops[:-1], feature_mean=0.0 * ones, feature_std=ones)
    mean, std = _spread(whole, pictures)
    values = (TorchTrunk(whole)(pictures).astype(np.float64) - mean).reshape(-1, before) / std
    directions = np.linalg.svd(values, full_matrices=False)[2][: len(last.bias)]
    largest = np.abs(directions).argmax(axis=1)
    directions *= np.sign(directions[np.arange(len(directions)), largest])[:, None]
    weight = directions.T / std[:, None]
    squeeze = dataclasses.replace(
        last, weight=weight[None, None].astype(np.float32), bias=-(mean @ weight).astype(np.float32)
    )
    return dataclasses.replace(trunk, ops=(*trunk.ops[:-1], squeeze))


def _spread(trunk: Trunk, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel of a trunk's map."""
    features = TorchTrunk(trunk)(pictures).astype(np.float64)
    if not np.isfinite(features).all():
        raise EncoderError(
            f"the network {trunk.name} gives features that are not finite with these weights; get the weights anew"
        )
    mean, std = features.mean(axis=(0, 1, 2)), features.std(axis=(0, 1, 2))
    # A channel that never moves would be stored in steps of nothing.
    return mean, np.maximum(std, 1e-3 * max(float(std.max()), 1e-6))


def find_trunk(name_or_path: str, size: int) -> Trunk:
    """Return a trunk from the cache, or convert and keep it.

    Args:
        name_or_path: A network whose weights a package carries, such as "efficientnet_lite0"; a file of weights; or a
            converted trunk (.trunk).
        size: Height and width of the pictures, pixels.
    """
    if name_or_path.endswith(SUFFIX):
        trunk = load_trunk(Path(name_or_path))
        if trunk.size != size:
            raise EncoderError(
                f"the trunk {name_or_path} was converted for pictures of {trunk.size} pixels, yours have {size}; "
                "convert its weights for them, or set robot.image_size"
            )
        return trunk
    network = name_or_path if name_or_path in NETWORKS else ""
    if not network and not Path(name_or_path).suffix:
        program_of(name_or_path, size)  # says which names there are
    path = packaged_weights(network) if network else Path(name_or_path)
    kept = cache_folder() / f"{network or path.stem}-{file_digest(path)[:16]}-{size}-r{REVISION}{SUFFIX}"
    if kept.is_file():
        try:
            return load_trunk(kept)
        except EncoderError as e:
            log.warning("%s; converting it anew", e)
    trunk = convert(path, size, network)
    try:
        save_trunk(trunk, kept)
        log.info("converted %s to %s", path, kept)
    except StorageError as e:
        log.warning("%s; it is converted anew each time", e)
    return trunk
