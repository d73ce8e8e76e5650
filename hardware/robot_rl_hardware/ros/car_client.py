"""`RosCar`: the car that an environment drives over ROS 2, a twin in real time or hardware; it cannot tell which.

Time passes by itself. A command is published, the control period ends at an absolute deadline, and by then the car's
node has said what it made of the command. Whatever is missing or old ends the episode in words; the car stops by
itself, in its node and its driver, whatever happens here.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from typing import Any, Protocol

from robot_rl.car import CarCommand, CarExecuted, CarReset, CarState
from robot_rl.errors import ConfigError, RobotError
from robot_rl.timing import LoopTimer
from robot_rl_hardware.car.settings import NUMBERS, CarSettings
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.car_feed import Answer, CarFeed
from robot_rl_hardware.ros.car_receiver import rolling_m_s
from robot_rl_hardware.ros.environment import domain_of
from robot_rl_hardware.ros.node import SpinningNode, wait_until

log = logging.getLogger(__name__)

NO_ANSWER = "no answer from the car's node"
_STATUS_S = 2.0
_NEAR_M, _PLACED_S = 0.3, 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RosCarConfig:
    """Settings of the car over ROS.

    Attributes:
        namespace: Of the car's node; none as F1TENTH has it.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        control_hz: Commands a second.
        beams: Distances of the lidar that are read; 0 reads none.
        cameras: Names of the cameras whose pictures are observed.
        camera_topic: Topic of a picture, with {} for the camera's name.
        state_age_s, pose_age_s, image_age_s: Older readings, poses, pictures end the episode.
        answer_s: How long after the deadline the car's node may answer.
        connect_s: How long to look for the car's node and all that is read.
        person_s: How long a reset waits for a person with the deadman.
    """

    namespace: str = ""
    domain: int | None = None
    control_hz: float = 20.0
    beams: int = 0
    cameras: tuple[str, ...] = ()
    camera_topic: str = "/cameras/{}/image"
    state_age_s: float = 0.15
    pose_age_s: float = 0.2
    image_age_s: float = 0.3
    answer_s: float = 0.1
    connect_s: float = 30.0
    person_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("state_age_s", "pose_age_s", "image_age_s", "answer_s", "connect_s", "person_s"):
            if not 0.0 < getattr(self, name) < 1e6:
                raise ConfigError(f"robot.{name} is {getattr(self, name)}; it must be positive")
        if not 11.0 <= self.control_hz <= 50.0:
            raise ConfigError(
                f"robot.control_hz is {self.control_hz:g}; a car is commanded 11 to 50 times a second: its "
                "watchdog stops it when a command is 0.1 s old, and its VESC is told 50 times"
            )
        if self.beams < 0:
            raise ConfigError(f"robot.beams is {self.beams}; it is the number of distances in a scan, or 0")
        if "{}" not in self.camera_topic:
            raise ConfigError(f"robot.camera_topic is '{self.camera_topic}'; it needs {{}} for the camera's name")


class RosCar:
    """A `Car` over the topics of docs/car_hardware.md.

    Args:
        config: Where everything is, and for how long to wait for it.
    """

    real_time = True

    def __init__(self, config: RosCarConfig) -> None:
        self.config = config
        self.period_s = 1.0 / config.control_hz
        self.timer = LoopTimer(self.period_s)
        self._spinning: SpinningNode | None = None
        self._wheelbase_m, self._stamp_ns = math.nan, 0

    @property
    def where(self) -> str:
        """Namespace and domain, for people."""
        return f"{self.config.namespace or '/'} in ROS domain {domain_of(self.config.domain)}"

    def connect(self) -> None:
        """Join the domain and wait for the car's node and all that is read.

        Raises:
            RobotError: Something is missing.
        """
        if self._spinning is not None:
            return
        c = self.config
        spinning = SpinningNode("car_client", c.namespace, c.domain)
        try:
            self._open(spinning.node)
            spinning.start()
            self._spinning = spinning
            self._wait_for_all()
        except BaseException:
            self._spinning = None
            spinning.close()
            raise

    def _open(self, node: Any) -> None:
        from geometry_msgs.msg import PoseWithCovarianceStamped, TwistStamped

        c = self.config
        self.feed = CarFeed(node, c.beams, c.cameras, c.camera_topic, c.state_age_s, c.pose_age_s, c.image_age_s)
        self._clock = node.get_clock()
        self._twist = node.create_publisher(TwistStamped, "cmd_vel", qos.request())
        self._elsewhere = node.create_publisher(PoseWithCovarianceStamped, "initialpose", qos.request())

    def _wait_for_all(self) -> None:
        c = self.config
        status = self._wait_for_node()
        try:
            self._wheelbase_m = float(status["car"]["wheelbase_m"])
        except (KeyError, TypeError, ValueError) as e:
            raise RobotError(f"the car's node at {self.where} does not tell its wheelbase; is it robot-rl's?") from e
        try:
            wait_until(lambda: not self.feed.missing(), c.connect_s, "readings")
        except RobotError as e:
            raise RobotError(
                f"the car's node at {self.where} is there, but within {c.connect_s:.0f} s nobody sent "
                f"{', '.join(self.feed.missing())}. A car of metal needs nodes for its localisation, lidar and cameras"
            ) from e
        rivals = self._node.count_publishers("cmd_vel") - 1
        if rivals > 0:
            log.warning("%d other program(s) can command the car at %s too; only one should", rivals, self.where)

    def check_file(self, car: CarSettings) -> None:
        """Raise `ConfigError` unless the car's node drives by the same car file: its limits and conversions."""
        theirs = self.feed.status()[0].get("car")
        theirs = theirs if isinstance(theirs, dict) else {}
        differ = [name for name in NUMBERS if not math.isclose(float(theirs.get(name, "nan")), getattr(car, name))]
        if differ:
            raise ConfigError(
                f"the car's node at {self.where} drives by another car file: {', '.join(differ)} differ. Start both "
                "with the same car=..."
            )

    @property
    def _node(self) -> Any:
        if self._spinning is None:
            raise RobotError("the car is not connected; call connect() or reset() first")
        return self._spinning.node

    def _wait_for_node(self) -> dict[str, Any]:
        try:
            wait_until(lambda: self.feed.status()[1] < _STATUS_S, self.config.connect_s, "the car's node")
        except RobotError as e:
            status, age_s = self.feed.status()
            raise RobotError(
                f"no car's node is at {self.where} (last heard: {f'{age_s:.0f} s ago' if status else 'nothing'}). "
                "Start one with: robot-rl node car driver=... car=... If one runs, compare namespace and domain"
            ) from e
        return self.feed.status()[0]

    # Resets ---------------------------------------------------------------------------------------------------------
    def reset(self, request: CarReset) -> CarState:
        """Stand, put a twin where the episode begins, wait for a person who lets the car drive, and read.

        A car of metal begins where it stands.

        Raises:
            RobotError: Nobody pressed the deadman, or the car's node, its localisation or a camera is silent.
        """
        self.connect()
        self._wait_for_node()
        self._put(request)
        self._wait_fresh()
        self._wait_for_person()
        self.timer.start()
        return self.feed.state()

    def _put(self, request: CarReset) -> None:
        """Put a twin elsewhere; nothing is there that hears it where a real car is driven."""
        from geometry_msgs.msg import PoseWithCovarianceStamped

        if self._node.count_subscribers("initialpose") == 0:
            return
        self._send(0.0, 0.0)
        message = PoseWithCovarianceStamped(header=messages.header(self._now_ns(), "map"))
        pose = message.pose.pose
        pose.position.x, pose.position.y = map(float, request.p_WC)
        pose.orientation.w, pose.orientation.z = math.cos(0.5 * request.yaw_rad), math.sin(0.5 * request.yaw_rad)
        self._elsewhere.publish(message)

        def there() -> bool:
            if self.feed.missing():
                return False
            p = self.feed.state().p_WC
            return math.dist(p, request.p_WC) < _NEAR_M

        try:
            wait_until(there, _PLACED_S, "the twin at its start")
        except RobotError as e:
            raise RobotError(
                f"the twin at {self.where} was put at {request.p_WC} m and is not there after {_PLACED_S:.0f} s; its "
                "node's log says why, a wall or an obstacle perhaps"
            ) from e

    def _wait_fresh(self) -> None:
        since_s, patience_s = time.monotonic(), self.config.connect_s
        try:
            wait_until(lambda: self.feed.newer_than(since_s), patience_s, "fresh readings")
        except RobotError as e:
            why = "; ".join(self.feed.problems().values()) or "some of it is older than that"
            raise RobotError(f"no fresh readings of the car within {patience_s:.0f} s, and it stands: {why}") from e

    def _wait_for_person(self) -> None:
        """Command that the car stands, again and again, until the deadman lets it drive."""
        until_s, told = time.monotonic() + self.config.person_s, ""
        self.timer.start()
        while True:
            self.feed.expect(self._send(0.0, 0.0))
            self.timer.wait()
            answer = self.feed.answer()
            if answer and answer.drives:
                return
            status, age_s = self.feed.status()
            reason = str((answer.reason if answer else "") or status.get("reason") or NO_ANSWER)
            if age_s > 5.0:
                raise RobotError(f"the car's node at {self.where} has gone silent")
            kind = reason.partition(",")[0]
            if kind != told:
                log.warning("the car at %s stands: %s", self.where, reason)
                told = kind
            if time.monotonic() > until_s:
                raise RobotError(
                    f"the car at {self.where} may not drive ({reason}), and nobody let it within "
                    f"{self.config.person_s:.0f} s (robot.person_s). Let the deadman's button go, press it and hold it"
                )

    # Steps ----------------------------------------------------------------------------------------------------------
    def _now_ns(self) -> int:
        self._stamp_ns = max(self._clock.now().nanoseconds, self._stamp_ns + 1)  # it names the command
        return self._stamp_ns

    def _send(self, speed_m_s: float, steering_rad: float) -> int:
        """Publish a command and return its stamp. The yaw rate is the one that the node turns back into the angle."""
        stamp_ns = self._now_ns()
        from geometry_msgs.msg import TwistStamped

        message = TwistStamped(header=messages.header(stamp_ns))
        message.twist.linear.x = speed_m_s
        message.twist.angular.z = rolling_m_s(speed_m_s) * math.tan(steering_rad) / self._wheelbase_m
        self._twist.publish(message)
        return stamp_ns

    def command(self, command: CarCommand) -> CarExecuted:
        """Publish a request, let its period end, and return what the car's node made of it.

        Raises:
            RobotError: It is not connected, a number is not finite, or a current was asked for, which is not passed on.
        """
        self._node  # noqa: B018, refuses when not connected
        command.check()
        if command.current_a is not None:
            raise RobotError("a car over ROS 2 is driven by speed, and a current was commanded; give a speed")
        if not abs(command.steering_rad) < 0.5 * math.pi:
            raise RobotError(
                f"a car was commanded a steering angle of {command.steering_rad:g} rad; no wheel turns so far"
            )
        sent_s = time.monotonic()
        self.feed.expect(self._send(command.speed_m_s, command.steering_rad))
        self.timer.wait()
        executed = self._executed(command, sent_s)
        for name, age_ms in self.feed.ages_ms().items():
            self.timer.record(name, age_ms)
        problems = self.feed.problems()
        if not problems:
            return executed
        source, sentence = next(iter(problems.items()))
        event = f"stale_observation:{source}"
        reason = f"{event}: {sentence}" if not executed.stopped else f"{executed.reason}; {sentence}"
        return dataclasses.replace(executed, events=(*executed.events, event), stopped=True, reason=reason)

    def _executed(self, command: CarCommand, sent_s: float) -> CarExecuted:
        answer: Answer | None = None

        def answered() -> bool:
            nonlocal answer
            answer = self.feed.answer()
            return answer is not None

        try:
            wait_until(answered, self.config.answer_s, "an answer", 0.001)
        except RobotError:
            return CarExecuted(0.0, 0.0, None, ("no_answer",), True, NO_ANSWER)
        assert answer is not None  # waited for
        self.timer.record("action_latency_ms", 1e3 * (answer.came_s - sent_s))
        if not answer.drives:
            return CarExecuted(0.0, 0.0, None, ("stopped",), True, answer.reason)
        pairs = (
            ("steering", command.steering_rad, answer.steering_rad),
            ("speed", command.speed_m_s, answer.speed_m_s),
        )
        # The angle went as a yaw rate and came back: equal to the last digits only.
        events = tuple(name for name, asked, got in pairs if not math.isclose(asked, got, abs_tol=1e-6))
        return CarExecuted(answer.steering_rad, answer.speed_m_s, None, events)

    def observe(self) -> CarState:
        """Return the newest reading. In an episode an old one comes too: the step that led to it said so."""
        self._node  # noqa: B018, refuses when not connected
        return self.feed.state()

    def timing(self) -> dict[str, float]:
        """Return what was measured in the newest step, see `robot_rl.timing`."""
        return dict(self.timer.newest)

    def close(self) -> None:
        """Tell the car to stand and leave the domain; it stops by itself when commands end."""
        spinning, self._spinning = self._spinning, None
        if spinning is not None:
            if math.isfinite(self._wheelbase_m):
                self._send(0.0, 0.0)
            spinning.close()


