"""No encoder: pictures are kept as they are, made smaller, and the policy's own convolutions learn to see.

For what no pretrained network has seen, and as a baseline. The replay then holds pictures, and every update sends them
through the convolutions (`robot_rl.agents.cnn`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.encoders.views import MOST_VIEWS, shifted_views
from robot_rl.errors import EncoderError
from robot_rl.specs import RAW, FeatureField

SIDE = 64
"""Height and width of what is kept: a picture's pixels are averaged to it."""


def raw_field(size: int, views: int) -> FeatureField:
    """Return what a specification says of pictures that are learnt from as they are.

    Raises:
        EncoderError: The pictures are not a multiple of `SIDE`, or there are too many views.
    """
    if size < SIDE or size % SIDE:
        raise EncoderError(
            f"pictures of {size} pixels do not fit obs.encoder={RAW}; allowed are multiples of {SIDE} "
            "(robot.image_size=128)"
        )
    if not 1 <= views <= MOST_VIEWS:
        raise EncoderError(f"views is {views}; allowed are 1 to {MOST_VIEWS}. Set obs.views")
    return FeatureField(views=views, height=SIDE, width=SIDE, channels=3, encoder=f"{RAW}/{size}")


class RawEncoder:
    """Keeps pictures where `Encoder` keeps features; the same methods.

    Args:
        size: Height and width of the pictures, pixels.
        views: The picture as it is, and shifted copies to learn from, each of `SIDE` by `SIDE` pixels.
    """

    def __init__(self, size: int, views: int) -> None:
        self.field, self.size, self.views = raw_field(size, views), size, views

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(views, height, width, 3) of what is kept of one picture."""
        return self.field.shape

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, views, SIDE, SIDE, 3) uint8 of (N, H, W, 3) uint8 pictures; view 0 is the picture as it is."""
        self._check(images)
        shown = np.empty((len(images), self.views, self.size, self.size, 3), np.uint8)
        for image, out in zip(images, shown, strict=True):
            shifted_views(image, out)
        return self._smaller(shown.reshape(-1, self.size, self.size, 3)).reshape(len(images), *self.shape)

    def encode_centre(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, SIDE, SIDE, 3) uint8 of the pictures as they are."""
        self._check(images)
        return self._smaller(images)

    @staticmethod
    def dequantise(features: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the convolutions read: colours between -0.5 and 0.5."""
        return features.astype(np.float32) / np.float32(255.0) - np.float32(0.5)

    def _smaller(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        cell = self.size // SIDE
        if cell == 1:
            return images.copy()
        cells = images.reshape(len(images), SIDE, cell, SIDE, cell, 3)
        return np.rint(cells.mean((2, 4), dtype=np.float32)).astype(np.uint8)

    def _check(self, images: NDArray[np.uint8]) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (self.size, self.size, 3):
            raise EncoderError(
                f"obs.encoder={RAW} reads (N, {self.size}, {self.size}, 3) uint8 pictures, got {images.shape} "
                f"{images.dtype}; set robot.image_size to what the cameras give"
            )
