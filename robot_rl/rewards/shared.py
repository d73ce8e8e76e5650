"""One encoder for the policy and the classifier: a picture that both look at is encoded once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.rewards.features import FrameEncoder
from robot_rl.specs import FeatureField

KEPT = 16  # pictures: those of two steps of eight cameras


class RememberingEncoder:
    """An encoder that remembers what it made of the newest pictures, by their content.

    Args:
        inner: Does the work, picture by picture, so that what comes out never depends on who asked first.
        whole: Asked whether all views will be wanted of a picture whose centre is asked for now.
    """

    def __init__(self, inner: FrameEncoder, whole: Callable[[], bool] = lambda: False) -> None:
        self._inner, self.whole = inner, whole
        self._views: OrderedDict[bytes, NDArray[np.uint8]] = OrderedDict()
        self._centres: OrderedDict[bytes, NDArray[np.uint8]] = OrderedDict()
        self.encoded = 0  # pictures that went through the trunk

    def __getattr__(self, name: str) -> Any:
        """Everything else is the encoder's own: shape, views, trunk."""
        return getattr(self._inner, name)

    @property
    def field(self) -> FeatureField:
        """Return what is kept of a picture."""
        return self._inner.field

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, views, h, w, C) uint8 of (N, H, W, 3) uint8 pictures."""
        return np.stack([self._remembered(self._views, image, self._inner.encode) for image in images])

    def encode_centre(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N, h, w, C) uint8 of the pictures as they are."""
        return np.stack([self._centre(image) for image in images])

    def dequantise(self, features: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features as float32 of about unit variance."""
        return self._inner.dequantise(features)

    def centre(self, camera: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (h, w, C) uint8 of an (H, W, 3) uint8 picture as it is."""
        del camera
        return self._centre(image)

    def _centre(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if _key(image) in self._views or self.whole():
            return self._remembered(self._views, image, self._inner.encode)[0]
        return self._remembered(self._centres, image, self._inner.encode_centre)

    def _remembered(
        self, kept: OrderedDict[bytes, NDArray[np.uint8]], image: NDArray[np.uint8],
        make: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    ) -> NDArray[np.uint8]:  # fmt: skip
        key = _key(image)
        if key not in kept:
            kept[key] = make(image[None])[0]
            self.encoded += 1
            if len(kept) > KEPT:
                kept.popitem(last=False)
        return kept[key]


def _key(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
