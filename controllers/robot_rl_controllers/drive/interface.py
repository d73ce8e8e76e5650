"""What stands between an arm's node and its driver: modes, readings and the `ArmDriver` protocol.

All times are `time.monotonic()` seconds, which processes of one machine share; stamps of other clocks (ROS time, the
robot's own) are converted before they come here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np

from robot_rl.robot import ArmCommand, Executed, ResetRequest, RobotState, Vector
from robot_rl.task import Compliance


class Mode(IntEnum):
    """What a driver does at the moment."""

    STARTING = 0  # not connected, or warming up
    RUN = 1  # follows commands
    HOLD = 2  # holds still after a fault that `recover` may end: late command, stale reading, not finite, lost packets
    STOPPED = 3  # holds still until a person acknowledges: operator's stop, hard force, reflex of the robot
    RESETTING = 4  # on its way to a start pose; the guard watches
    RECOVERING = 5  # clears the robot's own error, then holds the measured pose
    FAULT = 6  # the robot is gone or refuses; see the reason
    CLOSED = 7


@dataclass(slots=True)
class TickStatistics:
    """How the 1 kHz loop kept its time, since the driver started.

    Attributes:
        ticks: Control ticks done.
        missed: States of the robot that were never seen.
        response_us: Response time from state arrived to torque sent: the 50th, 99th, 99.9th percentile and the largest.
        period_us: The same of the time between two ticks.
        real_time: What was granted: "fifo", "normal", and whether memory is locked.
    """

    ticks: int = 0
    missed: int = 0
    response_us: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    period_us: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    real_time: str = "normal"


@dataclass(slots=True)
class Reading:
    """The newest of everything that a driver tells.

    Attributes:
        state: The robot, without images. Its stamp is when the reading was taken.
        mode, reason: What the driver does, and why if it is not RUN.
        executed: What the guard made of the newest command.
        sequence: Which command that was; 0 before the first.
        counts: How often each rule of the guard spoke since the driver started.
        recoveries_left: How many more times `recover` will be granted now, without a person.
        ticks: Timing of the loop.
        tau: (7,) torques [N m] that the loop sent last, without gravity.
    """

    state: RobotState
    mode: Mode
    reason: str
    executed: Executed
    sequence: int
    counts: Mapping[str, int] = field(default_factory=dict)
    recoveries_left: int = 0
    ticks: TickStatistics = field(default_factory=TickStatistics)
    tau: Vector = field(default_factory=lambda: np.zeros(7))


class ArmDriver(Protocol):
    """An arm that can be commanded at any time and holds by itself when it is not.

    No method but `start` and `close` waits for the robot. A driver's loop, its guard and its watchdog run in a process
    of their own and outlive whatever happens to the caller: when the caller dies, the arm holds, then ends its motion.
    """

    def start(self) -> None:
        """Connect, warm up and hold the measured pose; raises `RobotError` with what is wrong."""
        ...

    def read(self) -> Reading:
        """Return the newest reading; raises `RobotError` if the driver's process is gone."""
        ...

    def send(self, command: ArmCommand, sequence: int, stamp_s: float) -> None:
        """Ask for a tool pose and gripper. `sequence` grows; `stamp_s` is when the command was given."""
        ...

    def begin_reset(self, request: ResetRequest) -> None:
        """Begin to drive to a start pose: the mode is RESETTING until it is RUN again, or whatever ended it.

        Raises:
            RobotError: The pose may not be visited or cannot be reached, or the driver is stopped.
        """
        ...

    def move_joints(self, q: Vector) -> None:
        """Begin to drive to joint positions (7,) [rad] with limited jerk; modes and errors are those of a reset."""
        ...

    def home(self) -> None:
        """Begin to drive to the home posture, as a reset does."""
        ...

    def stop(self, reason: str) -> None:
        """Latch a stop."""
        ...

    def acknowledge(self, who: str) -> None:
        """End a stop or a hold on a person's word: recover, then hold the measured pose until a new command."""
        ...

    def recover(self) -> None:
        """End a hold (never a stop) without a person, within the budget.

        Raises:
            RobotError: The mode is STOPPED, the budget is spent, or the robot refuses.
        """
        ...

    def set_compliance(self, compliance: Compliance) -> None:
        """Change stiffness, damping and clips; they slew."""
        ...

    def close(self) -> None:
        """Hold, end the motion, end the process. Safe to call twice."""
        ...
