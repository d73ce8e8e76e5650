"""`ProcessDriver`: the parent's end of an arm driver. It starts the process, reads, asks, resets, and closes it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robot_rl.cell import Cell
from robot_rl.errors import RobotError
from robot_rl.robot import ArmCommand, ResetRequest, Vector
from robot_rl.task import Compliance, Task
from robot_rl.typed import target_of
from robot_rl_controllers.drive.child import Child
from robot_rl_controllers.drive.fr3_kinematics import HOME_Q, Fr3Kinematics
from robot_rl_controllers.drive.interface import Mode, Reading
from robot_rl_controllers.drive.records import COMMAND_P, COMMAND_QUAT, Ask, Board, first_text, pack_compliance
from robot_rl_controllers.drive.resetting import Resets
from robot_rl_controllers.drive.slots import Words
from robot_rl_controllers.drive.spec import DriveSpec, RealTime
from robot_rl_controllers.gains import pack_gains, pack_limits
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.guard_limits import within_cell

log = logging.getLogger(__name__)

ANSWER_S = 2.0
START_TIMEOUT_S = 120.0  # the first start on a busy machine compiles for half a minute
POLL_S = 0.0005


class ProcessDriver:
    """An `ArmDriver` whose loop runs in a process of its own.

    Methods may be called from several threads.

    Args:
        task: Gives limits, compliance and control rate.
        cell: Where the robot stands.
        plant: `_target_` and plain settings of what makes the plant, in the process.
        name: For messages.
        objects: Names of the objects whose poses the plant tells, in its order.
        hardware: Whether something real moves; then the cell must have bounds, and the tool must stand within them.
        recoveries, window_s: How many recoveries are granted without a person within how long.
        real_time: What the process asks of the operating system.
        start_timeout_s: How long connecting and warming up may take.
        kinematics: Of the arm with its tool; the FR3 with its hand by default.
    """

    def __init__(
        self,
        task: Task,
        cell: Cell,
        plant: Mapping[str, Any],
        *,
        name: str = "arm",
        objects: Sequence[str] = (),
        hardware: bool = False,
        recoveries: int = 3,
        window_s: float = 600.0,
        real_time: RealTime | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        kinematics: Fr3Kinematics | None = None,
    ) -> None:
        self.task, self.cell, self.name = task, cell, name
        self._hardware = hardware
        limits = within_cell(task.limits, cell, hardware=hardware)
        self._guard = Guard(limits, 1.0 / task.control_hz, keep_out=cell.keep_out)
        self._plant = target_of(plant, "driver.plant")
        self._objects = tuple(objects)
        self._recoveries, self._window_s = recoveries, window_s
        self._real_time = real_time or RealTime()
        self._start_timeout_s = start_timeout_s
        holds = any(obj.motion == "held" for obj in task.scene.values())
        self._resets = Resets(self, self._guard, kinematics or Fr3Kinematics(), self._objects, holds_object=holds)
        self._board: Board | None = None
        self._child: Child | None = None
        self._asking, self._sending = threading.Lock(), threading.Lock()

    # A driver's life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process and wait until it holds the measured pose.

        Raises:
            RobotError: It runs already, or it could not connect; with what is wrong.
        """
        if self._child is not None:
            raise RobotError(f"the driver {self.name} was started before; close it first")
        self._resets.warm_up()
        board = self._board = Board(self._objects)
        spec = DriveSpec(
            name=self.name,
            parent=os.getpid(),
            memory=board.memory.fd,
            plant=self._plant,
            objects=self._objects,
            limits=self._guard.limits,
            cell=self.cell,
            compliance=self.task.compliance,
            period_s=1.0 / self.task.control_hz,
            hardware=self._hardware,
            recoveries=self._recoveries,
            window_s=self._window_s,
            real_time=self._real_time,
        )
        self._child = Child(spec)
        try:
            self._wait_until_it_holds()
        except BaseException:
            self.close()
            raise

    def _wait_until_it_holds(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            record = self._board.state.read() if self._board is not None else None
            mode = Mode.STARTING if record is None else Mode(int(record.words[0]))
            if mode is Mode.FAULT and record is not None:
                raise RobotError(f"the driver {self.name} did not start: {first_text(record)}")
            if mode not in (Mode.STARTING, Mode.CLOSED):
                return
            if self._child is None or self._child.exit_code is not None:
                raise RobotError(self._obituary())
            if time.monotonic() > deadline:
                raise RobotError(
                    f"the driver {self.name} did not hold its arm within {self._start_timeout_s:.0f} s; look at its "
                    "log, and raise start_timeout_s if the machine is slow"
                )
            time.sleep(0.005)

    def close(self) -> None:
        """Hold, end the motion, end the process. Safe to call twice."""
        child, self._child = self._child, None
        if child is not None:
            child.end()
        self._resets.join()
        board, self._board = self._board, None
        if board is not None:
            board.memory.close()

    @property
    def pid(self) -> int | None:
        """Process id of the driver's process, None while there is none."""
        return None if self._child is None else self._child.pid

    # Reading and commanding --------------------------------------------------------------------------------------

    def read(self) -> Reading:
        """Return the newest reading.

        Raises:
            RobotError: The driver was not started, or its process is gone.
        """
        reading = self.board().reading()
        if reading is None:
            raise RobotError(self._obituary())
        return reading

    def send(self, command: ArmCommand, sequence: int, stamp_s: float) -> None:
        """Ask for a tool pose and gripper; see `ArmDriver.send`."""
        slot = self.board().command
        with self._sending:
            slot.numbers[0] = stamp_s
            slot.numbers[COMMAND_P], slot.numbers[COMMAND_QUAT] = (
                _numbers(command.p_BE, 3),
                _numbers(command.quat_BE, 4),
            )
            slot.words[:] = sequence, command.close_gripper
            slot.publish()

    def histograms(self) -> dict[str, tuple[Vector, Words]]:
        """Return "response" and "period" of the loop: upper edges of the bins [us] and how many fell into each."""
        board = self.board()
        return {"response": board.histograms.response.counts(), "period": board.histograms.period.counts()}

    # Asking ------------------------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Latch a stop. Does not wait."""
        self.ask(Ask.STOP, text=reason or "no reason given", wait=False)

    def acknowledge(self, who: str) -> None:
        """End a stop or a hold on a person's word."""
        self.ask(Ask.ACKNOWLEDGE, text=who)

    def recover(self) -> None:
        """End a hold without a person, within the budget.

        Raises:
            RobotError: It is a stop, the robot is gone, or the budget is spent.
        """
        self.ask(Ask.RECOVER)

    def set_compliance(self, compliance: Compliance) -> None:
        """Change stiffness, damping, clips and speeds.

        Raises:
            ConfigError: A number is negative or not finite.
        """
        pack_gains(compliance)
        pack_limits(compliance)
        self.ask(Ask.COMPLIANCE, pack_compliance(compliance))

    def ask(
        self, what: Ask, numbers: Sequence[float] | Vector = (), flag: bool = False, text: str = "", wait: bool = True
    ) -> None:
        """Put a request to the driver; wait until it has answered, which takes a tick.

        Raises:
            RobotError: It refuses, does not answer, or is gone.
        """
        board = self.board()
        with self._asking:
            request = board.request
            request.words[:] = what, flag
            request.numbers[:] = np.nan
            request.numbers[: len(numbers)] = numbers
            request.set_text(text)
            number = request.publish()
        if not wait:
            return
        deadline = time.monotonic() + ANSWER_S
        while (answer := board.answer.find(number)) is None:
            if time.monotonic() > deadline:
                raise RobotError(f"the driver {self.name} has not answered for {ANSWER_S:.0f} s; its loop stands still")
            time.sleep(POLL_S)
            self.board()
        if not answer.words[0]:
            raise RobotError(answer.text)

    def board(self) -> Board:
        """Return the memory shared with the living process; raises `RobotError` without one."""
        board, child = self._board, self._child
        if board is None or child is None:
            raise RobotError(f"the driver {self.name} is not running; start it first")
        if child.exit_code is not None:
            raise RobotError(self._obituary())
        return board

    def _obituary(self) -> str:
        child = self._child
        if child is None:
            return f"the driver {self.name} is not running; start it first"
        return (
            f"the process of driver {self.name} ended with exit code {child.exit_code}; the arm holds no longer under "
            f"our control. Look at the robot, close this driver and start it again. Its last words: {child.last_words}"
        )

    # Resets ------------------------------------------------------------------------------------------------------

    def begin_reset(self, request: ResetRequest) -> None:
        """Begin to drive to a start pose; see `ArmDriver.begin_reset`."""
        self.board()
        self._resets.to_start(request)

    def move_joints(self, q: Vector) -> None:
        """Begin to drive to joint positions (7,) [rad]; see `ArmDriver.move_joints`."""
        self.board()
        self._resets.to_joints(q)

    def home(self) -> None:
        """Begin to drive to the home posture; see `ArmDriver.home`."""
        self.move_joints(np.array(HOME_Q))


def _numbers(values: Vector, size: int) -> Vector:
    """Return numbers for a command, NaN if they are not what they should be: the guard then refuses them."""
    try:
        found = np.asarray(values, float)
    except (TypeError, ValueError):
        found = np.empty(0)
    return found if found.shape == (size,) else np.full(size, np.nan)
