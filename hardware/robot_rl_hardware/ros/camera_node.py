"""The camera node: one or several cameras, read by a thread each, published for the policy and for the log."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robot_rl.errors import ConfigError
from robot_rl_hardware.cameras.make import make_camera
from robot_rl_hardware.cameras.protocol import Camera, SceneView
from robot_rl_hardware.cameras.settings import CameraSettings
from robot_rl_hardware.cameras.worker import CameraWorker, View
from robot_rl_hardware.ros import qos
from robot_rl_hardware.ros.messages import is_compressed, to_compressed, to_image, to_text
from robot_rl_hardware.ros.node import open_node

if TYPE_CHECKING:
    from rclpy.node import Node

    from robot_rl_hardware.ros.twin_camera import SceneFeed

log = logging.getLogger(__name__)

_LOOK_S = 0.1
_STATUS_S = 0.5
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class CameraNodeSettings:
    """Settings of a camera node.

    Attributes:
        name: Of the node.
        namespace: Below it each camera has its topics: NAMESPACE/NAME/image.
        arm: Namespace of the arm node, which the twin's cameras follow.
        car: Namespace of a car's node that they follow instead, "/" as F1TENTH has it; None follows the arm.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        ros_arguments: As after `--ros-args`.
    """

    name: str = "cameras"
    namespace: str = "/cameras"
    arm: str = "/arm"
    car: str | None = None
    domain: int | None = None
    ros_arguments: tuple[str, ...] = ()


def run_camera_node(
    cameras: Mapping[str, CameraSettings],
    settings: CameraNodeSettings,
    stopping: Callable[[], bool],
    make_scene: Callable[[], SceneView] | None = None,
    ready: Callable[[str], None] = log.info,
) -> None:
    """Publish cameras until asked to stop.

    Args:
        cameras: Settings by name.
        settings: Of the node.
        stopping: Asked ten times a second.
        make_scene: Makes what the twin's cameras look at; needed if one is of that kind.
        ready: Told in words, once all cameras are open.

    Raises:
        CameraError: A camera cannot be opened.
        ConfigError: There is no camera, or a name is none.
    """
    _check(cameras, make_scene)
    raw = takes_raw_pictures(cameras)
    with open_node(
        settings.name, settings.namespace, settings.domain, settings.ros_arguments, raw_pictures=raw
    ) as node:
        make = camera_maker(node, settings.arm, cameras, make_scene, settings.car)
        with contextlib.ExitStack() as stack:
            published: list[_Published] = []
            for name, of_camera in cameras.items():
                one = _Published(node, name, make(name, of_camera), of_camera)
                stack.callback(one.close)
                published.append(one)
            for one in published:
                ready(f"camera {one.name}: {one.start()}, on {one.topic}")
            while not stopping():
                for one in published:
                    one.tell()
                time.sleep(_LOOK_S)


def _check(cameras: Mapping[str, CameraSettings], make_scene: object) -> None:
    if not cameras:
        raise ConfigError("a camera node needs at least one camera; name them with names=[front,wrist] or in the cell")
    for name, settings in cameras.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"'{name}' cannot name a camera; allowed: letters, digits and underscores, no digit first"
            )
        if settings.kind == "twin" and make_scene is None:
            raise ConfigError(f"camera '{name}' is of kind twin, which needs the scene of a task; set task=...")


def takes_raw_pictures(cameras: Mapping[str, CameraSettings]) -> bool:
    """Return whether any of the cameras is another node's topic of raw pictures."""
    return any(one.kind == "topic" and not is_compressed(str(one.device)) for one in cameras.values())


def camera_maker(
    node: Node,
    arm: str,
    cameras: Mapping[str, CameraSettings],
    make_scene: Callable[[], SceneView] | None,
    car: str | None = None,
) -> Callable[[str, CameraSettings], Camera]:
    """Return what makes each of the cameras, of whatever kind, for a node.

    Args:
        node: A node that spins.
        arm: Namespace of the arm node, which the twin's cameras follow.
        cameras: Settings by name.
        make_scene: Makes what the twin's cameras look at.
        car: Namespace of a car's node that they follow instead.
    """
    feed: SceneFeed | None = None
    if make_scene is not None and car is not None:
        from robot_rl_hardware.ros.car_scene import CarSceneFeed

        feed = CarSceneFeed(node, car)
    elif make_scene is not None and any(one.kind == "twin" for one in cameras.values()):
        from robot_rl_hardware.ros.arm_scene import ArmSceneFeed

        scene = make_scene()  # only to ask what is in it: each camera draws a scene of its own, in its own thread
        feed = ArmSceneFeed(node, arm, scene.objects)
        scene.close()

    def make(name: str, one: CameraSettings) -> Camera:
        if one.kind == "twin":
            from robot_rl_hardware.ros.twin_camera import TwinCamera

            assert feed is not None  # `_check` saw to it
            assert make_scene is not None
            return TwinCamera(name, node, feed, make_scene, one)
        if one.kind == "topic":
            from robot_rl_hardware.ros.image_topic import ImageTopicCamera

            return ImageTopicCamera(node, one)
        return make_camera(one)

    return make


class _Published:
    """One camera of the node: its worker and its three topics."""

    def __init__(self, node: Node, name: str, camera: Camera, settings: CameraSettings) -> None:
        from sensor_msgs.msg import CompressedImage, Image
        from std_msgs.msg import String

        self.name, self._node = name, node
        self._image = node.create_publisher(Image, f"{name}/image", qos.newest())
        self._full = node.create_publisher(CompressedImage, f"{name}/image_full/compressed", qos.newest())
        self._status = node.create_publisher(String, f"{name}/status", qos.latched())
        self.topic = self._image.topic_name
        self._worker = CameraWorker(name, camera, settings, on_view=self._publish)
        self._told_s, self._told_ok = float("-inf"), None

    def start(self) -> str:
        """Open the camera and return what it is."""
        info = self._worker.start()
        fps = f" at {info.fps:g} Hz" if info.fps else ""
        return f"{info.what}, {info.width}x{info.height}{fps}"

    def tell(self) -> None:
        """Publish how the camera does, at every change and twice a second."""
        status, now = self._worker.status(), time.monotonic()
        if status.ok == self._told_ok and now - self._told_s < _STATUS_S:
            return
        if self._told_ok and not status.ok:
            log.warning("camera '%s': %s", self.name, status.reason)
        elif status.ok and not self._told_ok:
            log.info("camera '%s' is well", self.name)
        self._told_s, self._told_ok = now, status.ok
        self._status.publish(
            to_text(
                {
                    "ok": status.ok, "reason": status.reason, "fps": status.fps, "age_s": status.age_s,
                    "frozen": status.frozen, "drops": status.drops, "reconnects": status.reconnects,
                }
            )
        )  # fmt: skip

    def close(self) -> None:
        """End the camera before its node goes."""
        self._worker.close()

    def _publish(self, view: View, well: bool) -> None:
        """Publish a new frame, in the camera's own thread. A frozen picture is kept back, so that it grows old."""
        if not well:
            return
        frame = view.frame
        # The age is known in monotonic time; ROS time is what other nodes compare with.
        age_ns = int((time.monotonic() - frame.stamp_s) * 1e9)
        stamp_ns = frame.stamp_ns or self._node.get_clock().now().nanoseconds - age_ns
        self._image.publish(to_image(stamp_ns, view.picture, self.name))
        if self._full.get_subscription_count():
            self._full.publish(to_compressed(stamp_ns, frame.image, self.name))
