"""The arm's node around any `ArmDriver`: requests in, measurements and answers out, as docs/ros2.md says.

The node is called `cartesian_impedance_controller`, as CRISP's controller is, so that CRISP's clients find its
parameters. It is a translator: what may move and when is decided in the driver's own process, which outlives this one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.errors import ConfigError, RobotError, WireError
from robot_rl.geometry import quat_angle
from robot_rl.robot import ResetRequest
from robot_rl.task import Task
from robot_rl_controllers.drive.interface import ArmDriver, Mode, Reading
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.arm_motions import Motions, Verdict, answered, arrival, running
from robot_rl_hardware.ros.arm_parameters import ArmParameters
from robot_rl_hardware.ros.arm_publishers import StatePublisher, StatusPublisher, details
from robot_rl_hardware.ros.arm_requests import Requests
from robot_rl_hardware.ros.clock import clock_map, distrust
from robot_rl_hardware.ros.node import SpinningNode

if TYPE_CHECKING:
    from geometry_msgs.msg import PoseStamped
    from rclpy.node import Node
    from sensor_msgs.msg import JointState
    from std_msgs.msg import String

log = logging.getLogger(__name__)

NODE_NAME = "cartesian_impedance_controller"
_RIVAL_S = 5.0
"""Nodes find each other within some seconds; for so long a new one looks for another with its name."""
_SAME_RAD = 1e-3
"""CRISP's clients repeat their joint goal all the time: only one that changes begins a motion."""


@dataclass(frozen=True, kw_only=True)
class ArmNodeConfig:
    """Settings of the arm's node.

    Attributes:
        publish_hz: How often measurements are published.
        answer_hz: How often the driver is asked while a request waits for its answer.
        motion_s: A reset that takes longer has failed.
    """

    publish_hz: float = 100.0
    answer_hz: float = 500.0
    motion_s: float = 60.0

    def __post_init__(self) -> None:
        for name, largest in (("publish_hz", 500.0), ("answer_hz", 1000.0), ("motion_s", 600.0)):
            if not 0.0 < getattr(self, name) <= largest:
                raise ConfigError(f"node.{name} is {getattr(self, name)}; allowed: above 0, up to {largest:.0f}")


