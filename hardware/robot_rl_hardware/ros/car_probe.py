"""Looks at a car over ROS for some seconds, for `robot-rl doctor --car`: it listens, and sends nothing."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

from robot_rl.errors import RobotRLError, WireError
from robot_rl_hardware.car.traps import CarSeen
from robot_rl_hardware.ros import qos
from robot_rl_hardware.ros.car_receiver import message_kind
from robot_rl_hardware.ros.environment import domain_of
from robot_rl_hardware.ros.messages import from_text, stamp_ns
from robot_rl_hardware.ros.node import open_node

if TYPE_CHECKING:
    from rclpy.node import Node

_COMMANDS = ("drive", "cmd_vel", "commands/motor/speed")


def look(namespace: str, domain: int | None, seconds: float) -> CarSeen:
    """Return what is seen of a car in a namespace of a domain."""
    where = f"{namespace or '/'} in ROS domain {domain_of(domain)}"
    try:
        with open_node("car_doctor", namespace, domain) as node:
            listener = _Listener(node)
            time.sleep(seconds)
            return listener.seen(where)
    except RobotRLError as e:
        return CarSeen(where=where, trouble=str(e))


class _Listener:
    def __init__(self, node: Node) -> None:
        from geometry_msgs.msg import PoseStamped, TwistStamped
        from sensor_msgs.msg import Imu
        from std_msgs.msg import String

        self._node = node
        self._status: dict[str, Any] = {}
        self._ages_ms: list[float] = []
        self._unstamped = 0
        self._odom: list[tuple[float, ...]] = []
        self._twist: list[tuple[float, ...]] = []
        self._imu: list[tuple[float, ...]] = []
        self._poses: list[tuple[float, ...]] = []
        self._frame = ""
        node.create_subscription(PoseStamped, "pose", self._on_pose, qos.newest())
        node.create_subscription(Imu, "imu", self._on_imu, qos.newest())
        node.create_subscription(TwistStamped, "twist", self._on_twist, qos.newest())
        node.create_subscription(TwistStamped, "cmd_vel", self._on_command, qos.newest())
        node.create_subscription(String, "status", self._on_status, qos.latched())
        if odometry := message_kind("nav_msgs.msg", "Odometry"):
            node.create_subscription(odometry, "odom", self._on_odom, qos.newest())
        if ackermann := message_kind("ackermann_msgs.msg", "AckermannDriveStamped"):
            node.create_subscription(ackermann, "drive", self._on_command, qos.newest())

    def seen(self, where: str) -> CarSeen:
        """Return all that came, and who is in the domain."""
        own = self._node.get_name()
        names = [
            f"{space.rstrip('/')}/{name}" for name, space in self._node.get_node_names_and_namespaces() if name != own
        ]
        return CarSeen(
            where=where, nodes=tuple(sorted(names)), status=self._status,
            commanders=sum(self._node.count_publishers(topic) for topic in _COMMANDS),
            joysticks=self._node.count_publishers("joy"), command_ages_ms=tuple(self._ages_ms),
            unstamped=self._unstamped, odometry=tuple(self._odom or self._twist), imu=tuple(self._imu),
            imu_frame=self._frame, poses=tuple(self._poses),
        )  # fmt: skip

    def _on_status(self, message: Any) -> None:
        with contextlib.suppress(WireError):
            self._status = from_text(message)

    def _on_command(self, message: Any) -> None:
        stamp = stamp_ns(message)
        if stamp <= 0:
            self._unstamped += 1
        else:
            self._ages_ms.append(1e-6 * (self._node.get_clock().now().nanoseconds - stamp))

    def _on_odom(self, message: Any) -> None:
        twist = message.twist.twist
        self._odom.append((1e-9 * stamp_ns(message), twist.linear.x, twist.angular.z))

    def _on_twist(self, message: Any) -> None:
        self._twist.append((1e-9 * stamp_ns(message), message.twist.linear.x, message.twist.angular.z))

    def _on_imu(self, message: Any) -> None:
        a = message.linear_acceleration
        self._frame = message.header.frame_id
        self._imu.append((1e-9 * stamp_ns(message), a.x, a.y, a.z, message.angular_velocity.z))

    def _on_pose(self, message: Any) -> None:
        p, q = message.pose.position, message.pose.orientation
        self._poses.append((1e-9 * stamp_ns(message), p.x, p.y, 2.0 * math.atan2(q.z, q.w)))
