"""What a car's twin tells beside the VESC's topics: what lidar and localisation would tell, and where it really is.

A car of metal has nodes of its own for these. `initialpose`, with which RViz puts a robot, puts the twin elsewhere.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.car import CarReset, CarState
from robot_rl_hardware.car.simulated import SimulatedVesc
from robot_rl_hardware.ros import qos
from robot_rl_hardware.ros.clock import clock_map
from robot_rl_hardware.ros.messages import header, to_pose

if TYPE_CHECKING:
    from rclpy.node import Node

log = logging.getLogger(__name__)

MAP = "map"
LASER = "laser"
BEAM_ANGLE_RAD, RANGE_M = 4.7, 10.0
"""Of the twin's lidar, as its sensors have them: from the first beam, on the right, to the last; furthest distance."""


class CarWorld:
    """Publishes a twin's surroundings; `tell` once a period.

    Args:
        node: A node that spins.
        twin: Is read, and put elsewhere.
        localisation: Whether it also stands in for the localisation, on `pose`.
    """

    def __init__(self, node: Node, twin: SimulatedVesc, localisation: bool) -> None:
        from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
        from sensor_msgs.msg import LaserScan

        self._twin, self._clock = twin, clock_map(node)
        self._pose = node.create_publisher(PoseStamped, "pose", qos.newest()) if localisation else None
        self._truth = node.create_publisher(PoseStamped, "true_pose", qos.newest())
        self._scan = node.create_publisher(LaserScan, "scan", qos.newest())
        node.create_subscription(PoseWithCovarianceStamped, "initialpose", self._put, qos.request())
        self._told_s = -math.inf

    def tell(self) -> None:
        """Publish what the twin's sensors told last, once."""
        found = self._twin.surroundings()
        if found is None or found[0] <= self._told_s:
            return
        self._told_s, state, true = found
        at_ns = self._clock.to_system_ns(self._told_s)
        pose_s = self._told_s - (state.stamp_s - state.pose_stamp_s)
        if self._pose:
            p = state.p_WC
            self._pose.publish(_pose(self._clock.to_system_ns(pose_s), float(p[0]), float(p[1]), state.yaw_rad))
        self._truth.publish(_pose(at_ns, *true))
        if len(state.ranges_m):
            self._scan.publish(_scan(at_ns, state))

    def _put(self, message: Any) -> None:
        position, turn = message.pose.pose.position, message.pose.pose.orientation
        yaw = 2.0 * math.atan2(turn.z, turn.w)
        if not all(math.isfinite(x) for x in (position.x, position.y, yaw)):
            log.warning("initialpose is no pose: its numbers are not finite")
            return
        self._twin.place(CarReset(p_WC=(position.x, position.y), yaw_rad=math.remainder(yaw, math.tau)))


def _pose(at_ns: int, x_m: float, y_m: float, yaw_rad: float) -> Any:
    half = 0.5 * yaw_rad
    return to_pose(at_ns, np.array([x_m, y_m, 0.0]), np.array([math.cos(half), 0.0, 0.0, math.sin(half)]), MAP)


def _scan(at_ns: int, state: CarState) -> Any:
    from sensor_msgs.msg import LaserScan

    ranges = np.asarray(state.ranges_m, dtype=np.float32)
    message = LaserScan(header=header(at_ns, LASER), range_min=0.02, range_max=RANGE_M)
    message.angle_min, message.angle_max = -0.5 * BEAM_ANGLE_RAD, 0.5 * BEAM_ANGLE_RAD
    message.angle_increment = BEAM_ANGLE_RAD / (len(ranges) - 1)
    message.ranges = ranges.tolist()
    return message
