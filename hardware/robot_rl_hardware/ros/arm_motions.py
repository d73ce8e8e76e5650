"""Motions that take seconds, and services that answer when they are over: nobody's callback ever waits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.geometry import quat_angle
from robot_rl.robot import ResetRequest
from robot_rl_controllers.drive.interface import Mode, Reading

if TYPE_CHECKING:
    from rclpy.task import Future

Verdict = tuple[bool, str]
NEAR_M, NEAR_RAD = 0.01, 0.05
_BEGIN_S = 2.0


@dataclass(slots=True)
class _Wait:
    judge: Callable[[Reading], Verdict | None]
    future: Future
    deadline_s: float
    what: str


class Motions:
    """Those who wait for the driver to reach a state; `settle` is called with each reading."""

    def __init__(self) -> None:
        self._waits: list[_Wait] = []

    def wait(self, judge: Callable[[Reading], Verdict | None], patience_s: float, what: str) -> Future:
        """Return a future of the verdict that `judge` gives as soon as it gives one.

        Args:
            judge: Looks at a reading.
            patience_s: After this time the verdict is that it took too long.
            what: For that sentence.
        """
        from rclpy.task import Future

        future = Future()
        self._waits.append(_Wait(judge, future, time.monotonic() + patience_s, what))
        return future

    def settle(self, reading: Reading) -> bool:
        """Give their verdict to those whose state is reached, and return whether there was one."""
        waiting = len(self._waits)
        for wait in list(self._waits):
            verdict = wait.judge(reading)
            if verdict is None and time.monotonic() > wait.deadline_s:
                verdict = (False, f"{wait.what} took too long; the driver is in {_told(reading)}")
            if verdict is not None:
                self._waits.remove(wait)
                wait.future.set_result(verdict)
        return len(self._waits) < waiting

    def give_up(self, reason: str) -> None:
        """Tell all who wait that nothing will come."""
        waits, self._waits = self._waits, []
        for wait in waits:
            wait.future.set_result((False, reason))


def arrival(request: ResetRequest | None) -> Callable[[Reading], Verdict | None]:
    """Return the judge of a motion that was just begun.

    Args:
        request: Where it goes; None where the place is the driver's own matter.
    """
    began_s = time.monotonic()
    seen = False

    def judge(reading: Reading) -> Verdict | None:
        nonlocal seen
        if reading.mode is Mode.RESETTING:
            seen = True
            return None
        if reading.mode in (Mode.STOPPED, Mode.FAULT, Mode.CLOSED):
            return False, f"the arm is in {_told(reading)}"
        if not seen and time.monotonic() - began_s < _BEGIN_S:  # the driver has not begun yet
            return None
        if reading.mode is not Mode.RUN:
            return False, f"the motion ended in {_told(reading)}"
        if request is None:
            return True, "arrived"
        off_m = float(np.linalg.norm(reading.state.p_BE - request.p_BE))
        off_rad = quat_angle(reading.state.quat_BE, request.quat_BE)
        if off_m > NEAR_M or off_rad > NEAR_RAD or math.isnan(off_m + off_rad):
            return False, f"the motion ended {1e3 * off_m:.1f} mm and {off_rad:.3f} rad away from the start"
        return True, f"at the start within {1e3 * off_m:.1f} mm"

    return judge


def running() -> Callable[[Reading], Verdict | None]:
    """Return the judge of a recovery that was just asked for."""
    began_s = time.monotonic()

    def judge(reading: Reading) -> Verdict | None:
        if reading.mode is Mode.RUN:
            return True, "the arm holds where it is, and follows the next command"
        held = reading.mode in (Mode.HOLD, Mode.STOPPED)
        if reading.mode is Mode.RECOVERING or (held and time.monotonic() - began_s < _BEGIN_S):
            return None
        return False, f"the arm is in {_told(reading)}"

    return judge


def _told(reading: Reading) -> str:
    return reading.mode.name + (f": {reading.reason}" if reading.reason else "")


def answered(response: Any, verdict: Verdict) -> Any:
    """Return a Trigger's response with a verdict in it."""
    response.success, response.message = verdict
    return response
