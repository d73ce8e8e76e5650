"""`Encoder`: pictures to stored features, each picture once, in several shifted views."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robot_rl.encoders.convert import find_trunk
from robot_rl.encoders.networks import output_shape
from robot_rl.encoders.program import Trunk
from robot_rl.encoders.torch_trunk import TorchTrunk
from robot_rl.encoders.weights import PACKAGES
from robot_rl.errors import EncoderError
from robot_rl.specs import FEATURE_OFFSET, FEATURE_SCALE, FeatureField

MAX_SHIFT = 4
"""Pixels by which a view is shifted at most on each axis, as in DrQ."""
SHIFTS = (2 * MAX_SHIFT + 1) ** 2 - 1
"""How many ways there are to shift a view."""
VIEWS = 5

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class Encoder:
    """A frozen trunk and the views that it is shown.

    Args:
        trunk: The network.
        views: How many views are kept of each picture: the picture as it is, and shifted ones to learn from.
        run: Runs the trunk: (N, H, W, 3) uint8 to (N, height, width, channels) float32; by default torch does.
    """

    def __init__(self, trunk: Trunk, views: int = VIEWS, run: Run | None = None) -> None:
        if not 1 <= views <= SHIFTS + 1:
            raise EncoderError(
                f"views is {views}; allowed are 1, the picture as it is, to {SHIFTS + 1}, with all its shifts. "
                "Set obs.views"
            )
        self.trunk, self.views = trunk, views
        self._run = TorchTrunk(trunk) if run is None else run

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(views, height, width, channels) of what is kept of one picture."""
        return (self.views, *self.trunk.output)

    @property
    def field(self) -> FeatureField:
        """What an observation's specification says of it."""
        return field_of(self.trunk, self.views)

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, views, height, width, channels) uint8 features of (N, H, W, 3) uint8 pictures.

        View 0 is the picture as it is. How a picture is shifted depends on the picture alone, so the same one always
        comes to the same features.
        """
        size = self.trunk.size
        self._check(images)
        shown = np.empty((len(images), self.views, size, size, 3), np.uint8)
        for image, out in zip(images, shown, strict=True):
            shifted_views(image, out)
        return self._features(shown.reshape(-1, size, size, 3)).reshape(len(images), *self.shape)

    def encode_centre(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, height, width, channels) of the pictures as they are: all that acting needs."""
        self._check(images)
        return self._features(images)

    def _check(self, images: NDArray[np.uint8]) -> None:
        size = self.trunk.size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise EncoderError(
                f"the encoder reads (N, {size}, {size}, 3) uint8 pictures, got {images.shape} {images.dtype}; "
                "set robot.image_size to what the cameras give"
            )

    def _features(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return self.trunk.quantise(self._run(pictures))

    @staticmethod
    def dequantise(features: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return stored features in standard deviations of their channels: bytes * FEATURE_SCALE + FEATURE_OFFSET."""
        return features.astype(np.float32) * np.float32(FEATURE_SCALE) + np.float32(FEATURE_OFFSET)


def shifted_views(image: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Fill (views, H, W, 3) with an (H, W, 3) picture and copies, each shifted otherwise over their repeated edges."""
    out[0] = image
    if len(out) == 1:
        return
    height, width = image.shape[:2]
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(image).data))
    numbers = rng.choice(SHIFTS, len(out) - 1, replace=False)
    numbers += numbers >= SHIFTS // 2  # the one in the middle is no shift
    margin = ((MAX_SHIFT, MAX_SHIFT), (MAX_SHIFT, MAX_SHIFT), (0, 0))
    padded = np.pad(image, margin, mode="edge")
    for view, number in zip(out[1:], numbers, strict=True):
        y, x = divmod(int(number), 2 * MAX_SHIFT + 1)
        view[:] = padded[y : y + height, x : x + width]


def feature_field(name_or_path: str, size: int, views: int) -> FeatureField:
    """Return what `load_encoder(...).field` says, without torch and without the weights of a packaged network."""
    if name_or_path in PACKAGES:
        height, width, channels = output_shape(name_or_path, size)
        encoder = label(name_or_path, PACKAGES[name_or_path][1])
        return FeatureField(views=views, height=height, width=width, channels=channels, encoder=encoder)
    return field_of(find_trunk(name_or_path, size), views)


def field_of(trunk: Trunk, views: int) -> FeatureField:
    """Return what a specification says of a trunk's features."""
    height, width, channels = trunk.output
    encoder = label(trunk.name, trunk.source)
    return FeatureField(views=views, height=height, width=width, channels=channels, encoder=encoder)


def label(network: str, source: str) -> str:
    """Return how features of a network with these weights are called in a specification."""
    return f"{network}/{source[:12]}" if source else network


def load_encoder(name_or_path: str, size: int = 128, views: int = VIEWS) -> Encoder:
    """Return an encoder; its trunk is converted on first use and kept under the user's cache folder.

    Args:
        name_or_path: A network whose weights a package carries ("efficientnet_lite0"), a file of weights, or a
            converted trunk.
        size: Height and width of the pictures, pixels.
        views: Views kept of each picture.

    Raises:
        EncoderError: The weights are missing, damaged or of no supported network.
        MissingDependency: The extra `vision` is not installed.
    """
    return Encoder(find_trunk(name_or_path, size), views)
