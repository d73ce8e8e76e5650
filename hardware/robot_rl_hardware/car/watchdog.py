"""`Watchdog`: whether a car may drive now. It drives only while everything is fresh; what stopped it must be answered.

    WAITING --deadman let go and pressed, all fresh--> DRIVING --anything stale, let go or wrong--> WAITING

It owns no clock, thread or device: the loop around it tells it what came and when, and asks each period. The answer is
always something to tell the car, a stop too, for silence would leave the last speed standing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from robot_rl.errors import ConfigError
from robot_rl_controllers.freshness import Freshness
from robot_rl_hardware.car.deadman import OLDEST_S, STOP_WITHIN_S, Deadman

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WatchdogSettings:
    """How old things may be.

    Attributes:
        period_s: Time between two ticks.
        command_age_s: Of the policy's newest command.
        link_age_s: Of the newest sign that the car itself listens: an answer of its VESC.
        localisation_age_s: Of the newest pose.
    """

    period_s: float = 0.02
    command_age_s: float = 0.1
    link_age_s: float = 0.1
    localisation_age_s: float = 0.12

    def __post_init__(self) -> None:
        most_s = (STOP_WITHIN_S - OLDEST_S) / 2
        if not 0.0 < self.period_s <= most_s:
            raise ConfigError(f"watchdog.period_s is {self.period_s}; it must be positive and at most {most_s:g}")
        for name in ("command_age_s", "link_age_s", "localisation_age_s"):
            if not 0.0 < getattr(self, name) <= OLDEST_S:
                raise ConfigError(
                    f"watchdog.{name} is {getattr(self, name)}; it must be positive and at most {OLDEST_S}, so that "
                    f"the car is told to stop within {STOP_WITHIN_S} s of what falls silent"
                )


@dataclass(frozen=True, slots=True)
class Decision:
    """What the car is to do now.

    Attributes:
        speed_m_s, steering_rad: The policy's, if it drives.
        stamp_s: When the policy gave them.
        reason: Why the car must stop, in words; empty if it drives.
    """

    speed_m_s: float = 0.0
    steering_rad: float = 0.0
    stamp_s: float = -math.inf
    reason: str = ""

    @property
    def drives(self) -> bool:
        """Whether the car may do it."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Stop:
    """What stopped a car that drove.

    Attributes:
        name: "policy", "link", "deadman", "localisation", "clock" or "stop".
        reason: In words.
        last_s: Monotonic time of the last that was well: the newest stamp of what fell silent, or the moment at which
            the button was let go or somebody stopped the car.
        number: How many stops there have been, this one too.
    """

    name: str
    reason: str
    last_s: float
    number: int


class Watchdog:
    """Policy, link, deadman and localisation of one car.

    Attributes:
        deadman: Its samples are told to it directly.
        counts: How often each thing stopped the car: "policy", "link", "deadman", "localisation", "clock", "stop".
        stopped: What stopped it last; None if nothing did yet.

    Args:
        deadman: Must be held.
        settings: Ages.
        report: Receives a sentence when the car may drive and when it must stop.
    """

    def __init__(
        self,
        deadman: Deadman,
        settings: WatchdogSettings | None = None,
        report: Callable[[str], None] = log.warning,
    ) -> None:
        self.settings = settings or WatchdogSettings()
        self.counts: dict[str, int] = {}
        self.stopped: Stop | None = None
        self.deadman, self._report = deadman, report
        self._policy = Freshness("the policy", self.settings.command_age_s)
        self._link = Freshness("the car's VESC", self.settings.link_age_s)
        self._localisation = Freshness("the localisation", self.settings.localisation_age_s)
        self._command = Decision()
        self._stop = ""
        self._now_s = -math.inf
        self._armed_s = math.inf  # when the deadman was pressed that lets it drive; inf while it may not
        self._spent = deadman.presses
        self._why = ""

    def command(self, speed_m_s: float, steering_rad: float, stamp_s: float, now_s: float) -> None:
        """Take a command of the policy, given at a monotonic time."""
        if not (math.isfinite(speed_m_s) and math.isfinite(steering_rad)):
            self.stop(f"the policy commands what is no number: {speed_m_s} m/s, {steering_rad} rad")
        elif self._policy.take(stamp_s, now_s):
            self._command = Decision(speed_m_s, steering_rad, stamp_s)

    def linked(self, stamp_s: float, now_s: float) -> None:
        """Note that the car's VESC answered."""
        self._link.take(stamp_s, now_s)

    def located(self, stamp_s: float, now_s: float) -> None:
        """Note that a pose of this time came."""
        self._localisation.take(stamp_s, now_s)

    def stop(self, reason: str) -> None:
        """End the driving at the next tick, for a reason of the caller's: a collision, a geofence, a person."""
        self._stop = reason or "somebody stops the car"

    @property
    def armed(self) -> bool:
        """Whether the car may drive as far as the last tick knew."""
        return self._armed_s < math.inf

    def tick(self, now_s: float) -> Decision:
        """Return what the car is to do now."""
        name, why = self._problem(now_s)
        self._stop = ""
        self._now_s = max(self._now_s, now_s) if math.isfinite(now_s) else self._now_s
        pressed = self.deadman.presses != self._spent
        self._spent = self.deadman.presses  # a press counts once, and is lost if anything was wrong then
        if why:
            if self.armed:
                self._armed_s, self._why = math.inf, why
                self.counts[name] = self.counts.get(name, 0) + 1
                self.stopped = Stop(name, why, self._last_s(name, now_s), sum(self.counts.values()))
                self._report(f"the car must stop: {why}")
            return Decision(reason=why)
        if pressed:  # also anew while it drives: the button was let go between two ticks
            if not self.armed:
                self._report("the deadman was pressed: the car may drive")
            self._armed_s = now_s
        if not self.armed:
            earlier = f", since the car stopped: {self._why}" if self._why else ""
            return Decision(reason=f"the deadman must be let go and pressed again{earlier}")
        if not self._command.stamp_s > self._armed_s:
            return Decision(reason="no command was given since the deadman was pressed")
        return self._command

    def _last_s(self, name: str, now_s: float) -> float:
        """Return when what stopped the car was well for the last time."""
        sources = {"policy": self._policy, "link": self._link, "localisation": self._localisation}
        if name in sources:
            return sources[name].stamp_s
        return self.deadman.well_s if name == "deadman" else now_s

    def _problem(self, now_s: float) -> tuple[str, str]:
        """Return what is wrong and why; empty words if nothing is."""
        if not now_s >= self._now_s:  # so written that a time that is no number is a problem
            return "clock", f"the clock went from {self._now_s:.3f} to {now_s:.3f} s"
        if self._stop:
            return "stop", self._stop
        if why := self.deadman.problem(now_s):
            return "deadman", why
        for name, source in (("link", self._link), ("localisation", self._localisation), ("policy", self._policy)):
            if why := source.problem(now_s):
                return name, why
        return "", ""
