"""Which episodes go out, as arrays with whole pictures: one task, one control period, without what nobody wants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.facts import EpisodeStart
from robot_rl.episodes.reader import Episode, Frames, Steps
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.link import spec_difference, specs_of
from robot_rl.specs import ActionSpec, ObservationSpec

CUT = "the record was cut"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Episodes of one task that go out together.

    Attributes:
        paths: Their files, in order.
        start: Facts of the first: the task, its specification and period, which all share.
        observation_spec, action_spec: What their arrays mean.
        left_out: A sentence for each file that stays behind.
    """

    paths: Sequence[Path]
    start: EpisodeStart
    observation_spec: ObservationSpec
    action_spec: ActionSpec
    left_out: Sequence[str]

    def episodes(self, full: bool) -> Iterator[Outgoing]:
        """Yield the episodes one after the other; `full` takes the pictures of full size."""
        for path in self.paths:
            yield outgoing(Episode(path), tuple(self.observation_spec.images), full)


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One episode.

    Attributes:
        episode: The file it comes from.
        steps: Its n steps up to the first gap.
        truncated: (n,) bool; the last step of a cut episode counts as cut short by the clock.
        states: (n + 1, S) float32, the last one after the last action.
        pictures: By camera, the n + 1 pictures as PNG or JPEG files, read when they are asked for.
    """

    episode: Episode
    steps: Steps
    truncated: NDArray[np.bool_]
    states: NDArray[np.float32]
    pictures: Mapping[str, Pictures]

    def __len__(self) -> int:
        return len(self.truncated)


class Pictures(Sequence[bytes]):
    """The pictures of one camera that belong to the observations of an episode, encoded as they were recorded."""

    def __init__(self, frames: Frames, places: Sequence[int]) -> None:
        self.frames, self.places = frames, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.frames.encoded(self.places[i])

    def decoded(self, i: int) -> NDArray[np.uint8]:
        """Return an (H, W, 3) uint8 RGB picture."""
        return self.frames[self.places[i]]


def select(files: Sequence[Path], successes: bool = False) -> Selection:
    """Return which of some files go out: all but the discarded and the empty.

    Args:
        files: Episode files.
        successes: Take successes only.

    Raises:
        ConfigError: None is left, or they are of several tasks.
        CheckpointError: A file cannot be read.
    """
    taken: list[Path] = []
    left_out: list[str] = []
    first: EpisodeStart | None = None
    for path in files:
        episode = Episode(path)
        why = _why_not(episode, successes)
        if why:
            left_out.append(f"{path}: {why}")
            continue
        if first is None:
            first = episode.start
        _check_same(first, taken[0] if taken else path, episode)
        taken.append(path)
    if first is None:
        reasons = f" ({left_out[0]})" if left_out else ""
        raise ConfigError(
            f"none of {len(files)} episodes can go out{reasons}; see what there is with: robot-rl data ls"
        )
    observation_spec, action_spec = specs_of(first.spec)
    return Selection(
        paths=taken, start=first, observation_spec=observation_spec, action_spec=action_spec, left_out=left_out
    )


def _why_not(episode: Episode, successes: bool) -> str:
    if episode.end is not None and episode.end.verdict == "discard":
        return "the operator discarded it"
    if not len(episode) or not episode.steps.gap:
        return "it has no complete step"
    if successes and not episode.success:
        return "it is no success"
    return ""


def _check_same(first: EpisodeStart, model: Path, episode: Episode) -> None:
    start = episode.start
    difference = spec_difference(first.spec, start.spec)
    if start.task != first.task:
        difference = f"'{first.task}' there, '{start.task}' here"
    elif not difference and not math.isclose(first.period_s, start.period_s, rel_tol=0.02):
        difference = f"a control period of {first.period_s:g} s there, {start.period_s:g} s here"
    if difference:
        told = difference.replace("learner expects", "the first has").replace("actor sends", "this one has")
        told = told.replace("actor does not send it", "this one does not have it").replace("learner", "the first")
        raise ConfigError(
            f"{episode.path} is of another task than {model}: {told}; export the tasks one by one, into a set each"
        )


def outgoing(episode: Episode, cameras: Sequence[str], full: bool = False) -> Outgoing:
    """Return an episode with its pictures.

    Args:
        episode: The episode, whole or cut.
        cameras: Whose pictures shall be there for every observation.
        full: Take the pictures of full size: at each observation the newest that was caught by then.

    Raises:
        CheckpointError: It lacks pictures, or its observations do not follow each other.
    """
    steps = episode.steps
    n = steps.gap
    if not np.array_equal(steps.next_state[: n - 1], steps.state[1:n], equal_nan=True):
        raise CheckpointError(f"the observations of {episode.path} do not follow each other; leave it out")
    truncated = steps.truncated[:n].copy()
    whole = episode.end is not None and n == len(steps) == episode.end.steps
    if not whole and not steps.terminated[n - 1]:
        truncated[n - 1] = True
    found = episode.cameras()
    pictures = {}
    for camera in cameras:
        small = _small(episode, camera, found.get((camera, False)), n, required=not full)
        pictures[camera] = _full(episode, camera, found.get((camera, True)), small, n) if full else small
    return Outgoing(
        episode=episode,
        steps=steps,
        truncated=truncated,
        states=np.concatenate([steps.state[:n], steps.next_state[n - 1 : n]]),
        pictures={k: v for k, v in pictures.items() if v is not None},
    )


def _small(episode: Episode, camera: str, frames: Frames | None, n: int, required: bool) -> Pictures | None:
    at = {int(index): i for i, index in enumerate(frames.observation)} if frames is not None else {}
    missing = sum(k not in at for k in range(n + 1))
    if frames is not None and not missing:
        return Pictures(frames, [at[k] for k in range(n + 1)])
    if not required:
        return None
    raise CheckpointError(
        f"{episode.path} lacks {missing} of {n + 1} pictures of camera '{camera}'; "
        "leave the episode out, see: robot-rl data check"
    )


def _full(episode: Episode, camera: str, frames: Frames | None, small: Pictures | None, n: int) -> Pictures:
    if frames is None or not len(frames):
        raise CheckpointError(
            f"{episode.path} holds no pictures of full size of camera '{camera}'; export without --full what the "
            "policy saw"
        )
    if small is not None:
        asked_ns = small.frames.stamp_ns[np.asarray(small.places)]
    else:
        asked_ns = np.concatenate([episode.steps.stamp_ns[:n], episode.steps.after_ns[n - 1 : n]])
    order = np.argsort(frames.stamp_ns, kind="stable")
    newest = np.searchsorted(frames.stamp_ns[order], asked_ns, side="right") - 1
    return Pictures(frames, [int(order[max(int(i), 0)]) for i in newest])
