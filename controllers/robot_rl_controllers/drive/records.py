"""What the records between an arm's driver process and its parent hold, and the memory that they lie in."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from robot_rl.robot import Executed, RobotState
from robot_rl.task import Compliance
from robot_rl_controllers.drive.interface import Mode, Reading, TickStatistics
from robot_rl_controllers.drive.slots import Book, Layout, Memory, Queue, Record, Slot
from robot_rl_controllers.drive.statistics import HISTOGRAM_BYTES, Histograms

# Numbers of the state: when, the robot's own time, q, dq, p, quat, V, F, width of the gripper, torques, the executed
# pose; then seven for each object.
STAMP, ROBOT_S, WIDTH = 0, 1, 36
Q, DQ, P, QUAT, V, F = slice(2, 9), slice(9, 16), slice(16, 19), slice(19, 23), slice(23, 29), slice(29, 35)
TAU, DONE_P, DONE_QUAT, OBJECTS = slice(37, 44), slice(44, 47), slice(47, 51), 51
# Words of the state.
MODE, SEQUENCE, CLOSING, DONE_CLOSE, DONE_STOPPED, RECOVERIES, TICKS, MISSED, STATE_WORDS = range(9)
STATE_TEXT = 1024
_SEPARATOR = "\x1f"
_PERCENTILES_S = 0.5  # how often a reader works them out

# A command and a target of a reset: when it was given, pose, position of each finger (resets); words: sequence, close.
COMMAND = Layout(numbers=9, words=2)
COMMAND_P, COMMAND_QUAT, COMMAND_FINGER = slice(1, 4), slice(4, 8), 8

ANSWER = Layout(numbers=0, words=1, text=1024)  # word: whether it was granted; text: why not
SLOW = Layout(numbers=0, words=1, text=4096)


class Ask(IntEnum):
    """What a parent may ask of its driver beside commands."""

    STOP = 1  # text: why
    ACKNOWLEDGE = 2  # text: who
    RECOVER = 3
    COMPLIANCE = 4  # numbers: 18
    BEGIN_RESET = 5
    MOVE_JOINTS = 6  # numbers: goal (7) and each finger's position
    STREAM = 7  # hold the measured pose, then follow the reset's targets
    END_RESET = 8  # word: whether it arrived; numbers: how far fingers open from now on; text: why it did not
    PLACE = 9  # numbers: (7,) pose of each object, NaN where it stays


REQUEST_NUMBERS = 18


class Board:
    """The shared memory of one driver: state, slow state and answers from it; commands and requests to it."""

    def __init__(self, objects: Sequence[str], fd: int = -1) -> None:
        """Make the memory for a driver that tells the poses of these objects, or map inherited memory."""
        self.objects = tuple(objects)
        state = Layout(numbers=OBJECTS + 7 * len(self.objects), words=STATE_WORDS, text=STATE_TEXT)
        request = Layout(numbers=max(REQUEST_NUMBERS, 7 * len(self.objects)), words=2, text=512)
        slots = [Slot.size(state), Slot.size(SLOW), Book.size(ANSWER), Slot.size(COMMAND), Slot.size(COMMAND)]
        starts = np.concatenate([[0], np.cumsum([*slots, Queue.size(request), HISTOGRAM_BYTES])]).tolist()
        self.memory = memory = Memory(starts[-1], fd)
        self.state = Slot(memory, starts[0], state)
        self.slow = Slot(memory, starts[1], SLOW)
        self.answer = Book(memory, starts[2], ANSWER)  # numbered like the requests
        self.command = Slot(memory, starts[3], COMMAND)
        self.reset_target = Slot(memory, starts[4], COMMAND)
        self.request = Queue(memory, starts[5], request)
        self.histograms = Histograms(memory, starts[6])
        self._told: dict[str, Any] = {}
        self._told_count = 0
        nothing = (0.0, 0.0, 0.0, 0.0)
        self._times = (nothing, nothing)
        self._times_s = -math.inf

    def reading(self) -> Reading | None:
        """Return the newest state, or None before the driver's first."""
        record = self.state.read()
        if record is None:
            return None
        n, words = record.numbers, record.words
        reason, events, done_reason = [*record.text.split(_SEPARATOR), "", "", ""][:3]
        poses = n[OBJECTS:].reshape(-1, 7)
        state = RobotState(
            stamp_s=float(n[STAMP]),
            q=n[Q].copy(),
            dq=n[DQ].copy(),
            p_BE=n[P].copy(),
            quat_BE=n[QUAT].copy(),
            V_BE=n[V].copy(),
            F_BE=n[F].copy(),
            gripper_width_m=float(n[WIDTH]),
            gripper_closing=bool(words[CLOSING]),
            objects={name: poses[i].copy() for i, name in enumerate(self.objects)},
        )
        executed = Executed(
            n[DONE_P].copy(), n[DONE_QUAT].copy(), bool(words[DONE_CLOSE]), tuple(e for e in events.split(",") if e),
            bool(words[DONE_STOPPED]), done_reason,
        )  # fmt: skip
        told = self._slow()
        return Reading(
            state=state,
            mode=Mode(int(words[MODE])),
            reason=reason,
            executed=executed,
            sequence=int(words[SEQUENCE]),
            counts=told.get("counts", {}),
            recoveries_left=int(words[RECOVERIES]),
            ticks=self._ticks(record, told.get("real_time", "normal")),
            tau=n[TAU].copy(),
        )

    def _slow(self) -> dict[str, Any]:
        if self.slow.count != self._told_count:
            record = self.slow.read()
            if record is not None:
                self._told, self._told_count = json.loads(record.text), record.count
        return self._told

    def _ticks(self, record: Record, real_time: str) -> TickStatistics:
        now = time.monotonic()
        if now - self._times_s > _PERCENTILES_S:
            self._times_s = now
            self._times = (self.histograms.response.percentiles(), self.histograms.period.percentiles())
        return TickStatistics(
            ticks=int(record.words[TICKS]),
            missed=int(record.words[MISSED]),
            response_us=self._times[0],
            period_us=self._times[1],
            real_time=real_time,
        )


def state_text(reason: str, executed: Executed) -> str:
    """Return the text of a state record."""
    parts = (reason[:400], ",".join(executed.events)[:200], executed.reason[:400])
    return _SEPARATOR.join(part.replace(_SEPARATOR, " ") for part in parts)


def first_text(record: Record) -> str:
    """Return the reason in a state record."""
    return record.text.split(_SEPARATOR)[0]


def pack_compliance(c: Compliance) -> list[float]:
    """Return the settings of a controller as 18 numbers."""
    return [*c.stiffness, *c.damping, *c.clip_m, c.clip_rad, c.speed_m_s, c.speed_rad_s]


def unpack_compliance(n: Sequence[float]) -> Compliance:
    """Return the settings that `pack_compliance` packed."""
    v = [float(x) for x in n[:18]]
    return dataclasses.replace(
        Compliance(),
        stiffness=(v[0], v[1], v[2], v[3], v[4], v[5]),
        damping=(v[6], v[7], v[8], v[9], v[10], v[11]),
        clip_m=(v[12], v[13], v[14]),
        clip_rad=v[15],
        speed_m_s=v[16],
        speed_rad_s=v[17],
    )
