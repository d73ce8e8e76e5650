"""A camera that another ROS 2 node drives: the images of a topic, as frames."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from robot_rl.errors import CameraError
from robot_rl_hardware.cameras.protocol import CameraInfo, CameraTimeout, Frame
from robot_rl_hardware.cameras.settings import CameraSettings
from robot_rl_hardware.ros import qos
from robot_rl_hardware.ros.messages import from_compressed, from_image, is_compressed, stamp_ns

if TYPE_CHECKING:
    from rclpy.node import Node

_FIRST_S = 10.0
_PLAUSIBLE_NS = 10_000_000_000


class ImageTopicCamera:
    """Frames of an image topic.

    Args:
        node: A node that spins.
        settings: `device` is the topic: of raw pictures, or of compressed ones when its name ends so.
    """

    def __init__(self, node: Node, settings: CameraSettings) -> None:
        self._node, self._topic = node, str(settings.device)
        if not self._topic.startswith("/"):
            raise CameraError(f"a camera of kind topic needs a topic as its device, got '{self._topic}'")
        self._subscription: Any = None
        self._ready = threading.Condition()
        self._message: Any = None
        self._picture = from_compressed if is_compressed(self._topic) else from_image
        self._arrival_s = 0.0
        self._count = self._taken = 0

    def start(self) -> CameraInfo:
        """Subscribe, and wait for the first image, which tells the size."""
        from sensor_msgs.msg import CompressedImage, Image

        kind = CompressedImage if is_compressed(self._topic) else Image
        self._subscription = self._node.create_subscription(kind, self._topic, self._keep, qos.newest())
        with self._ready:
            first = self._message if self._ready.wait_for(lambda: self._message is not None, _FIRST_S) else None
        if first is None:
            raise CameraError(self._why_not())
        height, width, _ = self._picture(first).shape
        return CameraInfo(what=self._topic, width=width, height=height)

    def read(self, timeout_s: float) -> Frame:
        """Wait for the next image."""
        with self._ready:
            if not self._ready.wait_for(lambda: self._count > self._taken, timeout_s):
                raise CameraTimeout(f"nothing came on {self._topic} for {timeout_s:g} s")
            message, arrival_s, self._taken = self._message, self._arrival_s, self._count
        assert message is not None  # counted
        stamp = stamp_ns(message)
        age_ns = self._node.get_clock().now().nanoseconds - stamp
        if not 0 <= age_ns <= _PLAUSIBLE_NS:  # not stamped, or by a clock that is not ours
            return Frame(self._picture(message), arrival_s, self._taken)
        return Frame(self._picture(message), time.monotonic() - age_ns * 1e-9, self._taken, stamp)

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _keep(self, message: Any) -> None:
        with self._ready:
            self._message, self._arrival_s = message, time.monotonic()
            self._count += 1
            self._ready.notify_all()

    def _why_not(self) -> str:
        kinds = {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}
        images = sorted(n for n, types in self._node.get_topic_names_and_types() if kinds & set(types))
        others = [name for name in images if name != self._topic]
        seen = f"image topics here are {', '.join(others)}" if others else "there is no other image topic here"
        silent = "has no images" if self._topic in images and self._node.count_publishers(self._topic) else "is silent"
        return f"{self._topic} {silent} for {_FIRST_S:g} s; {seen}. Compare topic, domain and the camera's node"