class DrivenTask(Protocol):
    """What a task of a car says of how it is driven."""

    control_hz: float
    beams: int


def make_ros_car(
    task: DrivenTask,
    namespace: str = "",
    domain: int | None = None,
    control_hz: float = 0.0,
    cameras: tuple[str, ...] = (),
    camera_topic: str = "/cameras/{}/image",
    state_age_s: float = 0.15,
    pose_age_s: float = 0.2,
    image_age_s: float = 0.3,
    answer_s: float = 0.1,
    connect_s: float = 30.0,
    person_s: float = 600.0,
) -> RosCar:
    """Return the car over ROS 2 for a task, with as many beams of the lidar as it reads; see `RosCarConfig`."""
    if not hasattr(task, "beams"):
        name = getattr(task, "name", type(task).__name__)
        raise ConfigError(f"robot=car_ros drives task=lap, and '{name}' is no task of a car; choose another of the two")
    return RosCar(
        RosCarConfig(
            namespace=namespace, domain=domain, control_hz=control_hz or task.control_hz, beams=task.beams,
            cameras=cameras, camera_topic=camera_topic, state_age_s=state_age_s, pose_age_s=pose_age_s,
            image_age_s=image_age_s, answer_s=answer_s, connect_s=connect_s, person_s=person_s,
        )
    )  # fmt: skip
