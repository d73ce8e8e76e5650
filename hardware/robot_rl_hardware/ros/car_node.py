"""The car node: a governed VESC behind the topics of F1TENTH.

In: `drive` (ackermann_msgs, where it is installed), `cmd_vel` (TwistStamped: speed and yaw rate), and the raw
`commands/motor/speed` [ERPM] and `commands/servo/position` of vesc_driver. `joy` is the deadman, `pose` the
localisation.

Out: `odom` (nav_msgs, where it is installed), `twist`, `imu` in SI units, `sensors/servo_position_command`, `status`.
"""

from __future__ import annotations

import importlib
import logging
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from robot_rl.errors import ConfigError
from robot_rl_hardware.car.deadman import Deadman
from robot_rl_hardware.car.governor import Governor
from robot_rl_hardware.car.odometry import Odometry, Whereabouts
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.vesc import Vesc, VescState
from robot_rl_hardware.car.vesc_pilot import VescSettings
from robot_rl_hardware.car.watchdog import Watchdog
from robot_rl_hardware.ros import qos
from robot_rl_hardware.ros.clock import clock_map, distrust
from robot_rl_hardware.ros.messages import header, stamp_ns, to_text
from robot_rl_hardware.ros.node import open_node

if TYPE_CHECKING:
    from rclpy.node import Node

log = logging.getLogger(__name__)

_STATUS_S = 0.5
_SLOW_M_S = 0.1


@dataclass(frozen=True, kw_only=True)
class CarNodeSettings:
    """Settings of a car node.

    Attributes:
        port: Serial device of the VESC.
        button: Index in `joy`'s buttons of the one that must be held; 5 is F1TENTH's, the right shoulder button.
        name: Of the node.
        namespace: Before its topics.
        base_frame, odom_frame: Of what it publishes.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        ros_arguments: As after `--ros-args`.
        vesc: Rates and ages.
    """

    port: str
    button: int = 5
    name: str = "car"
    namespace: str = ""
    base_frame: str = "base_link"
    odom_frame: str = "odom"
    domain: int | None = None
    ros_arguments: tuple[str, ...] = ()
    vesc: VescSettings = field(default_factory=lambda: VescSettings(imu=True))

    def __post_init__(self) -> None:
        if self.button < 0:
            raise ConfigError(f"car.button is {self.button}; buttons of joy are counted from 0")


def run_car_node(
    car: CarSettings,
    settings: CarNodeSettings,
    stopping: Callable[[], bool],
    ready: Callable[[str], None] = log.info,
) -> None:
    """Drive a car for whoever commands it over ROS 2, until asked to stop.

    Args:
        car: Its file.
        settings: Of the node.
        stopping: Asked every period.
        ready: Told in words, once the VESC answers.

    Raises:
        VescError: The VESC cannot be reached, or is unplugged on the way.
    """
    with (
        Vesc(settings.port, car, settings.vesc) as vesc,
        open_node(settings.name, settings.namespace, settings.domain, settings.ros_arguments) as node,
    ):
        sender = _Sender(node, car, settings, vesc)
        governor = Governor(vesc, Watchdog(Deadman()), sender.look, sender.state)
        sender.governor = governor
        receiver = _Receiver(node, car, settings.button, governor)
        firmware = vesc.firmware
        assert firmware is not None  # `connect` waited for it
        ready(
            f"the car '{car.name}' stands: VESC {firmware.hardware or 'of no name'}, firmware "
            f"{firmware.major}.{firmware.minor:02d}; commands on {', '.join(receiver.topics)}"
        )
        governor.run(stopping)


class _Receiver:
    """Commands, joystick and localisation of other nodes, told to the governor in monotonic time."""

    def __init__(self, node: Node, car: CarSettings, button: int, governor: Governor) -> None:
        from geometry_msgs.msg import PoseStamped, TwistStamped
        from sensor_msgs.msg import Joy
        from std_msgs.msg import Float64

        self._car, self._button, self._governor = car, button, governor
        self._clock = clock_map(node)
        self._told: set[str] = set()
        self._servo = car.servo_of(0.0)
        taken: list[tuple[Any, str, Callable[[Any], None]]] = [
            (TwistStamped, "cmd_vel", self._twist),
            (Float64, "commands/motor/speed", self._erpm),
            (Float64, "commands/servo/position", self._position),
        ]
        ackermann = _kind("ackermann_msgs.msg", "AckermannDriveStamped")
        if ackermann:
            taken.insert(0, (ackermann, "drive", self._drive))
        subscriptions = [node.create_subscription(kind, topic, call, qos.newest()) for kind, topic, call in taken]
        self.topics = tuple(one.topic_name for one in subscriptions)
        node.create_subscription(PoseStamped, "pose", self._pose, qos.newest())
        node.create_subscription(Joy, "joy", self._joy, qos.newest())

    def _drive(self, message: Any) -> None:
        self._command(message, float(message.drive.speed), float(message.drive.steering_angle))

    def _twist(self, message: Any) -> None:
        speed, yaw_rate = float(message.twist.linear.x), float(message.twist.angular.z)
        # Standing, a car cannot turn: there the wheels follow as if it crept the way it was told to.
        rolling = math.copysign(max(abs(speed), _SLOW_M_S), speed)
        self._command(message, speed, math.atan(self._car.wheelbase_m * yaw_rate / rolling))

    def _command(self, message: Any, speed_m_s: float, steering_rad: float) -> None:
        stamp = stamp_ns(message)
        if why := distrust(self._clock, stamp):
            self._tell(f"a command is not followed: {why}")
            return
        self._governor.command(speed_m_s, steering_rad, self._clock.to_monotonic_s(stamp))

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


