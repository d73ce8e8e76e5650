"""Who says reward and success in an environment: a classifier of its pictures, or a person; and what a twin knows.

A judge's word is all that the learner and the metrics see. The twin's ground truth stands beside it and decides
nothing: it measures how often the judge is wrong, during the very practice that may learn to deceive it.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CheckpointError, RobotError, RobotRLError
from robot_rl.rewards.classifier import Classifier, load_classifier
from robot_rl.rewards.settings import RewardConfig
from robot_rl.robot import RobotState
from robot_rl.task import Outcome, Task

log = logging.getLogger(__name__)

SEEN = "seen by the classifier"


class SharedEncoder(Protocol):
    """Encodes the newest pictures; whoever asks again for the same picture gets what was computed for the first."""

    def centre(self, camera: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (h, w, C) uint8 features of an (H, W, 3) uint8 picture as it is."""
        ...


class Keeper(Protocol):
    """Keeps frames that are worth learning from; see `robot_rl.rewards.harvest`."""

    def begin(self) -> None:
        """An episode begins."""
        ...

    def see(self, state: RobotState, told: Mapping[str, Any]) -> None:
        """See a judged frame."""
        ...

    def heard(self, verdict: str) -> None:
        """Hear a person's word on the frame that was seen last."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


def truth_of(task: Task, state: RobotState) -> bool | None:
    """Return whether the task's own rule sees a success, or None where what it needs is not measured."""
    needed = [name for name, thing in task.scene.items() if thing.motion != "held"]
    if any(name not in state.objects for name in needed):
        return None
    return task.outcome(state).success


class HumanJudge:
    """Says nothing: the operator's buttons, in `AssistedEnv`, are the whole verdict.

    Args:
        task: For the ground truth beside it.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    def begin(self) -> None:
        """There is nothing to forget."""

    def outcome(self, state: RobotState) -> tuple[Outcome, dict[str, Any]]:
        """Leave the verdict to the operator."""
        return Outcome(0.0, False, False), {"truth": truth_of(self._task, state)}

    def heard(self, verdict: str) -> None:
        """The verdict is all that there is already."""

    def close(self) -> None:
        """There are no files."""


class ClassifierJudge:
    """Judges the pictures of each step.

    Args:
        task: For the ground truth beside it.
        config: Settings; `path` and `stages` are read here and again whenever they change.
        encode: Makes the shared encoder for a classifier: its name of a trunk, and the size of the pictures.
        keeper: Keeps frames, if any are kept; may be set later.
        news: Level of logging at which a newer classifier is told of.

    Raises:
        CheckpointError: A classifier is missing, damaged, or of another encoder than the first.
    """

    def __init__(
        self, task: Task, config: RewardConfig, encode: Callable[[Classifier], SharedEncoder],
        keeper: Keeper | None = None, news: int = logging.WARNING,
    ) -> None:  # fmt: skip
        self._task, self._config, self.keeper, self._news = task, config, keeper, news
        self._files = [_Watched(Path(path)) for path in (*config.stages, config.path)]
        self._encoder = encode(self.classifiers[-1])
        self._recent: deque[bool] = deque(maxlen=config.confirm[1])
        self._stage = 0

    @property
    def classifiers(self) -> Sequence[Classifier]:
        """Those of the stages and the last, in their order."""
        return [file.classifier for file in self._files]

    def begin(self) -> None:
        """Forget the last episode, and take a newer classifier if there is one."""
        for file in self._files:
            file.refresh(self.classifiers[-1], self._news)
        self._stage = 0
        self._recent.clear()
        if self.keeper is not None:
            self.keeper.begin()

    def outcome(self, state: RobotState) -> tuple[Outcome, dict[str, Any]]:
        """Judge the pictures of a step.

        Returns:
            The outcome, and: "truth" (None where nobody knows), "probability" of success by the classifier that was
            asked, "positive" whether this frame is above the threshold and within the guard, "success", "stage" that
            was asked, "last" whether that is the last one.

        Raises:
            RobotError: The reading lacks a picture that a classifier needs.
        """
        asked, stage = self._files[self._stage].classifier, self._stage
        last = stage == len(self._files) - 1
        features = {name: self._encoder.centre(name, _picture(state, name, shape))[None]
                    for name, shape in asked.cameras.items()}  # fmt: skip
        p = float(asked.probability(features)[0])
        positive = p >= (self._config.threshold or asked.threshold) and self._config.guard.admits(state)
        self._recent.append(positive)
        confirmed = sum(self._recent) >= self._config.confirm[0]
        if confirmed and not last:
            self._stage += 1
            self._recent.clear()
        success = confirmed and last
        reward = 1.0 if success else self._config.stage_reward if confirmed else 0.0
        told = {
            "truth": truth_of(self._task, state), "probability": p, "positive": positive, "success": success,
            "stage": stage, "last": last,
        }  # fmt: skip
        if self.keeper is not None:
            self.keeper.see(state, told)
        return Outcome(reward, success, success, SEEN if success else ""), told

    def heard(self, verdict: str) -> None:
        """Keep what a person says of the newest frame."""
        if self.keeper is not None:
            self.keeper.heard(verdict)

    def close(self) -> None:
        """Let go of files."""
        if self.keeper is not None:
            self.keeper.close()


class _Watched:
    """A classifier's file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = self._now()
        self.classifier = load_classifier(path)

    def _now(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self.path)
        except OSError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    def refresh(self, like: Classifier, news: int) -> None:
        """Take a newer file; one that cannot be used is told of, and the one before goes on judging."""
        stamp = self._now()
        if stamp in (self._stamp, (0, 0, 0)):
            return
        self._stamp = stamp
        try:
            newer = load_classifier(self.path)
            if (newer.encoder, newer.mark, newer.cameras) != (like.encoder, like.mark, like.cameras):
                raise CheckpointError(
                    f"the new classifier {self.path} reads '{newer.encoder}' of {sorted(newer.cameras)}, and the run "
                    f"began with '{like.encoder}' of {sorted(like.cameras)}; start the run anew with it"
                )
        except RobotRLError as e:
            log.warning("%s. The classifier before goes on judging", e)
            return
        self.classifier = newer
        log.log(news, "from this episode on a newer classifier judges: %s", self.path)


def _picture(state: RobotState, camera: str, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    picture = state.images.get(camera)
    if picture is None:
        raise RobotError(
            f"the classifier judges pictures of camera '{camera}', and the robot gives "
            f"{sorted(state.images) or 'none'}; "
            f"choose robot.cameras=[{camera}]"
        )
    if picture.shape != shape:
        raise RobotError(
            f"the classifier was trained on pictures {shape} of camera '{camera}', the robot gives "
            f"{picture.shape}; set "
            f"robot.image_size={shape[0]}, or train the classifier anew"
        )
    return picture
