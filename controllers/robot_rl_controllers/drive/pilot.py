"""What an arm is asked to do and may do: commands, resets, the guard's verdicts, and the holds that follow from them.

It knows no robot: the loop passes the time and the newest reading, and asks the motion that results for torques.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import numpy as np

from robot_rl.cell import Box
from robot_rl.errors import RobotError
from robot_rl.robot import ArmCommand, Executed, RobotState
from robot_rl_controllers.drive.interface import Mode
from robot_rl_controllers.drive.motion import Motion
from robot_rl_controllers.drive.plant import PlantFault, Sample
from robot_rl_controllers.drive.records import COMMAND_FINGER, COMMAND_P, COMMAND_QUAT, Board
from robot_rl_controllers.drive.spec import DriveSpec
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.guard_workspace import Workspace
from robot_rl_controllers.safety import SafetyMachine

RESET_SILENCE_S = 1.0
FINGER_TRAVEL_M = 0.04
STRAY_M, STRAY_RAD = 0.01, 0.05  # how far a reset may stray out of the workspace it was in

_SOFT = frozenset({"not_finite", "stale_command", "stale_observation", "unreadable_state"})


class Pilot:
    """Decides, tick by tick, what the motion of one arm follows.

    Args:
        spec: What the driver was told.
        board: The memory shared with its parent.
        sample: The newest reading, filled in by the loop.
        dt_s: Seconds of a tick.
        report: Receives a sentence at each change of mode; must not wait.

    Attributes:
        executed, sequence: What was made of the newest command, and which that was.
        closing: Whether the gripper was last told to close.
        finger_m: Position [m] that each finger is told.
        resetting: Whether a reset drives the arm.
    """

    def __init__(
        self, spec: DriveSpec, board: Board, sample: Sample, dt_s: float, report: Callable[[str], None]
    ) -> None:
        self.board, self.sample = board, sample
        self.guard = Guard(spec.limits, spec.period_s, keep_out=spec.cell.keep_out)
        self.machine = SafetyMachine(spec.recoveries, spec.window_s, report=report)
        self.motion = Motion(spec.compliance, dt_s)
        self.closing, self._open_m, self.finger_m = False, spec.open_m, spec.open_m
        self.resetting = False
        self._outer = _widened(spec)
        self._been_inside = False
        s = sample
        self._state = RobotState(0.0, s.q, s.dq, s.p_BE, s.quat_BE, np.zeros(6), s.F_BE, math.nan, False)
        self._request = ArmCommand(np.zeros(3), np.zeros(4), False)
        self.executed = Executed(s.p_BE, s.quat_BE, False)
        self.sequence = 0
        self._command_count = self._target_count = 0
        self._target_s = 0.0
        self._commanded = False  # whether a command stands that came since the arm began to run

    @property
    def mode(self) -> Mode:
        """What the arm does, as people are told."""
        machine = self.machine
        return Mode.RESETTING if self.resetting and not machine.held else machine.mode

    def start(self, *, hardware: bool) -> None:
        """Hold the first measured pose.

        Raises:
            RobotError: It is one where hardware does not start.
        """
        self._state.stamp_s = self.sample.stamp_s
        if hardware:
            self.guard.check_start(self._state)
        self.motion.start(self.sample)
        self.executed = self._held_still((), "")

    def recovered(self, now: float) -> None:
        """Run again, from rest at the measured pose."""
        self.guard.acknowledge()
        self.motion.hold(self.sample)
        self.machine.recovered(now)
        self.executed = self._held_still((), "")

    # Commands ----------------------------------------------------------------------------------------------------

    def take_command(self, now: float) -> None:
        """Act on the newest command or target of a reset, if there is a new one."""
        self._state.stamp_s = self.sample.stamp_s
        if self.resetting:
            self._take_reset_target(now)
            self.refuse_command()
            return
        if self.board.command.count == self._command_count:
            return
        if self.machine.held:
            self.refuse_command()
            return
        record = self.board.command.read()
        if record is None:
            return
        self._command_count, self.sequence = record.count, int(record.words[0])
        stamp_s = float(record.numbers[0])
        if not self.machine.admits(self.sequence, stamp_s):
            self.executed = self._held_still(("old_command",), "it was given before the arm ran")
            return
        request = self._request
        request.p_BE[:], request.quat_BE[:] = record.numbers[COMMAND_P], record.numbers[COMMAND_QUAT]
        request.close_gripper = bool(record.words[1])
        executed = self._judge(request, now, stamp_s)
        if not executed.stopped:
            self._commanded = True
            self.motion.follow_pose(executed.p_BE, executed.quat_BE)
            self.closing = self._state.gripper_closing = executed.close_gripper
            self.finger_m = 0.0 if self.closing else self._open_m
        self.executed = executed

    def _judge(self, request: ArmCommand, now: float, stamp_s: float) -> Executed:
        """Let the guard judge a request, and hold or stop if it says so."""
        try:
            executed = self.guard.check(request, self._state, now, stamp_s)
        except RobotError as error:  # there is not even a pose to hold
            self.fault(str(error), soft=False)
            return self._held_still((), self.machine.reason)
        return self._obey(executed)

    def _obey(self, executed: Executed) -> Executed:
        """Hold or stop if the guard says so; return what is executed then."""
        if self.guard.stopped:
            self.fault(self.guard.stop_reason, soft=False)
        elif _SOFT.intersection(executed.events):
            silent = "stale_command" in executed.events and len(executed.events) == 1
            self.fault(executed.reason, soft=True, free=silent)
        if self.machine.held:
            return self._held_still(tuple(executed.events), self.machine.reason)
        return executed

    def refuse_command(self) -> None:
        """Answer a command that came while the arm holds or resets, without acting on it."""
        if self.board.command.count == self._command_count:
            return
        record = self.board.command.read()
        if record is None:
            return
        self._command_count, self.sequence = record.count, int(record.words[0])
        self.machine.admits(self.sequence, float(record.numbers[0]))
        if self.resetting:
            self.executed = self._held_still(("resetting",), "the arm is on its way to a start pose")
        else:
            events = ("stopped",) if self.machine.mode is Mode.STOPPED else ("held",)
            self.executed = self._held_still(events, self.machine.reason)

    def _held_still(self, events: tuple[str, ...], reason: str) -> Executed:
        held = self.motion.held.copy()
        return Executed(held[:3], held[3:], self.closing, events, self.machine.held, reason)

    def _take_reset_target(self, now: float) -> None:
        slot = self.board.reset_target
        if slot.count == self._target_count:
            if now - self._target_s > RESET_SILENCE_S:
                self.fault(f"the reset went silent for {now - self._target_s:.2f} s", soft=True, free=True)
            return
        record = slot.read()
        if record is None:
            return
        self._target_count = record.count
        self._target_s = now
        finger_m = float(record.numbers[COMMAND_FINGER])
        if math.isfinite(finger_m):  # not finite leaves the fingers as they are
            self.finger_m = min(max(finger_m, 0.0), FINGER_TRAVEL_M)
        if self.motion.in_joints:
            return
        request = self._request
        request.p_BE[:], request.quat_BE[:] = record.numbers[COMMAND_P], record.numbers[COMMAND_QUAT]
        executed = self._judge(request, now, float(record.numbers[0]))
        if not executed.stopped:
            self.motion.follow_pose(executed.p_BE, executed.quat_BE)

    # Resets ------------------------------------------------------------------------------------------------------

    def begin_reset(self, now: float) -> None:
        """Let a reset drive the arm, from rest at the measured pose.

        Raises:
            RobotError: The arm does not run, or is being reset already.
        """
        if self.machine.held or self.resetting:
            mode = "RESETTING" if self.resetting else f"{self.machine.mode.name} ({self.machine.reason})"
            raise RobotError(f"a reset can begin only while the arm runs; it is {mode}. Recover or acknowledge first.")
        self.motion.hold(self.sample)
        self.guard.reset_episode()
        self._commanded = False
        self.resetting, self._been_inside = True, False
        self._target_s = now
        self._target_count = self.board.reset_target.count

    def end_reset(self, failure: str, open_m: float) -> None:
        """Hold where the reset ended; if it failed, until somebody recovers the arm.

        Args:
            failure: why it failed; empty if it arrived.
            open_m: how far each finger opens from now on [m]; NaN leaves the gripper as it is.
        """
        if not self.resetting:
            return
        self.resetting = False
        self.motion.hold(self.sample)
        self.guard.reset_episode()
        if math.isfinite(open_m):
            self.closing = self._state.gripper_closing = False
            self._open_m = self.finger_m = min(max(open_m, 0.0), FINGER_TRAVEL_M)
        self.executed = self._held_still((), "")
        if failure:
            self.fault(failure, soft=True)

    # Trust -------------------------------------------------------------------------------------------------------

    def fault(self, reason: str, *, soft: bool, free: bool = False) -> None:
        """Hold or stop the arm, where it is measured to be."""
        ran = not self.machine.held
        self.machine.fault(reason, soft=soft, now_s=time.monotonic(), free=free)
        if ran:
            self.motion.hold(self.sample)
        self._commanded = False
        if self.resetting:
            self.resetting = False
            self.guard.forget_motion()

    def lose(self, fault: PlantFault) -> None:
        """Note that the robot ended the motion by itself."""
        self.guard.forget_motion()
        if fault.recoverable:
            self.fault(fault.reason, soft=fault.soft)
        else:
            self.resetting = False
            self.machine.lose(fault.reason, time.monotonic())

    def watch(self, now: float) -> None:
        """Let the guard see the newest reading."""
        if self.resetting:
            self._watch_reset(now)
        else:
            self._review(now)

    def _review(self, now: float) -> None:
        """Let the guard judge the command that stands anew; there may be none."""
        ran, newest = not self.machine.held, self.executed
        try:
            executed = self._obey(self.guard.review(self._state, now))
        except RobotError as error:
            self.fault(str(error), soft=False)
            return
        if self.machine.held:
            if ran:  # whoever sent the newest command must hear of it
                self.executed = dataclasses.replace(executed, close_gripper=newest.close_gripper)
        elif self._commanded:
            self.motion.follow_pose(executed.p_BE, executed.quat_BE)

    def _watch_reset(self, now: float) -> None:
        events = self.guard.watch(self._state, now)
        if self.guard.stopped:
            self.fault(self.guard.stop_reason, soft=False)
        elif _SOFT.intersection(events):
            self.fault(f"the guard held the arm during a reset: {events[0]}", soft=True)
        else:
            outside = self._outer.check_waypoint(self.sample.p_BE, self.sample.quat_BE)
            if outside and self._been_inside:
                self.guard.stop(f"the tool broke the rule {' and '.join(outside)} during a reset")
                self.fault(self.guard.stop_reason, soft=False)
            self._been_inside = self._been_inside or not outside


def _widened(spec: DriveSpec) -> Workspace:
    """Return the workspace with the margin by which a reset may stray."""
    limits = spec.limits
    low, high = limits.box_min_m, limits.box_max_m
    wider = dataclasses.replace(
        limits,
        box_min_m=(low[0] - STRAY_M, low[1] - STRAY_M, low[2] - STRAY_M),
        box_max_m=(high[0] + STRAY_M, high[1] + STRAY_M, high[2] + STRAY_M),
        cone_rad=min(limits.cone_rad + STRAY_RAD, math.pi),
    )
    kept = []
    for box in spec.cell.keep_out:
        a, b = np.add(box.min_m, STRAY_M), np.subtract(box.max_m, STRAY_M)
        if (a < b).all():
            kept.append(Box(min_m=(a[0], a[1], a[2]), max_m=(b[0], b[1], b[2])))
    return Workspace(wider, kept)
