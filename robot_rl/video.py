"""Videos of episodes: H.264 files that play in any browser, cameras side by side, a caption below.

Needs PyAV, and OpenCV for captions; both come with the extra `sim`.
"""

from __future__ import annotations

import contextlib
import fractions
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CheckpointError, ConfigError, MissingDependency, SpecError, StorageError

Frame = NDArray[np.uint8]

_INSTALL = "pip install robot-rl[sim]"


class VideoWriter:
    """Writes an MP4 (H.264, yuv420p, moov atom first). The file appears under its name only when it is complete.

    Used as a context manager it discards the file when the block raises.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int] | None = None) -> None:
        """Open a video.

        Args:
            path: Where the video shall lie; an older file is replaced on close.
            fps: Frames per second.
            size: (height, width) of the frames; that of the first frame when None. Odd sizes grow by one pixel.
        """
        if not 0.0 < fps <= 1000.0:
            raise ConfigError(f"frames per second of a video must lie in (0, 1000], got {fps}")
        self._av = _import_av()
        self.path = path
        self.frames = 0
        self._rate = fractions.Fraction(fps).limit_denominator(1001)
        self._size = size
        self._temporary = path.with_name(f".{path.stem}.part{path.suffix or '.mp4'}")
        self._container: Any = None
        self._stream: Any = None

    def write(self, frame: Frame) -> None:
        """Append a frame, (height, width, 3) uint8 RGB."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise SpecError(f"a video frame is (height, width, 3) uint8, got {frame.shape} {frame.dtype}")
        if self._size is None:
            self._size = (frame.shape[0], frame.shape[1])
        if frame.shape[:2] != tuple(self._size):
            raise SpecError(f"this video's frames are {self._size} (height, width), got {frame.shape[:2]}")
        height, width = self._size
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        with self._storage():
            if self._container is None:
                self._container = self._open(height + height % 2, width + width % 2)
            picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts = self.frames
            self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def close(self) -> Path | None:
        """Finish the file and return its path, or None when no frame was written; safe to call twice."""
        if self._container is None:
            return self.path if self.frames else None
        with self._storage():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None
            self._temporary.replace(self.path)
        return self.path

    def discard(self) -> None:
        """Drop what was written; an older file of the same name stays."""
        if self._container is not None:
            with contextlib.suppress(Exception):
                self._container.close()
            self._container = None
        with contextlib.suppress(OSError):
            self._temporary.unlink()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _open(self, height: int, width: int) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        options = {"movflags": "+faststart"}
        container = self._av.open(str(self._temporary), "w", format="mp4", options=options)
        self._stream = container.add_stream("libx264", rate=self._rate)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        self._stream.options = {"preset": "veryfast", "crf": "23"}
        self._stream.thread_count = 1  # the rest of the machine is learning
        return container

    @contextlib.contextmanager
    def _storage(self) -> Iterator[None]:
        """Turn an error of the disk or the encoder into a `StorageError` and drop the unfinished file."""
        try:
            yield
        except (OSError, self._av.error.FFmpegError) as e:
            self.discard()
            raise StorageError(f"could not write the video {self.path}: {e}. Free some space and record again") from e


def read_frame(path: Path, t_s: float) -> Frame:
    """Return the frame shown at a time of a video, (height, width, 3) uint8 RGB; the last one when it is shorter.

    Raises:
        CheckpointError: The file is missing or no video.
    """
    av = _import_av()
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if t_s > 0.0 and stream.time_base:
                container.seek(int(t_s / stream.time_base), stream=stream)  # to the key frame before
            found = None
            for frame in container.decode(stream):
                # A frame is shown until the next one starts; the slack absorbs the rounding of time stamps.
                if found is not None and frame.time is not None and frame.time > t_s + 1e-4:
                    break
                found = frame
    except (OSError, IndexError, av.error.FFmpegError) as e:
        raise CheckpointError(f"cannot read the video {path}: {e}. Record it again with: robot-rl eval RUN") from e
    if found is None:
        raise CheckpointError(f"the video {path} holds no frame. Record it again with: robot-rl eval RUN")
    return found.to_ndarray(format="rgb24")


def tile(images: Sequence[Frame] | Mapping[str, Frame], height: int | None = None) -> Frame:
    """Return camera images side by side, scaled to one height (the tallest one's when None)."""
    frames = list(images.values()) if isinstance(images, Mapping) else list(images)
    if not frames:
        raise SpecError("there is no image to tile: the task has no cameras. Render one for the video")
    common = height or max(f.shape[0] for f in frames)
    return np.concatenate([_scaled(f, common) for f in frames], axis=1)


def caption(frame: Frame, text: str, *, colour: tuple[int, int, int] = (235, 235, 235), bar: int = 0) -> Frame:
    """Return a copy with a line of text on a dark bar below the picture.

    Args:
        frame: (H, W, 3) uint8 RGB.
        text: ASCII text; it shrinks to fit the width.
        colour: Colour of the text, RGB.
        bar: Height of the bar in pixels; in proportion to the picture when 0.

    Returns:
        (H + bar, W, 3) uint8 RGB.
    """
    cv2 = _import_cv2()
    height, width = frame.shape[:2]
    bar = bar or max(16, round(height / 14))
    strip = np.full((bar, width, 3), 24, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    (full_width, full_height), _ = cv2.getTextSize(text, font, 1.0, 1)
    scale = min(0.5 * bar / max(full_height, 1), (width - 8) / max(full_width, 1))
    baseline = round((bar + full_height * scale) / 2)
    cv2.putText(strip, text, (4, baseline), font, scale, colour, 1, cv2.LINE_AA)
    return np.concatenate([frame, strip], axis=0)


def episode_caption(frame: Frame, *, episode: int, t_s: float, success: bool | None = None) -> Frame:
    """Return a copy with the episode's number, its time, and, once known, its outcome in the caption."""
    text = f"episode {episode + 1}   {t_s:4.1f} s"
    if success is None:
        return caption(frame, text)
    colour = (120, 220, 120) if success else (255, 150, 90)
    return caption(frame, f"{text}   {'success' if success else 'failed'}", colour=colour)


def _scaled(frame: Frame, height: int) -> Frame:
    if frame.shape[0] == height:
        return frame
    cv2 = _import_cv2()
    width = max(round(frame.shape[1] * height / frame.shape[0]), 1)
    shrink = height < frame.shape[0]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


def _import_av() -> Any:
    try:
        import av
    except ImportError as e:
        raise MissingDependency("PyAV (av)", "a video", _INSTALL) from e
    return av


def _import_cv2() -> Any:
    try:
        import cv2
    except ImportError as e:
        raise MissingDependency("OpenCV (cv2)", "a caption or a scaled picture in a video", _INSTALL) from e
    return cv2
