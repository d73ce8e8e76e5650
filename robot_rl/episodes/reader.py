"""Reads an episode, whole or cut: its steps as arrays, the robot's readings, and pictures when they are asked for."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.facts import EpisodeEnd, EpisodeStart, end_of, start_of
from robot_rl.episodes.part import in_use
from robot_rl.episodes.scan import Message, Scan, read_chunk, scan
from robot_rl.episodes.schema import (
    EDIT,
    END,
    FORMAT,
    REPAIR,
    START,
    STEP,
    STEP_TYPE,
    camera_of,
    messages,
    nanoseconds,
    state_of,
    step_difference,
)  # fmt: skip
from robot_rl.episodes.writer import Picture, decode_picture
from robot_rl.errors import CheckpointError
from robot_rl.robot import RobotState

Array = NDArray[Any]
_FIELDS: dict[str, type] = {
    "index": np.int64, "policy_version": np.int64, "state": np.float32, "action": np.float32, "executed": np.float32,
    "next_state": np.float32, "reward": np.float32, "terminated": np.bool_, "truncated": np.bool_, "success": np.bool_,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The n steps of an episode, in the order of the file.

    Attributes:
        index: (n,) place within the episode.
        state, next_state: (n, S) float32 observation before and after the action.
        action, executed: (n, A) float32 what was asked for, and what came through the guard.
        reward: (n,) float32.
        terminated, truncated, success: (n,) bool.
        policy_version: (n,) int64.
        source, reason: n words each.
        guard_events: Names of rules, for each step.
        stamp_ns, after_ns: (n,) Unix time of the readings before and after.
        log_ns: (n,) Unix time at which the step was handed over.
        timing: (n,) milliseconds by name; nan where nothing was measured.
    """

    index: Array
    state: Array
    next_state: Array
    action: Array
    executed: Array
    reward: Array
    terminated: Array
    truncated: Array
    success: Array
    policy_version: Array
    source: Sequence[str]
    reason: Sequence[str]
    guard_events: Sequence[Sequence[str]]
    stamp_ns: Array
    after_ns: Array
    log_ns: Array
    timing: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def gap(self) -> int:
        """Steps until the first one that is missing; their number if none is."""
        wrong = np.flatnonzero(self.index != np.arange(len(self)))
        return int(wrong[0]) if len(wrong) else len(self)


class Frames(Sequence[Picture]):
    """The pictures of one camera, decoded when one is asked for.

    Attributes:
        observation: (n,) number of the observation that each belongs to; 0 for pictures of full size, which have none.
        stamp_ns, log_ns: (n,) Unix time at which the light was caught, and at which it was handed over.
    """

    def __init__(self, path: Path, found: Sequence[Message]) -> None:
        self._path, self._places = path, [(m.chunk, m.place) for m in found]
        self._chunk: tuple[int, list[bytes]] = (-1, [])  # the one that was read last
        self.observation = np.array([m.sequence for m in found], np.int64)
        self.stamp_ns = np.array([m.publish_ns for m in found], np.int64)
        self.log_ns = np.array([m.log_ns for m in found], np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, i: Any) -> Any:
        """Return an (H, W, 3) uint8 RGB picture, or a list of them for a slice."""
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        return decode_picture(self.encoded(i))

    def encoded(self, i: int) -> bytes:
        """Return a picture as the PNG or JPEG file that was recorded."""
        chunk, place = self._places[i]
        if self._chunk[0] != chunk:
            self._chunk = (chunk, read_chunk(self._path, chunk))
        return messages().decode("sensor_msgs/msg/CompressedImage", self._chunk[1][place]).data.tobytes()


