"""A camera of a twin in real time: draws what its node says, and stamps the picture with the reading it shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from robot_rl.errors import CameraError, nearest
from robot_rl_hardware.cameras.protocol import CameraInfo, CameraTimeout, Frame, SceneView
from robot_rl_hardware.cameras.settings import CameraSettings

if TYPE_CHECKING:
    from rclpy.node import Node


# One thread at a time is inside OpenGL: several cameras have a thread and a context each, and software renderers are
# not all safe against one compiling or closing while another draws. A picture takes a millisecond or two.
_DRAWING = threading.Lock()


class SceneFeed(Protocol):
    """What a twin's node says of its scene, put together.

    Attributes:
        source: Whose topics these are, for sentences.
    """

    source: str

    def wait_newer(self, number: int, timeout_s: float) -> Any:
        """Return the newest scene, with `number`, `stamp_ns` and `show`, once it comes after one; None if none does."""
        ...


class TwinCamera:
    """Frames drawn from a twin's topics at the settings' rate, each of a new reading.

    When its node falls silent no frame comes, so the camera is late, as a real one would be.

    Args:
        name: Of the camera; also the scene's camera unless the settings name another as their device.
        node: A node that spins.
        feed: The topics of the twin's node.
        make_scene: Makes the scene to draw. It is called in the thread that draws, since OpenGL belongs to a thread.
        settings: Their width and height are those of the drawing.
    """

    def __init__(
        self,
        name: str,
        node: Node,
        feed: SceneFeed,
        make_scene: Callable[[], SceneView],
        settings: CameraSettings,
    ) -> None:
        self._node, self._feed, self._make_scene, self._settings = node, feed, make_scene, settings
        self._camera = str(settings.device) or name
        self._scene: SceneView | None = None
        self._scene_number = self._number = 0
        self._next_s = 0.0

    def start(self) -> CameraInfo:
        """Build the scene and open OpenGL. The arm may come later."""
        s = self._settings
        self._scene = self._make_scene()
        if self._camera not in self._scene.cameras:
            have = self._scene.cameras
            raise CameraError(
                f"the twin's scene has no camera '{self._camera}'; it has {', '.join(have)}."
                f"{nearest(self._camera, have)}"
            )
        with _DRAWING:
            self._scene.render(self._camera, s.height, s.width)  # opens OpenGL now, rather than in the first frame
        self._next_s = time.monotonic()
        return CameraInfo(what=f"twin, {self._camera}", width=s.width, height=s.height, fps=float(s.fps))

    def read(self, timeout_s: float) -> Frame:
        """Wait for the time of the next frame, then draw the newest reading."""
        if self._scene is None:
            raise CameraError(f"the twin's camera '{self._camera}' is not open")
        until = time.monotonic() + timeout_s
        time.sleep(min(max(self._next_s - time.monotonic(), 0.0), timeout_s))
        scene = self._feed.wait_newer(self._scene_number, max(until - time.monotonic(), 0.0))
        if scene is None:
            raise CameraTimeout(f"no reading comes from {self._feed.source}")
        period_s = 1.0 / self._settings.fps
        self._next_s = max(self._next_s + period_s, time.monotonic())
        self._scene_number, self._number = scene.number, self._number + 1
        age_s = (self._node.get_clock().now().nanoseconds - scene.stamp_ns) * 1e-9
        stamp_s = time.monotonic() - max(age_s, 0.0)
        scene.show(self._scene)
        with _DRAWING:
            picture = self._scene.render(self._camera, self._settings.height, self._settings.width)
        return Frame(picture, stamp_s, self._number, scene.stamp_ns)

    def close(self) -> None:
        """Free the renderer."""
        if self._scene is not None:
            with _DRAWING:
                self._scene.close()
            self._scene = None
