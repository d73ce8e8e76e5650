"""The arm's node with the smallest arm, from another process over DDS."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ros_rig import POINT_ARM, Program, arm_node, program, wait_for

pytest.importorskip("rclpy")

from robot_rl.geometry import Vector
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.node import call, open_node

pytestmark = pytest.mark.ros
UP = np.array([0.0, 0.0, 0.01])
PARAMETERS = "/arm/cartesian_impedance_controller"


class Listener:
    """The newest of each topic, as any ROS program sees it."""

    def __init__(self, node: Any) -> None:
        from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String

        self.node, self.newest, self.count, self.answers = node, {}, {}, {}
        for kind, topic in (
            (JointState, "joint_states"), (JointState, "gripper/joint_states"), (TwistStamped, "current_twist"),
            (WrenchStamped, "wrench"), (PoseStamped, "current_pose"), (PoseStamped, "objects/goal"),
        ):  # fmt: skip
            node.create_subscription(kind, topic, lambda m, t=topic: self._take(t, m), qos.newest())
        node.create_subscription(String, "status", self._on_status, qos.latched())
        node.create_subscription(String, "executed", self._on_executed, qos.request(10))
        self.status: dict[str, Any] = {}
        self.pose = node.create_publisher(PoseStamped, "target_pose", qos.request())
        self.gripper = node.create_publisher(JointState, "gripper/target", qos.request())
        self.joints = node.create_publisher(JointState, "target_joint", qos.request())
        self.stops = node.create_publisher(String, "stop_request", qos.request(10))

    def _take(self, topic: str, message: Any) -> None:
        self.newest[topic] = message
        self.count[topic] = self.count.get(topic, 0) + 1

    def _on_status(self, message: Any) -> None:
        self.status = messages.from_text(message)

    def _on_executed(self, message: Any) -> None:
        stamp, executed = messages.executed_from_text(message)
        self.answers[stamp] = executed

    @property
    def p(self) -> Vector:
        return messages.from_pose(self.newest["current_pose"])[0]

    @property
    def quat(self) -> Vector:
        return messages.from_pose(self.newest["current_pose"])[1]

    @property
    def mode(self) -> str:
        return str(self.status.get("mode"))

    def ask(self, p: Vector, age_s: float = 0.0, frame: str = messages.BASE_FRAME) -> Any:
        """Request a pose and return the answer."""
        stamp = self.node.get_clock().now().nanoseconds - round(1e9 * age_s)
        self.pose.publish(messages.to_pose(stamp, p, self.quat, frame))
        wait_for(lambda: stamp in self.answers, "an answer", 20.0)
        return self.answers[stamp]

    def trigger(self, service: str) -> Any:
        from std_srvs.srv import Trigger

        return call(self.node, Trigger, service, Trigger.Request(), 60.0)

    def set_parameters(self, **values: Any) -> tuple[bool, str]:
        from rcl_interfaces.srv import SetParametersAtomically
        from rclpy.parameter import Parameter

        request = SetParametersAtomically.Request(
            parameters=[Parameter(n.replace("__", "."), value=v).to_parameter_msg() for n, v in values.items()]
        )
        name = f"{PARAMETERS}/set_parameters_atomically"
        result = call(self.node, SetParametersAtomically, name, request, 20.0).result
        return result.successful, result.reason

    def run(self) -> None:
        """Bring the arm to RUN, whatever the test before left.

        Its last command may still run, and would end in a hold by silence amid this test: a stop forgets it.
        """
        assert self.trigger("stop").success
        wait_for(lambda: self.mode == "STOPPED", "a stop")
        assert self.trigger("acknowledge").success
        wait_for(lambda: self.mode == "RUN", "RUN")


@pytest.fixture(scope="module")
def arm() -> Iterator[Program]:
    with arm_node("point", "reach") as node:
        yield node


@pytest.fixture
def listener(arm: Program) -> Iterator[Listener]:
    with open_node("listener", "/arm", arm.domain) as node:
        made = Listener(node)
        wait_for(lambda: len(made.newest) == 6 and made.status, "all topics", 60.0)
        for publisher in (made.pose, made.gripper, made.joints, made.stops):
            wait_for(lambda p=publisher: p.get_subscription_count() == 1, "the node to listen")
        made.run()
        yield made


def test_measurements_of_one_instant_carry_one_stamp(listener: Listener) -> None:
    def together() -> bool:
        return len({messages.stamp_ns(m) for m in list(listener.newest.values())}) == 1

    wait_for(together, "messages of one instant")
    assert listener.newest["current_pose"].header.frame_id == "base"
    assert list(listener.newest["joint_states"].name) == list(messages.ARM_JOINTS)
    age_s = 1e-9 * (listener.node.get_clock().now().nanoseconds - messages.stamp_ns(listener.newest["current_pose"]))
    assert 0.0 < age_s < 5.0


def test_the_status_says_who_and_what(listener: Listener) -> None:
    status = listener.status
    assert (status["driver"], status["task"], status["control_hz"]) == ("point", "reach", 10.0)
    assert (status["node"], status["objects"]) == (PARAMETERS, ["goal"])
    assert status["recoveries_left"] == 3


def test_a_request_is_followed_and_answered_by_its_stamp(listener: Listener) -> None:
    goal = listener.p + UP
    executed = listener.ask(goal)
    assert (executed.events, executed.stopped) == ((), False)
    assert np.allclose(executed.p_BE, goal)
    wait_for(lambda: np.allclose(listener.p, goal, atol=1e-6), "the arm to arrive")


def test_every_one_of_many_requests_is_answered(listener: Listener) -> None:
    p = listener.p
    for i in range(20):
        executed = listener.ask(p + (i % 3) * UP)
        assert not executed.stopped


@pytest.mark.parametrize(
    ("age_s", "reason"), [(0.5, "old"), (-0.5, "in the future"), (1e9, "old")], ids=["late", "future", "ancient"]
)
def test_a_request_of_another_time_is_never_executed(listener: Listener, age_s: float, reason: str) -> None:
    before = listener.p
    executed = listener.ask(before + UP, age_s)
    assert executed.stopped
    assert any("stale" in event or "old" in event for event in executed.events) or "before" in executed.reason
    assert np.allclose(listener.p, before, atol=1e-6)


def test_a_request_without_a_stamp_or_in_another_frame_is_refused(listener: Listener) -> None:
    before = listener.p
    listener.pose.publish(messages.to_pose(0, before + UP, listener.quat))
    wait_for(lambda: 0 in listener.answers, "an answer")
    assert "no stamp" in listener.answers[0].reason
    assert "in the frame 'camera'" in listener.ask(before + UP, frame="camera").reason
    assert np.allclose(listener.p, before, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_nonsense_moves_nothing_far(listener: Listener, value: float) -> None:
    before = listener.p
    executed = listener.ask(np.full(3, value))
    assert executed.events
    assert np.isfinite(listener.p).all()
    assert np.linalg.norm(listener.p - before) < 0.2


def test_silence_holds_and_a_recovery_ends_it_without_motion(listener: Listener) -> None:
    listener.ask(listener.p + UP)
    wait_for(lambda: listener.mode == "HOLD", "the arm to hold")
    before = listener.p
    assert listener.trigger("recover").success
    wait_for(lambda: listener.mode == "RUN", "RUN")
    assert np.array_equal(listener.p, before)


@pytest.mark.parametrize("way", ["topic", "service"])
def test_a_stop_ends_only_on_a_persons_word(listener: Listener, way: str) -> None:
    from std_msgs.msg import String

    if way == "topic":
        listener.stops.publish(String(data="the operator said so"))
    else:
        assert listener.trigger("stop").success
    wait_for(lambda: listener.mode == "STOPPED", "the stop")
    assert listener.status["reason"] == ("the operator said so" if way == "topic" else "the stop service was called")
    before = listener.p
    assert not listener.trigger("recover").success
    assert not listener.trigger("reset").success
    assert listener.ask(before + UP).stopped
    assert np.array_equal(listener.p, before)
    assert listener.trigger("acknowledge").success
    time.sleep(0.1)  # long enough for a motion that must not come
    assert np.array_equal(listener.p, before)


def test_a_reset_answers_when_it_is_there(listener: Listener) -> None:
    start = {"start__position": [0.5, 0.1, 0.2], "start__orientation": [0.0, 1.0, 0.0, 0.0]}
    goal = '{"goal": [0.5, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0]}'
    assert listener.set_parameters(**start, start__gripper_width=0.04, start__objects=goal) == (True, "")
    answer = listener.trigger("reset")
    assert answer.success, answer.message
    seen = listener.count["current_pose"]
    wait_for(lambda: listener.count["current_pose"] > seen + 1, "a new pose")
    assert np.allclose(listener.p, [0.5, 0.1, 0.2], atol=1e-6)
    wait_for(lambda: np.allclose(messages.from_pose(listener.newest["objects/goal"])[0], [0.5, 0.0, 0.1]), "the goal")


def test_a_reset_outside_of_the_workspace_is_refused_in_words(listener: Listener) -> None:
    assert listener.set_parameters(start__position=[3.0, 0.0, 0.2])[0]
    answer = listener.trigger("reset")
    assert not answer.success
    assert "workspace" in answer.message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"task__k_pos_x": 1e6}, "task.k_pos_x"),
        ({"task__k_pos_x": -1.0}, "task.k_pos_x"),
        ({"task__error_clip__rx": 2.0}, "error_clip"),
        ({"start__position": [1.0, 2.0]}, "start.position"),
        ({"start__position": [float("nan")] * 3}, "finite"),
        ({"start__orientation": [1.0, 1.0, 0.0, 0.0]}, "unit quaternion"),
        ({"start__objects": "nonsense"}, "no JSON"),
        ({"start__objects": "[1]"}, "JSON object"),
        ({"start__objects": '{"goal": [1, 2]}'}, "7 finite"),
        ({"start__gripper_width": 1.0, "start__position": [0.5, 0.0, 0.2]}, "gripper_width"),
    ],
)
def test_parameters_out_of_range_are_refused_together(listener: Listener, values: dict[str, Any], words: str) -> None:
    done, reason = listener.set_parameters(**values)
    assert not done
    assert words in reason


def test_stiffness_may_be_changed_within_its_range(listener: Listener) -> None:
    assert listener.set_parameters(task__k_pos_x=500.0, task__d_pos_x=-1.0, task__error_clip__x=0.005) == (True, "")


def test_the_gripper_goes_with_the_pose_of_its_stamp_in_either_order(listener: Listener) -> None:
    for first in ("gripper", "pose"):
        for width, closes in ((0.0, True), (0.08, False)):
            stamp = listener.node.get_clock().now().nanoseconds
            gripper = messages.to_joints(stamp, (messages.GRIPPER,), (width,))
            sends = [lambda m=gripper: listener.gripper.publish(m)]
            sends.append(lambda s=stamp: listener.pose.publish(messages.to_pose(s, listener.p, listener.quat)))
            for send in sends if first == "gripper" else reversed(sends):
                send()
            wait_for(lambda s=stamp, c=closes: s in listener.answers and listener.answers[s].close_gripper is c, "it")


def test_a_joint_goal_moves_once_and_its_repetition_does_not(listener: Listener) -> None:
    def q() -> Vector:
        return messages.from_joints(listener.newest["joint_states"], messages.ARM_JOINTS)[0]

    def send(goal: Vector) -> None:
        listener.joints.publish(
            messages.to_joints(listener.node.get_clock().now().nanoseconds, messages.ARM_JOINTS, goal)
        )

    goal = q() + 0.1
    send(goal)
    wait_for(lambda: np.allclose(q(), goal, atol=1e-6), "the joints")
    send(goal - 0.05)
    wait_for(lambda: np.allclose(q(), goal - 0.05, atol=1e-6), "the joints")


def test_a_node_that_is_told_to_end_says_so_and_leaves() -> None:
    with arm_node("point", "reach") as node, open_node("listener", "/arm", node.domain) as ours:
        seen = Listener(ours)
        wait_for(lambda: seen.mode == "RUN", "the node")
        node.send(signal.SIGTERM)
        assert node.wait() == 0, node.said()
        wait_for(lambda: seen.mode == "CLOSED", "its last words")
        assert "Traceback" not in node.said()


def test_a_second_node_of_the_same_name_is_refused(arm: Program) -> None:
    with program([sys.executable, str(POINT_ARM), "reach", str(arm.domain), "/arm"], arm.domain) as second:
        assert second.wait() != 0
        assert "another arm node publishes /arm/status" in second.said()
