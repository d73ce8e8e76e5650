"""Videos of a data set: many episodes in one file, one frame for each step, and back."""

from __future__ import annotations

import contextlib
import fractions
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CheckpointError, MissingDependency

Picture = NDArray[np.uint8]
# A key frame every second one, so that any frame is found quickly; the quality that LeRobot itself records with.
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "libsvtav1": {"g": "2", "crf": "30", "preset": "10"},
    "libx264": {"g": "2", "crf": "23", "preset": "medium"},
}
_NAMES = {"libsvtav1": "av1", "libx264": "h264"}
_SMALLEST = 64  # pixels of a side that libsvtav1 takes


def av() -> Any:
    """Return the package `av`."""
    try:
        import av
    except ModuleNotFoundError as e:
        raise MissingDependency("the package 'av'", "videos", "pip install 'robot-rl[export]'") from e
    return av


def coder(shape: tuple[int, ...]) -> str:
    """Return which coder films pictures of a shape: AV1 where it is there and takes the size, else H.264."""
    small = min(shape[:2]) < _SMALLEST
    return "libx264" if small or "libsvtav1" not in av().codecs_available else "libsvtav1"


def facts(shape: tuple[int, ...], fps: float) -> dict[str, Any]:
    """Return what `info.json` says of the videos of pictures of a shape."""
    name = coder(shape)
    settings = {f"video.{k}": int(v) if v.isdecimal() else v for k, v in SETTINGS[name].items()}
    return {"video.codec": _NAMES[name], "video.pix_fmt": _layout(shape), "video.fps": fps, **settings}


def _layout(shape: tuple[int, ...]) -> str:
    """Return how colours lie: halved in both directions, which only even sides can be."""
    return "yuv420p" if shape[0] % 2 == 0 == shape[1] % 2 else "yuv444p"


@contextlib.contextmanager
def _ordinary_priority() -> Iterator[None]:
    """Undo that SVT-AV1, run by root, gives its caller and its threads the priority of a control loop (FIFO 99)."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    before = {thread: (os.sched_getscheduler(thread), os.sched_getparam(thread)) for thread in _threads()}
    ordinary = before[0]
    try:
        yield
    finally:
        for thread in _threads():
            was = before.get(thread, ordinary)
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if os.sched_getscheduler(thread) != was[0]:
                    os.sched_setscheduler(thread, *was)


def _threads() -> list[int]:
    """Return the threads of this process as the scheduler numbers them, the calling one also as 0."""
    with contextlib.suppress(OSError):
        return [0, *map(int, os.listdir("/proc/self/task"))]
    return [0]


class VideoFile:
    """One video that grows; frame i is shown from i / fps on.

    Args:
        path: Where it lies; its folder is made.
        shape: (H, W, 3) of the pictures.
        fps: Frames per second.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], fps: float) -> None:
        os.environ.setdefault("SVT_LOG", "1")  # errors only: the coder reports its settings otherwise
        path.parent.mkdir(parents=True, exist_ok=True)
        name = coder(shape)
        speed = fractions.Fraction(fps).limit_denominator(100_000)
        self.path, self.frames, self._fps = path, 0, speed
        self._container = av().open(str(path), "w", format="mp4")
        stream = self._container.add_stream(name, rate=speed, options=dict(SETTINGS[name]))
        stream.height, stream.width, stream.pix_fmt = shape[0], shape[1], _layout(shape)
        self._stream = stream

    @property
    def size(self) -> int:
        """Bytes on the disk until now."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def end_s(self) -> float:
        """When the last frame ends."""
        return float(self.frames / self._fps)

    def add(self, picture: Picture) -> None:
        """Append an (H, W, 3) uint8 RGB picture."""
        frame = av().VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = self.frames, 1 / self._fps
        self.frames += 1
        with _ordinary_priority() if self.frames == 1 else contextlib.nullcontext():  # the coder opens with a frame
            packets = self._stream.encode(frame)
        self._container.mux(packets)

    def close(self) -> None:
        """Write what is left and the index, without which a video cannot be read."""
        self._container.mux(self._stream.encode())
        self._container.close()


def read(path: Path, from_s: float, count: int, fps: float) -> Iterator[Picture]:
    """Yield `count` (H, W, 3) uint8 RGB pictures of a video, from a moment on.

    Raises:
        CheckpointError: It cannot be read, or holds fewer.
    """
    found = 0
    try:
        with av().open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            container.seek(max(0, int((from_s - 0.5 / fps) / stream.time_base)), stream=stream)
            for frame in container.decode(stream):
                if frame.time is None or frame.time < from_s - 0.5 / fps:
                    continue
                if found == count:
                    break
                found += 1
                yield frame.to_ndarray(format="rgb24")
    except (OSError, ValueError, IndexError) as e:  # the errors of av are among them
        raise CheckpointError(f"the video {path} cannot be read: {e}") from e
    if found < count:
        raise CheckpointError(f"the video {path} holds {found} frames from {from_s:g} s on, {count} were expected")
