"""`ProcessDriver`: the parent's end of an arm driver. It starts the process, reads, asks, resets, and closes it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from robot_rl.cell import Cell
from robot_rl.errors import RobotError
from robot_rl.robot import ArmCommand, ResetRequest, RobotState, Vector
from robot_rl.task import Compliance, Task
from robot_rl.typed import target_of
from robot_rl_controllers.drive.child import Child
from robot_rl_controllers.drive.fr3_kinematics import HOME_Q, Fr3Kinematics
from robot_rl_controllers.drive.interface import Mode, Reading
from robot_rl_controllers.drive.records import COMMAND_FINGER, COMMAND_P, COMMAND_QUAT, Ask, Board, pack_compliance
from robot_rl_controllers.drive.reset import ResetMotion, Start
from robot_rl_controllers.drive.slots import Words
from robot_rl_controllers.drive.spec import DriveSpec, RealTime
from robot_rl_controllers.gains import pack_gains, pack_limits
from robot_rl_controllers.guard import Guard

log = logging.getLogger(__name__)

ANSWER_S = 2.0
FINGER_TRAVEL_M = 0.04
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
        recoveries: int = 3,
        window_s: float = 600.0,
        real_time: RealTime | None = None,
        start_timeout_s: float = 60.0,
        kinematics: Fr3Kinematics | None = None,
    ) -> None:
        self.task, self.cell, self.name = task, cell, name
        self._limits = task.limits
        self._guard = Guard(self._limits, 1.0 / task.control_hz)
        self._plant = target_of(plant, "driver.plant")
        self._objects = tuple(objects)
        self._recoveries, self._window_s = recoveries, window_s
        self._real_time = real_time or RealTime()
        self._start_timeout_s = start_timeout_s
        self._kinematics = kinematics or Fr3Kinematics()
        self._holds_object = any(obj.motion == "held" for obj in task.scene.values())
        self._open_m = FINGER_TRAVEL_M
        self._board: Board | None = None
        self._child: Child | None = None
        self._asking, self._sending = threading.Lock(), threading.Lock()
        self._reset: threading.Thread | None = None

    # A driver's life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process and wait until it holds the measured pose.

        Raises:
            RobotError: It runs already, or it could not connect; with what is wrong.
        """
        if self._child is not None:
            raise RobotError(f"the driver {self.name} was started before; close it first")
        self._kinematics.tool_pose(np.array(HOME_Q))  # compiled now, not when an episode shall begin
        self._kinematics.solve(*self._kinematics.tool_pose(np.array(HOME_Q)))
        board = self._board = Board(self._objects)
        spec = DriveSpec(
            name=self.name,
            parent=os.getpid(),
            memory=board.memory.fd,
            plant=self._plant,
            objects=self._objects,
            limits=self._limits,
            cell=self.cell,
            compliance=self.task.compliance,
            period_s=1.0 / self.task.control_hz,
            open_m=self._open_m,
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
                raise RobotError(f"the driver {self.name} did not start: {record.text.split(chr(31))[0]}")
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
        reset, self._reset = self._reset, None
        if reset is not None and reset is not threading.current_thread():
            reset.join(ANSWER_S)
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
        reading = self._alive().reading()
        if reading is None:
            raise RobotError(self._obituary())
        return reading

    def send(self, command: ArmCommand, sequence: int, stamp_s: float) -> None:
        """Ask for a tool pose and gripper; see `ArmDriver.send`."""
        slot = self._alive().command
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
        board = self._alive()
        return {"response": board.histograms.response.counts(), "period": board.histograms.period.counts()}

    # Asking ------------------------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Latch a stop. Does not wait."""
        self._ask(Ask.STOP, text=reason or "no reason given", wait=False)

    def acknowledge(self, who: str) -> None:
        """End a stop or a hold on a person's word."""
        self._ask(Ask.ACKNOWLEDGE, text=who)

    def recover(self) -> None:
        """End a hold without a person, within the budget.

        Raises:
            RobotError: It is a stop, the robot is gone, or the budget is spent.
        """
        self._ask(Ask.RECOVER)

    def set_compliance(self, compliance: Compliance) -> None:
        """Change stiffness, damping, clips and speeds.

        Raises:
            ConfigError: A number is negative or not finite.
        """
        pack_gains(compliance)
        pack_limits(compliance)
        self._ask(Ask.COMPLIANCE, pack_compliance(compliance))

    def _ask(
        self, what: Ask, numbers: Sequence[float] | Vector = (), flag: bool = False, text: str = "", wait: bool = True
    ) -> None:
        """Put a request to the driver; wait until it has answered, which takes a tick.

        Raises:
            RobotError: It refuses, does not answer, or is gone.
        """
        with self._asking:
            board = self._alive()
            request = board.request
            request.words[:] = what, flag
            request.numbers[:] = np.nan
            request.numbers[: len(numbers)] = numbers
            request.set_text(text)
            number = request.publish()
            if not wait:
                return
            deadline = time.monotonic() + ANSWER_S
            while True:
                answer = board.answer.read() if board.answer.count else None
                if answer is not None and answer.words[0] >= number:
                    break
                if time.monotonic() > deadline:
                    raise RobotError(f"the driver {self.name} has not answered for {ANSWER_S:.0f} s")
                time.sleep(POLL_S)
                self._alive()
            if answer.words[0] == number and not answer.words[1]:
                raise RobotError(answer.text)

    def _alive(self) -> Board:
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
        self._guard.check_reset(request.p_BE, request.quat_BE)
        p, quat = np.array(request.p_BE, float), np.array(request.quat_BE, float)
        q = self._kinematics.solve(p, quat)
        if q is None:
            raise RobotError(
                f"the arm cannot reach the start pose p_BE={np.round(p, 3).tolist()} m, quat_BE="
                f"{np.round(quat, 3).tolist()} within its joint limits; move the task's start area"
            )
        poses = self._checked(request.objects)
        finger_m = min(max(0.5 * request.gripper_width_m, 0.0), FINGER_TRAVEL_M)
        start = Start(p=p, quat=quat / np.linalg.norm(quat), q=q, finger_m=finger_m)

        def routine(motion: ResetMotion) -> None:
            motion.to_start(start)
            if poses is not None:
                self._ask(Ask.PLACE, poses.ravel())

        self._begin(routine, finger_m)

    def move_joints(self, q: Vector) -> None:
        """Begin to drive to joint positions (7,) [rad]; see `ArmDriver.move_joints`."""
        goal = np.array(q, float)
        if goal.shape != (7,) or not np.isfinite(goal).all():
            raise RobotError(f"a joint goal needs 7 finite angles [rad], got {q}")
        low, high = self._kinematics.lower, self._kinematics.upper
        if (goal < low).any() or (goal > high).any():
            raise RobotError(
                f"the joint goal {np.round(goal, 4).tolist()} rad leaves the limits {np.round(low, 4).tolist()} to "
                f"{np.round(high, 4).tolist()}"
            )
        broken = self._guard.check_waypoint(*self._kinematics.tool_pose(goal))
        if broken:
            raise RobotError(
                f"at the joint goal {np.round(goal, 4).tolist()} rad the tool breaks the rule {' and '.join(broken)}; "
                f"allowed is the box {self._limits.box_min_m} to {self._limits.box_max_m} m"
            )
        self._begin(lambda motion: motion.to_joints(goal), self._open_m)

    def home(self) -> None:
        """Begin to drive to the home posture; see `ArmDriver.home`."""
        self.move_joints(np.array(HOME_Q))

    def _begin(self, routine: Callable[[ResetMotion], None], open_m: float) -> None:
        self._ask(Ask.BEGIN_RESET)
        self._reset = threading.Thread(target=self._run_reset, args=(routine, open_m), name=f"{self.name}-reset")
        self._reset.start()

    def _run_reset(self, routine: Callable[[ResetMotion], None], open_m: float) -> None:
        failure = ""
        try:
            state = self.read().state
            on_the_way_m = 0.5 * state.gripper_width_m if self._holds_object else FINGER_TRAVEL_M
            routine(ResetMotion(_Rail(self), self._limits, self._kinematics, on_the_way_m))
        except RobotError as error:
            failure = str(error)
        except Exception as error:  # a driver must hear of it, whatever it is
            log.exception("the reset failed")
            failure = f"the reset failed ({type(error).__name__}: {error})"
        try:
            self._ask(Ask.END_RESET, [open_m], flag=not failure, text=failure)
            self._open_m = open_m
        except RobotError as error:
            log.warning("the end of a reset was not heard: %s", error)

    def _checked(self, objects: Mapping[str, Vector]) -> Vector | None:
        """Return the poses (n, 7) that a scene shall take, NaN where an object stays; None if nothing is placed."""
        if not self._objects or not objects:
            return None
        poses = np.full((len(self._objects), 7), np.nan)
        for name, pose in objects.items():
            if name not in self._objects:
                raise RobotError(f"there is no object '{name}' to place; there are {list(self._objects)}")
            values = np.asarray(pose, float)
            if values.shape != (7,) or not np.isfinite(values).all() or not values[3:].any():
                raise RobotError(
                    f"the pose of '{name}' must be seven finite numbers, position [m] and quaternion wxyz, got {pose}"
                )
            poses[self._objects.index(name)] = values
        return poses


class _Rail:
    """What a reset may do with the driver; each call raises once the driver has ended the reset."""

    def __init__(self, driver: ProcessDriver) -> None:
        self._driver = driver

    def look(self) -> RobotState:
        reading = self._driver.read()
        if reading.mode is not Mode.RESETTING:
            raise RobotError(f"the reset was ended: {reading.mode.name} {reading.reason}".rstrip())
        return reading.state

    def stream(self, p: Vector, quat: Vector, finger_m: float) -> None:
        slot = self._driver._alive().reset_target
        slot.numbers[0] = time.monotonic()
        slot.numbers[COMMAND_P], slot.numbers[COMMAND_QUAT] = p, quat
        slot.numbers[COMMAND_FINGER] = finger_m
        slot.publish()

    def move_joints(self, q: Vector) -> None:
        self._driver._ask(Ask.MOVE_JOINTS, q)

    def hold(self) -> None:
        self._driver._ask(Ask.STREAM)


def _numbers(values: Vector, size: int) -> Vector:
    """Return numbers for a command, NaN if they are not what they should be: the guard then refuses them."""
    try:
        found = np.asarray(values, float)
    except (TypeError, ValueError):
        found = np.empty(0)
    return found if found.shape == (size,) else np.full(size, np.nan)
