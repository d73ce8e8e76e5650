"""What an arm's node and its cameras said last, as the robot's client sees it. Callbacks only store."""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import RobotError, WireError
from robot_rl.robot import Executed, RobotState
from robot_rl_controllers.freshness import Freshness
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.clock import clock_map

if TYPE_CHECKING:
    from rclpy.node import Node

log = logging.getLogger(__name__)

POSE, JOINTS, GRIPPER, TWIST, WRENCH = "current_pose", "joint_states", "gripper/joint_states", "current_twist", "wrench"
IMAGE = "image:"
"""Prefix of a camera's name among the sources."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A message, the monotonic time of its stamp, and when it came."""

    message: Any
    stamp_s: float
    came_s: float


class RobotFeed:
    """Subscribes to an arm and its cameras.

    Args:
        node: Spinning, in the arm's namespace.
        objects: Whose poses are needed.
        cameras: Whose pictures are needed.
        camera_topic: Topic of a picture, with {} for the camera's name.
        state_age_s, image_age_s: Older ones are stale.
    """

    def __init__(
        self,
        node: Node,
        objects: Sequence[str],
        cameras: Sequence[str],
        camera_topic: str,
        state_age_s: float,
        image_age_s: float,
    ) -> None:
        from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
        from sensor_msgs.msg import Image, JointState
        from std_msgs.msg import String

        self._clock = clock_map(node)
        self._lock = threading.Lock()
        self._taken: dict[str, _Taken] = {}
        self._freshness: dict[str, Freshness] = {}
        self._camera_problem: dict[str, str] = {}
        self.objects, self.cameras = tuple(objects), tuple(cameras)
        self._status: dict[str, Any] = {}
        self._status_s = -math.inf
        self._answers: dict[int, tuple[Executed, float]] = {}

        def listen(kind: Any, topic: str, source: str, age_s: float) -> None:
            self._freshness[source] = Freshness(source, age_s)
            node.create_subscription(kind, topic, functools.partial(self._take, source), qos.newest())

        for kind, source in (
            (JointState, JOINTS),
            (JointState, GRIPPER),
            (TwistStamped, TWIST),
            (WrenchStamped, WRENCH),
        ):
            listen(kind, source, source, state_age_s)
        for name in self.objects:
            listen(PoseStamped, f"objects/{name}", f"objects/{name}", state_age_s)
        listen(PoseStamped, POSE, POSE, state_age_s)
        for name in self.cameras:
            topic = camera_topic.format(name)
            listen(Image, topic, IMAGE + name, image_age_s)
            told = functools.partial(self._on_camera_status, name)
            node.create_subscription(String, topic.rpartition("/")[0] + "/status", told, qos.latched())
        node.create_subscription(String, "status", self._on_status, qos.latched())
        node.create_subscription(String, "executed", self._on_executed, qos.request(10))

    # Callbacks ------------------------------------------------------------------------------------------------------
    def _take(self, source: str, message: Any) -> None:
        now_s = time.monotonic()
        stamp_s = self._clock.to_monotonic_s(messages.stamp_ns(message))
        with self._lock:
            self._freshness[source].take(stamp_s, now_s)
            self._taken[source] = _Taken(message, stamp_s, now_s)

    def _on_status(self, message: Any) -> None:
        try:
            values = messages.from_text(message)
        except WireError as e:
            log.warning("%s", e)
            return
        with self._lock:
            self._status, self._status_s = values, time.monotonic()

    def _on_camera_status(self, name: str, message: Any) -> None:
        try:
            values = messages.from_text(message)
        except WireError as e:
            log.warning("%s", e)
            return
        with self._lock:
            ok = bool(values.get("ok", True))
            self._camera_problem[name] = "" if ok else f"camera {name}: {values.get('reason') or 'not ok'}"

    def _on_executed(self, message: Any) -> None:
        try:
            stamp, executed = messages.executed_from_text(message)
        except WireError as e:
            log.warning("%s", e)
            return
        with self._lock:
            if stamp in self._answers:  # of several answers to one request the newest counts
                self._answers[stamp] = (executed, time.monotonic())

    # For the robot --------------------------------------------------------------------------------------------------
    def expect(self, stamp_ns: int) -> None:
        """Keep the answer to a request that is about to be made, and forget those to others."""
        with self._lock:
            self._answers = {stamp_ns: (_NONE, math.nan)}

    def answer(self, stamp_ns: int) -> tuple[Executed, float] | None:
        """Return the answer to a request and when it came, monotonic seconds; None if there is none yet."""
        with self._lock:
            executed, came_s = self._answers.get(stamp_ns, (_NONE, math.nan))
        return None if executed is _NONE else (executed, came_s)

    def status(self) -> tuple[dict[str, Any], float]:
        """Return the newest status of the arm's node, empty if there was none, and its age [s]."""
        with self._lock:
            return self._status, time.monotonic() - self._status_s

    def forget_status(self) -> None:
        """Wait for a new status: the next one counts as the first."""
        with self._lock:
            self._status, self._status_s = {}, -math.inf

    def ages_ms(self) -> dict[str, float]:
        """Return the ages, by the names of `robot_rl.timing`, of what would be observed now."""
        now_s = time.monotonic()
        with self._lock:
            ages = {s: 1e3 * f.age_s(now_s) for s, f in self._freshness.items()}
        found = {f"image_age_ms/{name}": ages[IMAGE + name] for name in self.cameras}
        return {"state_age_ms": max(a for s, a in ages.items() if not s.startswith(IMAGE)), **found}

    def problems(self) -> dict[str, str]:
        """Return why something may not be acted on, in words by source; empty if all is fresh."""
        now_s = time.monotonic()
        with self._lock:
            found = {s: p for s, f in self._freshness.items() if (p := f.problem(now_s))}
            for name in self.cameras:
                if self._camera_problem.get(name):
                    found.setdefault(IMAGE + name, self._camera_problem[name])
        return found

    def newer_than(self, since_s: float) -> bool:
        """Return whether everything was measured after a monotonic time, and is fresh."""
        with self._lock:
            return all(s in self._taken and self._taken[s].stamp_s > since_s for s in self._freshness) and not any(
                f.problem(time.monotonic()) for f in self._freshness.values()
            )

    def missing(self) -> list[str]:
        """Return the sources that have said nothing yet."""
        with self._lock:
            return [source for source in self._freshness if source not in self._taken]

    def state(self) -> RobotState:
        """Return the newest reading with its pictures; all arrays are copies.

        Raises:
            RobotError: Something has never come, or cannot be read.
        """
        with self._lock:
            taken = dict(self._taken)
        missing = [source for source in self._freshness if source not in taken]
        if missing:
            raise RobotError(f"the arm's node or a camera has not sent {', '.join(missing)} yet")
        try:
            return self._assemble(taken)
        except WireError as e:
            raise RobotError(f"a reading cannot be used: {e}") from e

    def _assemble(self, taken: dict[str, _Taken]) -> RobotState:
        pose, gripper = taken[POSE], taken[GRIPPER].message
        p, quat = messages.from_pose(pose.message)
        q, dq = messages.from_joints(taken[JOINTS].message, messages.ARM_JOINTS)
        width, _ = messages.from_joints(gripper, (messages.GRIPPER,))
        return RobotState(
            pose.stamp_s if math.isfinite(pose.stamp_s) else pose.came_s,
            q,
            dq,
            p,
            quat,
            messages.from_twist(taken[TWIST].message),
            messages.from_wrench(taken[WRENCH].message),
            float(width[0]),
            bool(gripper.effort) and gripper.effort[0] > 0.5,
            {name: _seven(taken[f"objects/{name}"].message) for name in self.objects},
            {name: messages.from_image(taken[IMAGE + name].message) for name in self.cameras},
        )


def _seven(message: Any) -> NDArray[np.float64]:
    return np.concatenate(messages.from_pose(message))


_NONE = Executed(np.zeros(3), np.zeros(4), False)
