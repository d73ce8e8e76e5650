"""What a car's node, its localisation, lidar and cameras said last, as whoever drives it sees it. Callbacks store."""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.car import CarState, wrap
from robot_rl.errors import RobotError, WireError
from robot_rl_controllers.freshness import Freshness
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.car_sender import MOTOR, STEERING
from robot_rl_hardware.ros.clock import clock_map

if TYPE_CHECKING:
    from rclpy.node import Node

log = logging.getLogger(__name__)

POSE, JOINTS, IMU, SCAN = "pose", "joint_states", "imu", "scan"
IMAGE = "image:"
"""Prefix of a camera's name among the sources."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command: what the car was told, or why it stands; when that was heard, monotonic."""

    speed_m_s: float
    steering_rad: float
    drives: bool
    reason: str
    came_s: float


class CarFeed:
    """Subscribes to a car.

    Args:
        node: Spinning, in the car's namespace.
        beams: Whether a lidar is read: its number of distances; 0 reads none.
        cameras: Whose pictures are read.
        camera_topic: Topic of a picture, with {} for the camera's name.
        state_age_s, pose_age_s, image_age_s: Older ones are stale.
    """

    def __init__(
        self,
        node: Node,
        beams: int,
        cameras: Sequence[str],
        camera_topic: str,
        state_age_s: float,
        pose_age_s: float,
        image_age_s: float,
    ) -> None:
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import Image, Imu, JointState, LaserScan
        from std_msgs.msg import String

        self.cameras, self._beams = tuple(cameras), beams
        self._clock, self._lock = clock_map(node), threading.Lock()
        self._taken: dict[str, tuple[Any, float]] = {}
        self._freshness: dict[str, Freshness] = {}
        self._status: dict[str, Any] = {}
        self._status_s, self._shock = -math.inf, 0.0
        self._answers: dict[int, Answer] = {}
        self._expected_ns = 0

        def listen(kind: Any, topic: str, source: str, age_s: float) -> None:
            self._freshness[source] = Freshness(source, age_s)
            node.create_subscription(kind, topic, functools.partial(self._take, source), qos.newest())

        listen(JointState, JOINTS, JOINTS, state_age_s)
        listen(Imu, IMU, IMU, state_age_s)
        listen(PoseStamped, POSE, POSE, pose_age_s)
        if beams:
            listen(LaserScan, SCAN, SCAN, pose_age_s)
        for name in self.cameras:
            listen(Image, camera_topic.format(name), IMAGE + name, image_age_s)
        node.create_subscription(String, "status", self._told(self._on_status), qos.latched())
        node.create_subscription(String, "executed", self._told(self._on_executed), qos.request(10))

    # Callbacks ------------------------------------------------------------------------------------------------------
    def _take(self, source: str, message: Any) -> None:
        now_s = time.monotonic()
        stamp_s = self._clock.to_monotonic_s(messages.stamp_ns(message))
        with self._lock:
            if source == IMU:
                a = message.linear_acceleration
                self._shock = max(self._shock, math.hypot(a.x, a.y))
            if self._freshness[source].take(stamp_s, now_s) or source not in self._taken:
                self._taken[source] = message, stamp_s

    @staticmethod
    def _told(call: Callable[[dict[str, Any]], None]) -> Callable[[Any], None]:
        """Return a callback that takes a text apart, and passes over one that cannot be."""

        def heard(message: Any) -> None:
            try:
                call(messages.from_text(message))
            except (WireError, KeyError, TypeError, ValueError) as e:
                log.warning("a message of the car's node cannot be used: %s", e)

        return heard

    def _on_status(self, values: dict[str, Any]) -> None:
        with self._lock:
            self._status, self._status_s = values, time.monotonic()

    def _on_executed(self, values: dict[str, Any]) -> None:
        answer = Answer(
            float(values["speed_m_s"]), float(values["steering_rad"]), bool(values["drives"]), str(values["reason"]),
            time.monotonic(),
        )  # fmt: skip
        with self._lock:
            if int(values["stamp_ns"]) >= self._expected_ns > 0:
                self._answers[int(values["stamp_ns"])] = answer

    # For the car ----------------------------------------------------------------------------------------------------
    def expect(self, stamp_ns: int) -> None:
        """Keep the answer to a command that is about to be given, and forget those to earlier ones."""
        with self._lock:
            self._expected_ns, self._answers = stamp_ns, {}

    def answer(self) -> Answer | None:
        """Return the newest answer to the expected command; None if there is none yet."""
        with self._lock:
            return self._answers[max(self._answers)] if self._answers else None

    def status(self) -> tuple[dict[str, Any], float]:
        """Return the newest status of the car's node, empty if there was none, and its age [s]."""
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
            return {s: p for s, f in self._freshness.items() if (p := f.problem(now_s))}

    def missing(self) -> list[str]:
        """Return the sources that have said nothing yet."""
        with self._lock:
            return [source for source in self._freshness if source not in self._taken]

    def newer_than(self, since_s: float) -> bool:
        """Return whether everything was measured after a monotonic time, and is fresh."""
        with self._lock:
            return all(s in self._taken and self._taken[s][1] > since_s for s in self._freshness) and not any(
                f.problem(time.monotonic()) for f in self._freshness.values()
            )

    def state(self) -> CarState:
        """Return the newest reading; all arrays are copies. The shock is the largest since the reading before.

        Raises:
            RobotError: Something has never come, or cannot be read.
        """
        with self._lock:
            taken = {source: message for source, (message, _) in self._taken.items()}
            stamps = {source: stamp_s for source, (_, stamp_s) in self._taken.items()}
            shock, self._shock = self._shock, 0.0
        if missing := [source for source in self._freshness if source not in taken]:
            raise RobotError(f"the car has not sent {', '.join(missing)} yet")
        try:
            return self._assemble(taken, stamps, shock)
        except WireError as e:
            raise RobotError(f"a reading of the car cannot be used: {e}") from e

    def _assemble(self, taken: dict[str, Any], stamps: dict[str, float], shock: float) -> CarState:
        joints, imu = taken[JOINTS], taken[IMU]
        if list(joints.name) != [STEERING, MOTOR]:
            raise WireError(f"joint_states has {list(joints.name)}, and a car's are {[STEERING, MOTOR]}")
        p, quat = messages.from_pose(taken[POSE])
        a, w = imu.linear_acceleration, imu.angular_velocity
        ranges = np.asarray(taken[SCAN].ranges, dtype=np.float64) if self._beams else np.zeros(0)
        if len(ranges) != self._beams:
            raise WireError(f"the lidar tells {len(ranges)} distances, and {self._beams} are expected; set robot.beams")
        return CarState(
            stamp_s=stamps[JOINTS],
            pose_stamp_s=stamps[POSE],
            p_WC=p[:2].copy(),
            yaw_rad=wrap(2.0 * math.atan2(quat[3], quat[0])),
            speed_m_s=float(joints.velocity[1]),
            yaw_rate_rad_s=float(w.z),
            wheel_speeds_m_s=np.zeros(0),
            acceleration_m_s2=np.array([a.x, a.y, a.z]),
            angular_rate_rad_s=np.array([w.x, w.y, w.z]),
            shock_m_s2=shock,
            steering_rad=float(joints.position[0]),
            current_a=float(joints.effort[1]),
            ranges_m=ranges,
            images={name: messages.from_image(taken[IMAGE + name]) for name in self.cameras},
        )
