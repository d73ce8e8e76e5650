"""Resets beside the node: checked when they begin, run in a thread, and ended by the driver whenever it must."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from robot_rl.errors import RobotError
from robot_rl.robot import ResetRequest, RobotState, Vector
from robot_rl_controllers.drive.fr3_kinematics import HOME_Q, Fr3Kinematics
from robot_rl_controllers.drive.interface import Mode, Reading
from robot_rl_controllers.drive.records import COMMAND_FINGER, COMMAND_P, COMMAND_QUAT, Ask, Board
from robot_rl_controllers.drive.reset import ResetMotion, Start
from robot_rl_controllers.guard_workspace import Workspace

log = logging.getLogger(__name__)

FINGER_TRAVEL_M = 0.04
JOIN_S = 3.0


class Driver(Protocol):
    """What resets need of a driver's handle."""

    name: str

    def read(self) -> Reading:
        """Return the newest reading; raises `RobotError`."""
        ...

    def board(self) -> Board:
        """Return the shared memory; raises `RobotError`."""
        ...

    def ask(self, what: Ask, numbers: Sequence[float] | Vector = (), flag: bool = False, text: str = "") -> None:
        """Put a request to the driver; raises `RobotError` if it refuses."""
        ...


class Resets:
    """The resets of one driver, one at a time.

    Args:
        driver: Whose arm is moved.
        workspace: Where its tool may be.
        kinematics: Of the arm with its tool.
        objects: Names of the objects that the plant can place, in its order.
        holds_object: Whether an object is rigid in the hand, which then stays as wide as it is.
    """

    def __init__(
        self,
        driver: Driver,
        workspace: Workspace,
        kinematics: Fr3Kinematics,
        objects: Sequence[str],
        *,
        holds_object: bool,
    ) -> None:
        self._driver, self._workspace, self._kinematics = driver, workspace, kinematics
        self._objects, self._holds_object = tuple(objects), holds_object
        self._thread: threading.Thread | None = None

    def warm_up(self) -> None:
        """Compile what a reset computes, now rather than when an episode shall begin."""
        self._kinematics.solve(*self._kinematics.tool_pose(np.array(HOME_Q)))

    def to_start(self, request: ResetRequest) -> None:
        """Begin to drive to the start of an episode.

        Raises:
            RobotError: The pose may not be visited or cannot be reached, an object is unknown, or the arm does not run.
        """
        self._workspace.check_reset(request.p_BE, request.quat_BE)
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
                self._driver.ask(Ask.PLACE, poses.ravel())

        self._begin(routine, finger_m, opens=True)

    def to_joints(self, q: Vector) -> None:
        """Begin to drive to joint positions (7,) [rad], the gripper staying as it is.

        Raises:
            RobotError: They are no joint positions of the arm, the tool may not be there, or the arm does not run.
        """
        goal = np.array(q, float)
        if goal.shape != (7,) or not np.isfinite(goal).all():
            raise RobotError(f"a joint goal needs 7 finite angles [rad], got {q}")
        low, high = self._kinematics.lower, self._kinematics.upper
        if (goal < low).any() or (goal > high).any():
            raise RobotError(
                f"the joint goal {np.round(goal, 4).tolist()} rad leaves the limits {np.round(low, 4).tolist()} to "
                f"{np.round(high, 4).tolist()}; choose one within them"
            )
        broken = self._workspace.check_waypoint(*self._kinematics.tool_pose(goal))
        if broken:
            limits = self._workspace.limits
            raise RobotError(
                f"at the joint goal {np.round(goal, 4).tolist()} rad the tool breaks the rule {' and '.join(broken)}; "
                f"allowed is the box {limits.box_min_m} to {limits.box_max_m} m"
            )
        self._begin(lambda motion: motion.to_joints(goal), np.nan, opens=False)

    def join(self) -> None:
        """Wait for a reset that was ended to notice."""
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_S)

    def _begin(self, routine: Callable[[ResetMotion], None], open_m: float, *, opens: bool) -> None:
        if self._driver.read().mode is not Mode.RESETTING:
            self._let_end()
        self._driver.ask(Ask.BEGIN_RESET)
        name = f"{self._driver.name}-reset"
        # A daemon: when its process ends, a reset must not keep it alive, for then the driver brakes.
        self._thread = threading.Thread(target=self._run, args=(routine, open_m, opens), name=name, daemon=True)
        self._thread.start()

    def _let_end(self) -> None:
        """Wait for a reset that the driver ended to notice, or it would take the next one for its own.

        Raises:
            RobotError: It does not notice.
        """
        thread = self._thread
        if thread is not None:
            thread.join(JOIN_S)
            if thread.is_alive():
                raise RobotError("the reset before this one has not ended yet; this machine is too busy, try again")

    def _run(self, routine: Callable[[ResetMotion], None], open_m: float, opens: bool) -> None:
        failure = ""
        try:
            width_m = self._driver.read().state.gripper_width_m
            # NaN leaves the fingers as they were told before.
            on_the_way_m = np.nan if not opens else 0.5 * width_m if self._holds_object else FINGER_TRAVEL_M
            routine(ResetMotion(_Rail(self._driver), self._workspace, self._kinematics, on_the_way_m))
        except RobotError as error:
            failure = str(error)
        except Exception as error:  # the driver must hear of it, whatever it is
            log.exception("a reset failed")
            failure = f"the reset failed ({type(error).__name__}: {error})"
        try:
            self._driver.ask(Ask.END_RESET, [open_m], flag=not failure, text=failure)
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
    """What a reset may do with the driver; looking raises once the driver has ended the reset."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def look(self) -> RobotState:
        reading = self._driver.read()
        if reading.mode is not Mode.RESETTING:
            raise RobotError(f"the reset was ended in {reading.mode.name}: {reading.reason}")
        return reading.state

    def stream(self, p: Vector, quat: Vector, finger_m: float) -> None:
        slot = self._driver.board().reset_target
        slot.numbers[0] = time.monotonic()
        slot.numbers[COMMAND_P], slot.numbers[COMMAND_QUAT] = p, quat
        slot.numbers[COMMAND_FINGER] = finger_m
        slot.publish()

    def move_joints(self, q: Vector) -> None:
        self._driver.ask(Ask.MOVE_JOINTS, q)

    def hold(self) -> None:
        self._driver.ask(Ask.STREAM)
