"""`Deadman`: whether a person holds the button that lets a car drive. Whatever is not known counts as let go.

It owns no clock and no device. Three things must hold at once: the newest sample says that the button is held, it is
fresh, and the device has lately shown something new. The last one matters most: the receiver of a wireless pad that has
died may repeat its last sample for ever, and a program in between may stamp it anew each time.
"""

from __future__ import annotations

from dataclasses import dataclass

from robot_rl.errors import ConfigError
from robot_rl_controllers.freshness import Freshness

STOP_WITHIN_S = 0.2
"""A car is told to stop within this time of whatever goes silent."""
OLDEST_S = 0.16
"""Larger ages are refused: two loops of 50 Hz, the watchdog's and the VESC driver's, come behind them."""


@dataclass(frozen=True, kw_only=True)
class DeadmanSettings:
    """When a button counts as let go.

    Attributes:
        held_s: Age of the newest sample.
        stuck_s: Time since a sample last differed from the one before.
    """

    held_s: float = 0.1
    stuck_s: float = 0.12

    def __post_init__(self) -> None:
        for name in ("held_s", "stuck_s"):
            if not 0.0 < getattr(self, name) <= OLDEST_S:
                raise ConfigError(
                    f"deadman.{name} is {getattr(self, name)}; it must be positive and at most {OLDEST_S}, so that the "
                    f"car is told to stop within {STOP_WITHIN_S} s of a deadman that dies"
                )


class Deadman:
    """A button that must be held, seen through its samples.

    Attributes:
        presses: How often it was let go and then held, both seen in time. A device that was silent in between, or is
            opened while the button is down, makes no press.

    Args:
        settings: Ages.
    """

    def __init__(self, settings: DeadmanSettings | None = None) -> None:
        settings = settings or DeadmanSettings()
        self.presses = 0
        self._sample = Freshness("the deadman's device", settings.held_s)
        self._life = Freshness("the deadman's sign of life", settings.stuck_s)
        self._content: bytes | None = None
        self._held = self._let_go = False
        self._lost = ""

    def sample(self, held: bool, stamp_s: float, now_s: float, content: bytes) -> None:
        """Take a sample.

        Args:
            held: whether it says that the button is held.
            stamp_s: monotonic time at which the device took it.
            now_s: monotonic time.
            content: all that the device told: axes, buttons, its own counter or clock. A device that lives is not
                perfectly still: a hand moves a stick, a motion sensor has noise, a counter counts.
        """
        before_let_go = self._let_go and not self._sample.problem(now_s)
        if not self._sample.take(stamp_s, now_s) or self._lost:
            # Old, from the future or out of order: it can take the permission away, never give it.
            self._held, self._let_go = self._held and held, False
            return
        if content != self._content:
            self._content = content
            self._life.take(now_s, now_s)
        if held and before_let_go:
            self.presses += 1
        self._held, self._let_go = held, not held

    def lost(self, reason: str) -> None:
        """Note that the device is gone: nothing ends this but `found`."""
        self._lost, self._held, self._let_go = reason or "the deadman's device is gone", False, False

    def found(self) -> None:
        """Note that a device was opened: begin anew, with a button that counts as let go but not as seen so."""
        self._lost, self._content, self._held, self._let_go = "", None, False, False
        self._sample.forget()
        self._life.forget()

    @property
    def well_s(self) -> float:
        """Monotonic time of the last sign that a person holds it: of a sample that says so, from a device that lives.

        Where the button was let go it is the time of the sample that says that.
        """
        return min(self._sample.stamp_s, self._life.stamp_s) if self._held else self._sample.stamp_s

    def problem(self, now_s: float) -> str:
        """Return why it counts as let go; empty while a person holds it."""
        if self._lost:
            return self._lost
        if stale := self._sample.problem(now_s):
            return stale
        if not self._held:
            return "the deadman is not held"
        if not self._life.age_s(now_s) <= self._life.max_age_s:
            return (
                f"the deadman's device has shown nothing new for {self._life.age_s(now_s):.3f} s, allowed are "
                f"{self._life.max_age_s:.3f} s; it may be stuck"
            )
        return ""
