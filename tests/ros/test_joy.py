"""A Joy topic as an operator's device, with a real publisher."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from operator_rig import operator_of, reading

pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'robot-rl[ros]'")

from robot_rl.errors import RobotError
from robot_rl.operator import OperatorInput
from robot_rl_hardware.ros.environment import free_domain
from robot_rl_hardware.ros.node import open_node, wait_until

# ROS imports an old parser, which imports modules that Python has renamed.
pytestmark = [pytest.mark.ros, pytest.mark.filterwarnings("ignore:module 'sre_.*:DeprecationWarning")]
PATIENCE_S = 30.0
LB, A = 4, 0


class Pad:
    """What publishes the topic: it repeats itself, as joy_node does, stamped with a clock that may be wrong."""

    def __init__(self, node: Any) -> None:
        from sensor_msgs.msg import Joy

        self._kind, self._node = Joy, node
        self._publisher = node.create_publisher(Joy, "/joy", 10)
        self.axes, self.held, self.off_s, self.on = [0.0] * 8, set[int](), 0.0, True
        self.axes[2] = self.axes[5] = 1.0
        node.create_timer(0.05, self._tick)

    def _tick(self) -> None:
        from rclpy.duration import Duration

        if self.on:
            message = self._kind(axes=list(self.axes), buttons=[int(i in self.held) for i in range(11)])
            stamp = self._node.get_clock().now() + Duration(nanoseconds=int(1e9 * self.off_s))
            message.header.stamp = stamp.to_msg()
            self._publisher.publish(message)


@pytest.fixture(scope="module")
def domain() -> int:
    return free_domain(first=1 + zlib.crc32(f"joy {os.getpid()}".encode()) % 100)


@pytest.fixture
def pad(domain: int) -> Iterator[Pad]:
    with open_node("pad", "", domain) as node:
        yield Pad(node)


@pytest.fixture
def person(pad: Pad, domain: int) -> Iterator[Any]:
    operator = operator_of("joy", domain=domain, age_s=2.0, connect_s=PATIENCE_S)
    operator.connect()
    yield operator
    operator.close()


def until(person: Any, condition: Callable[[OperatorInput], bool], what: str) -> OperatorInput:
    """Read as a control loop does until something holds, and return that."""
    seen: list[OperatorInput] = []
    wait_until(lambda: bool(seen.append(person.read(reading())) or condition(seen[-1])), PATIENCE_S, what, 0.02)
    return seen[-1]


def hold(pad: Pad, person: Any, axes: Sequence[tuple[int, float]] = ()) -> OperatorInput:
    pad.held = {LB}
    for number, value in axes:
        pad.axes[number] = value
    return until(person, lambda told: told.action is not None, "an action")


def test_a_pad_on_the_network_moves_the_tool(pad: Pad, person: Any) -> None:
    hold(pad, person)
    pad.axes[1] = 1.0
    told = until(person, lambda told: bool(told.action[:6].any()), "a motion")
    np.testing.assert_allclose(np.asarray(told.action), np.array([0.5, 0, 0, 0, 0, 0, -1]), atol=1e-6)
    pad.axes[1], pad.axes[5] = 0.0, -1.0  # the right trigger
    told = until(person, lambda told: bool(told.action[3:6].any()), "a turn")
    assert told.action[4] == pytest.approx(-0.5)
    pad.held = {LB, A}
    until(person, lambda told: told.buttons == ("success",), "the button")
    pad.held = set()
    until(person, lambda told: told.action is None, "letting go")


@pytest.mark.parametrize("fault", ["silent", "old", "ahead"])
def test_a_topic_that_is_stale_counts_as_let_go_until_it_is_seen_at_rest(pad: Pad, person: Any, fault: str) -> None:
    hold(pad, person, [(1, 0.7)])
    if fault == "silent":
        pad.on = False
    else:
        pad.off_s = -10.0 if fault == "old" else 10.0
    told = until(person, lambda told: told.action is None, "letting go")
    assert ("ahead of the clock" if fault == "ahead" else "s old, allowed are 2.000 s") in told.note
    pad.on, pad.off_s = True, 0.0
    until(person, lambda told: "let go of everything once" in told.note, "the topic to be fresh again")
    for _ in range(5):
        assert person.read(reading()).action is None
    pad.held, pad.axes[1] = set(), 0.0
    until(person, lambda told: not told.note, "rest")
    hold(pad, person, [(1, 0.7)])


def test_what_is_down_in_the_first_sample_is_no_press(pad: Pad, domain: int) -> None:
    pad.held = {A, LB}
    operator = operator_of("joy", domain=domain, age_s=2.0, connect_s=PATIENCE_S)
    operator.connect()
    try:
        told = operator.read(reading())
        assert told.buttons == ()
        assert told.action is None
    finally:
        operator.close()


def test_nobody_who_publishes_is_a_sentence_that_names_the_topics_there_are(pad: Pad, domain: int) -> None:
    operator = operator_of("joy", domain=domain, topic="/other", connect_s=3.0)
    with pytest.raises(RobotError, match=r"nobody publishes /other .* Joy topics here: /joy\."):
        operator.connect()
    operator.close()
