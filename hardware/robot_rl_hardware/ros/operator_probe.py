"""Measuring an arm node from outside: rates, ages, latency, and the gripper's range if it may move."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.doctor_robot import ArmMeasurement, TopicTiming
from robot_rl.errors import RobotError, RobotRLError, WireError
from robot_rl_hardware.operator.view import ArmView
from robot_rl_hardware.ros import environment, messages, qos
from robot_rl_hardware.ros.node import wait_until
from robot_rl_hardware.ros.operator_client import ArmClient, command_at, open_client, wait_for_arm

if TYPE_CHECKING:
    from rclpy.node import Node

REQUESTS, REQUEST_S, ANSWER_S = 40, 0.1, 1.0
GRIPPER_S, GRIPPER_STILL_S = 8.0, 1.0
CAMERAS = "/cameras/"


class TopicMeter:
    """When the messages of one topic came, and how old they were by their stamps."""

    def __init__(self, node: Node, kind: Any, topic: str) -> None:
        self._node = node
        self._arrivals_s: list[float] = []
        self._ages_ms: list[float] = []
        self._subscription = node.create_subscription(kind, topic, self._on_message, qos.newest())

    def _on_message(self, message: Any) -> None:
        age_ns = self._node.get_clock().now().nanoseconds - messages.stamp_ns(message)
        self._arrivals_s.append(time.monotonic())
        self._ages_ms.append(1e-6 * age_ns)

    def timing(self) -> TopicTiming:
        """Return rate and ages of what came so far, and stop listening."""
        self._node.destroy_subscription(self._subscription)
        arrivals, ages = list(self._arrivals_s), list(self._ages_ms)
        if len(arrivals) < 2:
            return TopicTiming()
        rate_hz = (len(arrivals) - 1) / max(arrivals[-1] - arrivals[0], 1e-9)
        least, median, p99 = (float(v) for v in np.percentile(ages, (0, 50, 99)))
        return TopicTiming(rate_hz=rate_hz, age_ms=(least, median, p99))


def measure(
    namespace: str, domain: int | None, *, move: bool = False, patience_s: float = 5.0, measure_s: float = 3.0
) -> ArmMeasurement:
    """Measure whatever is there; says what is missing instead of raising.

    Args:
        namespace: Of the arm node.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        move: Whether the gripper may close and open.
        patience_s: How long to look for the arm node.
        measure_s: How long to listen to topics.
    """
    where = f"{namespace or '/'}, ROS domain {domain if domain is not None else 'by ROS_DOMAIN_ID'}"
    participants = 0
    try:
        number = environment.domain_of(domain)
        where = f"{namespace or '/'}, ROS domain {number}"
        participants = environment.participants_on(number)
        with open_client("doctor", namespace, domain, commands=True) as client:
            return _measure(client, where, participants, move, patience_s, measure_s)
    except RobotRLError as e:
        return ArmMeasurement(where=where, trouble=str(e), participants=participants)


def _measure(
    client: ArmClient, where: str, participants: int, move: bool, patience_s: float, measure_s: float
) -> ArmMeasurement:
    with contextlib.suppress(RobotError):  # what is missing is told by what is not measured
        wait_for_arm(client, patience_s)
    told: dict[str, Mapping[str, Any]] = {}
    cameras = _cameras(client.node)
    meters = {name: TopicMeter(client.node, kind, name) for name, kind in _topics().items()} if client.status() else {}
    seen = {name: TopicMeter(client.node, _image(), f"{CAMERAS}{name}/image") for name in cameras}
    for name in cameras:
        _listen(client.node, name, told)
    if meters or seen:
        time.sleep(measure_s)  # this is the measurement, not a wait for something
    topics = {name: meter.timing() for name, meter in meters.items()}
    pictures = {name: meter.timing() for name, meter in seen.items()}
    latency, note, gripper = (), "", None
    view = client.view()
    if client.status():
        note = _not_now(view)
        if not note:
            latency, gripper = _command(client, view, move)
            if move and gripper is None:
                note = "the arm went to hold, because a request came too late"
            _leave_running(client)
    return ArmMeasurement(
        where=where,
        status=client.status(),
        topics=topics,
        cameras=pictures,
        camera_status=told,
        latency_ms=latency,
        latency_note=note,
        gripper_m=gripper,
        others=view.others,
        participants=participants,
    )


def _not_now(view: ArmView) -> str:
    """Return why nothing may be sent to the arm at the moment; empty if it may."""
    if view.others:
        return "another program commands the arm"
    if view.mode != "RUN":
        return f"the arm is in mode {view.mode}"
    return "" if view.fresh else "there is no fresh reading of the arm"


def _command(client: ArmClient, view: ArmView, move: bool) -> tuple[tuple[float, ...], tuple[float, float] | None]:
    """Tell the arm to stay where it is, again and again; returns latencies [ms], and the gripper's range [m]."""
    assert view.p_BE is not None  # `_not_now` saw to it
    assert view.quat_BE is not None
    stay = command_at(view.p_BE, view.quat_BE, view.closing)
    latency = [_ask(client, lambda: client.send(stay)) for _ in range(REQUESTS)]
    gripper = None
    if move:
        ends = [_drive_gripper(client, view, closing) for closing in (not view.closing, view.closing)]
        gripper = (min(ends), max(ends)) if not any(map(math.isnan, ends)) else None
    return tuple(v for v in latency if not math.isnan(v)), gripper


