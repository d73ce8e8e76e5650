"""The loop's desk: takes the parent's requests, and tells the parent what the arm does. All through shared memory."""

from __future__ import annotations

import json

import numpy as np

from robot_rl.errors import RobotError, RobotRLError
from robot_rl.geometry import Vector
from robot_rl.robot import Executed
from robot_rl_controllers.drive import records
from robot_rl_controllers.drive.fr3_kinematics import JOINT_MARGIN_RAD, Q_MAX, Q_MIN
from robot_rl_controllers.drive.interface import Mode
from robot_rl_controllers.drive.pilot import Pilot
from robot_rl_controllers.drive.plant import Plant, Sample, WithObjects
from robot_rl_controllers.drive.records import Ask, Board, state_text, unpack_compliance
from robot_rl_controllers.drive.slots import Record
from robot_rl_controllers.joint_motion import MotionLimits

TELL_S = 0.5

MOVES = MotionLimits(
    q_min=tuple(q + 0.5 * JOINT_MARGIN_RAD for q in Q_MIN), q_max=tuple(q - 0.5 * JOINT_MARGIN_RAD for q in Q_MAX)
)


class Desk:
    """What comes in and goes out beside the control path.

    Attributes:
        ticks: Control ticks done.
    """

    def __init__(self, pilot: Pilot, plant: Plant, board: Board, real_time: str) -> None:
        self._pilot, self._board, self._real_time = pilot, board, real_time
        self._dt_s = plant.dt_s
        self.ticks = self._missed = 0
        self._last_ns, self._last_robot_s = 0, 0.0
        self._told_s = 0.0
        self._answers: list[str] = []  # empty where a request was granted
        self._said: tuple[str, Executed | None] = ("", None)
        self._objects = plant if isinstance(plant, WithObjects) and board.objects else None

    def begin(self, sample: Sample) -> None:
        """Forget the time before control began."""
        self._last_ns, self._last_robot_s = 0, sample.robot_s

    def count(self, sample: Sample, answered_ns: int) -> None:
        """Count one tick; its response is the time from when the state arrived until the answer was given."""
        histograms, start_ns = self._board.histograms, round(1e9 * sample.stamp_s)
        histograms.response.add(answered_ns - start_ns)
        if self._last_ns:
            histograms.period.add(start_ns - self._last_ns)
        self._last_ns = start_ns
        gap = round((sample.robot_s - self._last_robot_s) / self._dt_s) - 1
        if gap > 0:
            self._missed += gap
        self._last_robot_s = sample.robot_s
        self.ticks += 1

    # Requests ----------------------------------------------------------------------------------------------------

    def serve(self, now: float) -> None:
        """Do what the parent asked for since the last tick; `publish` tells what came of it."""
        queue = self._board.request
        while queue.waiting:
            record = queue.take()
            if record is None:
                return
            try:
                self._do(record, now)
                self._answers.append("")
            except RobotRLError as error:
                self._answers.append(str(error))

    def _do(self, record: Record, now: float) -> None:
        pilot, numbers = self._pilot, record.numbers
        ask = Ask(int(record.words[0]))
        if ask is Ask.STOP:
            pilot.guard.stop(record.text)
            pilot.fault(record.text, soft=False)
        elif ask is Ask.ACKNOWLEDGE:
            pilot.machine.acknowledge(record.text, now)
        elif ask is Ask.RECOVER:
            p = pilot.sample.p_BE
            pilot.machine.recover(now, (p[0], p[1], p[2]))
        elif ask is Ask.COMPLIANCE:
            pilot.motion.set_compliance(unpack_compliance(numbers.tolist()))
        elif ask is Ask.BEGIN_RESET:
            pilot.begin_reset(now)
        elif ask is Ask.END_RESET:
            pilot.end_reset("" if record.words[1] else record.text or "the reset failed", float(numbers[0]))
        elif ask is Ask.PLACE:
            self._place(numbers)
        elif not pilot.resetting:
            raise RobotError(f"the arm is not being reset ({pilot.machine.mode.name}: {pilot.machine.reason})")
        elif ask is Ask.MOVE_JOINTS:
            pilot.motion.follow_joints(pilot.sample, numbers[:7], MOVES)
        elif ask is Ask.STREAM:
            pilot.motion.hold(pilot.sample)

    def _place(self, numbers: Vector) -> None:
        if self._objects is None:
            raise RobotError("this robot's objects are placed by people, not by its driver")
        poses = numbers[: 7 * len(self._board.objects)].reshape(-1, 7)
        self._objects.place_objects(
            {n: p for n, p in zip(self._board.objects, poses, strict=True) if np.isfinite(p).all()}
        )

    # Tidings -----------------------------------------------------------------------------------------------------

    def publish(self, now: float, tau: Vector | None) -> None:
        """Tell the parent the newest reading, the mode, and what was made of the newest command."""
        pilot, slot, s = self._pilot, self._board.state, self._pilot.sample
        executed, machine = pilot.executed, pilot.machine
        n, words = slot.numbers, slot.words
        n[records.STAMP], n[records.ROBOT_S], n[records.WIDTH] = s.stamp_s, s.robot_s, s.width_m
        n[records.Q], n[records.DQ], n[records.P], n[records.QUAT] = s.q, s.dq, s.p_BE, s.quat_BE
        n[records.V], n[records.F] = s.J @ s.dq, s.F_BE
        n[records.TAU] = 0.0 if tau is None else tau
        n[records.DONE_P], n[records.DONE_QUAT] = executed.p_BE, executed.quat_BE
        if self._objects is not None:
            self._objects.object_poses(n[records.OBJECTS :])
        words[records.MODE] = pilot.mode
        words[records.SEQUENCE], words[records.CLOSING] = pilot.sequence, pilot.closing
        words[records.DONE_CLOSE], words[records.DONE_STOPPED] = executed.close_gripper, executed.stopped
        words[records.RECOVERIES] = machine.recoveries_left(now)
        words[records.TICKS], words[records.MISSED] = self.ticks, self._missed
        if self._said[0] != machine.reason or self._said[1] is not executed:
            self._said = (machine.reason, executed)
            slot.set_text(state_text(machine.reason, executed))
        slot.publish()
        if self._answers:  # only now, so that whoever is answered finds the state that the answer led to
            self._answer()
        if now - self._told_s >= TELL_S:
            self._told_s = now
            self._tell()

    def _answer(self) -> None:
        answer = self._board.answer
        for refusal in self._answers:
            answer.words[0] = not refusal
            answer.set_text(refusal)
            answer.publish()
        self._answers.clear()

    def _tell(self) -> None:
        counts: dict[str, int] = {}
        for more in (self._pilot.guard.totals, self._pilot.machine.counts):
            for name, number in more.items():
                counts[name] = counts.get(name, 0) + number
        slow = self._board.slow
        slow.set_text(json.dumps({"counts": counts, "real_time": self._real_time}))
        slow.publish()

    def close(self, reason: str) -> None:
        """Say that the driver has ended, and why."""
        self._tell()
        slot = self._board.state
        slot.words[records.MODE] = Mode.CLOSED
        slot.set_text(state_text(reason, Executed(np.zeros(3), np.zeros(4), False)))
        slot.publish()
