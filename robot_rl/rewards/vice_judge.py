"""The actor's side of `reward=vice`: a judge whose classifier is made and taught by the run's learner."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robot_rl.errors import RobotError
from robot_rl.rewards.classifier import Classifier
from robot_rl.rewards.judges import ClassifierJudge, SharedEncoder, truth_of
from robot_rl.rewards.settings import RewardConfig
from robot_rl.robot import RobotState
from robot_rl.task import Outcome, Task


class ViceJudge:
    """Judges by the newest file of the learner, taken up at the beginning of an episode.

    Before there is one, demonstrations are being made, and their demonstrator knows when he has succeeded: a scripted
    one by the task's own rule. In practice nobody's word but the classifier's counts.

    Args:
        task: For the demonstrations, and for the ground truth beside the classifier's word.
        config: Settings.
        encode: Makes the shared encoder for a classifier.

    Attributes:
        practising: Whether a policy learns from what is judged, so that the task's own rule must not be used.
    """

    def __init__(self, task: Task, config: RewardConfig, encode: Callable[[Classifier], SharedEncoder]) -> None:
        self._task, self._config, self._encode = task, config, encode
        self._path: Path | None = None
        self._inner: ClassifierJudge | None = None
        self.practising = False

    def follow(self, path: Path) -> None:
        """Judge by this file from the next episode on, as soon as it is there."""
        if path != self._path:
            self._path, self._inner = path, None

    def begin(self) -> None:
        """Take the newest classifier, if there is one."""
        if self._inner is None and self._path is not None and self._path.is_file():
            config = dataclasses.replace(self._config, source="classifier", path=str(self._path), stages=())
            self._inner = ClassifierJudge(self._task, config, self._encode, news=logging.DEBUG)
        if self._inner is not None:
            self._inner.begin()

    def outcome(self, state: RobotState) -> tuple[Outcome, dict[str, Any]]:
        """Judge the pictures of a step; see `ClassifierJudge.outcome`.

        Raises:
            RobotError: There is no classifier, and a policy practises or nobody measures what the task's rule needs.
        """
        if self._inner is None and self.practising:
            self.begin()
        if self._inner is not None:
            return self._inner.outcome(state)
        truth = truth_of(self._task, state)
        if self.practising:
            raise RobotError(
                f"the learner has made no classifier yet ({self._path or 'no run is known'}); reward=vice needs actor "
                "and learner on one machine, with one folder of the run"
            )
        if truth is None:
            raise RobotError(
                "this robot does not measure what the task's own rule needs, so a script cannot demonstrate here; "
                "record demonstrations with a person (robot-rl record) and give their folder with demos="
            )
        return self._task.outcome(state), {"truth": truth}

    def heard(self, verdict: str) -> None:
        """A person's word ends the episode; the classifier learns from frames, not from words."""

    def close(self) -> None:
        """There are no files of its own."""
