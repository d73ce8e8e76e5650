"""`ArmClient`: an arm node as the operator's tools see it. Callbacks only store the newest; nothing here waits."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.errors import RobotError, WireError
from robot_rl.robot import ArmCommand, Executed, Vector
from robot_rl_hardware.operator.view import ArmView
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.node import open_node, wait_until

if TYPE_CHECKING:
    from rclpy.node import Node

log = logging.getLogger(__name__)

SERVICES = ("recover", "acknowledge", "stop", "home")
REMEMBERED = 64
OPEN_M = 0.08
"""What an open gripper is told; drivers clip it to their own range."""


@dataclass(slots=True)
class _Newest:
    """The newest message of one topic, and when it came, monotonic seconds."""

    value: Any = None
    at_s: float = -math.inf


class ArmClient:
    """Listens to an arm node and asks things of it.

    Args:
        node: A spinning node in the arm's namespace.
        commands: Whether to open the topics that move the arm; only one program should.
        where: Namespace and domain, for people.
    """

    def __init__(self, node: Node, *, commands: bool = False, where: str = "") -> None:
        from geometry_msgs.msg import PoseStamped, WrenchStamped
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String
        from std_srvs.srv import Trigger

        self.node, self.where = node, where
        self._pose, self._wrench, self._gripper = _Newest(), _Newest(), _Newest()
        self._status, self._executed = _Newest(), _Newest()
        self._arrivals: deque[float] = deque(maxlen=256)
        self._answers: deque[tuple[int, Executed, float]] = deque(maxlen=REMEMBERED)
        self._trigger = Trigger
        newest, latched = qos.newest(), qos.latched()
        node.create_subscription(PoseStamped, "current_pose", self._on_pose, newest)
        node.create_subscription(WrenchStamped, "wrench", lambda m: _keep(self._wrench, m), newest)
        node.create_subscription(JointState, "gripper/joint_states", lambda m: _keep(self._gripper, m), newest)
        node.create_subscription(String, "status", self._on_status, latched)
        node.create_subscription(String, "executed", self._on_executed, qos.request(10))
        self._stop = node.create_publisher(String, "stop_request", qos.request(10))
        self._clients = {name: node.create_client(Trigger, name) for name in SERVICES}
        self._asked: dict[str, Any] = {}
        self._target = node.create_publisher(PoseStamped, "target_pose", qos.request()) if commands else None
        self._width = node.create_publisher(JointState, "gripper/target", qos.request()) if commands else None

    def _on_pose(self, message: Any) -> None:
        _keep(self._pose, message)
        self._arrivals.append(self._pose.at_s)

    def _on_status(self, message: Any) -> None:
        with contextlib.suppress(WireError):
            _keep(self._status, messages.from_text(message))

    def _on_executed(self, message: Any) -> None:
        try:
            stamp_ns, executed = messages.executed_from_text(message)
        except WireError as e:
            log.warning("%s", e)
            return
        _keep(self._executed, executed)
        self._answers.append((stamp_ns, executed, self._executed.at_s))

    def view(self) -> ArmView:
        """Return the newest of everything."""
        now_s = time.monotonic()
        p, quat = messages.from_pose(self._pose.value) if self._pose.value is not None else (None, None)
        force = messages.from_wrench(self._wrench.value)[:3] if self._wrench.value is not None else None
        width, closing = _gripper(self._gripper.value)
        status = self.status()
        counts = status.get("counts")
        executed = self._executed.value
        recent = executed.events if executed is not None and now_s - self._executed.at_s < 1.0 else ()
        return ArmView(
            where=self.where,
            p_BE=p,
            quat_BE=quat,
            force_n=math.nan if force is None else float(np.linalg.norm(force)),
            width_m=width,
            closing=closing,
            age_s=now_s - self._pose.at_s,
            rate_hz=float(sum(now_s - t <= 1.0 for t in list(self._arrivals))),
            mode=str(status.get("mode", "")),
            reason=str(status.get("reason", "") or ""),
            driver=str(status.get("driver", "") or ""),
            recoveries_left=_whole(status.get("recoveries_left")),
            counts={str(k): _whole(v) for k, v in counts.items()} if isinstance(counts, dict) else {},
            status_age_s=now_s - self._status.at_s,
            events=tuple(recent),
            others=self.others(),
        )

    def status(self) -> Mapping[str, Any]:
        """Return the newest status as the node told it; {} before the first."""
        return self._status.value or {}

    def others(self) -> int:
        """Return how many other programs publish where the tool shall go."""
        mine = 0 if self._target is None else 1
        return max(self.node.count_publishers(self.node.resolve_topic_name("target_pose")) - mine, 0)

    def send(self, command: ArmCommand) -> int:
        """Ask for a tool pose and a gripper, and return the stamp [ns] that names the request."""
        if self._target is None or self._width is None:
            raise RobotError("this client was opened to watch, and does not command the arm")
        stamp_ns = self.node.get_clock().now().nanoseconds
        width_m = 0.0 if command.close_gripper else OPEN_M
        self._width.publish(messages.to_joints(stamp_ns, [messages.GRIPPER], [width_m]))
        self._target.publish(messages.to_pose(stamp_ns, command.p_BE, command.quat_BE))
        return stamp_ns

    def answer(self, stamp_ns: int) -> tuple[Executed, float] | None:
        """Return what the guard made of a request and the monotonic time at which that came; None if it has not yet."""
        for stamp, executed, at_s in reversed(list(self._answers)):
            if stamp == stamp_ns:
                return executed, at_s
        return None

    def newest_answer(self) -> tuple[int, Executed] | None:
        """Return the stamp [ns] of the newest request that was answered, of whoever, and what the guard made of it."""
        newest = list(self._answers)[-1:]
        return (newest[0][0], newest[0][1]) if newest else None

    def stop(self, reason: str) -> None:
        """Ask for a stop in both ways that there are; does not wait."""
        from std_msgs.msg import String

        self._stop.publish(String(data=reason))
        self.ask("stop")

    def ask(self, service: str) -> None:
        """Call a service without waiting; `heard` tells what it answered."""
        client = self._clients[service]
        if client.service_is_ready():
            self._asked[service] = client.call_async(self._trigger.Request())

    def heard(self) -> list[str]:
        """Return what services said since the last call: only refusals, and what they did."""
        said = []
        for service, future in list(self._asked.items()):
            if not future.done():
                continue
            del self._asked[service]
            answer = future.result()
            if answer is not None and (answer.message or not answer.success):
                said.append(f"{service}: {'' if answer.success else 'refused: '}{answer.message}")
        return said


@contextlib.contextmanager
def open_client(name: str, namespace: str, domain: int | None = None, *, commands: bool = False) -> Iterator[ArmClient]:
    """Yield a client of the arm node in a namespace; its node is closed at the end."""
    from robot_rl_hardware.ros.environment import domain_of

    with open_node(name, namespace, domain) as node:
        yield ArmClient(node, commands=commands, where=f"{namespace or '/'} in ROS domain {domain_of(domain)}")


def wait_for_arm(client: ArmClient, patience_s: float) -> ArmView:
    """Return the first whole view of an arm.

    Raises:
        RobotError: There is none within `patience_s`.
    """

    def there() -> bool:
        view = client.view()
        return view.fresh and bool(view.mode)

    try:
        wait_until(there, patience_s, "the arm")
    except RobotError as e:
        view = client.view()
        found = f"an arm node in mode {view.mode} ({view.reason}) but no readings" if view.mode else "no arm node"
        raise RobotError(
            f"found {found} on {client.where} within {patience_s:.0f} s; start one with `robot-rl node arm` or "
            "`robot-rl launch launch/arm_twin.launch.py`, or give its --domain and --namespace"
        ) from e
    return client.view()


def _keep(slot: _Newest, value: Any) -> None:
    slot.value, slot.at_s = value, time.monotonic()


def _whole(value: Any) -> int:
    """Return what a node told as a whole number; 0 if it is none."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def _gripper(message: Any) -> tuple[float, bool]:
    """Return the opening [m] and whether the gripper was told to close."""
    if message is None or not message.position:
        return math.nan, False
    return float(message.position[0]), bool(message.effort and message.effort[0] > 0.5)


def command_at(p: Vector, quat: Vector, closing: bool) -> ArmCommand:
    """Return the command to be where the arm was measured."""
    return ArmCommand(p_BE=np.array(p, float), quat_BE=np.array(quat, float), close_gripper=closing)
