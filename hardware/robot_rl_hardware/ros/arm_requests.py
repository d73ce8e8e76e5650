"""Requests on their way through the arm node: distrusted, numbered, handed to the driver, answered.

A request is named by its stamp. The driver knows it by a growing number, and says which number its newest judgement
belongs to. Every request gets an answer on `executed`, also one that was never handed on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.robot import ArmCommand, Executed, RobotState, Vector
from robot_rl_controllers.drive.interface import ArmDriver, Reading
from robot_rl_controllers.freshness import ClockMap
from robot_rl_hardware.ros import messages
from robot_rl_hardware.ros.clock import distrust

if TYPE_CHECKING:
    from geometry_msgs.msg import PoseStamped
    from sensor_msgs.msg import JointState

log = logging.getLogger(__name__)

HALF_OPEN_M = 0.04
"""A width below this closes the gripper: the guard knows open and closed."""
STALE, WRONG_FRAME, SUPERSEDED = "stale_command", "wrong_frame", "superseded"


class Requests:
    """Turns messages into commands of a driver, and the driver's judgements into answers.

    Args:
        driver: Who executes.
        clock: Of the node.
        answer: Publishes a message on `executed`.
    """

    def __init__(self, driver: ArmDriver, clock: ClockMap, answer: Callable[[Any], None]) -> None:
        self._driver, self._clock, self._answer_with = driver, clock, answer
        self._sequence = 0
        self._newest_ns = 0
        self._closing = False
        self._open: deque[tuple[int, int]] = deque()  # number, stamp
        self._last: tuple[Vector, Vector, int] | None = None
        self.counts = {"requests": 0, "refused": 0, "superseded": 0}

    @property
    def waiting(self) -> bool:
        """Whether a request waits for the driver's judgement."""
        return bool(self._open)

    def begin(self, reading: Reading) -> None:
        """Count on from where the driver is."""
        self._sequence = max(self._sequence, reading.sequence)
        self._closing = reading.state.gripper_closing

    def take_gripper(self, message: JointState) -> None:
        """Take in whether the gripper closes, for the request with the same stamp and those after it."""
        if not message.position:
            return
        closing = bool(message.position[0] < HALF_OPEN_M)  # a NaN opens nothing and closes nothing: see below
        if not np.isfinite(message.position[0]) or closing == self._closing:
            return
        self._closing = closing
        stamp = messages.stamp_ns(message)
        if self._last is not None and stamp == self._last[2]:  # its pose was here first
            self._send(*self._last)

    def take_pose(self, message: PoseStamped, state: RobotState) -> None:
        """Take in a request, given the newest reading."""
        self.counts["requests"] += 1
        stamp = messages.stamp_ns(message)
        frame = message.header.frame_id
        if frame not in ("", messages.BASE_FRAME):
            self._refuse(
                stamp, state, WRONG_FRAME, f"the request is in the frame '{frame}', not '{messages.BASE_FRAME}'"
            )
            return
        reason = distrust(self._clock, stamp)
        if not reason and stamp < self._newest_ns:
            reason = "a newer request came before it"
        if reason:
            self._refuse(stamp, state, STALE, reason)
            return
        self._newest_ns = stamp
        p, quat = messages.from_pose(message)
        self._last = (p, quat, stamp)
        self._send(p, quat, stamp)

    def _send(self, p: Vector, quat: Vector, stamp_ns: int) -> None:
        self._sequence += 1
        self._open.append((self._sequence, stamp_ns))
        self._driver.send(ArmCommand(p, quat, self._closing), self._sequence, self._clock.to_monotonic_s(stamp_ns))

    def _refuse(self, stamp_ns: int, state: RobotState, event: str, reason: str) -> None:
        """Answer a request that the driver never sees: the arm holds where it is."""
        self.counts["refused"] += 1
        if self.counts["refused"] in (1, 10, 100, 1000):
            log.warning("request refused (%d so far): %s", self.counts["refused"], reason)
        held = Executed(state.p_BE, state.quat_BE, state.gripper_closing, (event,), True, reason)
        self._answer_with(messages.executed_to_text(stamp_ns, held))

    def settle(self, reading: Reading) -> None:
        """Answer what the driver has judged."""
        while self._open and self._open[0][0] <= reading.sequence:
            number, stamp = self._open.popleft()
            executed = reading.executed
            if number < reading.sequence:
                self.counts["superseded"] += 1
                executed = Executed(
                    executed.p_BE, executed.quat_BE, executed.close_gripper, (*executed.events, SUPERSEDED),
                    executed.stopped, executed.reason,
                )  # fmt: skip
            self._answer_with(messages.executed_to_text(stamp, executed))
