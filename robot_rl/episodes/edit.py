"""Changes to recorded episodes: another verdict, or steps cut away from their ends.

The new file takes the old one's place only when it is whole and on the disk. It keeps the facts of the old one and says
what was changed, by whom, when, and what was known of the end before. What is cut away is kept beside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import getpass
import json
import os
import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_rl.episodes.facts import EpisodeEnd, EpisodeStart, Verdict, to_text
from robot_rl.episodes.part import PART, in_use, sync_folder
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.rewrite import Metadata, replacing, rewrite
from robot_rl.episodes.scan import Message
from robot_rl.episodes.schema import EDIT, END, FORMAT, START, STEP, camera_of, messages
from robot_rl.errors import CheckpointError, ConfigError, StorageError

ORIGINAL = ".orig"
TRIMMED = "trimmed"  # the reason of an end that was cut short


@dataclass(frozen=True, kw_only=True)
class Edited:
    """What became of an episode.

    Attributes:
        path: The file.
        what: What was changed, in words; empty if nothing had to be.
        original: The file as it was before; None if nothing of it was lost.
    """

    path: Path
    what: str
    original: Path | None = None


def open_complete(path: Path) -> Episode:
    """Return an episode whose file is complete and that nobody is writing.

    Raises:
        CheckpointError: It is not, or cannot be read, or holds no step.
    """
    if in_use(path):
        raise CheckpointError(f"{path} is being recorded; come back when the recording has ended")
    episode = Episode(path)
    if path.name.endswith(PART) or episode.damaged:
        raise CheckpointError(f"{path} is not complete; complete it with: robot-rl data repair {path}")
    if not len(episode):
        raise CheckpointError(f"{path} holds no complete step; delete it")
    return episode


def relabel(path: Path, verdict: Verdict) -> Edited:
    """Give an episode another verdict of the operator; "" leaves the word to the task.

    An episode whose end was lost gets one: cut short by the clock, so that values go on after its last step.

    Raises:
        CheckpointError, StorageError: As `open_complete`; the disk is full. The episode is as it was.
    """
    episode = open_complete(path)
    before = episode.end
    if before is not None and before.verdict == verdict:
        return Edited(path=path, what="")
    end = dataclasses.replace(before or _end(episode, 0, len(episode) - 1), verdict=verdict)
    what = f"verdict '{verdict or 'none'}' instead of '{(before.verdict if before else '') or 'none'}'"
    _replace(episode, episode.start, end, what)
    return Edited(path=path, what=what)


def trim(path: Path, first: int, last: int | None = None) -> Edited:
    """Keep the steps from `first` to `last`, both included, and number them anew.

    An end that was cut away did not happen: the episode is truncated there, not terminated, so values go on after it,
    and a verdict on the whole of it is taken back, unless it was to discard it. The file as it was is kept beside it.

    Raises:
        ConfigError: There are no such steps.
        CheckpointError, StorageError: As `relabel`.
    """
    episode = open_complete(path)
    n = episode.steps.gap
    last = n - 1 if last is None else last
    if not 0 <= first <= last < n:
        gap = "" if n == len(episode) else f"; step {n} is missing, and what follows it cannot be joined"
        raise ConfigError(f"steps {first} to {last} were asked for; {path} has steps 0 to {n - 1}{gap}")
    if (first, last) == (0, len(episode) - 1):
        return Edited(path=path, what="")
    end, start = _end(episode, first, last), episode.start
    if first:  # what was recorded of the beginning is of another one now
        start = dataclasses.replace(start, reset={}, seed=-1)
    original = _keep(path)
    what = f"trimmed to steps {first} to {last} of {len(episode)}"
    _replace(episode, start, end, what, (first, last))
    return Edited(path=path, what=what, original=original)


def note(episode: Episode, what: str) -> dict[str, dict[str, str]]:
    """Return the record that says what was changed, under the next free number."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    before = json.dumps(to_text(episode.end), ensure_ascii=False) if episode.end is not None else ""
    facts = {"what": what, "who": _who(), "when": now, "from": str(episode.path), "before": before}
    return {f"{EDIT}{len(episode.edits) + 1}": facts}


