"""What a car's node tells: measurements, what became of each command, and how the car is."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Protocol

from robot_rl_hardware.car.governor import DrivenCar, Governor
from robot_rl_hardware.car.odometry import Odometry, Whereabouts
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.vesc import ImuState, VescState
from robot_rl_hardware.car.watchdog import Stop
from robot_rl_hardware.ros import qos
from robot_rl_hardware.ros.car_receiver import CarReceiver, message_kind
from robot_rl_hardware.ros.clock import clock_map
from robot_rl_hardware.ros.messages import header, to_text

if TYPE_CHECKING:
    from rclpy.node import Node

_STATUS_S = 0.5
STEERING, MOTOR = "steering", "motor"
"""Names in `joint_states`: of the one the position [rad] as commanded, of the other velocity [m/s] and effort [A]."""


class CarDriver(DrivenCar, Protocol):
    """What a car's node drives: a VESC or a twin."""

    @property
    def what(self) -> str:
        """What answers, for people."""
        ...

    @property
    def stopping_s(self) -> float:
        """Monotonic time at which the motor controller was first told to stop; nan while it drives."""
        ...

    def imu(self) -> ImuState | None:
        """Return the newest reading of the inertial sensor; None if there is none."""
        ...


class CarSender:
    """Publishes in the governor's thread: `look` every period, `state` with each answer of the car.

    Args:
        node: A node that spins.
        car: Its file.
        driver: Is read for its inertial sensor.
        base_frame, odom_frame: Of what it publishes.
    """

    governor: Governor
    receiver: CarReceiver

    def __init__(self, node: Node, car: CarSettings, driver: CarDriver, base_frame: str, odom_frame: str) -> None:
        from geometry_msgs.msg import TwistStamped
        from sensor_msgs.msg import Imu, JointState
        from std_msgs.msg import Float64, String

        self._driver, self._car, self._base, self._odom_frame = driver, car, base_frame, odom_frame
        self._clock, self._odometry = clock_map(node), Odometry(car)
        # Reliable, all of it: that is what F1TENTH's nodes subscribe to.
        self._twist = node.create_publisher(TwistStamped, "twist", qos.request(10))
        self._joints = node.create_publisher(JointState, "joint_states", qos.request(10))
        self._servo = node.create_publisher(Float64, "sensors/servo_position_command", qos.request(10))
        self._imu = node.create_publisher(Imu, "imu", qos.request(10))
        self._executed = node.create_publisher(String, "executed", qos.request(10))
        self._status = node.create_publisher(String, "status", qos.latched())
        odometry = message_kind("nav_msgs.msg", "Odometry")
        self._odom = node.create_publisher(odometry, "odom", qos.request(10)) if odometry else None
        self._odom_kind = odometry
        self._imu_s = self._told_s = -math.inf
        self._told: Any = None
        self._state: VescState | None = None
        self._stop: Stop | None = None
        self._stop_after_s: float | None = None
        self._answered_ns = self._pending_ns = 0

    def state(self, state: VescState) -> None:
        """Publish a new state."""
        from std_msgs.msg import Float64

        at_ns = self._clock.to_system_ns(state.stamp_s)
        where = self._odometry.add(state.stamp_s, state.speed_m_s, state.steering_rad)
        self._twist.publish(self._to_twist(at_ns, where))
        self._joints.publish(self._to_joints(at_ns, state))
        self._servo.publish(Float64(data=self._car.servo_of(state.steering_rad)))
        if self._odom:
            self._odom.publish(self._to_odometry(at_ns, where))
        self._publish_imu()
        self._state = state

    def look(self, now_s: float) -> None:
        """Answer commands, and publish the status at each change and twice a second, also while the car is silent."""
        decision, state = self.governor.decision, self._state
        self._answer()
        self._measure_stop()
        told = (decision.drives, state.faults if state else (), self._stop, self._stop_after_s)
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
                    "stopped_by": self._stop.name if self._stop else None,
                    "stop_reason": self._stop.reason if self._stop else None,
                    "stop_after_s": self._stop_after_s, "stops": self._stop.number if self._stop else 0,
                    "late": self.governor.late, "driver": self._driver.what,
                    "car": dataclasses.asdict(self._car),
                }
            )
        )  # fmt: skip

    def _answer(self) -> None:
        """Say what became of the newest command that the governor's last tick knew of."""
        decision, pending_ns = self.governor.decision, self._pending_ns
        self._pending_ns = self.receiver.newest_ns  # this period's tick will know it, and the next look tells
        answered_ns = self.receiver.ns_of(decision.stamp_s) if decision.drives else pending_ns
        if not answered_ns or answered_ns == self._answered_ns:
            return
        self._answered_ns = answered_ns
        right, left = self._car.steering_range_rad
        self._executed.publish(
            to_text(
                {
                    "stamp_ns": answered_ns, "drives": decision.drives, "reason": decision.reason,
                    "speed_m_s": min(max(decision.speed_m_s, -self._car.max_reverse_m_s), self._car.max_speed_m_s),
                    "steering_rad": min(max(decision.steering_rad, right), left),
                }
            )
        )  # fmt: skip

    def _measure_stop(self) -> None:
        """Note how long after the last sign of what fell silent the car was first told to stop, by this clock."""
        stop, stopping_s = self.governor.stopped, self._driver.stopping_s
        if stop is None or stop is self._stop or math.isnan(stopping_s):
            return
        # A driver whose requests grew old may have stopped before the watchdog did.
        self._stop, self._stop_after_s = stop, max(stopping_s - stop.last_s, 0.0)

    def _to_twist(self, at_ns: int, where: Whereabouts) -> Any:
        from geometry_msgs.msg import TwistStamped

        message = TwistStamped(header=header(at_ns, self._base))
        message.twist.linear.x, message.twist.angular.z = where.speed_m_s, where.yaw_rate_rad_s
        return message

    def _to_joints(self, at_ns: int, state: VescState) -> Any:
        from sensor_msgs.msg import JointState

        return JointState(
            header=header(at_ns, self._base), name=[STEERING, MOTOR], position=[state.steering_rad, 0.0],
            velocity=[0.0, state.speed_m_s], effort=[0.0, state.current_a],
        )  # fmt: skip

    def _to_odometry(self, at_ns: int, where: Whereabouts) -> Any:
        assert self._odom_kind is not None  # there is a publisher
        message = self._odom_kind(header=header(at_ns, self._odom_frame))
        message.child_frame_id = self._base
        pose, twist = message.pose.pose, message.twist.twist
        pose.position.x, pose.position.y = where.x_m, where.y_m
        pose.orientation.w, pose.orientation.z = math.cos(where.yaw_rad / 2), math.sin(where.yaw_rad / 2)
        twist.linear.x, twist.angular.z = where.speed_m_s, where.yaw_rate_rad_s
        return message

    def _publish_imu(self) -> None:
        from sensor_msgs.msg import Imu

        imu = self._driver.imu()
        if imu is None or imu.stamp_s <= self._imu_s:
            return
        self._imu_s = imu.stamp_s
        message = Imu(header=header(self._clock.to_system_ns(imu.stamp_s), self._base))
        a, w = message.linear_acceleration, message.angular_velocity
        (a.x, a.y, a.z), (w.x, w.y, w.z) = imu.acceleration_m_s2, imu.rates_rad_s
        # Its attitude has no meaning without a magnetometer; -1 is how this message says so.
        message.orientation_covariance[0] = -1.0
        self._imu.publish(message)
