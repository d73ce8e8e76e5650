"""The topics of an arm that CRISP's controllers move, as CRISP names them: readings in, targets out."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.errors import ConfigError, WireError
from robot_rl.robot import RobotState, Vector
from robot_rl.task import Compliance
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.arm_parameters import compliance_values
from robot_rl_hardware.ros.clock import clock_map

if TYPE_CHECKING:
    from rclpy.node import Node

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CrispConfig:
    """Where CRISP's controllers listen, and what they are asked.

    Attributes:
        namespace: Of CRISP's topics; empty for the root.
        domain: Their ROS domain; ROS_DOMAIN_ID when None.
        controller: Node of the controller, whose parameters are the stiffness.
        joints: Names of the arm's seven joints.
        wrench_topic: External wrench in B; empty if nothing measures it, and then no force limit is watched.
        gripper_state: JointState of the gripper, its first position; empty if there is none.
        gripper_command: Float64MultiArray of its target; empty if there is none.
        gripper_closed, gripper_open: What the gripper's topics say at both ends, which mean 0 and `gripper_m`.
        gripper_m: Opening of the open gripper.
        joint_moves: How a joint goal is told on `target_joint`: "goal" once, "stream" with limited jerk, or "none"
            where the controller in charge follows poses only.
        readings_s: How long to wait for the first readings.
        state_age_s: Older readings hold the arm.
    """

    namespace: str = ""
    domain: int | None = None
    controller: str = "cartesian_impedance_controller"
    joints: tuple[str, ...] = messages.ARM_JOINTS
    wrench_topic: str = ""
    gripper_state: str = "gripper/joint_states"
    gripper_command: str = "gripper/gripper_position_controller/commands"
    gripper_closed: float = 0.0
    gripper_open: float = 1.0
    gripper_m: float = 0.08
    joint_moves: str = "none"
    readings_s: float = 20.0
    state_age_s: float = 0.1

    def __post_init__(self) -> None:
        if len(self.joints) != 7:
            raise ConfigError(f"driver.joints names {len(self.joints)} joints; allowed: 7")
        if self.joint_moves not in ("none", "goal", "stream"):
            raise ConfigError(f"driver.joint_moves is '{self.joint_moves}'; allowed: none, goal, stream")
        if self.gripper_open == self.gripper_closed or not self.gripper_m > 0.0:
            raise ConfigError("driver.gripper_open and gripper_closed must differ, and gripper_m be positive")
        for name in ("readings_s", "state_age_s"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"driver.{name} is {getattr(self, name)}; it must be positive")


class CrispLink:
    """Publishes to and listens to CRISP's controllers. Callbacks only store.

    Args:
        node: Spinning, in CRISP's namespace.
        config: Names.
    """

    def __init__(self, node: Node, config: CrispConfig) -> None:
        from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
        from rcl_interfaces.srv import SetParameters
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float64MultiArray

        self._node, self._config = node, config
        self._clock = clock_map(node)
        self._lock = threading.Lock()
        self._newest: dict[str, Any] = {}
        self._array = Float64MultiArray
        self.closing = False
        for kind, topic in (
            (PoseStamped, "current_pose"),
            (JointState, "joint_states"),
            (TwistStamped, "current_twist"),
            (WrenchStamped, config.wrench_topic),
            (JointState, config.gripper_state),
        ):
            if topic:
                node.create_subscription(kind, topic, lambda m, t=topic: self._take(t, m), qos.newest())
        self._pose = node.create_publisher(PoseStamped, "target_pose", qos.request())
        self._joints = node.create_publisher(JointState, "target_joint", qos.request())
        command = config.gripper_command
        self._gripper = node.create_publisher(Float64MultiArray, command, qos.request()) if command else None
        self._request = SetParameters.Request
        self._parameters = node.create_client(SetParameters, f"{config.controller}/set_parameters")

    def _take(self, topic: str, message: Any) -> None:
        with self._lock:
            self._newest[topic] = message

    def missing(self) -> list[str]:
        """Return the topics without which nothing can be driven and that have said nothing yet."""
        with self._lock:
            return [t for t in ("current_pose", "joint_states") if t not in self._newest]

    def state(self) -> RobotState | None:
        """Return the newest reading; None if it cannot be read. What nobody measures is zero, the width NaN."""
        c = self._config
        with self._lock:
            newest = dict(self._newest)
        if "current_pose" not in newest or "joint_states" not in newest:
            return None
        try:
            q, dq = messages.from_joints(newest["joint_states"], c.joints)
        except WireError as e:
            log.warning("%s; set driver.joints", e)
            return None
        # The older of both: a reading is as good as its worst part.
        stamp_s = min(
            self._clock.to_monotonic_s(messages.stamp_ns(newest[t])) for t in ("current_pose", "joint_states")
        )
        p, quat = messages.from_pose(newest["current_pose"])
        wrench, twist, gripper = newest.get(c.wrench_topic), newest.get("current_twist"), newest.get(c.gripper_state)
        return RobotState(
            stamp_s if math.isfinite(stamp_s) else -math.inf, q, dq, p, quat,
            np.zeros(6) if twist is None else messages.from_twist(twist),
            np.zeros(6) if wrench is None else messages.from_wrench(wrench),
            self._width(gripper), self.closing,
        )  # fmt: skip

    def _width(self, message: Any) -> float:
        c = self._config
        if message is None or not message.position:
            return math.nan
        share = (float(message.position[0]) - c.gripper_closed) / (c.gripper_open - c.gripper_closed)
        return share * c.gripper_m

    def send_pose(self, p: Vector, quat: Vector) -> None:
        """Tell where the tool shall be now."""
        self._pose.publish(messages.to_pose(self._node.get_clock().now().nanoseconds, p, quat))

    def send_joints(self, q: Vector) -> None:
        """Tell where the joints shall be."""
        self._joints.publish(messages.to_joints(self._node.get_clock().now().nanoseconds, self._config.joints, q))

    def send_gripper(self, closing: bool, width_m: float) -> None:
        """Close the gripper, or open it to a width [m]."""
        self.closing = closing
        if self._gripper is not None:
            c = self._config
            share = 0.0 if closing else min(max(width_m / c.gripper_m, 0.0), 1.0)
            self._gripper.publish(self._array(data=[c.gripper_closed + share * (c.gripper_open - c.gripper_closed)]))

    def set_compliance(self, compliance: Compliance) -> None:
        """Ask the controller for a stiffness; what it refuses is logged when it answers."""
        from rclpy.parameter import Parameter

        if not self._parameters.service_is_ready():
            log.warning("%s is not there: the stiffness stays as it is", self._parameters.srv_name)
            return
        parameters = [Parameter(n, value=v).to_parameter_msg() for n, v in compliance_values(compliance).items()]
        self._parameters.call_async(self._request(parameters=parameters)).add_done_callback(_log_refusals)

    def wait_for_controller(self, patience_s: float) -> bool:
        """Return whether the controller's parameters are offered."""
        deadline_s = time.monotonic() + patience_s
        while not self._parameters.service_is_ready() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        return bool(self._parameters.service_is_ready())


def _log_refusals(future: Any) -> None:
    answer = future.result()
    refused = [r.reason for r in answer.results if not r.successful] if answer is not None else ["no answer"]
    if refused:
        log.warning("CRISP's controller refused a part of the stiffness: %s", "; ".join(refused))
