"""Labelled pictures collected live: somebody acts, and says with one key what is to be seen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from robot_rl.assisted import AssistedEnv
from robot_rl.errors import ConfigError, RobotError
from robot_rl.patience import begin_episode
from robot_rl.record import Hold
from robot_rl.rewards.labels import LabelledSet
from robot_rl.timing import LoopTimer

FIRST_SEED = 2**43  # beyond those of practice, demonstrations and evaluation
POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """What is collected.

    Attributes:
        successes, failures: Frames of each label that the set shall hold at the end.
        every: One frame in this many control periods is kept; neighbours look alike.
        labels: "keys" are the person's success and failure buttons: each holds until the next; an episode begins with
            failure. "truth" takes what a twin knows.
        most: Frames of each label that one episode may give, so that a set has many episodes.
        paced: Whether a robot in lock-step is slowed down to its own time, as a person needs it.
        seed: Of the starts.
        mark_s: A frame this soon after a press is left out: nobody presses in the very period.
    """

    successes: int = 200
    failures: int = 1000
    every: int = 2
    labels: Literal["keys", "truth"] = "keys"
    most: int = 40
    paced: bool = False
    seed: int = 0
    mark_s: float = 0.2

    def __post_init__(self) -> None:
        for name, least in (("successes", 0), ("failures", 0), ("every", 1), ("most", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.labels not in ("keys", "truth"):
            raise ConfigError(f"labels is '{self.labels}'; allowed: keys, truth")


@dataclass(slots=True)
class Collected:
    """How far it is: frames of each label and what is wanted, the label now, episodes, seconds left."""

    successes: int = 0
    failures: int = 0
    label: int = 0
    episodes: int = 0
    left_s: float = math.nan
    note: str = ""


class Collecting:
    """Runs episodes that nothing but the clock, the person or the guard ends, and keeps frames of them.

    Args:
        frames: Where to; opened for writing.
        env: Made with `verdicts_end=False`, and with a judge that ends nothing (`judges.HumanJudge`).
        config: Settings.
        stopping: Asked often whether to stop.
        show: Told how far it is, each step.
    """

    def __init__(
        self, frames: LabelledSet, env: AssistedEnv, config: CollectConfig, stopping: Callable[[], bool],
        show: Callable[[Collected], None] = lambda so_far: None,
    ) -> None:  # fmt: skip
        self._frames, self._env, self._config, self._stopping, self._show = frames, env, config, stopping, show
        self._hold = Hold(env.env.task.action_spec)
        self._timer = LoopTimer(env.env.period_s)
        self.so_far = Collected(
            frames.count(1), frames.count(0), episodes=len([e for e in frames.episodes() if e.startswith("live-")])
        )
        self._dry = 0

    @property
    def complete(self) -> bool:
        """Whether there are enough frames of both labels."""
        return self.so_far.successes >= self._config.successes and self.so_far.failures >= self._config.failures

    def run(self) -> bool:
        """Collect, and return whether there is enough; False when it was ended before.

        Raises:
            RobotError: The device or the robot is gone, or the twin's truth is asked for where there is none.
            ConfigError: Episode after episode gives nothing that is still wanted.
            StorageError: The disk does not take a frame; what was kept before is whole.
        """
        began_s, first = time.monotonic(), self.so_far.successes + self.so_far.failures
        wanted = self._config.successes + self._config.failures
        while not self.complete and not self._stopping():
            while self._env.paused and not self._stopping():
                self._env.poll()
                time.sleep(POLL_S)
            had = self.so_far.successes + self.so_far.failures
            self._episode()
            have = self.so_far.successes + self.so_far.failures
            self._dry = self._dry + 1 if have == had else 0
            if self._dry >= 30:
                raise ConfigError(
                    f"30 episodes gave no frame that is still wanted: there are {self.so_far.successes} of "
                    f"{self._config.successes} successes and {self.so_far.failures} of {self._config.failures} "
                    "failures; "
                    "ask for fewer, or let the operator succeed more often"
                )
            if have > first:
                self.so_far.left_s = (time.monotonic() - began_s) / (have - first) * max(wanted - have, 0)
        return self.complete

    def _episode(self) -> None:
        env, config, so_far = self._env, self._config, self.so_far
        number = so_far.episodes
        begin_episode(env, FIRST_SEED + (config.seed << 20) + number, self._stopping)
        so_far.episodes += 1
        so_far.label, marked = 0, -(2**30)
        unsure = math.ceil(config.mark_s / env.env.period_s - 1e-9)
        self._hold.begin(env.robot_state)
        self._timer.start()
        kept = {0: 0, 1: 0}
        step = 0
        while not self._stopping() and not self.complete:
            _, _, terminated, truncated, info = env.step(self._hold.action())
            self._hold.take(info["executed_action"])
            if info["verdict"] in ("success", "failure"):
                so_far.label = int(info["verdict"] == "success")
                marked = step
            if info["verdict"] == "discard":
                return
            so_far.note = info["operator_note"]
            fresh = config.labels == "keys" and step - marked < unsure
            if step % config.every == 0 and not fresh:
                self._keep(f"live-{config.seed:03d}-{number:05d}", step, self._label(info), info, kept)
            self._show(so_far)
            step += 1
            if terminated or truncated:
                return
            if config.paced:
                self._timer.wait()

    def _label(self, info: Mapping[str, Any]) -> int:
        if self._config.labels == "keys":
            return self.so_far.label
        truth = info["judged"]["truth"]
        if truth is None:
            raise RobotError(
                "this robot does not measure what the task's own rule needs, so nobody knows the truth here; "
                "label with "
                "the keys: --labels keys"
            )
        return int(truth)

    def _keep(self, episode: str, step: int, label: int, info: Mapping[str, Any], kept: dict[int, int]) -> None:
        so_far, config = self.so_far, self._config
        full = so_far.successes >= config.successes if label else so_far.failures >= config.failures
        if full or kept[label] >= config.most:
            return
        by = "person" if config.labels == "keys" else "twin"
        truth = info["judged"]["truth"]
        before = len(self._frames)
        self._frames.add(episode, step, self._env.robot_state.images, label, by, truth)
        if len(self._frames) > before:
            kept[label] += 1
            so_far.successes += label
            so_far.failures += 1 - label
