"""What goes wrong, as far as readings tell: an object that slipped, a tool that does not move, a task that is stuck."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robot_rl.practice.graph import MotionConfig, TroubleConfig
from robot_rl.robot import RobotState, Vector

Kind = Literal["stopped", "blocked", "lost", "stuck", "misplaced"]
GRIPPED_STEPS = 2  # fingers close around something for so many readings until it counts as held
ASKED = 0.1  # less of a step than this is not asking the tool to move


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why the next episode cannot begin.

    Attributes:
        kind: "stopped" (the guard holds the arm), "blocked" (the arm does not reach its start), "lost" (no motion can
            bring an object back), "stuck" (a node fails again and again), "misplaced" (no node may begin).
        text: In words, for a person.
    """

    kind: Kind
    text: str


class EpisodeWatch:
    """Watches one episode, step by step.

    Args:
        trouble, motion: When the tool counts as stalled, and when the fingers hold something.
        period_s: Control period.

    Attributes:
        dropped: How often something was held and slipped out of fingers that were told to stay closed.
        stalled: Whether the tool was told to move for too long without moving.
    """

    def __init__(self, trouble: TroubleConfig, motion: MotionConfig, period_s: float) -> None:
        self._stall_m, self._held_m = trouble.stall_m, motion.held_m
        self._window = max(round(trouble.stall_s / period_s), 1)
        self._places: deque[Vector] = deque(maxlen=self._window + 1)
        self.dropped, self.stalled = 0, False
        self._gripped = 0
        self._width_m = float("inf")

    def step(self, state: RobotState, asked: float) -> None:
        """Take in a reading.

        Args:
            state: After the step.
            asked: Length of the translation in the executed action, in full steps.
        """
        closed = state.gripper_closing
        resting = abs(state.gripper_width_m - self._width_m) < 0.001
        self._width_m = state.gripper_width_m
        if closed and resting and state.gripper_width_m > self._held_m:
            self._gripped += 1
        else:
            slipped = closed and state.gripper_width_m <= self._held_m and self._gripped >= GRIPPED_STEPS
            self.dropped += slipped
            if slipped or not closed:
                self._gripped = 0
        if asked < ASKED:
            self._places.clear()
        self._places.append(np.array(state.p_BE))
        if len(self._places) > self._window:
            spread = np.ptp(np.array(self._places), axis=0)
            self.stalled = bool(np.linalg.norm(spread) < self._stall_m)


class StuckWatch:
    """Counts failures in a row at each node during which nothing moved.

    Args:
        config: How many are too many, and what counts as moved.
    """

    def __init__(self, config: TroubleConfig) -> None:
        self._config = config
        self._failures: Counter[str] = Counter()
        self._places: dict[str, dict[str, Vector]] = {}

    def ended(self, node: str, success: bool, objects: Mapping[str, Vector]) -> None:
        """Take in the end of an episode.

        Args:
            node: Which was practised.
            success: Whether it succeeded.
            objects: (7,) pose of each object that the rig measures; without any, failures alone count.
        """
        before = self._places.get(node)
        moved = before is not None and any(
            name not in before or np.linalg.norm(pose[:3] - before[name][:3]) > self._config.stuck_m
            for name, pose in objects.items()
        )
        if success or moved or before is None:
            self._places[node] = {name: np.array(pose) for name, pose in objects.items()}
            self._failures[node] = 0
        self._failures[node] += not success

    def trouble(self, node: str) -> Trouble | None:
        """Return whether a node is stuck."""
        failures = self._failures[node]
        if failures < self._config.stuck_episodes:
            return None
        return Trouble(kind="stuck", text=f"{node} failed {failures} times in a row, and nothing has moved meanwhile")

    def forget(self) -> None:
        """Begin to count anew: the scene was changed."""
        self._failures.clear()
        self._places.clear()
