"""`Governor`: the loop between a policy and a car. It alone talks to the VESC, and tells it something every period.

    policy, localisation --> Governor(deadman, watchdog) --> Vesc --> the car

Whoever commands only leaves commands here. If they stop coming the watchdog stops the car; if this loop itself hangs,
the VESC's driver does, for its requests grow old; and if the whole program dies, the firmware's time-out does.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from robot_rl.errors import RobotError
from robot_rl_hardware.car.deadman import STOP_WITHIN_S
from robot_rl_hardware.car.vesc import VescState
from robot_rl_hardware.car.vesc_pilot import VescGone
from robot_rl_hardware.car.watchdog import Decision, Stop, Watchdog

log = logging.getLogger(__name__)


class DrivenCar(Protocol):
    """What a governor drives: `Vesc`, or whatever else keeps its promises."""

    def drive(self, speed_m_s: float, steering_rad: float, stamp_s: float | None = None) -> None:
        """Ask for a speed and a steering angle."""
        ...

    def stop(self, reason: str) -> None:
        """Stop until something is asked for again."""
        ...

    def read(self) -> VescState:
        """Return the newest state; raises `VescGone` if the car is gone, another `RobotError` if silent."""
        ...


class Governor:
    """Asks deadman and watchdog each period and tells the car; commands and poses may come from any thread.

    Attributes:
        late: How many periods began more than one period late.

    Args:
        car: Is connected.
        watchdog: Decides; belongs to this governor from then on.
        poll_deadman: Tells the deadman what its device did, given the monotonic time; never waits. Not needed where
            its samples come by `sample`.
        on_state: Receives each new state, in this loop's thread.
    """

    def __init__(
        self,
        car: DrivenCar,
        watchdog: Watchdog,
        poll_deadman: Callable[[float], None] = lambda now_s: None,
        on_state: Callable[[VescState], None] = lambda state: None,
    ) -> None:
        self.late = 0
        self._car, self._watchdog, self._poll, self._on_state = car, watchdog, poll_deadman, on_state
        self._lock = threading.Lock()
        self._decision = Decision(reason="the governor does not run")
        self._state_s = -math.inf

    def command(self, speed_m_s: float, steering_rad: float, stamp_s: float | None = None) -> Decision:
        """Leave a command of the policy, given now or at `stamp_s`, and return what the car was last told."""
        now_s = time.monotonic()
        with self._lock:
            self._watchdog.command(speed_m_s, steering_rad, now_s if stamp_s is None else stamp_s, now_s)
            return self._decision

    def located(self, stamp_s: float) -> None:
        """Note that a pose of this monotonic time is known."""
        with self._lock:
            self._watchdog.located(stamp_s, time.monotonic())

    def sample(self, held: bool, stamp_s: float, content: bytes) -> None:
        """Take a sample of the deadman's device; see `Deadman.sample`."""
        with self._lock:
            self._watchdog.deadman.sample(held, stamp_s, time.monotonic(), content)

    def stop(self, reason: str) -> None:
        """Stop the car until the deadman is let go and pressed again."""
        with self._lock:
            self._watchdog.stop(reason)

    @property
    def decision(self) -> Decision:
        """What the car was last told, and why."""
        return self._decision

    @property
    def stopped(self) -> Stop | None:
        """What stopped the car last."""
        return self._watchdog.stopped

    def run(self, stopping: Callable[[], bool]) -> None:
        """Drive until asked to end, or until the car is gone; the car is stopped either way.

        Raises:
            VescGone: The car is gone; it must be connected anew.
        """
        period_s = self._watchdog.settings.period_s
        deadline_s = time.monotonic()
        try:
            while not stopping():
                now_s = time.monotonic()
                slack_s = deadline_s + period_s - now_s
                if slack_s < 0.0:
                    self.late += 1
                    deadline_s = now_s
                    if slack_s < -(STOP_WITHIN_S - period_s):  # what came meanwhile is older than it looks
                        self.stop(f"the loop that drives the car was held up for {period_s - slack_s:.2f} s")
                self._step(now_s)
                deadline_s += period_s
                time.sleep(max(deadline_s - time.monotonic(), 0.0))
        finally:
            self._decision = Decision(reason="the governor has ended")
            self._car.stop("the governor has ended")

    def _step(self, now_s: float) -> None:
        with self._lock:
            self._poll(now_s)
            self._listen(now_s)
            decision = self._decision = self._watchdog.tick(now_s)
        if decision.drives:
            self._car.drive(decision.speed_m_s, decision.steering_rad, decision.stamp_s)
        else:
            self._car.stop(decision.reason)

    def _listen(self, now_s: float) -> None:
        try:
            state = self._car.read()
        except VescGone:
            raise
        except RobotError as e:
            log.debug("%s", e)  # the watchdog says so once, when the answers are too old
            return
        if state.faults:
            self._watchdog.stop(state.reason)
        if state.stamp_s > self._state_s:
            self._state_s = state.stamp_s
            self._watchdog.linked(state.stamp_s, now_s)
            self._on_state(state)
