"""Commands that reach the control law late, and readings that are old when they are given out, counted in ticks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from robot_rl.robot import Vector


class Lateness:
    """What is on its way to the control law, and what holds until it arrives.

    Args:
        action_ticks: How many physics ticks a command takes to arrive.
        observation_ticks: How many ticks old a reading is at the end of its control period.
    """

    def __init__(self, action_ticks: int = 0, observation_ticks: int = 0) -> None:
        self.action_ticks, self.observation_ticks = action_ticks, observation_ticks
        self._coming: deque[tuple[int, Vector, float]] = deque()
        self._now = 0
        self._goal, self._finger_m = np.zeros(7), 0.0

    def begin(self, pose: Vector, finger_m: float) -> None:
        """Forget what was on its way; until the first command arrives, a pose (7,) in B and an opening hold."""
        self._coming.clear()
        self._now = 0
        self._goal, self._finger_m = pose.copy(), finger_m

    def tell(self, p: Vector, quat: Vector, finger_m: float) -> None:
        """Send a command: a tool pose in B and the wanted position of each finger [m]."""
        self._coming.append((self._now + self.action_ticks, np.concatenate([p, quat]), finger_m))

    def pass_by(self, ticks: int) -> Iterator[tuple[Vector, float, int]]:
        """Let ticks pass; yield each stretch of them with the pose (7,) and finger position that hold in it."""
        end = self._now + ticks
        while self._coming and self._coming[0][0] < end:
            due, goal, finger_m = self._coming.popleft()
            if due > self._now:
                yield self._goal, self._finger_m, due - self._now
            self._now, self._goal, self._finger_m = max(due, self._now), goal, finger_m
        if end > self._now:
            yield self._goal, self._finger_m, end - self._now
            self._now = end
