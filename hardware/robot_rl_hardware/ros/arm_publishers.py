"""What the arm node tells: measurements, status, diagnostics. All measurements of one instant carry one stamp."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from robot_rl.robot import RobotState
from robot_rl_controllers.drive.interface import Mode, Reading
from robot_rl_hardware.ros import messages, qos

if TYPE_CHECKING:
    from rclpy.node import Node

OK, WARNING, ERROR = 0, 1, 2
_LEVELS = {Mode.RUN: OK, Mode.RESETTING: OK, Mode.STARTING: WARNING, Mode.FAULT: ERROR, Mode.STOPPED: ERROR}


class StatePublisher:
    """Publishes readings as the topics of docs/ros2.md.

    Args:
        node: The arm's node.
    """

    def __init__(self, node: Node) -> None:
        from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
        from sensor_msgs.msg import JointState

        self._node, self._pose_type = node, PoseStamped
        self._joints = node.create_publisher(JointState, "joint_states", qos.newest())
        self._gripper = node.create_publisher(JointState, "gripper/joint_states", qos.newest())
        self._twist = node.create_publisher(TwistStamped, "current_twist", qos.newest())
        self._wrench = node.create_publisher(WrenchStamped, "wrench", qos.newest())
        self._objects: dict[str, Any] = {}
        self._pose = node.create_publisher(PoseStamped, "current_pose", qos.newest())

    @property
    def objects(self) -> list[str]:
        """Names of the objects that have been published so far."""
        return sorted(self._objects)

    def publish(self, state: RobotState, stamp_ns: int) -> None:
        """Publish a reading; the pose comes last, so whoever has it has the rest of its instant."""
        self._joints.publish(messages.to_joints(stamp_ns, messages.ARM_JOINTS, state.q, state.dq, [0.0] * 7))
        width, closing = state.gripper_width_m, 1.0 if state.gripper_closing else 0.0
        self._gripper.publish(messages.to_joints(stamp_ns, (messages.GRIPPER,), (width,), (0.0,), (closing,)))
        self._twist.publish(messages.to_twist(stamp_ns, state.V_BE))
        self._wrench.publish(messages.to_wrench(stamp_ns, state.F_BE))
        for name, pose in state.objects.items():
            if name not in self._objects:
                self._objects[name] = self._node.create_publisher(self._pose_type, f"objects/{name}", qos.newest())
            self._objects[name].publish(messages.to_pose(stamp_ns, pose[:3], pose[3:7]))
        self._pose.publish(messages.to_pose(stamp_ns, state.p_BE, state.quat_BE))


class StatusPublisher:
    """Publishes the status at every change and now and then, and the same on /diagnostics.

    Args:
        node: The arm's node.
        known: What never changes: driver, task, control_hz.
    """

    def __init__(self, node: Node, known: Mapping[str, Any]) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from std_msgs.msg import String

        self._node, self._known = node, {**known, "node": node.get_fully_qualified_name()}
        self._array = DiagnosticArray
        self._status = node.create_publisher(String, "status", qos.latched())
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", qos.request())
        self._told: tuple[Any, ...] = ()
        self._next_s = 0.0

    def tell(self, mode: Mode, reason: str, now_s: float, more: Callable[[], Mapping[str, Any]]) -> None:
        """Publish if something changed, or half a second has gone by.

        Args:
            mode, reason: What the driver does.
            now_s: Monotonic time.
            more: Returns the other entries; called only if there is something to publish.
        """
        if (mode, reason) == self._told and now_s < self._next_s:
            return
        self._told, self._next_s = (mode, reason), now_s + 0.5
        values = {"mode": mode.name, "reason": reason, **self._known, **more()}
        self._status.publish(messages.to_text(values))
        array = self._array(header=messages.header(self._node.get_clock().now().nanoseconds, ""))
        array.status = [
            messages.to_diagnostics(
                _LEVELS.get(mode, WARNING), str(values["node"]), f"{mode.name}{': ' if reason else ''}{reason}", values
            )
        ]
        self._diagnostics.publish(array)

    def flush(self) -> None:
        """Wait, for a moment, until everyone who listens has the newest status."""
        from rclpy.duration import Duration

        self._status.wait_for_all_acked(Duration(seconds=1))


def details(reading: Reading) -> dict[str, Any]:
    """Return what a status says of a reading beside its mode."""
    ticks = reading.ticks
    return {
        "recoveries_left": reading.recoveries_left,
        "counts": dict(reading.counts),
        "ticks": {
            "n": ticks.ticks,
            "missed": ticks.missed,
            "response_us": list(ticks.response_us),
            "period_us": list(ticks.period_us),
            "real_time": ticks.real_time,
        },
    }
