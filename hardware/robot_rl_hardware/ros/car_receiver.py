"""What a car's node hears: commands, joystick, localisation; told to the governor in monotonic time."""

from __future__ import annotations

import importlib
import logging
import math
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from robot_rl_hardware.car.governor import Governor
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.ros import qos
from robot_rl_hardware.ros.clock import clock_map, distrust
from robot_rl_hardware.ros.messages import stamp_ns

if TYPE_CHECKING:
    from rclpy.node import Node

log = logging.getLogger(__name__)

SLOW_M_S = 0.1
"""A car that stands cannot turn: below this speed a yaw rate means the steering of a car that creeps so fast."""
_KEPT = 50


class CarReceiver:
    """Hears on behalf of a governor.

    Attributes:
        topics: Names of those that command.
        newest_ns: Stamp of the newest command in ROS time; 0 before the first that could be trusted.

    Args:
        node: A node that spins.
        car: Its conversions.
        button: Index of the deadman in `joy`.
        governor: Is told.
    """

    def __init__(self, node: Node, car: CarSettings, button: int, governor: Governor) -> None:
        from geometry_msgs.msg import PoseStamped, TwistStamped
        from sensor_msgs.msg import Joy
        from std_msgs.msg import Float64

        self.newest_ns = 0
        self._car, self._button, self._governor = car, button, governor
        self._clock = clock_map(node)
        self._told: set[str] = set()
        self._servo = car.servo_of(0.0)
        self._stamps: dict[float, int] = {}
        taken: list[tuple[Any, str, Callable[[Any], None]]] = [
            (TwistStamped, "cmd_vel", self._twist),
            (Float64, "commands/motor/speed", self._erpm),
            (Float64, "commands/servo/position", self._position),
        ]
        ackermann = message_kind("ackermann_msgs.msg", "AckermannDriveStamped")
        if ackermann:
            taken.insert(0, (ackermann, "drive", self._drive))
        subscriptions = [node.create_subscription(kind, topic, call, qos.newest()) for kind, topic, call in taken]
        self.topics = tuple(one.topic_name for one in subscriptions)
        node.create_subscription(PoseStamped, "pose", self._pose, qos.newest())
        node.create_subscription(Joy, "joy", self._joy, qos.newest())

    def ns_of(self, stamp_s: float) -> int:
        """Return the stamp in ROS time of a command, given its monotonic one; 0 if it had none."""
        return self._stamps.get(stamp_s, 0)

    def _drive(self, message: Any) -> None:
        self._command(message, float(message.drive.speed), float(message.drive.steering_angle))

    def _twist(self, message: Any) -> None:
        speed, yaw_rate = float(message.twist.linear.x), float(message.twist.angular.z)
        self._command(message, speed, math.atan(self._car.wheelbase_m * yaw_rate / rolling_m_s(speed)))

    def _command(self, message: Any, speed_m_s: float, steering_rad: float) -> None:
        stamp = stamp_ns(message)
        if why := distrust(self._clock, stamp):
            self._tell(f"a command is not followed: {why}")
            return
        stamp_s = self._clock.to_monotonic_s(stamp)
        self._stamps[stamp_s] = stamp
        while len(self._stamps) > _KEPT:
            del self._stamps[next(iter(self._stamps))]
        self._governor.command(speed_m_s, steering_rad, stamp_s)
        self.newest_ns = stamp

    def _erpm(self, message: Any) -> None:
        self._governor.command(self._car.speed_of(float(message.data)), self._car.steering_of(self._servo))

    def _position(self, message: Any) -> None:
        self._servo = float(message.data)

    def _pose(self, message: Any) -> None:
        stamp = stamp_ns(message)
        if why := distrust(self._clock, stamp):
            self._tell(f"a pose says nothing: {why}")
            return
        self._governor.located(self._clock.to_monotonic_s(stamp))

    def _joy(self, message: Any) -> None:
        buttons = message.buttons
        if self._button >= len(buttons):
            self._tell(f"joy has {len(buttons)} buttons, counted from 0, and none of number {self._button}")
            return
        stamp = stamp_ns(message)
        if why := distrust(self._clock, stamp):
            self._tell(f"a sample of the joystick says nothing: {why}")
            return
        # Not the stamp: joy_node stamps the last sample of a dead pad anew, and sends it for ever.
        content = struct.pack(f"{len(message.axes)}f{len(buttons)}i", *message.axes, *buttons)
        self._governor.sample(bool(buttons[self._button]), self._clock.to_monotonic_s(stamp), content)

    def _tell(self, sentence: str) -> None:
        """Log each kind of trouble once: it comes with every message."""
        kind = sentence.partition(":")[0]
        if kind not in self._told:
            self._told.add(kind)
            log.warning("%s", sentence)


def rolling_m_s(speed_m_s: float) -> float:
    """Return the speed by which a yaw rate is to be divided: that of the car, but never none."""
    return math.copysign(max(abs(speed_m_s), SLOW_M_S), speed_m_s)


def message_kind(module: str, name: str) -> Any:
    """Return a type of message that may not be installed; None if it is not."""
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError:
        return None
