"""ROS time and monotonic time: stamps are converted where they arrive, and a clock that was set is noticed.

Stamps on topics are ROS time, which is the system's clock and may be set by hand or by NTP in the middle of a motion.
Inside, everything is monotonic. The map between both is measured at each use; when it has changed by more than drift
can explain, stamps from before and after are not comparable, so for a while every request counts as stale.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.node import Node

log = logging.getLogger(__name__)


class RosClock:
    """The map between the ROS time of a node and `time.monotonic()`.

    Attributes:
        jumps: How often the system's clock was set since the start.

    Args:
        node: Whose clock.
        jump_s: A change between two looks above this is a jump. NTP slews by at most 0.5 ms a second.
    """

    def __init__(self, node: Node, jump_s: float = 0.02) -> None:
        self._clock, self._jump_ns = node.get_clock(), int(jump_s * 1e9)
        self._offset_ns = self._measure()
        self._jumped_s = -float("inf")
        self._jump_size_s = 0.0
        self.jumps = 0

    def _measure(self) -> int:
        """Return ROS time minus monotonic time; the closest of three looks, as another thread may run in between."""
        best_ns, width_ns = 0, 1 << 62
        for _ in range(3):
            before = time.monotonic_ns()
            ros = self._clock.now().nanoseconds
            after = time.monotonic_ns()
            if after - before < width_ns:
                best_ns, width_ns = ros - (before + after) // 2, after - before
        return best_ns

    def look(self) -> float:
        """Measure anew and return by how much [s] the clock was set since the last look; 0 if it was not."""
        offset_ns = self._measure()
        change_ns = offset_ns - self._offset_ns
        self._offset_ns = offset_ns
        if abs(change_ns) <= self._jump_ns:
            return 0.0
        self.jumps += 1
        self._jumped_s, self._jump_size_s = time.monotonic(), 1e-9 * change_ns
        log.warning(
            "the system's clock was set by %+.3f s; requests of the next moments count as stale", 1e-9 * change_ns
        )
        return 1e-9 * change_ns

    def now_ns(self) -> int:
        """Return ROS time."""
        return self._clock.now().nanoseconds

    def to_ros_ns(self, monotonic_s: float) -> int:
        """Return the ROS time of a monotonic time."""
        return int(monotonic_s * 1e9) + self._offset_ns

    def to_monotonic_s(self, stamp_ns: int) -> float:
        """Return the monotonic time of a ROS stamp."""
        return 1e-9 * (stamp_ns - self._offset_ns)

    def distrust(self, stamp_ns: int, settle_s: float, future_s: float) -> str:
        """Return why a stamp says nothing about an age, in words; empty if it does (the age may still be too large).

        Args:
            stamp_ns: ROS time.
            settle_s: For how long after a jump no stamp is believed.
            future_s: How far ahead of this machine's clock a stamp may be.
        """
        self.look()
        now_s = time.monotonic()
        if not stamp_ns:
            return "the request has no stamp"
        if now_s - self._jumped_s < settle_s:
            return f"the system's clock was set by {self._jump_size_s:+.3f} s a moment ago"
        ahead_s = self.to_monotonic_s(stamp_ns) - now_s
        if ahead_s > future_s:
            return (
                f"the request is stamped {ahead_s:.3f} s in the future, allowed {future_s:.3f} s; the clocks of "
                "the two machines differ, set them by NTP or PTP"
            )
        return ""
