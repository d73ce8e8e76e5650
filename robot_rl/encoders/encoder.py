"""`Encoder`: pictures to stored features, each picture once, in several shifted views."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robot_rl.encoders.convert import find_trunk
from robot_rl.encoders.networks import output_shape
from robot_rl.encoders.program import Trunk
from robot_rl.encoders.raw import RawEncoder, raw_field
from robot_rl.encoders.torch_trunk import TorchTrunk
from robot_rl.encoders.views import MOST_VIEWS, shifted_views
from robot_rl.encoders.weights import PACKAGES
from robot_rl.errors import EncoderError
from robot_rl.specs import FEATURE_OFFSET, FEATURE_SCALE, RAW, FeatureField

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
        if not 1 <= views <= MOST_VIEWS:
            raise EncoderError(
                f"views is {views}; allowed are 1, the picture as it is, to {MOST_VIEWS}, with all its shifts. "
                "Set obs.views"
            )
        self.trunk, self.views = trunk, views
        self._run = TorchTrunk(trunk) if run is None else run

    @property
    def size(self) -> int:
        """Height and width of the pictures that it reads, pixels."""
        return self.trunk.size

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


def feature_field(name_or_path: str, size: int, views: int) -> FeatureField:
    """Return what `load_encoder(...).field` says, without torch and without the weights of a packaged network."""
    if name_or_path == RAW:
        return raw_field(size, views)
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


def load_encoder(name_or_path: str, size: int = 128, views: int = VIEWS) -> Encoder | RawEncoder:
    """Return an encoder; its trunk is converted on first use and kept under the user's cache folder.

    Args:
        name_or_path: A network whose weights a package carries ("efficientnet_lite0"), a file of weights, a converted
            trunk, or "cnn" for none: pictures are kept, and the policy learns to see.
        size: Height and width of the pictures, pixels.
        views: Views kept of each picture.

    Raises:
        EncoderError: The weights are missing, damaged or of no supported network.
        MissingDependency: The extra `vision` is not installed.
    """
    return RawEncoder(size, views) if name_or_path == RAW else Encoder(find_trunk(name_or_path, size), views)
