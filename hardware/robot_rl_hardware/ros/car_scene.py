"""What the node of a car's twin tells of its scene: where the car is and how its wheels are turned."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robot_rl_hardware.ros import qos
from robot_rl_hardware.ros.messages import stamp_ns

if TYPE_CHECKING:
    from rclpy.node import Node

_SET_BACK_NS = 1_000_000_000  # a stamp older by this much tells of a clock that was set back


@dataclass(frozen=True, slots=True)
class CarScene:
    """The scene at an instant.

    Attributes:
        number: Grows with every scene.
        stamp_ns: ROS time of the pose.
        x_m, y_m, yaw_rad: Of the car in W.
        steering_rad: As commanded last.
    """

    number: int
    stamp_ns: int
    x_m: float
    y_m: float
    yaw_rad: float
    steering_rad: float

    def show(self, view: Any) -> None:
        """Put the car of a view there."""
        view.show(self.x_m, self.y_m, self.yaw_rad, self.steering_rad)


class CarSceneFeed:
    """Follows a twin's topics.

    Args:
        node: A node that spins.
        namespace: Of the car's node; "/" as F1TENTH has it.
    """

    def __init__(self, node: Node, namespace: str) -> None:
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import JointState

        self._ready = threading.Condition()
        self._newest: CarScene | None = None
        self._steering_rad = 0.0
        space = namespace.rstrip("/")
        self.source = f"the car's twin on {space}/true_pose"
        node.create_subscription(JointState, f"{space}/joint_states", self._on_joints, qos.newest())
        node.create_subscription(PoseStamped, f"{space}/true_pose", self._on_pose, qos.newest())

    def wait_newer(self, number: int, timeout_s: float) -> CarScene | None:
        """Return the newest scene once it comes after the one with a number, or None if none does in time."""
        with self._ready:
            found = self._ready.wait_for(lambda: self._newest is not None and self._newest.number > number, timeout_s)
            return self._newest if found else None

    def _on_joints(self, message: Any) -> None:
        if len(message.position) and math.isfinite(message.position[0]):
            self._steering_rad = float(message.position[0])

    def _on_pose(self, message: Any) -> None:
        at, turn, stamp = message.pose.position, message.pose.orientation, stamp_ns(message)
        numbers = (float(at.x), float(at.y), 2.0 * math.atan2(turn.z, turn.w))
        if not all(map(math.isfinite, numbers)):
            return
        with self._ready:
            last = self._newest
            if last is not None and 0 <= last.stamp_ns - stamp < _SET_BACK_NS:
                return  # overtaken on the way
            number = 1 if last is None else last.number + 1
            self._newest = CarScene(number, stamp, *numbers, self._steering_rad)
            self._ready.notify_all()
