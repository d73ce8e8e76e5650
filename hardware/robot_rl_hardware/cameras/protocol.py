"""The `Camera`: gives one stamped picture after another. A `CameraWorker` sees to it that no reader has to wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CameraError
from robot_rl.robot import Vector

Picture = NDArray[np.uint8]


class CameraTimeout(CameraError):
    """No picture came in time; the next one may."""


class CameraEnded(CameraError):
    """There will be no more pictures, and opening it again would not help: a video file is over."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture.

    Attributes:
        image: (H, W, 3) uint8 RGB, whole, as the camera gives it. Nobody writes to it.
        stamp_s: Monotonic time at which the light was caught, seconds.
        number: The source's own count; a gap is a lost frame, the same number again is no new frame.
        stamp_ns: The same moment in ROS time, if the source told it so, kept to the nanosecond; 0 otherwise.
        depth_m: (H, W) float32 distance along the optical axis, aligned to `image`, 0 where unknown; None without.
    """

    image: Picture
    stamp_s: float
    number: int
    stamp_ns: int = 0
    depth_m: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class CameraInfo:
    """What a started camera says of itself.

    Attributes:
        what: Model and serial number, path or topic, for people.
        width, height, fps: Of the frames that it gives; fps 0 if it does not say.
        intrinsics: fx, fy, cx, cy [pixels] and distortion k1, k2, p1, p2, k3 as far as the device knows them.
        controls: Exposure and the like, as they stand after locking.
    """

    what: str
    width: int
    height: int
    fps: float = 0.0
    intrinsics: Mapping[str, float] | None = None
    controls: Mapping[str, float] | None = None


class Camera(Protocol):
    """A source of frames. One thread, a worker's, calls everything."""

    def start(self) -> CameraInfo:
        """Open the device; raises `CameraError` with what was found and what is allowed."""
        ...

    def read(self, timeout_s: float) -> Frame:
        """Wait for the next frame.

        Raises:
            CameraTimeout: None came in time.
            CameraEnded: None will come again.
            CameraError: The device is gone; `close` and `start` may bring it back.
        """
        ...

    def close(self) -> None:
        """Release the device. Safe to call twice, and `start` may follow."""
        ...


class SceneView(Protocol):
    """A picture of a scene whose state is told rather than simulated: what a camera of the twin looks at."""

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects whose poses can be told."""
        ...

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that look at it."""
        ...

    def show(self, q: Vector, width_m: float, objects: Mapping[str, Vector]) -> None:
        """Take joint positions (7,) [rad], opening of the gripper and (7,) poses (p, quat wxyz) in B of objects."""
        ...

    def render(self, camera: str, height: int, width: int) -> Picture:
        """Return (height, width, 3) uint8 RGB of the state that was shown last."""
        ...

    def close(self) -> None:
        """Free the renderer."""
        ...
