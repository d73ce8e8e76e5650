"""The loop at 1 kHz: read, judge, compute, answer. One thread, no waiting but for the robot.

Each tick first answers the newest reading with torques. Then it takes the newest command and lets the guard judge it;
what is let through, the torques of the next tick follow. Every hundredth of a second the guard also sees the newest
reading: then a command that nobody renews goes stale, a contact force holds or stops the arm, and a parent that died is
noticed. The `SafetyMachine` says whether the arm may move. Nothing ever resumes into motion: after a recovery the
target is the measured pose until a command comes that was given afterwards.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import numpy as np

from robot_rl_controllers.drive.desk import Desk
from robot_rl_controllers.drive.interface import Mode
from robot_rl_controllers.drive.pilot import Pilot
from robot_rl_controllers.drive.plant import Plant, PlantFault, Sample, WithMoreToTell
from robot_rl_controllers.drive.records import Board
from robot_rl_controllers.drive.spec import DriveSpec

WATCH_S = 0.01
BRAKE_S = 0.4  # at most, before a motion is ended
REST_RAD_S = 0.02
IDLE_S = 0.005


class DriveLoop:
    """One arm under control.

    Args:
        plant: The robot, connected.
        spec: What the driver was told.
        board: The memory shared with its parent.
        real_time: What the operating system granted, for the statistics.
        report: Receives a sentence at each change of mode; must not wait.

    Attributes:
        quit_reason: Once it is set, the loop brakes and ends.
    """

    def __init__(
        self, plant: Plant, spec: DriveSpec, board: Board, real_time: str, report: Callable[[str], None]
    ) -> None:
        self.plant, self.spec = plant, spec
        self.sample = Sample()
        self.pilot = Pilot(spec, board, self.sample, plant.dt_s, report)
        self.desk = Desk(self.pilot, plant, board, real_time)
        self.quit_reason = ""
        self._driving = False
        self._more = plant if isinstance(plant, WithMoreToTell) else None
        self._watch_every = max(round(WATCH_S / plant.dt_s), 1)

    def run(self) -> None:
        """Take over control, serve until told to quit, and give control back at rest.

        Raises:
            PlantFault: The robot refused at the start.
            RobotError: The arm stands where it may not.
        """
        try:
            fault = self._take_over()
            self.pilot.start(hardware=self.spec.hardware)
            self.desk.begin(self.sample)
            if fault is not None:
                self._lost_control(fault)
            while not self.quit_reason:
                if self._driving:
                    self._tick()
                else:
                    self._idle()
        except BaseException:
            with contextlib.suppress(PlantFault):
                self.plant.end()
            self.plant.close()
            raise
        self._end()

    def _take_over(self) -> PlantFault | None:
        """Take over control for the first time; return the fault of a robot that began and ended it again.

        A robot that is not to be had is told to whoever starts the driver. One that was had, and ended the motion, is
        treated as at any later time: the arm holds or stops where it is measured to be.
        """
        try:
            self.plant.begin(self.sample)
        except PlantFault as fault:
            if fault.refused or not fault.recoverable:
                raise
            self.plant.read(self.sample)
            return fault
        self._driving = True
        return None

    def _tick(self) -> None:
        sample, plant, pilot, desk = self.sample, self.plant, self.pilot, self.desk
        try:
            plant.read(sample)
            tau = pilot.motion.update(sample)
            plant.write(tau, pilot.finger_m)
        except PlantFault as fault:
            self._lost_control(fault)
            return
        answered_ns = time.monotonic_ns()
        if self._more is not None:
            self._more.tell_more(sample)
        desk.count(sample, answered_ns)
        now = time.monotonic()
        pilot.take_command(now)
        desk.serve(now)
        if pilot.machine.mode is Mode.RECOVERING:
            pilot.recovered(now)
        if desk.ticks % self._watch_every == 0:
            pilot.watch(now)
            self._check_parent()
        desk.publish(now, tau)

    def _idle(self) -> None:
        """Serve while the robot is not under our control. It may go on telling its state."""
        try:
            self.plant.read(self.sample)
        except PlantFault:
            time.sleep(IDLE_S)
        now = time.monotonic()
        self.desk.serve(now)
        self._check_parent()
        if self.pilot.machine.mode is Mode.RECOVERING:
            self.desk.publish(now, None)
            try:
                self.plant.recover()
                self.plant.begin(self.sample)
            except PlantFault as fault:
                self._lost_control(fault)
            else:
                self._driving = True
                self.pilot.recovered(time.monotonic())
        self.pilot.refuse_command()
        self.desk.publish(now, None)

    def _lost_control(self, fault: PlantFault) -> None:
        self._driving = False
        self.pilot.lose(fault)

    def _check_parent(self) -> None:
        if os.getppid() != self.spec.parent:
            self.quit_reason = "its parent is gone"

    def _end(self) -> None:
        """Brake at the measured pose, give control back, and say so."""
        pilot, sample, plant = self.pilot, self.sample, self.plant
        try:
            if self._driving:
                pilot.motion.hold(sample)
                for _ in range(round(BRAKE_S / plant.dt_s)):
                    plant.read(sample)
                    plant.write(pilot.motion.update(sample), pilot.finger_m)
                    if np.abs(sample.dq).max() < REST_RAD_S:
                        break
                plant.end()
        except PlantFault:
            self._driving = False  # the robot was faster; there is nothing left to end
        finally:
            plant.close()
            self.desk.close(self.quit_reason)
