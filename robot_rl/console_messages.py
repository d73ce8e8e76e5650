"""What crosses between a running session and its viewers: plain values and pictures, encoded by `robot_rl.wire`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleStep:
    """Where a session stands after a control period. Each says all that counts, so any may be lost.

    Attributes:
        session: What is being done: "train", "record", "eval".
        stamp_s: Monotonic time of this machine at which it was told.
        episode: Number of the episode.
        step, max_steps: Steps taken in it, and how many end it; 0 where nothing limits them.
        period_s: Control period, in seconds of the robot's time.
        running: Whether the episode goes on; False from its end until the next one begins.
        paused: Whether a person has asked to wait.
        source: Who acted: "policy", "human" or "demo".
        policy_version: Critic updates behind the weights that acted; -1 where none did.
        reward, returned: Of the newest step, and their sum over the episode so far.
        success: Whether the newest step succeeded.
        reason: Why the episode ended.
        verdicts: One letter for each of the last episodes, newest last: s for success, f for failure, d for neither,
            because it was discarded, or cut by a pause or a stop.
        episodes, successes: How many the session has finished, without those that count as neither.
        events: The guard's rules that spoke since the last message.
        guard: How often each did in this session.
        scalars: Numbers by name that are worth a curve.
        note: What the operator's device says of itself.
    """

    session: str
    stamp_s: float
    episode: int
    step: int
    max_steps: int
    period_s: float
    running: bool
    paused: bool
    source: str
    policy_version: int
    reward: float
    returned: float
    success: bool
    reason: str
    verdicts: str
    episodes: int
    successes: int
    events: Sequence[str]
    guard: Mapping[str, int]
    scalars: Mapping[str, float]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePictures:
    """What the policy saw before it acts next.

    Attributes:
        images: (H, W, 3) uint8 RGB by camera.
    """

    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePress:
    """A button that a person pressed in a view, and what they saw as they did.

    Attributes:
        button: One of `robot_rl.operator.BUTTONS`.
        stamp_s: Monotonic time of this machine.
        episode, paused: As the view showed them: a word on one episode must not fall on the next, and of two people
            who pause at once the second must not let the robot go on.
    """

    button: str
    stamp_s: float
    episode: int
    paused: bool
