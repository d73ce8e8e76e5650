"""Shifted views of a picture: DrQ's augmentation, made once, when the picture arrives."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

MAX_SHIFT = 4
"""Pixels by which a view is shifted at most on each axis, as in DrQ."""
SHIFTS = (2 * MAX_SHIFT + 1) ** 2 - 1
"""How many ways there are to shift a view."""
MOST_VIEWS = SHIFTS + 1


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
