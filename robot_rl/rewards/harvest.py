"""Hard examples from practice: frames at which a classifier claimed success, and those at which it was contradicted.

A policy that learns from a classifier searches for what deceives it, so practice finds the very negatives that nobody
thought of collecting. They are kept as a labelled set in the run, and `harvest` puts those that a twin or a person has
judged into the set that the next classifier learns from.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_rl.errors import LabelError, StorageError
from robot_rl.rewards.labels import LabelledSet
from robot_rl.robot import RobotState

log = logging.getLogger(__name__)

MOST = 4  # frames kept of one episode: neighbours look alike


class ClaimKeeper:
    """Keeps frames of practice while it goes on. A disk that does not take them is told of once, and practice goes on.

    Kept are frames above the threshold, and successes that the twin knows of and the classifier missed. The label is
    the twin's; where nobody knows the truth it is None, for a person to say: `robot-rl reward audit RUN/judged`.

    Args:
        folder: The set; made when the first frame comes.
        task: Name of the task.
    """

    def __init__(self, folder: Path, task: str) -> None:
        self._folder, self._task = folder, task
        self._set: LabelledSet | None = None
        self._episode, self._step, self._kept, self._broken = -1, 0, 0, False
        self._seen: tuple[RobotState, Mapping[str, Any]] | None = None

    def begin(self) -> None:
        """An episode begins."""
        if self._set is None and (self._folder / "set.json").is_file():
            self._episode = max((_number(e) for e in LabelledSet(self._folder).episodes()), default=-1)
        self._episode, self._step, self._kept, self._seen = self._episode + 1, 0, 0, None

    def see(self, state: RobotState, told: Mapping[str, Any]) -> None:
        """Keep a frame if it is worth it."""
        self._step, self._seen = self._step + 1, (state, told)
        truth = told["truth"] if told["last"] else None  # an earlier stage is another question
        missed = truth is True and not told["positive"]
        if told["last"] and (told["positive"] or missed) and self._kept < MOST:
            label, by = (None, "classifier") if truth is None else (int(truth), "twin")
            self._keep(label, by, truth, "missed" if missed else "claim")
            self._kept += 1

    def heard(self, verdict: str) -> None:
        """Take a person's word, success or failure, on the frame that was seen last."""
        if self._seen is None or verdict not in ("success", "failure"):
            return
        label, told = int(verdict == "success"), self._seen[1]
        if (kept := self._keep(label, "person", told["truth"], "claim" if told["positive"] else "missed")) is not None:
            self._relabel(kept, label)

    def _keep(self, label: int | None, by: str, truth: bool | None, kind: str) -> str | None:
        """Return the name of the newest frame in the set."""
        if self._broken or self._seen is None:
            return None
        state, told = self._seen
        try:
            if self._set is None:
                cameras = {name: picture.shape for name, picture in state.images.items()}
                self._set = LabelledSet(self._folder, self._task, cameras, writing=True)
            name, score = f"practice-{self._episode:06d}", float(told["probability"])
            return self._set.add(name, self._step - 1, state.images, label, by, truth, score, kind).name
        except (StorageError, LabelError) as e:
            self._broken = True
            log.warning("frames of practice are no longer kept: %s", e)
            return None

    def _relabel(self, name: str, label: int) -> None:
        try:
            if self._set is not None and any(f.name == name and f.by != "person" for f in self._set.frames):
                self._set.relabel([name], label, "person")
        except StorageError as e:
            log.warning("a word on a frame of practice was not kept: %s", e)

    def close(self) -> None:
        """Let go of the files. Safe to call twice."""
        if self._set is not None:
            self._set.close()
            self._set = None


@dataclass(frozen=True, kw_only=True)
class Harvest:
    """What practice found.

    Attributes:
        false_positives: Failures that passed for a success.
        false_negatives: Successes that were missed.
        right: Claims that were right.
        waiting: Frames whose truth nobody has said yet.
    """

    false_positives: int
    false_negatives: int
    right: int
    waiting: int


def harvest(run: Path, into: LabelledSet, right: bool = False) -> Harvest:
    """Add what practice found to a set.

    Args:
        run: A run of `reward=classifier`.
        into: Opened for writing, with the same cameras.
        right: Whether claims that were right are added too.

    Raises:
        LabelError: The run has no such frames, or its cameras are others.
    """
    folders = sorted(p for p in run.glob("judged*") if (p / "set.json").is_file())
    if not folders:
        raise LabelError(
            f"{run} has no judged frames; they are kept during practice with reward=classifier reward.keep=true"
        )
    counts = {"false_positives": 0, "false_negatives": 0, "right": 0, "waiting": 0}
    for folder in folders:
        found = LabelledSet(folder)
        if found.cameras != into.cameras:
            raise LabelError(
                f"{folder} holds pictures of the cameras {found.cameras}, and {into.folder} of {into.cameras}; only "
                "frames of the same cameras can be put together"
            )
        for frame in found.frames:
            kind = (
                "waiting" if frame.label is None
                else "false_positives" if frame.label == 0
                else "false_negatives" if frame.kind == "missed"
                else "right"
            )  # fmt: skip
            counts[kind] += 1
            if kind != "waiting" and (kind != "right" or right):
                name = f"{run.name}-{folder.name}-{frame.episode}"[-80:]
                into.add(
                    name, frame.step, found.pictures(frame.name), frame.label, frame.by, frame.truth, frame.score,
                    frame.kind,
                )  # fmt: skip
    return Harvest(**counts)


def _number(episode: str) -> int:
    end = episode.rpartition("-")[2]
    return int(end) if end.isdecimal() else -1
