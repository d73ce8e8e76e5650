"""Pictures for a browser: coded once, however many look."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import MissingDependency
from robot_rl.view.feed import Feed

QUALITY = 85
_SHOWN_PIXELS = 1280


class Coder:
    """Turns the newest pictures of a feed into JPEG, in a thread, so that the server goes on answering.

    Raises:
        MissingDependency: OpenCV is not installed.
    """

    def __init__(self, feed: Feed) -> None:
        try:
            import cv2
        except ImportError as e:
            raise MissingDependency("opencv", "the view's pictures", 'pip install "robot-rl[camera]"') from e
        self._cv2: Any = cv2
        self._feed = feed
        self._coded: tuple[int, list[tuple[str, bytes]]] = (0, [])
        self._lock = asyncio.Lock()

    async def newest(self) -> tuple[int, list[tuple[str, bytes]]]:
        """Return the number of the newest pictures, and name and JPEG of each."""
        async with self._lock:
            number, images = self._feed.pictures, self._feed.images
            if number != self._coded[0] or len(images) != len(self._coded[1]):
                self._coded = number, await asyncio.to_thread(self._code, images)
            return self._coded

    def _code(self, images: dict[str, NDArray[np.uint8]]) -> list[tuple[str, bytes]]:
        cv2, out = self._cv2, list[tuple[str, bytes]]()
        for name, image in images.items():
            shown = image[..., ::-1]
            if max(shown.shape[:2]) > _SHOWN_PIXELS:
                scale = _SHOWN_PIXELS / max(shown.shape[:2])
                shown = cv2.resize(np.ascontiguousarray(shown), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            ok, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if ok:
                out.append((name, data.tobytes()))
        return out
