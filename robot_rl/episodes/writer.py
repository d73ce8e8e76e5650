"""Writes one episode into a file, in the caller's thread: the recorder does so beside a control loop.

Each step is a chunk of its own, with what was read and seen since the step before. So a file that is cut anywhere holds
every step before the cut, and a killed process loses the step in flight at most.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.facts import EpisodeEnd, EpisodeStart, to_text
from robot_rl.episodes.part import PartFile
from robot_rl.episodes.schema import END, FORMAT, LIBRARY, START, Encoded, messages, type_of
from robot_rl.errors import MissingDependency, SpecError, StorageError
from robot_rl.robot import RobotState

Picture = NDArray[np.uint8]
JPEG_QUALITY = 95
_PENDING_BYTES = 4_000_000
PNG_LEVEL = 1  # lossless at any level; higher ones take ten times as long for a tenth of the size


class EpisodeWriter:
    """One episode on its way to the disk.

    Args:
        file: Where it goes, from `part.next_file`.
        start: What is known of it.
        unix_offset_ns: Added to the robot's stamps it gives Unix time.
        sync_s: How often what was written is forced to the disk, against a power cut.
    """

    def __init__(self, file: PartFile, start: EpisodeStart, unix_offset_ns: int, sync_s: float = 1.0) -> None:
        writer_class = _mcap_writer()
        self.file, self.start, self.steps, self.pictures = file, start, 0, 0
        self._offset_ns, self._sync_s, self._synced_s = unix_offset_ns, sync_s, time.monotonic()
        self._messages = messages()
        self._joint_names = start.joint_names
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._log_ns = 0
        self._mcap = writer_class(cast(Any, file))
        self._mcap.start(profile="ros2", library=LIBRARY)
        self._mcap.add_metadata(START, {"format": str(FORMAT), **to_text(start)})
        self._mcap.flush()

    def stamp(self, stamp_s: float) -> int:
        """Return a stamp of the robot in nanoseconds of Unix time."""
        return self._offset_ns + round(stamp_s * 1e9)

    def state(self, state: RobotState, log_ns: int) -> None:
        """Add a reading of the robot."""
        if not self._joint_names:
            self._joint_names = tuple(f"joint{i + 1}" for i in range(len(state.q)))
        at = self.stamp(state.stamp_s)
        for encoded in self._messages.robot(state, at, self._joint_names):
            self._add(encoded, log_ns, at)

    def picture(self, camera: str, picture: Picture, index: int, stamp_s: float, log_ns: int) -> None:
        """Add what the policy saw in observation `index`, without loss."""
        at = self.stamp(stamp_s)
        self._add(self._messages.image(camera, False, encode(picture, "png"), "png", at), log_ns, at, index)
        self.pictures += 1

    def frame(self, camera: str, picture: Picture, stamp_s: float, log_ns: int) -> None:
        """Add a picture of full size, for people and for later, as JPEG."""
        at = self.stamp(stamp_s)
        self._add(self._messages.image(camera, True, encode(picture, "jpeg"), "jpeg", at), log_ns, at)
        self.pictures += 1

    def step(self, fields: Mapping[str, Any], stamp_s: float, after_s: float, log_ns: int) -> None:
        """Add a step and write everything up to it.

        Raises:
            StorageError: The disk does not take it; steps before are intact.
        """
        at = self.stamp(stamp_s)
        self._add(self._messages.step(fields, at, self.stamp(after_s)), log_ns, at, self.steps)
        self._mcap.flush()
        self.steps += 1
        now_s = time.monotonic()
        if now_s - self._synced_s >= self._sync_s:
            self.file.sync()
            self._synced_s = now_s

    def finish(self, end: EpisodeEnd) -> None:
        """Write the end and the index, and give the file its name."""
        self._mcap.flush()
        self._mcap.add_metadata(END, to_text(end))
        self._mcap.finish()
        self.file.complete()

    def _add(self, encoded: Encoded, log_ns: int, at_ns: int, sequence: int = 0) -> None:
        topic, data = encoded
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = self._register(topic)
        # Two threads may hand over in another order than they read the clock; a log's time never goes back.
        self._log_ns = max(log_ns, self._log_ns)
        self._mcap.add_message(channel, self._log_ns, data, at_ns, sequence)
        if self.file.pending > _PENDING_BYTES:  # pictures while no step comes
            self.file.flush()

    def _register(self, topic: str) -> int:
        kind = type_of(topic)
        schema = self._schemas.get(kind)
        if schema is None:
            schema = self._mcap.register_schema(kind, "ros2msg", self._messages.definition(kind))
            self._schemas[kind] = schema
        return self._mcap.register_channel(topic, "cdr", schema)


def encode(picture: Picture, kind: Literal["png", "jpeg"]) -> bytes:
    """Return an (H, W, 3) uint8 RGB picture as the bytes of a PNG (exact) or JPEG file."""
    cv2 = _opencv()
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise SpecError(f"a picture is (height, width, 3) uint8, got {picture.shape} {picture.dtype}")
    options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL] if kind == "png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(f".{kind}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise StorageError(f"a picture of shape {picture.shape} could not be encoded as {kind}")
    return data.tobytes()


def decode_picture(data: bytes | NDArray[np.uint8]) -> Picture:
    """Return the (H, W, 3) uint8 RGB picture of a PNG or JPEG file."""
    cv2 = _opencv()
    file = np.frombuffer(data, np.uint8)
    picture = cv2.imdecode(file, cv2.IMREAD_COLOR) if file.size else None
    if picture is None:
        raise StorageError("a picture of the episode cannot be decoded")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def check_dependencies(pictures: bool) -> None:
    """Raise `MissingDependency` unless what writing needs is installed, and load it, so that no loop waits for that."""
    messages()
    _mcap_writer()
    if pictures:
        for kind in ("png", "jpeg"):
            encode(np.zeros((8, 8, 3), np.uint8), kind)


def _mcap_writer() -> Any:
    try:
        from mcap.writer import Writer
    except ModuleNotFoundError as e:
        raise MissingDependency("the package 'mcap'", "the record of episodes", "pip install 'robot-rl[data]'") from e
    return Writer


def _opencv() -> Any:
    try:
        import cv2
    except ModuleNotFoundError as e:
        raise MissingDependency("OpenCV", "pictures in episodes", "pip install 'robot-rl[data]'") from e
    return cv2
