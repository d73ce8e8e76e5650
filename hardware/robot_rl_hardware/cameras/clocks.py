"""From the clocks of devices to `time.monotonic()`, which every age is judged by."""

from __future__ import annotations

import time
from collections import deque

_PLAUSIBLE_S = 1.0
"""A frame that seems to come from the future, or to be older than this on arrival, tells of a clock that jumped."""


def monotonic_from_wall(wall_s: float, *, now_s: float | None = None, now_wall_s: float | None = None) -> float:
    """Return the monotonic time of a moment that a device named in this machine's wall time.

    Both clocks are read at once, here, so a wall clock that jumped hours ago does no harm. One that jumps between
    exposure and this call gives an absurd age; then the moment of arrival is taken.
    """
    now = time.monotonic() if now_s is None else now_s
    age = (time.time() if now_wall_s is None else now_wall_s) - wall_s
    return now - age if 0.0 <= age <= _PLAUSIBLE_S else now


def monotonic_from_monotonic(stamp_s: float, now_s: float) -> float:
    """Return a stamp that a kernel driver gave in monotonic time, or now if it is none: some give other clocks."""
    return stamp_s if 0.0 <= now_s - stamp_s <= _PLAUSIBLE_S else now_s


class DeviceClock:
    """Follows a clock that began at an unknown moment and runs at nearly the right speed: a camera's own.

    Transport delays a frame by a varying time, never by less than none, so the smallest difference of arrival and
    stamp over the last minute is the best offset. What remains is the constant part of the delay.

    Args:
        window: How many frames to look back.
    """

    def __init__(self, window: int = 1800) -> None:
        self._window = window
        self._smallest: deque[tuple[int, float]] = deque()  # rising offsets, the smallest of the window first
        self._count = 0
        self._last_s = float("-inf")

    def monotonic(self, device_s: float, arrival_s: float) -> float:
        """Return the monotonic time of a device's stamp that arrived at a monotonic time."""
        if device_s < self._last_s:  # the device began anew
            self._smallest.clear()
        self._last_s = device_s
        offset = arrival_s - device_s
        while self._smallest and self._smallest[-1][1] >= offset:
            self._smallest.pop()
        self._smallest.append((self._count, offset))
        if self._smallest[0][0] <= self._count - self._window:
            self._smallest.popleft()
        self._count += 1
        return device_s + self._smallest[0][1]
