"""The ROS time of a node and monotonic time: stamps are converted where they come, and distrusted when they must be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from robot_rl_controllers.freshness import ClockMap

if TYPE_CHECKING:
    from rclpy.node import Node

FUTURE_S = 0.05
"""How far ahead of this machine's clock a stamp of another machine may be."""


def clock_map(node: Node) -> ClockMap:
    """Return the map between a node's ROS time and monotonic time."""
    clock = node.get_clock()
    return ClockMap(system_ns=lambda: clock.now().nanoseconds)


def distrust(clock: ClockMap, stamp_ns: int) -> str:
    """Return why a stamp says nothing about an age, in words; empty if it does (the age may still be too large)."""
    if stamp_ns <= 0:
        return "the request has no stamp"
    if not clock.trusted():
        return "the system's clock was set a moment ago, so a stamp says nothing about an age"
    ahead_s = clock.to_monotonic_s(stamp_ns) - time.monotonic()
    if ahead_s > FUTURE_S:
        return (
            f"the request is stamped {ahead_s:.3f} s in the future, allowed {FUTURE_S:.3f} s; the clocks of the two "
            "machines differ, set them by NTP or PTP"
        )
    return ""