def _replace(
    episode: Episode, start: EpisodeStart, end: EpisodeEnd, what: str, kept: tuple[int, int] | None = None
) -> None:
    first, last = kept or (0, len(episode) - 1)
    metadata: Metadata = {
        **episode.metadata,
        START: {**episode.metadata[START], "format": str(FORMAT), **to_text(start)},
        END: to_text(end),
        **note(episode, what),
    }
    with replacing(episode.path) as temporary:
        rewrite(episode.path, temporary, metadata, _Kept(episode, first, last, end))


def _end(episode: Episode, first: int, last: int) -> EpisodeEnd:
    """Return the facts of the end of a part of an episode."""
    steps, whole = episode.steps, episode.end
    part = slice(first, last + 1)
    cut_short = last < len(steps) - 1 or whole is None
    counted: dict[str, Any] = {
        "steps": last + 1 - first,
        "total_reward": float(steps.reward[part].sum(dtype=float)),
        "duration_s": 1e-9 * float(steps.after_ns[last] - steps.stamp_ns[first]),
        "sources": dict(Counter(steps.source[part])),
        "guard": dict(Counter(event for events in steps.guard_events[part] for event in events)),
    }
    if whole is not None and not cut_short:
        return dataclasses.replace(whole, **counted)
    terminated = bool(steps.terminated[last])
    return EpisodeEnd(
        success=bool(steps.success[last]),
        terminated=terminated,
        truncated=not terminated,
        reason=steps.reason[last] or (TRIMMED if whole is not None else "the record was cut"),
        verdict="discard" if whole is not None and whole.verdict == "discard" else "",
        dropped=whole.dropped if whole is not None else {},
        **counted,
    )


class _Kept:
    """Says what becomes of each message when only some steps stay."""

    def __init__(self, episode: Episode, first: int, last: int, end: EpisodeEnd) -> None:
        steps = episode.steps
        self._first, self._last, self._end = first, last, end
        self._from_ns, self._to_ns = int(steps.stamp_ns[first]), int(steps.after_ns[last])
        self._all = (first, last) == (0, len(steps) - 1)

    def __call__(self, message: Message) -> Message | None:
        if message.topic == STEP:
            return self._step(message)
        if self._all:
            return message
        camera = camera_of(message.topic)
        if camera is not None and not camera[1]:  # what the policy saw, by the observation that it belongs to
            inside = self._first <= message.sequence <= self._last + 1
            return message._replace(sequence=message.sequence - self._first) if inside else None
        return message if self._from_ns <= message.publish_ns <= self._to_ns else None

    def _step(self, message: Message) -> Message | None:
        found = messages().decode(message.type_name, message.data)
        if not self._first <= found.index <= self._last:
            return None
        changed: dict[str, Any] = {"index": found.index - self._first}
        flags = {"terminated": self._end.terminated, "truncated": self._end.truncated}
        if found.index == self._last and flags != {name: getattr(found, name) for name in flags}:
            changed |= {**flags, "reason": found.reason or self._end.reason}
        data = messages().encode(message.type_name, dataclasses.replace(found, **changed))
        return message._replace(sequence=message.sequence - self._first, data=data)


def _keep(path: Path) -> Path:
    """Give the file a second name under which it stays, and return that."""
    number = 1
    while True:
        kept = path.with_name(path.name + ORIGINAL + ("" if number == 1 else str(number)))
        try:
            os.link(path, kept)
        except FileExistsError:
            number += 1
        except OSError as e:
            raise StorageError(f"could not keep {path} as {kept}: {e.strerror or e}. It is left as it is") from e
        else:
            sync_folder(path.parent)
            return kept


def _who() -> str:
    name = "unknown"
    with contextlib.suppress(KeyError, OSError):  # a user without a name
        name = getpass.getuser()
    return f"{name}@{socket.gethostname()}"