class ArmNode:
    """Topics, services and parameters of one arm.

    Attributes:
        failure: Why the node cannot go on; empty while it can.

    Args:
        node: A ROS node in the arm's namespace.
        driver: Started or not: what it tells is published from `begin` on.
        task: Limits, compliance, control rate and scene.
        driver_name: For the status.
        config: Rates.
    """

    def __init__(self, node: Node, driver: ArmDriver, task: Task, driver_name: str, config: ArmNodeConfig) -> None:
        from rclpy.callback_groups import ReentrantCallbackGroup
        from std_msgs.msg import String

        self._node, self._driver, self._task, self._config = node, driver, task, config
        self.failure = ""
        self._lock = threading.Lock()  # the main thread closes the driver while callbacks run
        self._ended = False
        self._reading: Reading | None = None
        self._published_s = -1.0
        self._goal_q: np.ndarray | None = None
        self._clock = clock_map(node)
        self._motions = Motions()
        self._slow = ReentrantCallbackGroup()  # services that answer later must not keep others waiting
        known = {"driver": driver_name, "task": task.name, "control_hz": float(task.control_hz)}
        self._state, self._status = StatePublisher(node), StatusPublisher(node, known)
        answers = node.create_publisher(String, "executed", qos.request(10))
        self._requests = Requests(driver, self._clock, answers.publish)
        self._tell(Mode.STARTING, "the driver connects")

    def begin(self) -> None:
        """Take requests and publish readings: the driver has started."""
        reading = self._reading = self._driver.read()
        self._requests.begin(reading)
        quat_angle(reading.state.quat_BE, reading.state.quat_BE)  # compiled now, not while a reset is answered
        start = ResetRequest(p_BE=reading.state.p_BE, quat_BE=reading.state.quat_BE)
        self._parameters = ArmParameters(self._node, self._task.compliance, start, self._driver.set_compliance)
        self._subscribe()
        self._serve()
        self._node.create_timer(1.0 / self._config.publish_hz, self._tick)
        self._answer_timer = self._node.create_timer(1.0 / self._config.answer_hz, self._look_for_answers)
        self._answer_timer.cancel()

    def end(self, reason: str) -> None:
        """Take no more requests; the driver may be closed afterwards. Called from outside of callbacks."""
        with self._lock:
            self._ended = True
            self._motions.give_up(reason)
            self._tell(Mode.FAULT if self.failure else Mode.CLOSED, self.failure or reason)
        self._status.flush()

    # Requests -------------------------------------------------------------------------------------------------------
    def _subscribe(self) -> None:
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String

        node = self._node
        # In this order, so that of messages that arrive together a stop comes first and the gripper before its pose.
        node.create_subscription(String, "stop_request", self._on_stop, qos.request(10))
        node.create_subscription(JointState, "gripper/target", self._on_gripper, qos.request())
        node.create_subscription(PoseStamped, "target_pose", self._on_pose, qos.request())
        node.create_subscription(JointState, "target_joint", self._on_joints, qos.request())

    def _on_stop(self, message: String) -> None:
        self._stop(message.data.strip()[:200] or "stop requested")

    def _stop(self, reason: str) -> None:
        with self._lock:
            if not self._ended:
                self._driver.stop(reason)

    def _on_gripper(self, message: JointState) -> None:
        with self._lock:
            if not self._ended:
                self._requests.take_gripper(message)
                self._answer_timer.reset()

    def _on_pose(self, message: PoseStamped) -> None:
        with self._lock:
            if self._ended or self._reading is None:
                return
            self._requests.take_pose(message, self._reading.state)
            self._answer_timer.reset()

    def _on_joints(self, message: JointState) -> None:
        """Begin a joint motion for a goal that is new and elsewhere."""
        with self._lock:
            if self._ended or self._reading is None:
                return
            try:
                q, _ = messages.from_joints(message, messages.ARM_JOINTS)
                again = self._goal_q is not None and bool(np.abs(q - self._goal_q).max() < _SAME_RAD)
                self._goal_q = q
                if again or np.abs(q - self._reading.state.q).max() < 10.0 * _SAME_RAD:
                    return
                stamp = messages.stamp_ns(message)
                reason = distrust(self._clock, stamp) or self._too_old(stamp)
                if reason:
                    raise RobotError(reason)
                self._driver.move_joints(q)
            except (RobotError, WireError) as e:
                log.warning("joint goal refused: %s", e)

    def _too_old(self, stamp_ns: int) -> str:
        age_s, limit_s = time.monotonic() - self._clock.to_monotonic_s(stamp_ns), self._task.limits.command_age_s
        return f"it is {age_s:.3f} s old, allowed {limit_s} s" if age_s > limit_s else ""

    # Readings -------------------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        with self._lock:
            if self._ended:
                return
            reading = self._look()
            if reading is None:
                return
            if reading.state.stamp_s != self._published_s:  # a driver that hangs must look as old as it is
                self._published_s = reading.state.stamp_s
                self._state.publish(reading.state, self._clock.to_system_ns(reading.state.stamp_s))
            self._tell(reading.mode, reading.reason)

    def _look_for_answers(self) -> None:
        with self._lock:
            if not self._ended and self._requests.waiting:
                self._look()
            if not self._requests.waiting:
                self._answer_timer.cancel()

    def _look(self) -> Reading | None:
        """Take in the newest reading and answer all who wait for it."""
        try:
            self._reading = self._driver.read()
        except RobotError as e:
            if not self.failure:
                self.failure = str(e)
                self._motions.give_up(self.failure)
                self._tell(Mode.FAULT, self.failure)
            return None
        self._requests.settle(self._reading)
        if self._motions.settle(self._reading):
            self._requests.begin(self._reading)  # a motion leaves the gripper as it was told to
        if self._reading.mode is Mode.FAULT and not self.failure:
            self.failure = self._reading.reason or "the driver is in FAULT"
        return self._reading

    def _tell(self, mode: Mode, reason: str) -> None:
        self._status.tell(mode, reason, time.monotonic(), self._details)

    def _details(self) -> dict[str, Any]:
        found = {
            "objects": self._state.objects,
            "requests": dict(self._requests.counts),
            "clock_jumps": self._clock.jumps,
        }
        return found if self._reading is None else {**details(self._reading), **found}

    # Services -------------------------------------------------------------------------------------------------------
    def _serve(self) -> None:
        from std_srvs.srv import Trigger

        node = self._node
        node.create_service(Trigger, "stop", self._serve_stop)
        node.create_service(Trigger, "reset", self._serve_reset, callback_group=self._slow)
        node.create_service(Trigger, "home", self._serve_home, callback_group=self._slow)
        node.create_service(Trigger, "recover", self._serve_recover, callback_group=self._slow)
        node.create_service(Trigger, "acknowledge", self._serve_acknowledge, callback_group=self._slow)

    def _serve_stop(self, _request: Any, response: Any) -> Any:
        self._stop("the stop service was called")
        return answered(response, (True, "stopped; it takes a person to acknowledge"))

    async def _serve_reset(self, _request: Any, response: Any) -> Any:
        start = self._parameters.start()
        return answered(response, await self._motion(lambda: self._driver.begin_reset(start), start, "the reset"))

    async def _serve_home(self, _request: Any, response: Any) -> Any:
        return answered(response, await self._motion(self._driver.home, None, "the way home"))

    async def _serve_recover(self, _request: Any, response: Any) -> Any:
        return answered(response, await self._asked(self._driver.recover, running, "the recovery"))

    async def _serve_acknowledge(self, _request: Any, response: Any) -> Any:
        def acknowledge() -> None:
            self._driver.acknowledge("the acknowledge service")

        return answered(response, await self._asked(acknowledge, running, "the recovery"))

    async def _motion(self, begin: Callable[[], None], request: ResetRequest | None, what: str) -> Verdict:
        return await self._asked(begin, lambda: arrival(request), what)

    async def _asked(self, ask: Callable[[], None], judge: Callable[[], Any], what: str) -> Verdict:
        """Ask something of the driver and return, later, what came of it."""
        with self._lock:
            if self._ended or self.failure:
                return False, self.failure or "the arm node ends"
            try:
                ask()
            except RobotError as e:
                return False, str(e)
            future = self._motions.wait(judge(), self._config.motion_s, what)
        return await future or (False, "no verdict")


