"""The types that cross a process boundary or are written to disk: numpy arrays and plain values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Source = Literal["policy", "human", "demo"]
SOURCES: tuple[Source, ...] = ("policy", "human", "demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBlock:
    """Consecutive steps of one episode: n steps, each frame once.

    A block that does not end the episode leaves its last step waiting for the next observation, which is the first
    state of the next block of the same episode. A block that ends it carries the final observation.

    Attributes:
        episode: Number of the episode, unique and rising within one actor session.
        start: Index of the block's first step within its episode.
        states: (n, S) float32 observation before each action.
        images: per camera (n, H, W, 3) uint8 before each action, or (n, views, h, w, channels) features of it.
        actions: (n, A) float32 executed action in [-1, 1].
        rewards: (n,) float32.
        sources: (n,) uint8 index into `SOURCES`: who acted.
        policy_versions: (n,) int64 version of the weights that acted (or would have).
        ended: Whether the episode ends with this block's last step.
        terminated: The task ended it (success or failure): no bootstrap. False for a time limit.
        final_state: (S,) float32 observation after the last step if ended, else empty (0,).
        final_images: per camera one of these, after the last step if ended.
        info: Episode statistics if ended: success, steps, return, reason, guard events, times.
    """

    episode: int
    start: int
    states: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    sources: NDArray[np.uint8]
    policy_versions: NDArray[np.int64]
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    ended: bool = False
    terminated: bool = False
    final_state: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    final_images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    info: Mapping[str, float | int | str | bool] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """How many steps the block holds."""
        return len(self.rewards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Weights of the acting policy alone, with their version (number of critic updates so far)."""

    version: int
    weights: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerStatus:
    """What the learner tells its actors with every acknowledgement.

    Attributes:
        env_steps: Steps received in total, over all actors and restarts.
        updates: Critic updates done.
        steps_allowed: Total env steps up to which the actors may go before they must wait for updates.
        finished: The run is complete; actors stop.
        policy_version: Newest published version.
    """

    env_steps: int
    updates: int
    steps_allowed: int
    finished: bool = False
    policy_version: int = 0
