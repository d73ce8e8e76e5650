"""`AssistedEnv`: an environment with a person beside it. The one place where a person and a policy meet.

Recording, training and evaluating step through it. It asks the operator once in each control period, plays the person's
action in the place of the policy's, and turns buttons into the end of an episode. What watches (a browser, a recorder)
is told of each step, and may press buttons too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.env import RobotEnv
from robot_rl.episodes.facts import Verdict
from robot_rl.errors import RobotError
from robot_rl.operator import NOBODY, Button, Operator, OperatorInput
from robot_rl.robot import RobotState
from robot_rl.task import Task

log = logging.getLogger(__name__)

SUCCESS_REWARD = 1.0
STOPPED = "the operator stopped the robot"
PAUSED = "paused by the operator"
_SAID: dict[Verdict, str] = {
    "discard": "discarded by the operator",
    "failure": "the operator said failure",
    "success": "the operator said success",
}
"""In the order in which they win when several are pressed in one period: the more careful word first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeen:
    """One control period as it is shown to a watcher.

    Attributes:
        observation: After the step.
        requested: (A,) action that was to be played, the person's or the policy's.
        executed: (A,) action after the guard.
        reward, terminated, truncated, info: As `AssistedEnv.step` returns them.
        source: Who acted.
        policy_version: Of the weights that acted, or would have.
        value: What the learner's critics expect from here, if somebody computed it; else nan.
    """

    observation: Any
    requested: NDArray[np.float32]
    executed: NDArray[np.float32]
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any] = field(default_factory=dict)
    source: Literal["policy", "human"] = "policy"
    policy_version: int = 0
    value: float = float("nan")


class Watcher(Protocol):
    """Something that is shown every episode and step, and where buttons may be pressed too. It never waits."""

    def reset(self, observation: Any, facts: Mapping[str, Any]) -> None:
        """See an episode begin; the facts are the loop's own, such as its number and seed."""
        ...

    def step(self, seen: StepSeen) -> None:
        """See a step."""
        ...

    def buttons(self) -> tuple[Button, ...]:
        """Return what was pressed since the last call; it counts as the operator's."""
        ...

    def close(self) -> None:
        """Stop watching. Safe to call twice."""
        ...


class Nobody:
    """The operator of a run that nobody helps.

    Args:
        task: As for every operator; not needed here.
    """

    def __init__(self, task: Task | None = None) -> None:
        del task

    def connect(self) -> None:
        """There is no device."""

    def begin(self, seed: int) -> None:
        """There is nothing to forget."""

    def read(self, state: RobotState) -> OperatorInput:
        """Nobody acts."""
        return NOBODY

    def close(self) -> None:
        """There is no device."""