def _refuse_rival(node: Node, namespace: str) -> None:
    """Raise `RobotError` when another arm node has our name. Whoever started last looks, and leaves."""
    if node.count_publishers("status") > 1:
        raise RobotError(
            f"another arm node publishes {namespace}/status in this ROS domain; two of them would fight for one name. "
            "End it, or choose another --namespace or --domain"
        )


def run_arm_node(
    driver: ArmDriver,
    task: Task,
    driver_name: str,
    stopping: Callable[[], bool],
    namespace: str = "/arm",
    domain: int | None = None,
    ros_arguments: Sequence[str] = (),
    config: ArmNodeConfig | None = None,
    ready: Callable[[str], None] = log.info,
) -> None:
    """Start a driver and be its node until told to stop; then hold, close the driver and leave.

    Args:
        driver: Not started yet. It is closed whatever happens.
        task: What the arm is for.
        driver_name: For people.
        stopping: Tells, now and then, whether to end.
        namespace, domain, ros_arguments: Of the node.
        config: Rates.
        ready: Receives a sentence once requests are taken.

    Raises:
        RobotError: The driver could not start, or the robot was lost, or another arm node has the same name.
    """
    spinning = SpinningNode(NODE_NAME, namespace, domain, ros_arguments)
    arm: ArmNode | None = None
    try:
        arm = ArmNode(spinning.node, driver, task, driver_name, config or ArmNodeConfig())
        spinning.start()
        driver.start()
        name = spinning.node.get_fully_qualified_name()
        began_s = time.monotonic()
        _refuse_rival(spinning.node, namespace)
        arm.begin()
        ready(f"{name} is ready: task {task.name}, driver {driver_name}")
        while not stopping():
            if time.monotonic() - began_s < _RIVAL_S:
                _refuse_rival(spinning.node, namespace)
            if arm.failure:
                raise RobotError(
                    f"the robot is lost: {arm.failure}. The arm node ends; mend the cause and start it again"
                )
            time.sleep(0.05)
    finally:
        try:
            if arm is not None:
                arm.end("the arm node ends")
        finally:
            try:
                driver.close()
            finally:
                spinning.close()
