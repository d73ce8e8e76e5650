"""Labelled pictures from recorded episodes: by how each ended, or by ranges of steps that a person marked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_rl.episodes.reader import Episode
from robot_rl.errors import ConfigError, LabelError
from robot_rl.rewards.labels import LabelledSet

_MARK = re.compile(r"(\d+)(?:-(\d+))?:(success|failure)")


@dataclass(frozen=True, kw_only=True)
class Taking:
    """Which frames of an episode are taken, and as what.

    Attributes:
        last: The last so many frames of a success are successes.
        gap: So many frames before them are left out: there nobody can tell.
        every: One failure in so many frames; neighbours look alike.
        marks: (first, last, label) ranges of observations, both included, in the place of all that.
    """

    last: int = 1
    gap: int = 3
    every: int = 3
    marks: Sequence[tuple[int, int, int]] = ()

    def __post_init__(self) -> None:
        for name, least in (("last", 1), ("gap", 0), ("every", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}")


def parse_marks(text: str) -> tuple[tuple[int, int, int], ...]:
    """Return the ranges in words such as "0-40:failure,55-60:success".

    Raises:
        ConfigError: A part is no range.
    """
    out = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        found = _MARK.fullmatch(part)
        if found is None or (found[2] is not None and int(found[2]) < int(found[1])):
            raise ConfigError(
                f"'{part}' marks nothing; write FIRST-LAST:success or :failure, such as 0-40:failure,55-60:success"
            )
        out.append((int(found[1]), int(found[2] or found[1]), int(found[3] == "success")))
    return tuple(out)


def cameras_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Return (H, W, 3) by camera of the pictures that the policy saw in an episode.

    Raises:
        LabelError: It has none.
    """
    found = {name: frames for (name, full), frames in Episode(path).cameras().items() if not full and len(frames)}
    if not found:
        raise LabelError(
            f"{path} holds no pictures that a policy saw; record episodes with cameras, such as robot.cameras=[front]"
        )
    return {name: frames[0].shape for name, frames in found.items()}


def labels_of(n: int, success: bool, taking: Taking) -> dict[int, int]:
    """Return the label of each observation that is taken, of the n + 1 observations of n steps."""
    if taking.marks:
        return {i: label for first, last, label in taking.marks for i in range(first, min(last, n) + 1)}
    ends = n + 1 - taking.last if success else n + 1
    failures = range(0, max(ends - taking.gap, 0) if success else ends, taking.every)
    return dict.fromkeys(failures, 0) | (dict.fromkeys(range(max(ends, 1), n + 1), 1) if success else {})


def take(path: Path, into: LabelledSet, taking: Taking, name: str) -> dict[int, int]:
    """Add frames of an episode, and return how many of each label.

    An episode that was cut, or that the operator discarded, gives none unless its ranges are marked.

    Args:
        path: The episode file.
        into: Opened for writing, with the same cameras.
        taking: Which frames.
        name: Of the episode within the set.

    Raises:
        LabelError: It lacks a camera of the set.
        CheckpointError: The file is damaged.
    """
    episode = Episode(path)
    counts = {0: 0, 1: 0}
    if not taking.marks and (episode.success is None or (episode.end is not None and episode.end.verdict == "discard")):
        return counts
    by_camera = {}
    cameras = episode.cameras()
    for camera in into.cameras:
        if (camera, False) not in cameras:
            have = sorted(c for c, full in cameras if not full)
            raise LabelError(
                f"{path} has no pictures of camera '{camera}', which the set holds; it has {have or 'none'}"
            )
        frames = cameras[camera, False]
        by_camera[camera] = (frames, {int(o): i for i, o in enumerate(frames.observation)})
    by = "person" if taking.marks or (episode.end is not None and episode.end.verdict) else "episode"
    for observation, label in sorted(labels_of(len(episode), bool(episode.success), taking).items()):
        pictures: Mapping[str, object] = {
            c: frames[at[observation]] for c, (frames, at) in by_camera.items() if observation in at
        }
        if len(pictures) < len(by_camera):
            continue  # a picture was dropped while recording
        before = len(into)
        into.add(name, observation, pictures, label, by)  # pyright: ignore[reportArgumentType]
        counts[label] += len(into) - before
    return counts
