"""A `sensor_msgs/Joy` topic as an operator's device: a gamepad on another machine, a phone, whatever publishes one.

The topic repeats itself (`joy_node` has autorepeat_rate 20 by default), so silence is staleness here, at rest too. A
sample is judged by its stamp on both sides: too old, or stamped in the future, and it counts as let go. That the same
deflection comes again and again with new stamps says nothing for some seconds, and then the same as for any gamepad.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from robot_rl.errors import RobotError
from robot_rl.task import Task
from robot_rl_controllers.freshness import Freshness
from robot_rl_hardware.operator.device import DeviceOperator, Sample
from robot_rl_hardware.operator.hand import Hand, HandConfig
from robot_rl_hardware.operator.mapping import control_map
from robot_rl_hardware.operator.watchdog import Watchdog, WatchdogConfig
from robot_rl_hardware.ros.clock import clock_map
from robot_rl_hardware.ros.environment import domain_of
from robot_rl_hardware.ros.node import SpinningNode

if TYPE_CHECKING:
    from sensor_msgs.msg import Joy

DEPTH = 10  # a press and its release may both come within one control period
POLL_S = 0.02


class JoySource:
    """The newest sample of a Joy topic.

    Args:
        topic: Of the samples.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        age_s: An older sample, or one stamped further ahead, counts as let go.
        connect_s: How long to wait for the first sample.
    """

    def __init__(
        self, topic: str = "/joy", domain: int | None = None, age_s: float = 0.3, connect_s: float = 10.0
    ) -> None:
        self.topic, self._domain, self._connect_s = topic, domain, connect_s
        self._freshness = Freshness(f"the topic {topic}", age_s)
        self._lock = threading.Lock()
        self._spinning: SpinningNode | None = None
        self._axes: dict[int, float] = {}
        self._held: set[int] = set()
        self._pressed: list[int] = []
        self._arrived = False
        self._first = True

    @property
    def name(self) -> str:
        """What it is, for sentences."""
        return f"the topic {self.topic}"

    @property
    def gone(self) -> str:
        """A topic is never opened again: whoever publishes it anew is heard."""
        return ""

    def open(self) -> None:
        """Listen, and wait for the first sample; raises `RobotError` naming the Joy topics that are there."""
        self.close()
        from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
        from sensor_msgs.msg import Joy

        self._freshness.forget()
        self._first = True
        spinning = self._spinning = SpinningNode("robot_rl_joy", "", self._domain)
        self._clock = clock_map(spinning.node)
        quality = QoSProfile(  # heard from publishers of either reliability
            depth=DEPTH, history=QoSHistoryPolicy.KEEP_LAST, reliability=QoSReliabilityPolicy.BEST_EFFORT
        )
        spinning.node.create_subscription(Joy, self.topic, self._take, quality)
        spinning.start()
        until_s = time.monotonic() + self._connect_s
        while not self._came():
            if time.monotonic() > until_s:
                sentence = self._nobody(spinning)
                self.close()
                raise RobotError(sentence)
            time.sleep(POLL_S)

    def poll(self) -> Sample:
        """Return what it says now."""
        now_s = time.monotonic()
        with self._lock:
            pressed, self._pressed = self._pressed, []
            arrived, self._arrived = self._arrived, False
            trouble = self._freshness.problem(now_s) if self._spinning is not None else f"{self.name} is not open"
            return Sample(
                axes=dict(self._axes), held=frozenset(self._held), pressed=pressed, arrived=arrived, trouble=trouble
            )

    def close(self) -> None:
        """Stop listening. Safe to call twice."""
        spinning, self._spinning = self._spinning, None
        if spinning is not None:
            spinning.close()

    def _came(self) -> bool:
        with self._lock:
            return self._freshness.arrived > 0

    def _take(self, message: Joy) -> None:
        stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        now_s = time.monotonic()
        stamp_s = self._clock.to_monotonic_s(stamp_ns)
        with self._lock:
            if not self._freshness.take(stamp_s, now_s):
                return
            held = {i for i, value in enumerate(message.buttons) if value}
            if not self._first:  # what is down in the first sample was pressed before anyone listened
                self._pressed += sorted(held - self._held)
            self._first = False
            self._held = held
            self._axes = {i: float(value) for i, value in enumerate(message.axes)}
            self._arrived = True

    def _nobody(self, spinning: SpinningNode) -> str:
        topics: Any = spinning.node.get_topic_names_and_types()
        joys = [name for name, kinds in topics if "sensor_msgs/msg/Joy" in kinds and name != self.topic]
        there = ", ".join(sorted(joys)) or "none"
        return (
            f"nobody publishes {self.topic} (sensor_msgs/Joy) in ROS domain {domain_of(self._domain)} within "
            f"{self._connect_s:.0f} s; Joy topics here: {there}. Start one with: ros2 run joy joy_node, or "
            "choose with operator.topic="
        )


def make_joy(
    task: Task, motions: Mapping[str, Any], buttons: Mapping[str, Any], topic: str = "/joy",
    domain: int | None = None, age_s: float = 0.3, connect_s: float = 10.0, speed: float = 0.5, turn: float = 0.5,
    deadband: float = 0.12, facing_deg: float = 0.0, level: bool = True, unchanged_s: float = 5.0,
    still_s: float = 60.0,
) -> DeviceOperator:  # fmt: skip
    """Return an operator whose device publishes a Joy topic.

    Args:
        task: What the actions are for.
        motions, buttons: See `robot_rl_hardware.operator.mapping.control_map`.
        topic, domain, age_s, connect_s: Of `JoySource`.
        speed, turn, deadband, facing_deg, level: Of `HandConfig`.
        unchanged_s, still_s: Of `WatchdogConfig`.
    """
    hand = Hand(
        task.action_spec, HandConfig(speed=speed, turn=turn, deadband=deadband, facing_deg=facing_deg, level=level)
    )
    watchdog = Watchdog(WatchdogConfig(unchanged_s=unchanged_s, still_s=still_s))
    source = JoySource(topic, domain, age_s, connect_s)
    return DeviceOperator(source, control_map(motions, buttons), hand, watchdog)
