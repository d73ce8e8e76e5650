"""From a camera's whole picture to the square that the policy sees."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CameraError, MissingDependency
from robot_rl_hardware.cameras.protocol import Picture
from robot_rl_hardware.cameras.settings import CameraSettings

Pixel = TypeVar("Pixel", bound=np.generic)


def load_cv2(needed_for: str) -> Any:
    """Return OpenCV; raises `MissingDependency` if it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise MissingDependency(f"OpenCV ({error})", needed_for, 'pip install "robot-rl[camera]"') from error
    return cv2


def square_of(settings: CameraSettings, height: int, width: int) -> tuple[int, int, int]:
    """Return x, y and side of the square that the policy sees in a turned picture of this size.

    Raises:
        CameraError: The crop does not lie within the picture.
    """
    if settings.crop is None:
        side = min(height, width)
        return (width - side) // 2, (height - side) // 2, side
    x, y, side, _ = settings.crop
    if x + side > width or y + side > height:
        raise CameraError(
            f"the crop {list(settings.crop)} (x, y, width, height) does not fit into a picture of {width}x{height} "
            "pixels; draw it anew with: robot-rl camera NAME"
        )
    return x, y, side


def turned(image: NDArray[Pixel], degrees: int) -> NDArray[Pixel]:
    """Return a picture turned anticlockwise by a multiple of 90 degrees; itself for 0."""
    return image if degrees == 0 else np.ascontiguousarray(np.rot90(image, degrees // 90))


def policy_picture(image: Picture, settings: CameraSettings) -> Picture:
    """Return (size, size, 3): the crop of a turned picture, each pixel the mean of the area that it covers.

    A crop of that very size is copied as it is, so a twin that draws in this size needs no OpenCV.
    """
    x, y, side = square_of(settings, *image.shape[:2])
    cut = image[y : y + side, x : x + side]
    size = settings.size
    if side == size:
        return np.ascontiguousarray(cut)
    cv2 = load_cv2("resizing a camera's picture")
    return cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)