class Episode:
    """One episode file.

    Args:
        path: The file, complete, cut, or still being written.

    Raises:
        CheckpointError: It is no episode, of a format or with steps that are not known here, or cut before anything
            was in it.

    Attributes:
        start: What was known when it began.
        end: What was known when it ended; None if it was cut.
        cut: What is missing, in words; empty for a whole episode.
        size: Bytes of the file.
        edits: What was changed since it was recorded, oldest first: "what", "who", "when", "from", "before".
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = self._scan = Scan()
        self._by_topic: dict[str, list[Message]] = {}
        for message in scan(path, found):
            kept = message if camera_of(message.topic) is None else message._replace(data=b"")
            self._by_topic.setdefault(message.topic, []).append(kept)
        self.size = found.size
        self.start = start_in(path, found)
        _check_steps(path, found)
        self.end: EpisodeEnd | None = end_of(found.metadata[END]) if END in found.metadata else None
        self.edits = [found.metadata[name] for name in sorted(found.metadata, key=_number) if name.startswith(EDIT)]
        self.cut = self._what_is_missing()

    def __len__(self) -> int:
        return len(self._by_topic.get(STEP, ()))

    @property
    def metadata(self) -> Mapping[str, Mapping[str, str]]:
        """All records of facts as they are in the file, by name."""
        return self._scan.metadata

    @property
    def damaged(self) -> Sequence[int]:
        """Bytes at which records lie that cannot be read."""
        return self._scan.damaged

    @functools.cached_property
    def steps(self) -> Steps:
        """The steps; decoded when they are first asked for."""
        return _steps(self.path, self._by_topic.get(STEP, ()))

    @property
    def success(self) -> bool | None:
        """Whether it counts as a success; None if it was cut before its end."""
        return self.end.succeeded if self.end is not None else None

    @property
    def topics(self) -> dict[str, int]:
        """Number of messages by topic."""
        return {topic: len(found) for topic, found in self._by_topic.items()}

    def stamps(self, topic: str) -> tuple[Array, Array]:
        """Return (n,) source stamps and (n,) log times of a topic, ns of Unix time."""
        found = self._by_topic.get(topic, ())
        return np.array([m.publish_ns for m in found], np.int64), np.array([m.log_ns for m in found], np.int64)

    def cameras(self) -> dict[tuple[str, bool], Frames]:
        """Return the pictures by (camera, whether of full size)."""
        made = {}
        for topic, found in sorted(self._by_topic.items()):
            camera = camera_of(topic)
            if camera is not None:
                made[camera] = Frames(self.path, found)
        return made

    def readings(self) -> list[RobotState]:
        """Return the robot's readings in order, without pictures, stamped from the first one on."""
        return list(self._readings().values())

    def observed_readings(self) -> list[RobotState]:
        """Return the n + 1 readings that the observations of n steps without a gap were made of.

        Raises:
            CheckpointError: One is missing.
        """
        steps, at = self.steps, self._readings()
        stamps = [int(ns) for ns in steps.stamp_ns[: steps.gap]]
        stamps += [int(steps.after_ns[steps.gap - 1])] if steps.gap else []
        missing = next((k for k, ns in enumerate(stamps) if ns not in at), None)
        if missing is not None:
            raise CheckpointError(f"{self.path} lacks the reading of observation {missing}; see: robot-rl data check")
        return [at[ns] for ns in stamps]

    def _readings(self) -> dict[int, RobotState]:
        decode = messages().decode
        at: dict[int, dict[str, Any]] = {}
        for topic, found in self._by_topic.items():
            if topic != STEP and camera_of(topic) is None:
                for m in found:
                    at.setdefault(m.publish_ns, {})[topic] = decode(m.type_name, m.data)
        stamps = sorted(at)
        return {ns: state_of(at[ns], 1e-9 * (ns - stamps[0])) for ns in stamps}

    def _what_is_missing(self) -> str:
        found = self._scan
        if self.end is not None:
            lost = f"{len(found.damaged)} damaged part(s) are left out" if found.damaged else ""
            return lost or ("" if found.whole else f"the file is cut at byte {found.good} of {found.size}")
        if REPAIR in found.metadata:
            return str(found.metadata[REPAIR].get("what", "it was cut and repaired"))
        if in_use(self.path):
            return "it is being recorded"
        return f"it was cut after {len(self)} steps"


def start_in(path: Path, found: Scan) -> EpisodeStart:
    """Return the facts of an episode's start from what a scan of its file found.

    Raises:
        CheckpointError: There are none, they are cut, or another version wrote them.
    """
    text = found.metadata.get(START)
    if text is None:
        if found.whole or found.good >= found.size > 0:
            raise CheckpointError(
                f"{path} is an MCAP file, but no episode that robot_rl recorded (its metadata have no '{START}'); "
                f"it has {', '.join(sorted({c.topic for c in found.channels.values()})[:6]) or 'no topics'}"
            )
        raise CheckpointError(
            f"{path} was cut before anything was in it: nothing can be read from it; "
            "delete it, unless a recording that has only just begun is writing it"
        )
    if text.get("format") != str(FORMAT):
        raise CheckpointError(
            f"{path} has format {text.get('format')}, this version of robot_rl reads format {FORMAT}; "
            "read it with the version that wrote it, or install a newer one"
        )
    try:
        return start_of(text)
    except TypeError as e:
        raise CheckpointError(f"{path} lacks facts of its start ({e}); it cannot be used") from e


def _check_steps(path: Path, found: Scan) -> None:
    """Raise `CheckpointError` if the file's steps are defined otherwise than here: they would be read as nonsense."""
    for schema in found.schemas.values():
        difference = step_difference(schema.data) if schema.name == STEP_TYPE else ""
        if difference:
            raise CheckpointError(
                f"the steps of {path} have another schema: {difference}; read it with the version of robot_rl that "
                "wrote it, or install a newer one"
            )


def _number(name: str) -> int:
    end = name.removeprefix(EDIT)
    return int(end) if end.isdecimal() else 0


def _steps(path: Path, found: Sequence[Message]) -> Steps:
    decode = messages().decode
    decoded = [decode(m.type_name, m.data) for m in found]
    names = sorted({name for d in decoded for name in d.timing_names})
    timing = {name: np.full(len(decoded), np.nan) for name in names}
    for i, d in enumerate(decoded):
        for name, value in zip(d.timing_names, d.timing_ms, strict=False):
            timing[name][i] = value
    arrays = {}
    for name, kind in _FIELDS.items():
        values = [getattr(d, name) for d in decoded]
        if len({np.shape(v) for v in values}) > 1:
            raise CheckpointError(f"the steps of {path} differ in the size of '{name}'; the file was not written by us")
        arrays[name] = np.array(values, kind)
    return Steps(
        **arrays,
        source=[d.source for d in decoded],
        reason=[d.reason for d in decoded],
        guard_events=[list(d.guard_events) for d in decoded],
        stamp_ns=np.array([nanoseconds(d.header.stamp) for d in decoded], np.int64),
        after_ns=np.array([nanoseconds(d.after) for d in decoded], np.int64),
        log_ns=np.array([m.log_ns for m in found], np.int64),
        timing=timing,
    )
