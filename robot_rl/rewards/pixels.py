"""A trunk without a network: the picture's mean colour on a coarse grid, for machines without torch and for tests.

It knows no shapes, but where the camera stands still and the object has a colour of its own that is often enough. It
has the same interface as the pretrained trunks of `robot_rl.encoders`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError
from robot_rl.specs import FeatureField

VERSION = 1  # of what it computes
SHIFTS = ((0, 0), (-4, -3), (3, -4), (-3, 4), (4, 3))
"""Pixels by which each view is moved (down, right): the picture itself first."""


class PixelEncoder:
    """Mean colours of a `grid` by `grid` raster.

    Args:
        size: Height and width of the pictures; a multiple of `grid`.
        views: How many shifted views, the unshifted one first; at most 5.
        grid: Cells along each side.
    """

    name = "pixels"

    def __init__(self, size: int = 128, views: int = 5, grid: int = 16) -> None:
        if size % grid or not 1 <= views <= len(SHIFTS):
            raise ConfigError(
                f"the encoder 'pixels' takes pictures whose size is a multiple of {grid} and 1 to {len(SHIFTS)} views, "
                f"got size {size} and {views} views"
            )
        self.size, self.views, self.grid = size, views, grid
        self.scale, self.offset = np.full(3, 1 / 64, np.float32), np.full(3, -127.5 / 64, np.float32)

    @property
    def field(self) -> FeatureField:
        """Return what is kept of a picture."""
        return FeatureField(
            views=self.views, height=self.grid, width=self.grid, channels=3, encoder=f"{self.name}/{VERSION}"
        )

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, views, grid, grid, 3) uint8 of (N, size, size, 3) uint8 pictures."""
        if images.ndim != 4 or images.shape[1:] != (self.size, self.size, 3) or images.dtype != np.uint8:
            raise ConfigError(
                f"the encoder 'pixels' was made for (N, {self.size}, {self.size}, 3) uint8, got {images.shape} "
                f"{images.dtype}"
            )
        cell, most = self.size // self.grid, max(abs(s) for shift in SHIFTS for s in shift)
        padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
        out = np.empty((len(images), *self.field.shape), np.uint8)
        for view, (down, right) in enumerate(SHIFTS[: self.views]):
            moved = padded[:, most - down :, most - right :][:, : self.size, : self.size]
            cells = moved.reshape(len(images), self.grid, cell, self.grid, cell, 3)
            out[:, view] = np.rint(cells.mean((2, 4))).astype(np.uint8)
        return out

    def encode_centre(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, grid, grid, 3) uint8 of the pictures as they are."""
        return PixelEncoder(self.size, 1, self.grid).encode(images)[:, 0]

    def dequantise(self, features: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 of about unit variance."""
        return features.astype(np.float32) * self.scale + self.offset