class AssistedEnv:
    """A `RobotEnv` and the person beside it.

    Args:
        env: The environment.
        operator: The person.
        watchers: What is shown every step.

    Attributes:
        paused: Whether the operator wants to wait: loops call `poll` until it is False, and begin no episode.
        attended: Whether there is anybody or anything that can act or speak here; False only for `Nobody` unwatched.
    """

    def __init__(self, env: RobotEnv, operator: Operator | None = None, watchers: Sequence[Watcher] = ()) -> None:
        self.env, self.operator, self.watchers = env, Nobody() if operator is None else operator, tuple(watchers)
        self.attended = not isinstance(self.operator, Nobody) or bool(self.watchers)
        self.paused = False
        self.note = ""
        self._connected = False
        self._stopped = ""  # latched here where the robot itself has nothing to latch
        self._seed, self._begun = 0, 0

    @property
    def real_time(self) -> bool:
        """Whether time passes for the robot by itself."""
        return self.env.real_time

    @property
    def robot_state(self) -> RobotState:
        """The reading that the last observation was made of."""
        return self.env.robot_state

    def connect(self) -> None:
        """Open the robot and the operator's device, unless that is done."""
        self.env.connect()
        if not self._connected:
            self.operator.connect()
            self._connected = True

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None, *, facts: Mapping[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Of the start; None goes on drawing, as in `RobotEnv`.
            options: Of the environment.
            facts: What watchers are told of the episode.

        Raises:
            RobotError: The robot refuses, or was stopped here and cannot tell when a person has looked at the cell.
        """
        if self._stopped:
            raise RobotError(self._stopped)
        self.connect()
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._seed, self._begun = seed, 0
        # A start that is drawn on still gives a scripted operator a seed of its own.
        self.operator.begin(int(np.random.SeedSequence([self._seed, self._begun]).generate_state(1)[0]))
        self._begun += 1
        for watcher in self.watchers:
            watcher.reset(self.env.shown(observation), {"seed": seed, **(facts or {})})
        return observation, info

    def step(
        self, proposed: NDArray[np.floating], *, policy_version: int = 0, value: float = float("nan")
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Let the person act, or else the policy, for one control period.

        Args:
            proposed: (A,) the policy's action.
            policy_version, value: For watchers, see `StepSeen`.

        Returns:
            As `RobotEnv.step`; info gains "source" ("policy" or "human"), "requested_action", "verdict" ("", "success",
            "failure" or "discard", the operator's word) and "operator_note".
        """
        asked = self._ask()
        source: Literal["policy", "human"] = "policy" if asked.action is None else "human"
        requested = np.asarray(proposed if asked.action is None else asked.action, np.float32)
        if "stop" in asked.buttons:
            self.stop(STOPPED)  # before the step: the guard then refuses this period's motion already
        observation, reward, terminated, truncated, info = self.env.step(requested)
        said: tuple[Verdict, ...] = tuple(v for v in _SAID if v in asked.buttons)
        verdict: Verdict = said[0] if said else ""
        if verdict in ("success", "failure"):
            terminated, truncated = True, False
            reward = max(reward, SUCCESS_REWARD) if verdict == "success" else 0.0 if info["success"] else reward
            info["success"], info["reason"] = verdict == "success", _SAID[verdict]
        elif "stop" in asked.buttons or verdict == "discard" or self.paused:
            if not terminated:
                truncated = True
                info["reason"] = _SAID.get(verdict) or (STOPPED if "stop" in asked.buttons else PAUSED)
            elif verdict == "discard":
                terminated, truncated, info["reason"] = False, True, _SAID["discard"]
        info.update(source=source, requested_action=requested, verdict=verdict, operator_note=asked.note)
        self._show(observation, requested, reward, terminated, truncated, info, source, policy_version, value)
        return observation, reward, terminated, truncated, info

    def poll(self) -> OperatorInput:
        """Ask the operator between episodes, and heed "pause" and "stop". Never waits; loops call it while `paused`."""
        if not self._begun:
            return NOBODY  # there is no reading yet
        asked = self._ask()
        if "stop" in asked.buttons:
            self.stop(STOPPED)
        return asked

    def stop(self, reason: str) -> None:
        """End the robot's motion now; it stays ended until a person has acknowledged it."""
        if not self.env.stop(reason):
            self._stopped = (
                f"{reason}. This robot has no stop of its own, so nothing moves it again from here: look at the cell, "
                "then start this program again"
            )
            log.warning("%s", self._stopped)

    def close(self) -> None:
        """Let go of the operator's device, end what watches, and release the robot."""
        try:
            for watcher in self.watchers:
                watcher.close()
            self.operator.close()
            self._connected = False
        finally:
            self.env.close()

    def _ask(self) -> OperatorInput:
        asked = self.operator.read(self.env.robot_state)
        if asked.action is not None and not np.isfinite(asked.action).all():
            asked = OperatorInput(buttons=asked.buttons, note="the device sent no finite numbers and counts as let go")
        more: list[Button] = [button for watcher in self.watchers for button in watcher.buttons()]
        if more:
            asked = OperatorInput(action=asked.action, buttons=asked.buttons + tuple(more), note=asked.note)
        for button in asked.buttons:
            if button == "pause":
                self.paused = not self.paused
        if asked.note and asked.note != self.note:
            log.warning("%s", asked.note)
        self.note = asked.note
        return asked

    def _show(
        self, observation: Any, requested: NDArray[np.float32], reward: float, terminated: bool, truncated: bool,
        info: Mapping[str, Any], source: Literal["policy", "human"], policy_version: int, value: float,
    ) -> None:  # fmt: skip
        if not self.watchers:
            return
        seen = StepSeen(
            observation=self.env.shown(observation), requested=requested, executed=info["executed_action"],
            reward=float(reward), terminated=terminated, truncated=truncated, info=info, source=source,
            policy_version=policy_version, value=value,
        )  # fmt: skip
        for watcher in self.watchers:
            watcher.step(seen)


def assisted(env: RobotEnv | AssistedEnv) -> AssistedEnv:
    """Return the environment with a person beside it: itself, or one that nobody helps."""
    return env if isinstance(env, AssistedEnv) else AssistedEnv(env)
