"""A Franka FR3 under torque control: the `Plant` that a driver's loop reads and answers once a millisecond.

pylibfranka holds Python's lock while it waits for the robot. So a process that uses this class has no other thread, and
the hand is served by another process (`robot_rl_hardware.grippers`).

Nothing here starts again by itself: when the robot ends a motion, `read` or `write` raises what it was, and the robot
stays as it is until `recover` and `begin` are called. Meanwhile `read` goes on telling the state.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from robot_rl.errors import RobotError
from robot_rl.geometry import Vector
from robot_rl.task import SceneObject
from robot_rl.typed import build
from robot_rl_controllers.drive.plant import PlantFault, Sample
from robot_rl_hardware.fci import faults
from robot_rl_hardware.fci.connection import Connection, library, mode_of
from robot_rl_hardware.fci.objects import RigObjects
from robot_rl_hardware.fci.settings import FciSettings
from robot_rl_hardware.fci.state import StateReader
from robot_rl_hardware.grippers.client import GripperClient, open_gripper

log = logging.getLogger(__name__)

AT_REST_RAD_S = 0.05
REST_WAIT_S = 2.0
ENDING_TICKS = 5
LOOK_TICKS = 500  # between two looks whether the gripper's process lives


class FciPlant:
    """One arm, and its gripper if it has one.

    Attributes:
        dt_s: One control period of the robot.
    """

    dt_s = 0.001

    def __init__(self, settings: FciSettings, scene: Mapping[str, Any] | None = None) -> None:
        """Prepare; nothing is opened before `connect`.

        Args:
            settings: of the robot.
            scene: objects that the rig knows by where they were put, as plain settings of `SceneObject`.
        """
        self.settings = settings
        self._objects = RigObjects({n: build(SceneObject, v, f"scene.{n}") for n, v in (scene or {}).items()})
        self._p, self._quat = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        self._connection = Connection(settings)
        self._reader = StateReader(settings)
        self._gripper: GripperClient | None = None
        self._looks = 0
        self._unfinished: Any = None  # the state of which `tell_more` has yet to tell the rest
        self._control: Any = None
        self._torques: Any = None

    def connect(self) -> None:
        """Open robot and gripper, set tool frame, load and reflexes, and check what the robot made of them.

        Raises:
            RobotError: The robot cannot be reached or is not as the settings say.
            MissingDependency: pylibfranka is not installed.
        """
        self._torques = library().Torques
        self._connection.open(self._reader, self.settings.clear_at_start)
        self._open_gripper()

    def _open_gripper(self) -> None:
        """Open the gripper, anew if its process has ended."""
        gripper, s = self._gripper, self.settings
        if gripper is not None and gripper.ended:
            self._gripper = None
            gripper.close()
        if self._gripper is None:
            self._gripper = open_gripper(s.gripper, s.address, s.gripper_settings)

    def _look_at_gripper(self) -> None:
        """Stop when the gripper's process has ended: nobody would notice what the fingers do."""
        self._looks = (self._looks + 1) % LOOK_TICKS
        if self._looks == 0 and self._gripper is not None and self._gripper.ended:
            self.end()
            raise PlantFault(f"{self._gripper.ended}; acknowledge starts it again")

    def begin(self, sample: Sample) -> None:
        """Take over torque control at rest and fill in a first sample; raises `PlantFault`."""
        if self._connection.robot is None:
            raise PlantFault("the robot is not connected", recoverable=False)
        try:
            self._wait_for_rest()
            self._control = self._connection.robot.start_torque_control()
            self._fill(sample, self._control.readOnce()[0])
            self.tell_more(sample)
        except self._connection.ended as e:
            self._ended(e)
        except self._connection.lost as e:
            self._gone(e)

    def _wait_for_rest(self) -> None:
        deadline = time.monotonic() + REST_WAIT_S
        while True:
            state = self._connection.robot.read_once()
            mode, errors = mode_of(state), faults.names_in(str(state.current_errors))
            fault = faults.of_mode(mode, errors)
            if fault is not None:
                raise fault
            speed = max(map(abs, state.dq))
            if speed < AT_REST_RAD_S:
                return
            if time.monotonic() > deadline:
                raise PlantFault(
                    f"the arm still moves ({speed:.2f} rad/s after {REST_WAIT_S:.0f} s); wait for it to rest",
                    refused=True,
                )

    def read(self, sample: Sample) -> None:
        """Wait for the next state and fill it in; raises `PlantFault` once for each motion that the robot ends.

        While in control it fills in what the answer depends on, and `tell_more` the rest.
        """
        if self._control is not None:
            self._look_at_gripper()
        try:
            if self._control is not None:
                state = self._control.readOnce()[0]
            elif self._connection.robot is not None:
                state = self._connection.robot.read_once()
            else:
                raise PlantFault("the robot is not connected", recoverable=False)
        except self._connection.ended as e:
            self._ended(e)
        except self._connection.lost as e:
            self._gone(e)
        self._fill(sample, state)
        if self._control is None:
            self.tell_more(sample)

    def _fill(self, sample: Sample, state: Any) -> None:
        self._reader.fill(sample, state)
        self._unfinished = state

    def tell_more(self, sample: Sample) -> None:
        """Fill in the wrench, the robot's own time, the next answer's Coriolis torques and the gripper's opening."""
        state, self._unfinished = self._unfinished, None
        if state is not None:
            self._reader.fill_rest(sample, state, self._connection.model)
        self._p, self._quat = sample.p_BE, sample.quat_BE
        if self._gripper is not None:
            sample.width_m = self._gripper.width_m

    def write(self, tau: Vector, finger_m: float) -> None:
        """Answer with torques (7,) [N m] without gravity and each finger's position [m]; raises `PlantFault`."""
        if self._control is not None:  # else no motion runs: the robot holds itself
            try:
                self._control.writeOnce(self._torques(tau.tolist()))
            except self._connection.ended as e:
                self._ended(e)
            except self._connection.lost as e:
                self._gone(e)
        if self._gripper is not None and math.isfinite(finger_m):
            self._gripper.ask(2.0 * finger_m)

    def object_poses(self, out: Vector) -> None:
        """Fill in the (7 n,) poses in B of the objects that the rig knows."""
        self._objects.fill(out, self._p, self._quat)

    def place_objects(self, poses: Mapping[str, Vector]) -> None:
        """Remember where a person put objects: (7,) poses in B."""
        self._objects.place(poses)

    def end(self) -> None:
        """Give torque control back: the robot then holds its pose with its own controller."""
        control, self._control = self._control, None
        if control is None:
            return
        try:
            for i in range(ENDING_TICKS):
                state = control.readOnce()[0]
                command = self._torques([0.8 * tau for tau in state.tau_J_d])
                command.motion_finished = i == ENDING_TICKS - 1
                control.writeOnce(command)
        except (*self._connection.ended, self._connection.lost) as e:
            log.warning("the robot ended the motion before we did: %s", faults.clean(e))

    def recover(self) -> None:
        """Clear the robot's own error, or reconnect if the connection was lost; raises `PlantFault`.

        A pressed user stop and an arm that is guided by hand are no errors: the fault says what to wait for.
        """
        self._control = None
        if self._connection.robot is None:
            try:
                self._connection.open(self._reader, clear=True)
            except RobotError as e:
                raise PlantFault(str(e), recoverable=False) from None
        try:
            self._open_gripper()
        except RobotError as e:
            raise PlantFault(str(e)) from None
        try:
            self._connection.clear()
        except self._connection.lost as e:
            self._gone(e)

    def close(self) -> None:
        """Release robot and gripper. Safe to call twice."""
        self.end()
        gripper, self._gripper = self._gripper, None
        if gripper is not None:
            gripper.close()
        self._connection.release()

    def _ended(self, error: Exception) -> NoReturn:
        """Raise what the robot's end of a motion means."""
        self._control = None
        names = faults.names_in(str(error))
        try:
            state = self._connection.robot.read_once()
        except (*self._connection.ended, self._connection.lost) as e:
            self._gone(e)
        mode = mode_of(state)
        if "User Stop" in str(error):  # the state may be told a little later than the end of the motion
            mode = "UserStopped"
        if mode in faults.BY_A_PERSON:
            raise PlantFault(faults.BY_A_PERSON[mode]) from None
        names = names or faults.names_in(str(state.current_errors)) or faults.names_in(str(state.last_motion_errors))
        raise faults.of_errors(names, faults.clean(error)) from None

    def _gone(self, error: Exception) -> NoReturn:
        self._control = None
        self._connection.release()
        raise faults.of_network(error, self.settings.address) from None
