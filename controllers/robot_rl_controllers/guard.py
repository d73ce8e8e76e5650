"""The guard: the last code before the controller, on hardware and in the twins alike.

It turns every request into a pose that may be executed, says which rules changed it, and counts them. It holds the arm
when a request or a reading cannot be trusted, and latches a stop that only `acknowledge` ends. What it returns is what
the controller gets and what is learnt from.

It owns no clock and no thread: a driver passes the times and calls `check` for every command. In between it calls
`review`, by which the command that stands goes stale, and `watch` during motions that are not commanded pose by pose.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

from robot_rl.cell import Box
from robot_rl.errors import RobotError
from robot_rl.geometry import Vector, norm3_t, quat_normalise_t
from robot_rl.robot import ArmCommand, Executed, RobotState
from robot_rl.task import Limits
from robot_rl_controllers.guard_judge import distrust, judge
from robot_rl_controllers.guard_layout import (
    COMMAND_AGE_S,
    COMMAND_S,
    EVENTS,
    FORCE,
    FORCE_N,
    GIVEN_SIZE,
    GROWTH_M,
    GROWTH_RAD,
    HOLDS,
    LAST_M,
    LAST_RAD,
    NOT_FINITE,
    NOW_S,
    PERIOD_S,
    PREVIOUS_SIZE,
    QUAT,
    RATE_M,
    RATE_RAD,
    SOFT_FORCE_N,
    STALE_COMMAND,
    STALE_OBSERVATION,
    STATE_AGE_S,
    STATE_P,
    STATE_QUAT,
    STATE_S,
    UNREADABLE_STATE,
    P,
)
from robot_rl_controllers.guard_limits import positive
from robot_rl_controllers.guard_workspace import Workspace

log = logging.getLogger(__name__)

_REASONS = (
    (UNREADABLE_STATE, "the reading of the arm is not made of finite numbers"),
    (STALE_OBSERVATION, "the reading is {state_age}, allowed are {state_limit:.3f} s"),
    (STALE_COMMAND, "the command is {command_age}, allowed are {command_limit:.3f} s"),
    (NOT_FINITE, "the command is not a pose of finite numbers"),
)


class Guard(Workspace):
    """The safety rules of one task on one robot; see `EVENTS` for what they are.

    Attributes:
        counts: How often each rule spoke since `reset_episode`.
        totals: The same since the guard was made.
        stop_reason: Why the guard is stopped; empty if it is not.
    """

    def __init__(
        self,
        limits: Limits,
        period_s: float,
        *,
        keep_out: Sequence[Box] = (),
        speed_m_s: float | None = None,
        speed_rad_s: float | None = None,
        acceleration_m_s2: float | None = None,
        acceleration_rad_s2: float | None = None,
        observation_age_s: float | None = None,
        margin_m: float = 0.01,
        margin_rad: float = 0.05,
    ) -> None:
        """Check the limits and prepare.

        Args:
            limits: workspace, steps, speeds and forces of the task, within the cell (`within_cell`).
            period_s: seconds between two commands.
            keep_out: boxes that the tool must not enter.
            speed_m_s, speed_rad_s, acceleration_m_s2, acceleration_rad_s2: instead of those in `limits`.
            observation_age_s: oldest reading to act on; by default as old as a command may be.
            margin_m, margin_rad: how far the measured pose may leave the workspace before that is reported.

        Raises:
            ConfigError: A bound is inverted, degenerate, not finite or evidently a default.
        """
        super().__init__(limits, keep_out, margin_m, margin_rad)
        self.period_s = positive("period_s", period_s)
        self._bounds[[RATE_M, RATE_RAD, GROWTH_M, GROWTH_RAD, SOFT_FORCE_N, PERIOD_S]] = (
            _rate("speed_m_s", speed_m_s, limits.speed_m_s, period_s, 1.5 * limits.step_m),
            _rate("speed_rad_s", speed_rad_s, limits.speed_rad_s, period_s, 1.5 * limits.step_rad),
            _growth("acceleration_m_s2", acceleration_m_s2, limits.acceleration_m_s2, period_s),
            _growth("acceleration_rad_s2", acceleration_rad_s2, limits.acceleration_rad_s2, period_s),
            positive("limits.soft_force_n", limits.soft_force_n, math.inf),
            self.period_s,
        )
        command_age_s = positive("limits.command_age_s", limits.command_age_s)
        state_age_s = command_age_s if observation_age_s is None else positive("observation_age_s", observation_age_s)
        self._trust = np.array([positive("limits.force_n", limits.force_n), command_age_s, state_age_s])
        self._given = np.zeros(GIVEN_SIZE)
        self._previous = np.full(PREVIOUS_SIZE, np.nan)
        self._held: Vector | None = None
        self._why_held = ""
        self._standing: float | None = None  # when the command that stands was given; none stands after a hold
        self._close, self._spoke = False, 0  # its gripper, and the rules that spoke about it last
        self._names: dict[int, tuple[str, ...]] = {0: ()}
        self.counts: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self.stop_reason = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop is latched."""
        return self.stop_reason != ""

    def check(self, command: ArmCommand, state: RobotState, now_s: float, command_stamp_s: float) -> Executed:
        """Return what may be executed for a request, given the newest reading.

        A held arm is told the pose at which the hold began, so it neither creeps nor pulls towards an old target. Then
        `reason` says why, and `stopped` whether it takes more than a better request.

        Args:
            command: where the tool shall go.
            state: newest reading; its stamp and the times below share one clock.
            now_s: seconds.
            command_stamp_s: when the command was given.

        Raises:
            RobotError: no pose of the tool has ever been readable, so there is nothing to hold.
        """
        if self.stop_reason:
            self._take_state(state)
            return self._hold(state, ("stopped",))
        given = self._given
        try:
            given[P:QUAT] = command.p_BE
            given[QUAT:STATE_P] = command.quat_BE
        except (TypeError, ValueError):  # not three and four numbers
            given[P] = np.nan
        self._take_state(state)
        given[COMMAND_S] = command_stamp_s
        given[NOW_S] = now_s
        out = np.empty(7)
        rules = judge(given, self._trust, self._bounds, self._previous, out)
        if rules & HOLDS:
            return self._refuse(rules, state)
        self._held, self._why_held = None, ""
        self._standing, self._close, self._spoke = command_stamp_s, command.close_gripper, rules
        return Executed(out[:3], out[3:], command.close_gripper, self._report(rules) if rules else ())

    def review(self, state: RobotState, now_s: float) -> Executed:
        """Return what may be executed of the command that `check` let through last, when no new one has come.

        It goes stale, gives way to force, and is held to the same limits from the newest reading. Without such a
        command (at first, after a hold, after `forget_motion`) the arm holds; a hold goes on giving its reason. What
        goes on speaking is counted once, however often this is called.

        Raises:
            RobotError: no pose of the tool has ever been readable.
        """
        self._take_state(state)
        if self.stop_reason:
            return self._hold(state, ())
        given, previous = self._given, self._previous
        given[NOW_S] = now_s
        given[COMMAND_S] = now_s if self._standing is None else self._standing
        given[P:STATE_P] = given[STATE_P:FORCE_N] if self._standing is None else previous[:7]
        if self._standing is None:
            rules = distrust(given, self._trust) & ~NOT_FINITE
            if rules and not self._why_held:
                return self._refuse(rules, state)
            if rules & FORCE:
                self._latch_force()
            return self._hold(state, ())
        kept = previous[7:].copy()
        out = np.empty(7)
        rules = judge(given, self._trust, self._bounds, previous, out)
        if rules & HOLDS:
            return self._refuse(rules, state)
        previous[7:] = kept  # the next command has its own way to go
        self._report(rules & ~self._spoke)
        self._spoke = rules
        return Executed(out[:3], out[3:], self._close, self._name(rules))

    def watch(self, state: RobotState, now_s: float) -> tuple[str, ...]:
        """Return the rules that a reading breaks during a motion that `check` does not see, such as a reset.

        Too large a force latches a stop, as always. The caller ends the motion when `stopped` is set.
        """
        self._take_state(state)
        given = self._given
        given[P:STATE_P] = given[STATE_P:FORCE_N]
        given[COMMAND_S] = given[NOW_S] = now_s
        rules = distrust(given, self._trust)
        if rules & FORCE:
            self._latch_force()
        events = self._report(rules)
        if not rules & UNREADABLE_STATE:
            outside = self.check_waypoint(given[STATE_P:STATE_QUAT], given[STATE_QUAT:FORCE_N])
            events += tuple(f"measured_{name}" for name in outside)
            self._count(events[-len(outside) :] if outside else ())
        return events

    def stop(self, reason: str) -> None:
        """Latch a stop: from now on the arm holds, until `acknowledge`. The first reason is kept."""
        if not self.stop_reason:
            self.stop_reason = reason or "no reason given"
            self._held = self._standing = None
            self._count(("stop",))
            log.warning("the guard stopped the arm: %s; it holds until this is acknowledged", self.stop_reason)

    def acknowledge(self) -> None:
        """End a stop, on a person's word. The next command counts from the measured pose."""
        self.stop_reason = ""
        self.forget_motion()

    def reset_episode(self) -> None:
        """Start counting anew and forget the last command. A latched stop stays."""
        self.counts = {}
        if not self.stop_reason:
            self.forget_motion()

    def forget_motion(self) -> None:
        """Let no command stand: the arm holds where it is then, and the next command counts from there."""
        self._held = self._standing = None
        self._why_held = ""
        self._previous[:] = np.nan

    def _take_state(self, state: RobotState) -> None:
        given = self._given
        try:
            given[STATE_P:STATE_QUAT] = state.p_BE
            given[STATE_QUAT:FORCE_N] = state.quat_BE
            given[FORCE_N:COMMAND_S] = state.F_BE
        except (TypeError, ValueError):
            given[STATE_P] = np.nan
        given[STATE_S] = state.stamp_s

    def _refuse(self, rules: int, state: RobotState) -> Executed:
        events = self._report(rules)
        if rules & FORCE:
            self._latch_force()
        given, trust = self._given, self._trust
        self._standing = None
        self._why_held = next((text for rule, text in _REASONS if rules & rule), "").format(
            state_age=_age(given[NOW_S] - given[STATE_S]), state_limit=trust[STATE_AGE_S],
            command_age=_age(given[NOW_S] - given[COMMAND_S]), command_limit=trust[COMMAND_AGE_S],
        )  # fmt: skip
        return self._hold(state, events)

    def _latch_force(self) -> None:
        force_n = norm3_t(self._given[FORCE_N : FORCE_N + 3])
        self.stop(f"contact force {force_n:.1f} N is above the limit of {self.limits.force_n} N")

    def _hold(self, state: RobotState, events: tuple[str, ...]) -> Executed:
        """Return the pose at which the hold began, as a copy."""
        if self._held is None:
            pose = self._given[STATE_P:FORCE_N]
            if not np.isfinite(pose).all() or not pose[3:].any():
                pose = self._previous[:7]
            if not np.isfinite(pose).all():
                raise RobotError(
                    f"the guard has no tool pose to hold: the first reading is p_BE={state.p_BE}, "
                    f"quat_BE={state.quat_BE}. Check the driver's state before commanding."
                )
            self._held = pose.copy()
            self._held[3:] = quat_normalise_t(self._held[3:])
            self._previous[:7] = self._held
            self._previous[[LAST_M, LAST_RAD]] = 0.0
        held = self._held.copy()
        reason = self.stop_reason or self._why_held
        return Executed(held[:3], held[3:], bool(state.gripper_closing), events, self.stopped, reason)

    def _report(self, rules: int) -> tuple[str, ...]:
        names = self._name(rules)
        self._count(names)
        return names

    def _name(self, rules: int) -> tuple[str, ...]:
        names = self._names.get(rules)
        if names is None:
            names = self._names[rules] = tuple(name for i, name in enumerate(EVENTS) if rules >> i & 1)
        return names

    def _count(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.counts[name] = self.counts.get(name, 0) + 1
            self.totals[name] = self.totals.get(name, 0) + 1


def _age(age_s: float) -> str:
    """Return an age in words; a stamp may lie in the future, or be no number."""
    if age_s < 0.0:
        return f"{-age_s:.3f} s ahead of the clock"
    return f"{age_s:.3f} s old" if age_s >= 0.0 else "of no known age"


def _rate(name: str, given: float | None, limit: float, period_s: float, default: float) -> float:
    """Return how far successive commands may lie apart [m or rad]."""
    if given is not None:
        return positive(name, given) * period_s
    return min(positive(f"limits.{name}", limit, math.inf) * period_s, default)


def _growth(name: str, given: float | None, limit: float, period_s: float) -> float:
    """Return how much farther apart [m or rad] they may lie than the ones before."""
    value = limit if given is None else given
    return positive(name if given is not None else f"limits.{name}", value, math.inf) * period_s**2