def _ask(client: ArmClient, send: Callable[[], int]) -> float:
    """Send a request, wait for its answer and for the period to end; returns the latency [ms], nan without answer."""
    start_s = time.monotonic()
    stamp_ns = send()
    with contextlib.suppress(RobotError):
        wait_until(lambda: client.answer(stamp_ns) is not None, ANSWER_S, "an answer", poll_s=0.001)
    answer = client.answer(stamp_ns)
    time.sleep(max(start_s + REQUEST_S - time.monotonic(), 0.0))
    return math.nan if answer is None else 1e3 * (answer[1] - start_s)


def _drive_gripper(client: ArmClient, view: ArmView, closing: bool) -> float:
    """Close or open the gripper while the arm stays; returns the opening [m] at rest, nan if the arm went to hold."""
    assert view.p_BE is not None
    assert view.quat_BE is not None
    command = command_at(view.p_BE, view.quat_BE, closing)
    end_s, still_s, width_m = time.monotonic() + GRIPPER_S, time.monotonic(), client.view().width_m
    while time.monotonic() < min(end_s, still_s + GRIPPER_STILL_S):
        client.send(command)
        time.sleep(REQUEST_S)
        if client.view().mode != "RUN":  # a request came too late: the fingers stay as they are
            return math.nan
        now_m = client.view().width_m
        if abs(now_m - width_m) > 5e-4:
            width_m, still_s = now_m, time.monotonic()
    return client.view().width_m


def _leave_running(client: ArmClient) -> None:
    """End the hold that the silence after the last request brings; this costs none of the budget of recoveries."""
    with contextlib.suppress(RobotError):
        wait_until(lambda: client.view().mode != "RUN", 2.0, "the hold")
        if client.view().mode == "HOLD":
            client.ask("recover")
            wait_until(lambda: client.view().mode == "RUN", 5.0, "the arm to run again")


def _topics() -> dict[str, Any]:
    from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
    from sensor_msgs.msg import JointState

    return {
        "current_pose": PoseStamped,
        "current_twist": TwistStamped,
        "joint_states": JointState,
        "wrench": WrenchStamped,
        "gripper/joint_states": JointState,
    }


def _image() -> Any:
    from sensor_msgs.msg import Image

    return Image


def _cameras(node: Node) -> list[str]:
    """Return the names of the cameras whose pictures are published in the domain."""
    topics = [name for name, _ in node.get_topic_names_and_types()]
    return sorted(
        name.removeprefix(CAMERAS).removesuffix("/image")
        for name in topics
        if name.startswith(CAMERAS) and name.endswith("/image")
    )


def _listen(node: Node, name: str, told: dict[str, Mapping[str, Any]]) -> None:
    """Keep the newest status of a camera."""
    from std_msgs.msg import String

    def keep(message: Any) -> None:
        with contextlib.suppress(WireError):
            told[name] = messages.from_text(message)

    node.create_subscription(String, f"{CAMERAS}{name}/status", keep, qos.latched())
