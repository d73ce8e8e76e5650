"""A scripted operator: the task's expert at the shoulder of the policy, for tests and benchmarks of human help.

It takes over in segments, helps more or less well, and repeats exactly for a seed. Nothing here replaces a person in a
claim about people: it says how often, how long and how well it helped, and that is all it is.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError
from robot_rl.operator import NOBODY, OperatorInput
from robot_rl.robot import RobotState
from robot_rl.task import Expert, Task
from robot_rl.typed import Target


class ScriptedOperator:
    """Takes over from the policy for segments of random length, in a part of the episodes.

    Args:
        task: Whose expert acts; it needs one (`task.expert`).
        expert: How the expert moves: speed, noise, pauses.
        episodes: Share of the episodes in which it helps at all. The others are autonomous.
        when: "share" helps in a set share of the steps, wherever they fall; "stuck" only while the tool does not get
            on.
        share: With "share", the expected share of the steps of a helped episode in which it acts.
        segment_steps: Mean length of a segment.
        useless: Chance that a segment leads nowhere: it pushes steadily in a random direction.
        patience_steps: It takes over no earlier than this into an episode; the policy explores first. With "share" the
            share counts from there.
        stuck_steps, stuck_m: With "stuck": the tool stayed within this distance for that many steps.
        until_episode: It helps in no later episode of its own; 0 never tapers off.
        seed: Of its own choices, beside the episode's.
    """

    def __init__(
        self,
        task: Task,
        expert: Target,
        episodes: float = 1.0,
        when: Literal["share", "stuck"] = "share",
        share: float = 0.2,
        segment_steps: float = 10.0,
        useless: float = 0.0,
        patience_steps: int = 0,
        stuck_steps: int = 15,
        stuck_m: float = 0.004,
        until_episode: int = 0,
        seed: int = 0,
    ) -> None:
        for name, value in (("episodes", episodes), ("useless", useless)):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"operator.{name} is {value}; it must lie in 0 to 1")
        if not 0.0 <= share <= 1.0:
            raise ConfigError(f"operator.share is {share}; it must lie in 0 to 1")
        if not segment_steps >= 1.0:
            raise ConfigError(f"operator.segment_steps is {segment_steps}; it must be at least 1")
        for name, value in (("patience_steps", patience_steps), ("until_episode", until_episode), ("seed", seed)):
            if value < 0:
                raise ConfigError(f"operator.{name} is {value}; it must not be negative")
        if stuck_steps < 1 or not stuck_m > 0.0:
            raise ConfigError(
                f"operator.stuck_steps is {stuck_steps} and stuck_m {stuck_m}; at least 1 step and more than 0 m"
            )
        if not hasattr(task, "expert"):
            raise ConfigError(
                f"the task {task.name} has no scripted expert (task.expert), so operator=scripted cannot help in it; "
                "use a device, or operator=none"
            )
        self._expert: Expert = task.expert(expert.make())  # pyright: ignore[reportAttributeAccessIssue]
        self._size = task.action_spec.size
        self._episodes, self._when, self._share = episodes, when, share
        self._end = 1.0 / segment_steps  # chance that a segment ends after a step
        # And that one starts, so that the share comes out; with all of it there is no end to the first.
        self._start = share * self._end / (1.0 - share) if share < 1.0 else 1.0
        self._end = self._end if share < 1.0 else 0.0
        self._useless, self._patience, self._until, self._seed = useless, patience_steps, until_episode, seed
        self._stuck_m = stuck_m
        self._seen: deque[NDArray[np.float64]] = deque(maxlen=stuck_steps + 1)
        self._begun = 0
        self._begin(np.random.default_rng(seed))

    def connect(self) -> None:
        """There is no device."""

    def begin(self, seed: int) -> None:
        """Choose whether to help in this episode."""
        self._begun += 1
        self._begin(np.random.default_rng([seed, self._seed]))
        if self._until and self._begun > self._until:
            self._helps = False

    def _begin(self, rng: np.random.Generator) -> None:
        self._rng, self._step = rng, 0
        self._helps = bool(rng.random() < self._episodes)
        self._acting = False
        self._push: NDArray[np.float32] | None = None
        self._seen.clear()
        self._expert.reset(np.random.default_rng(int(rng.integers(2**63))))

    def read(self, state: RobotState) -> OperatorInput:
        """Return the expert's action while it has taken over."""
        action = np.asarray(self._expert.action(state), np.float32)  # it looks on all the time, and so knows its stage
        self._seen.append(state.p_BE)
        step, self._step = self._step, self._step + 1
        if not self._helps or step < self._patience:
            return NOBODY
        if self._acting:
            self._acting = bool(self._rng.random() >= self._end)
        elif self._starts(first=step == self._patience):
            self._acting = True
            self._push = self._direction() if self._rng.random() < self._useless else None
        if not self._acting:
            return NOBODY
        return OperatorInput(action=action if self._push is None else self._push.copy())

    def _starts(self, first: bool) -> bool:
        if self._when == "share":  # it may begin with one, as often as it would be in one later on
            return bool(self._rng.random() < (self._share if first else self._start))
        if len(self._seen) < (self._seen.maxlen or 0):
            return False
        stuck = float(np.linalg.norm(np.array(self._seen) - self._seen[-1], axis=1).max()) < self._stuck_m
        if stuck:
            self._seen.clear()  # after this segment it looks anew
        return stuck

    def _direction(self) -> NDArray[np.float32]:
        push = np.zeros(self._size, np.float32)
        way = self._rng.normal(size=3)
        push[:3] = 0.5 * way / max(float(np.linalg.norm(way)), 1e-9)
        return push

    def close(self) -> None:
        """There is no device."""
