"""What the arm node tells of its scene, put together: joints, gripper and objects of one instant."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.errors import WireError
from robot_rl.robot import Vector
from robot_rl_hardware.ros import qos
from robot_rl_hardware.ros.messages import ARM_JOINTS, from_joints, from_pose, stamp_ns

if TYPE_CHECKING:
    from rclpy.node import Node
    from sensor_msgs.msg import JointState

log = logging.getLogger(__name__)

_DEPTH = 4
_KEPT = 8  # instants remembered per topic while the others are on their way
_PATIENCE_NS = 100_000_000  # a topic that lags by more has ended, or is lost, and is not waited for
_SET_BACK_NS = 1_000_000_000  # a stamp older by this much tells of a clock that was set back
_JOINTS, _GRIPPER = "joint_states", "gripper/joint_states"


@dataclass(frozen=True, slots=True)
class ArmScene:
    """The scene at an instant.

    Attributes:
        number: Grows with every scene, also when the clock of the stamps is set back.
        stamp_ns: ROS time of the joint positions.
        q: (7,) joint positions [rad].
        width_m: Opening of the gripper; nan before it was heard of.
        objects: (7,) poses (p, quat wxyz) in B of the objects heard of.
    """

    number: int
    stamp_ns: int
    q: Vector
    width_m: float = float("nan")
    objects: dict[str, Vector] = field(default_factory=dict)

    def show(self, view: Any) -> None:
        """Put arm, fingers and objects of a view there."""
        view.show(self.q, self.width_m, self.objects)


class ArmSceneFeed:
    """Follows the arm node's topics, of which all messages of one instant carry the same stamp.

    Args:
        node: A node that spins.
        namespace: Of the arm node, such as "/arm".
        objects: Names of the objects to follow.
    """

    def __init__(self, node: Node, namespace: str, objects: Sequence[str]) -> None:
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import JointState

        self._ready = threading.Condition()
        self._kept: dict[str, dict[int, Vector]] = {}
        self._newest: ArmScene | None = None
        self.namespace = namespace.rstrip("/")
        self.source = f"the arm on {self.namespace}/joint_states"
        followed = [
            (JointState, _JOINTS, _joint_positions),
            (JointState, _GRIPPER, lambda message: np.array(message.position, float)),
            *((PoseStamped, f"objects/{name}", lambda message: np.concatenate(from_pose(message))) for name in objects),
        ]
        for kind, topic, value_of in followed:
            self._follow(node, kind, topic, value_of)

    def _follow(self, node: Node, kind: type, topic: str, value_of: Callable[[Any], Vector]) -> None:
        def heard(message: Any) -> None:
            try:
                self._keep(topic, stamp_ns(message), value_of(message))
            except WireError as error:
                log.warning("%s/%s: %s", self.namespace, topic, error)

        few = qos.newest()
        few.depth = _DEPTH  # a busy machine shall not lose one topic of an instant and keep another
        node.create_subscription(kind, f"{self.namespace}/{topic}", heard, few)

    def wait_newer(self, number: int, timeout_s: float) -> ArmScene | None:
        """Return the newest scene once it comes after the one with a number, or None if none does in time."""
        with self._ready:
            found = self._ready.wait_for(lambda: self._newest is not None and self._newest.number > number, timeout_s)
            return self._newest if found else None

    def _keep(self, topic: str, stamp: int, value: Vector) -> None:
        with self._ready:
            kept = self._kept.setdefault(topic, {})
            kept[stamp] = value
            while len(kept) > _KEPT:
                del kept[next(iter(kept))]
            if stamp in self._kept.get(_JOINTS, ()) and all(
                stamp in values or stamp - next(reversed(values)) > _PATIENCE_NS for values in self._kept.values()
            ):
                self._show(stamp)

    def _show(self, stamp: int) -> None:
        """Make the scene of a stamp the newest; a topic that has nothing of it gives its newest."""
        last = self._newest
        if last is not None and 0 <= last.stamp_ns - stamp < _SET_BACK_NS:
            return  # overtaken on the way
        at = {topic: values.get(stamp, next(reversed(values.values()))) for topic, values in self._kept.items()}
        q, width = at.pop(_JOINTS), at.pop(_GRIPPER, np.zeros(0))
        objects = {topic.removeprefix("objects/"): pose for topic, pose in at.items()}
        number = 1 if last is None else last.number + 1
        self._newest = ArmScene(number, stamp, q, float(width[0]) if width.size else float("nan"), objects)
        self._ready.notify_all()


def _joint_positions(message: JointState) -> Vector:
    return from_joints(message, ARM_JOINTS)[0]
