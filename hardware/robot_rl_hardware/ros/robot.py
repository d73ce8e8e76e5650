"""`RosRobot`: the robot that an environment drives over ROS 2, a twin in real time or hardware; it cannot tell which.

Time passes by itself. A command is published, the control period ends at an absolute deadline, and by then the arm's
node has said what its guard made of the request. Whatever is missing or old ends the episode in words; the arm holds by
itself, in its driver's process, whatever happens here.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any

from robot_rl.errors import ConfigError, RobotError
from robot_rl.robot import ArmCommand, Executed, ResetRequest, RobotState
from robot_rl.task import Task
from robot_rl.timing import LoopTimer
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.arm_parameters import start_values
from robot_rl_hardware.ros.environment import domain_of
from robot_rl_hardware.ros.node import SpinningNode, wait_until
from robot_rl_hardware.ros.robot_feed import RobotFeed

log = logging.getLogger(__name__)

OPEN_M, CLOSED_M = 0.08, 0.0
NO_ANSWER = "no answer from the arm node"
_START_S = 240.0  # how long a driver may take to start
_ATTEMPTS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class RosRobotConfig:
    """Settings of the robot over ROS.

    Attributes:
        namespace: Of the arm's node.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        cameras: Names of the cameras whose pictures are observed.
        image_size: Side of their pictures, pixels.
        camera_topic: Topic of a picture, with {} for the camera's name.
        control_hz: 0 takes the task's.
        objects: Whether the poses of the task's objects are needed, which only a rig that measures them has.
        state_age_s, image_age_s: Older readings and pictures end the episode.
        answer_s: How long after the deadline an answer may come.
        connect_s: How long to look for the arm's node and the cameras.
        reset_s: How long a reset may take.
        acknowledge_s: How long a reset waits for a person when the arm is stopped.
    """

    namespace: str = "/arm"
    domain: int | None = None
    cameras: tuple[str, ...] = ()
    image_size: int = 128
    camera_topic: str = "/cameras/{}/image"
    control_hz: float = 0.0
    objects: bool = True
    state_age_s: float = 0.15
    image_age_s: float = 0.3
    answer_s: float = 0.25
    connect_s: float = 30.0
    reset_s: float = 60.0
    acknowledge_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("state_age_s", "image_age_s", "answer_s", "connect_s", "reset_s"):
            if not 0.0 < getattr(self, name) < 1e6:
                raise ConfigError(f"robot.{name} is {getattr(self, name)}; it must be positive")
        if not 0.0 <= self.acknowledge_s < 1e6:
            raise ConfigError(f"robot.acknowledge_s is {self.acknowledge_s}; it must be at least 0")
        if not 0.0 <= self.control_hz <= 100.0:
            raise ConfigError(f"robot.control_hz is {self.control_hz}; allowed: 0 (the task's) to 100")
        if "{}" not in self.camera_topic:
            raise ConfigError(f"robot.camera_topic is '{self.camera_topic}'; it needs {{}} for the camera's name")


class RosRobot:
    """A `Robot` over the topics of docs/ros2.md.

    Args:
        task: Whose objects, rate and limits are meant; the arm's node must serve the same.
        config: Where everything is, and for how long to wait for it.
    """

    real_time = True

    def __init__(self, task: Task, config: RosRobotConfig) -> None:
        self.task, self.config = task, config
        self.period_s = 1.0 / (config.control_hz or task.control_hz)
        self.timer = LoopTimer(self.period_s)
        self._spinning: SpinningNode | None = None
        self._services: dict[str, Any] = {}
        self._stamp_ns = 0

    @property
    def where(self) -> str:
        """Namespace and domain, for people."""
        return f"{self.config.namespace} in ROS domain {domain_of(self.config.domain)}"

    def connect(self) -> None:
        """Join the domain and wait for the arm's node and the cameras.

        Raises:
            RobotError: Something is missing, or serves another task.
        """
        if self._spinning is not None:
            return
        c = self.config
        spinning = SpinningNode("robot_client", c.namespace, c.domain)
        try:
            self._open(spinning)
            spinning.start()
            self._spinning = spinning
            self._wait_for_all()
        except BaseException:
            self._spinning = None
            spinning.close()
            raise

    def _open(self, spinning: SpinningNode) -> None:
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String

        node, c = spinning.node, self.config
        objects = tuple(self.task.scene) if c.objects else ()
        self.feed = RobotFeed(node, objects, c.cameras, c.camera_topic, c.state_age_s, c.image_age_s)
        self._clock = node.get_clock()
        self._gripper = node.create_publisher(JointState, "gripper/target", qos.request())
        self._pose = node.create_publisher(PoseStamped, "target_pose", qos.request())
        self._stop = node.create_publisher(String, "stop_request", qos.request(10))
        self._services = {}

    def _wait_for_all(self) -> None:
        c = self.config
        status = self._wait_for_node()
        if status.get("task") != self.task.name:
            raise RobotError(
                f"the arm's node at {self.where} serves the task '{status.get('task')}', this program "
                f"'{self.task.name}': limits and objects differ. Start both with the same task=..."
            )
        try:
            wait_until(lambda: not self.feed.missing(), c.connect_s, "readings")
        except RobotError as e:
            raise RobotError(
                f"the arm's node at {self.where} is there, but within {c.connect_s:.0f} s nobody sent "
                f"{', '.join(self.feed.missing())}. Pictures come from: robot-rl node camera"
            ) from e
        self._check_images(self.feed.state())
        rivals = self._node.count_publishers("target_pose") - 1
        if rivals > 0:
            log.warning("%d other program(s) can command the arm at %s too; only one should", rivals, self.where)

    def _check_images(self, state: RobotState) -> None:
        size = self.config.image_size
        for name, image in state.images.items():
            if image.shape != (size, size, 3):
                raise RobotError(
                    f"camera {name} publishes pictures of {image.shape[1]}x{image.shape[0]}, the policy takes "
                    f"{size}x{size}; set robot.image_size, or the size in the camera's settings"
                )

    @property
    def _node(self) -> Any:
        if self._spinning is None:
            raise RobotError("the robot is not connected; call connect() or reset() first")
        return self._spinning.node

    def _wait_for_node(self) -> dict[str, Any]:
        """Return a status that is fresh."""
        c = self.config

        def there() -> bool:
            status, age_s = self.feed.status()
            return bool(status) and age_s < 5.0 and status.get("mode") not in ("STARTING", "CLOSED", "FAULT")

        def starting() -> bool:
            return self.feed.status()[0].get("mode") == "STARTING"

        try:
            wait_until(lambda: there() or starting(), c.connect_s, "the arm's node")
            # A driver that is heard to start gets its time: the first start on a machine compiles the control law.
            wait_until(there, _START_S if starting() else c.connect_s, "the arm's node")
        except RobotError as e:
            status, age_s = self.feed.status()
            found = f"{status.get('mode')} {status.get('reason', '')} {age_s:.0f} s ago" if status else "nothing"
            raise RobotError(
                f"no arm node is ready at {self.where} in time (last heard: {found}). Start one "
                f"with: robot-rl node arm task={self.task.name}. If one runs, compare namespace and domain"
            ) from e
        return self.feed.status()[0]

    # Resets ---------------------------------------------------------------------------------------------------------
    def reset(self, request: ResetRequest) -> RobotState:
        """Drive to a start, wait for fresh readings and pictures, and return them.

        A hold is ended within the budget of the arm's guard; a stop waits for a person.

        Raises:
            RobotError: The start is refused, or nobody came, or the node or a camera is gone.
        """
        self.connect()
        for attempt in range(1, _ATTEMPTS + 1):
            self._make_ready()
            self._wait_fresh(time.monotonic(), "the arm stays where it is")  # no motion that a dead camera cannot see
            self._set_start(request)
            done, message = self._trigger("reset", self.config.reset_s)
            if done:
                break
            status = self.feed.status()[0]
            if attempt == _ATTEMPTS or status.get("mode") in ("RUN", "RESETTING"):
                raise RobotError(f"the arm did not reach the start: {message}")
            log.warning("the reset failed (%s); trying again", message)
        self._wait_fresh(time.monotonic(), "the arm is at its start")
        self.timer.start()
        return self.feed.state()

    def _make_ready(self) -> None:
        """End what keeps the arm from moving, or wait for a person who does."""
        until_s = time.monotonic() + self.config.acknowledge_s
        told = ""
        while (status := self._wait_for_node()).get("mode") not in ("RUN", "RESETTING"):
            mode, reason = str(status.get("mode")), str(status.get("reason", ""))
            if mode == "HOLD":
                done, message = self._trigger("recover", self.config.connect_s)
                if done:
                    self._wait_for_mode("RUN")
                    continue
                reason = message
            if mode in ("HOLD", "STOPPED") and told != reason:
                log.warning(
                    "the arm at %s does not move: %s. Look at the cell, then: robot-rl acknowledge%s",
                    self.where,
                    reason,
                    "" if self.config.domain is None else f" --domain {self.config.domain}",
                )
                told = reason
            if time.monotonic() > until_s:
                raise RobotError(
                    f"the arm at {self.where} is in {mode} ({reason}), and nobody acknowledged it within "
                    f"{self.config.acknowledge_s:.0f} s (robot.acknowledge_s). Look at the cell, then: robot-rl "
                    "acknowledge"
                )
            time.sleep(0.2)

    def _wait_for_mode(self, mode: str) -> None:
        try:
            wait_until(lambda: self.feed.status()[0].get("mode") == mode, 2.0, mode)
        except RobotError:
            return  # the caller looks again

    def _set_start(self, request: ResetRequest) -> None:
        from rcl_interfaces.srv import SetParametersAtomically
        from rclpy.parameter import Parameter

        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in start_values(request).items()]
        name = f"{self.feed.status()[0].get('node', '')}/set_parameters_atomically"
        answer = self._call(SetParametersAtomically, name, SetParametersAtomically.Request(parameters=parameters), 10.0)
        if not answer.result.successful:
            raise RobotError(f"the arm's node refuses the start: {answer.result.reason}")

    def _wait_fresh(self, since_s: float, meanwhile: str) -> None:
        patience_s = self.config.connect_s
        try:
            wait_until(lambda: self.feed.newer_than(since_s), patience_s, "fresh readings")
        except RobotError as e:
            why = "; ".join(self.feed.problems().values()) or "some of it is older than that"
            raise RobotError(f"no fresh readings within {patience_s:.0f} s, and {meanwhile}: {why}") from e

    def _trigger(self, name: str, patience_s: float) -> tuple[bool, str]:
        from std_srvs.srv import Trigger

        answer = self._call(Trigger, name, Trigger.Request(), patience_s)
        return bool(answer.success), str(answer.message)

    def _call(self, kind: Any, name: str, request: Any, patience_s: float) -> Any:
        """Call a service, and notice when the node that should answer goes silent."""
        if name not in self._services:
            self._services[name] = self._node.create_client(kind, name)
        client = self._services[name]
        wait_until(client.service_is_ready, self.config.connect_s, f"the service {client.srv_name}")
        future = client.call_async(request)

        def over() -> bool:
            return future.done() or self.feed.status()[1] > 5.0

        wait_until(over, patience_s, f"an answer of {client.srv_name}")
        if not future.done():
            client.remove_pending_request(future)
            raise RobotError(f"the arm's node at {self.where} has gone silent during {client.srv_name}")
        return future.result()

    # Steps ----------------------------------------------------------------------------------------------------------
    def command(self, command: ArmCommand) -> Executed:
        """Publish a request, let its period end, and return what the arm's guard made of it."""
        stamp_ns = max(self._clock.now().nanoseconds, self._stamp_ns + 1)  # it names the request
        self._stamp_ns = stamp_ns
        self._node  # noqa: B018, refuses when not connected
        self.feed.expect(stamp_ns)
        width = CLOSED_M if command.close_gripper else OPEN_M
        sent_s = time.monotonic()
        self._gripper.publish(messages.to_joints(stamp_ns, (messages.GRIPPER,), (width,)))
        self._pose.publish(messages.to_pose(stamp_ns, command.p_BE, command.quat_BE))
        self.timer.wait()
        executed = self._executed(stamp_ns, sent_s)
        problems = self.feed.problems()
        for name, age_ms in self.feed.ages_ms().items():
            self.timer.record(name, age_ms)
        if not problems:
            return executed
        source, sentence = next(iter(problems.items()))
        event = f"stale_observation:{source}"
        reason = f"{event}: {sentence}" if not executed.stopped else f"{executed.reason}; {sentence}"
        return dataclasses.replace(executed, events=(*executed.events, event), stopped=True, reason=reason)

    def _executed(self, stamp_ns: int, sent_s: float) -> Executed:
        answer: list[tuple[Executed, float]] = []

        def answered() -> bool:
            found = self.feed.answer(stamp_ns)
            if found is not None:
                answer.append(found)
            return found is not None

        _in_time(answered, self.config.answer_s)
        if not answer:
            state = self.feed.state()
            return Executed(state.p_BE, state.quat_BE, state.gripper_closing, ("no_answer",), True, NO_ANSWER)
        executed, came_s = answer[-1]
        self.timer.record("action_latency_ms", 1e3 * (came_s - sent_s))
        return executed

    def observe(self) -> RobotState:
        """Return the newest reading. In an episode an old one comes too: the step that led to it said so."""
        self._node  # noqa: B018, refuses when not connected
        return self.feed.state()

    def stop(self, reason: str) -> None:
        """Ask the arm's node for a stop, ahead of the next command; it lasts until a person acknowledges it."""
        from std_msgs.msg import String

        self._node  # noqa: B018, refuses when not connected
        self._stop.publish(String(data=reason))

    def timing(self) -> dict[str, float]:
        """Return what was measured in the newest step, see `robot_rl.timing`."""
        return dict(self.timer.newest)

    def close(self) -> None:
        """Command no more and leave the domain: the arm holds by itself."""
        spinning, self._spinning = self._spinning, None
        if spinning is not None:
            spinning.close()


def _in_time(condition: Callable[[], bool], patience_s: float) -> bool:
    try:
        wait_until(condition, patience_s, "an answer", 0.001)
    except RobotError:
        return False
    return True


def make_ros_robot(
    task: Task,
    namespace: str = "/arm",
    domain: int | None = None,
    cameras: tuple[str, ...] = (),
    image_size: int = 128,
    camera_topic: str = "/cameras/{}/image",
    control_hz: float = 0.0,
    objects: bool = True,
    state_age_s: float = 0.15,
    image_age_s: float = 0.3,
    answer_s: float = 0.25,
    connect_s: float = 30.0,
    reset_s: float = 60.0,
    acknowledge_s: float = 600.0,
) -> RosRobot:
    """Return the robot over ROS 2 for a task; see `RosRobotConfig` for the settings."""
    return RosRobot(
        task,
        RosRobotConfig(
            namespace=namespace, domain=domain, cameras=cameras, image_size=image_size, camera_topic=camera_topic,
            control_hz=control_hz, objects=objects, state_age_s=state_age_s, image_age_s=image_age_s,
            answer_s=answer_s, connect_s=connect_s, reset_s=reset_s, acknowledge_s=acknowledge_s,
        ),
    )  # fmt: skip