class _Sender:
    """What the car tells of itself."""

    governor: Governor

    def __init__(self, node: Node, car: CarSettings, settings: CarNodeSettings, vesc: Vesc) -> None:
        from geometry_msgs.msg import TwistStamped
        from sensor_msgs.msg import Imu
        from std_msgs.msg import Float64, String

        self._vesc, self._car, self._settings = vesc, car, settings
        self._clock, self._odometry = clock_map(node), Odometry(car)
        # Reliable, all of it: that is what F1TENTH's nodes subscribe to.
        self._twist = node.create_publisher(TwistStamped, "twist", qos.request(10))
        self._servo = node.create_publisher(Float64, "sensors/servo_position_command", qos.request(10))
        self._imu = node.create_publisher(Imu, "imu", qos.request(10))
        self._status = node.create_publisher(String, "status", qos.latched())
        odometry = _kind("nav_msgs.msg", "Odometry")
        self._odom = node.create_publisher(odometry, "odom", qos.request(10)) if odometry else None
        self._odom_kind = odometry
        self._imu_s = self._told_s = -math.inf
        self._told: Any = None
        self._state: VescState | None = None

    def state(self, state: VescState) -> None:
        """Publish a new state."""
        from std_msgs.msg import Float64

        at_ns = self._clock.to_system_ns(state.stamp_s)
        where = self._odometry.add(state.stamp_s, state.speed_m_s, state.steering_rad)
        self._twist.publish(self._to_twist(at_ns, where))
        self._servo.publish(Float64(data=self._car.servo_of(state.steering_rad)))
        if self._odom:
            self._odom.publish(self._to_odometry(at_ns, where))
        self._publish_imu()
        self._state = state

    def look(self, now_s: float) -> None:
        """Publish the status at each change and twice a second, also while the VESC tells nothing."""
        decision, state = self.governor.decision, self._state
        told = (decision.drives, state.faults if state else ())
        if told == self._told and now_s - self._told_s < _STATUS_S:
            return
        self._told, self._told_s = told, now_s
        self._status.publish(
            to_text(
                {
                    "drives": decision.drives, "reason": decision.reason, "faults": list(told[1]),
                    "age_s": now_s - state.stamp_s if state else None,
                    "voltage_v": state.voltage_v if state else None,
                    "temp_fet_c": state.temp_fet_c if state else None,
                    "temp_motor_c": state.temp_motor_c if state else None,
                }
            )
        )  # fmt: skip

    def _to_twist(self, at_ns: int, where: Whereabouts) -> Any:
        from geometry_msgs.msg import TwistStamped

        message = TwistStamped(header=header(at_ns, self._settings.base_frame))
        message.twist.linear.x, message.twist.angular.z = where.speed_m_s, where.yaw_rate_rad_s
        return message

    def _to_odometry(self, at_ns: int, where: Whereabouts) -> Any:
        assert self._odom_kind is not None  # there is a publisher
        message = self._odom_kind(header=header(at_ns, self._settings.odom_frame))
        message.child_frame_id = self._settings.base_frame
        pose, twist = message.pose.pose, message.twist.twist
        pose.position.x, pose.position.y = where.x_m, where.y_m
        pose.orientation.w, pose.orientation.z = math.cos(where.yaw_rad / 2), math.sin(where.yaw_rad / 2)
        twist.linear.x, twist.angular.z = where.speed_m_s, where.yaw_rate_rad_s
        return message

    def _publish_imu(self) -> None:
        from sensor_msgs.msg import Imu

        imu = self._vesc.imu()
        if imu is None or imu.stamp_s <= self._imu_s:
            return
        self._imu_s = imu.stamp_s
        message = Imu(header=header(self._clock.to_system_ns(imu.stamp_s), self._settings.base_frame))
        a, w = message.linear_acceleration, message.angular_velocity
        (a.x, a.y, a.z), (w.x, w.y, w.z) = imu.acceleration_m_s2, imu.rates_rad_s
        # Its attitude has no meaning without a magnetometer; -1 is how this message says so.
        message.orientation_covariance[0] = -1.0
        self._imu.publish(message)


def _kind(module: str, name: str) -> Any:
    """Return a type of message that may not be installed; None if it is not."""
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError:
        return None
