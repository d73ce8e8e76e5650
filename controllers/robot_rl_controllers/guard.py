"""The guard: the last code before the controller, on hardware and in the twins alike.

It turns every request into a pose that may be executed, says which rules changed it, and counts them. It holds the arm
when a request or a reading cannot be trusted, and latches a stop that only `acknowledge` ends. What it returns is what
the controller gets and what is learnt from.

It owns no clock and no thread: a driver passes the times, calls `check` at the rate it was built for, and may do so
again with an old command, which is then found stale. `watch` is for motions that are not commanded pose by pose.
"""

from __future__ import annotations

import logging
import math

import numpy as np

from robot_rl.compiled import kernel
from robot_rl.errors import ConfigError, RobotError
from robot_rl.geometry import Quat, Vector, finite, norm3_t, quat_normalise_t
from robot_rl.robot import ArmCommand, Executed, RobotState
from robot_rl.task import Limits
from robot_rl_controllers.guard_rules import TOLERANCE, fit_pose, into_box, tilt

log = logging.getLogger(__name__)

# Layout of the array (23,) that carries a request and a reading into compiled code.
_P, _QUAT, _STATE_P, _STATE_QUAT, _FORCE, _COMMAND_S, _STATE_S, _NOW_S = 0, 3, 7, 10, 14, 20, 21, 22
_INPUT_SIZE = 23
# Layout of the array (3,) of the rules about trust: largest force [N], largest age of a command and of a reading [s].
_MAX_FORCE, _COMMAND_AGE, _STATE_AGE = 0, 1, 2

EVENTS = (
    "workspace",  # the requested position was outside the box
    "cone",  # the requested tool axis was outside the cone
    "step_m",  # too far from the measured position
    "step_rad",  # turned too far from the measured orientation
    "rate",  # too far from the command before
    "measured_workspace",  # the tool itself is outside the box: it is led back
    "measured_cone",  # the tool itself is outside the cone: it is led back
    "not_finite",  # the request is not made of finite numbers: held
    "stale_command",  # the request is too old: held
    "stale_observation",  # the reading is too old: held
    "unreadable_state",  # the reading is not made of finite numbers: held
    "force",  # the contact force is too large: stopped
)
"""Rules in the order of their bits."""

NOT_FINITE, STALE_COMMAND, STALE_OBSERVATION, UNREADABLE_STATE, FORCE = 128, 256, 512, 1024, 2048
_HOLD = NOT_FINITE | STALE_COMMAND | STALE_OBSERVATION | UNREADABLE_STATE | FORCE

MAX_SIDE_M = 3.0
"""A box with a longer side is no measured workspace but a default: the arm reaches 0.86 m."""


@kernel
def _unit(q: Quat) -> Quat:
    """Return `q` itself if it has unit length, else normalised."""
    n = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]
    return q if abs(n - 1.0) <= 1e-9 else quat_normalise_t(q)


@kernel
def _is_zero(q: Quat) -> bool:
    return q[0] == 0.0 and q[1] == 0.0 and q[2] == 0.0 and q[3] == 0.0


@kernel
def _stale(now_s: float, stamp_s: float, limit_s: float) -> bool:
    """Return whether a stamp is too old, too far in the future, or no time at all."""
    return not (abs(now_s - stamp_s) <= limit_s)


@kernel
def distrust(given: Vector, trust: Vector) -> int:
    """Return the rules by which a request or a reading may not be acted on."""
    quat = (given[_STATE_QUAT], given[_STATE_QUAT + 1], given[_STATE_QUAT + 2], given[_STATE_QUAT + 3])
    if not finite(given[_STATE_P:_COMMAND_S]) or _is_zero(quat):
        return UNREADABLE_STATE
    rules = 0
    if norm3_t((given[_FORCE], given[_FORCE + 1], given[_FORCE + 2])) > trust[_MAX_FORCE]:
        rules |= FORCE
    if _stale(given[_NOW_S], given[_STATE_S], trust[_STATE_AGE]):
        rules |= STALE_OBSERVATION
    if _stale(given[_NOW_S], given[_COMMAND_S], trust[_COMMAND_AGE]):
        rules |= STALE_COMMAND
    if not finite(given[:_STATE_P]) or _is_zero((given[3], given[4], given[5], given[6])):
        rules |= NOT_FINITE
    return rules


@kernel
def judge(given: Vector, trust: Vector, bounds: Vector, previous: Vector, out: Vector) -> int:
    """Write the pose to execute into `out` (7,) and return the rules that spoke; `out` is untouched if it must hold."""
    rules = distrust(given, trust)
    if rules != 0:
        return rules
    x = (given[0], given[1], given[2])
    q = _unit((given[3], given[4], given[5], given[6]))
    p = (given[_STATE_P], given[_STATE_P + 1], given[_STATE_P + 2])
    m = _STATE_QUAT
    quat = _unit((given[m], given[m + 1], given[m + 2], given[m + 3]))
    if math.isnan(previous[0]):
        previous[0], previous[1], previous[2] = p
        previous[3], previous[4], previous[5], previous[6] = quat
        previous[7], previous[8] = 0.0, 0.0
    return fit_pose(x, q, p, quat, bounds, previous, out)


class Guard:
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
        speed_m_s: float | None = None,
        speed_rad_s: float | None = None,
        acceleration_m_s2: float = math.inf,
        acceleration_rad_s2: float = math.inf,
        observation_age_s: float | None = None,
        margin_m: float = 0.01,
        margin_rad: float = 0.05,
    ) -> None:
        """Check the limits and prepare.

        Args:
            limits: workspace and steps of the task.
            period_s: seconds between two calls of `check`.
            speed_m_s, speed_rad_s: how fast successive commands may move; by default 1.5 steps per period, which a
                reversal of the largest sensible action keeps.
            acceleration_m_s2, acceleration_rad_s2: how fast that speed may grow. Slowing down is always allowed.
            observation_age_s: oldest reading to act on; by default as old as a command may be.
            margin_m, margin_rad: how far the measured pose may leave the workspace before that is reported.

        Raises:
            ConfigError: A bound is inverted, degenerate, not finite or evidently a default.
        """
        self.limits = limits
        self.period_s = _positive("period_s", period_s)
        workspace = _pack_bounds(limits)
        rate_m = 1.5 * limits.step_m if speed_m_s is None else _positive("speed_m_s", speed_m_s) * period_s
        rate_rad = 1.5 * limits.step_rad if speed_rad_s is None else _positive("speed_rad_s", speed_rad_s) * period_s
        growth_m = _positive("acceleration_m_s2", acceleration_m_s2, math.inf) * period_s**2
        growth_rad = _positive("acceleration_rad_s2", acceleration_rad_s2, math.inf) * period_s**2
        margins = (_positive("margin_m", margin_m), _positive("margin_rad", margin_rad))
        self._bounds = np.array([*workspace, rate_m, rate_rad, growth_m, growth_rad, *margins])
        command_age_s = _positive("limits.command_age_s", limits.command_age_s)
        state_age_s = command_age_s if observation_age_s is None else _positive("observation_age_s", observation_age_s)
        self._trust = np.array([_positive("limits.force_n", limits.force_n), command_age_s, state_age_s])
        self._given = np.zeros(_INPUT_SIZE)
        self._previous = np.full(9, np.nan)
        self._held: Vector | None = None
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

        A held arm is told the pose at which the hold began, so it neither creeps nor pulls towards an old target.

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
            given[_P:_QUAT] = command.p_BE
            given[_QUAT:_STATE_P] = command.quat_BE
        except (TypeError, ValueError):  # not three and four numbers
            given[_P] = np.nan
        self._take_state(state)
        given[_COMMAND_S] = command_stamp_s
        given[_NOW_S] = now_s
        out = np.empty(7)
        rules = judge(given, self._trust, self._bounds, self._previous, out)
        if rules & _HOLD:
            return self._refuse(rules, state)
        self._held = None
        return Executed(out[:3], out[3:], command.close_gripper, self._report(rules) if rules else ())

    def watch(self, state: RobotState, now_s: float) -> tuple[str, ...]:
        """Return the rules that a reading breaks during a motion that `check` does not see, such as a reset.

        Too large a force latches a stop, as always. The caller ends the motion when `stopped` is set.
        """
        self._take_state(state)
        given = self._given
        given[_P:_STATE_P] = given[_STATE_P:_FORCE]
        given[_COMMAND_S] = given[_NOW_S] = now_s
        rules = distrust(given, self._trust)
        if rules & FORCE:
            self._latch_force()
        events = self._report(rules)
        if not rules & UNREADABLE_STATE:
            outside = self.check_waypoint(given[_STATE_P:_STATE_QUAT], given[_STATE_QUAT:_FORCE])
            events += tuple(f"measured_{name}" for name in outside)
            self._count(events[-len(outside) :] if outside else ())
        return events

    def check_waypoint(self, p: Vector, quat: Vector) -> tuple[str, ...]:
        """Return which of "not_finite", "workspace", "cone" a tool pose in B breaks; empty if it may be visited."""
        pose = np.full(7, np.nan)
        try:
            pose[:3], pose[3:] = p, quat
        except (TypeError, ValueError):
            return ("not_finite",)
        unit = np.array(quat_normalise_t(pose[3:]))
        if not np.isfinite(pose).all() or not unit.any():
            return ("not_finite",)
        broken = []
        if np.abs(np.array(into_box(pose[:3], self._bounds)) - pose[:3]).max() > TOLERANCE:
            broken.append("workspace")
        if tilt(unit, self._bounds) > self.limits.cone_rad + TOLERANCE:
            broken.append("cone")
        return tuple(broken)

    def check_reset(self, p: Vector, quat: Vector) -> None:
        """Refuse a start pose of the tool, (3,) [m] and (4,) wxyz in B, that is outside the workspace.

        Raises:
            RobotError: naming the rule, the pose and what is allowed.
        """
        broken = self.check_waypoint(p, quat)
        if broken:
            limits = self.limits
            raise RobotError(
                f"the start pose p_BE={np.round(p, 4).tolist()} m, quat_BE={np.round(quat, 4).tolist()} breaks the "
                f"rule {' and '.join(broken)}; allowed is the box {limits.box_min_m} to {limits.box_max_m} m and a "
                f"tilt of {limits.cone_rad} rad from {limits.cone_axis}. Move the start area or correct the limits."
            )

    def stop(self, reason: str) -> None:
        """Latch a stop: from now on the arm holds, until `acknowledge`. The first reason is kept."""
        if not self.stop_reason:
            self.stop_reason = reason or "no reason given"
            self._held = None
            self._count(("stop",))
            log.warning("the guard stopped the arm: %s; it holds until this is acknowledged", self.stop_reason)

    def acknowledge(self) -> None:
        """End a stop, on a person's word. The next command counts from the measured pose."""
        self.stop_reason = ""
        self._forget_motion()

    def reset_episode(self) -> None:
        """Start counting anew and forget the last command. A latched stop stays."""
        self.counts = {}
        if not self.stop_reason:
            self._forget_motion()

    def _forget_motion(self) -> None:
        self._held = None
        self._previous[:] = np.nan

    def _take_state(self, state: RobotState) -> None:
        given = self._given
        try:
            given[_STATE_P:_STATE_QUAT] = state.p_BE
            given[_STATE_QUAT:_FORCE] = state.quat_BE
            given[_FORCE:_COMMAND_S] = state.F_BE
        except (TypeError, ValueError):
            given[_STATE_P] = np.nan
        given[_STATE_S] = state.stamp_s

    def _refuse(self, rules: int, state: RobotState) -> Executed:
        events = self._report(rules)
        if rules & FORCE:
            self._latch_force()
        return self._hold(state, events)

    def _latch_force(self) -> None:
        force_n = norm3_t(self._given[_FORCE : _FORCE + 3])
        self.stop(f"contact force {force_n:.1f} N is above the limit of {self.limits.force_n} N")

    def _hold(self, state: RobotState, events: tuple[str, ...]) -> Executed:
        """Return the pose at which the hold began, as a copy."""
        if self._held is None:
            pose = self._given[_STATE_P:_FORCE]
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
            self._previous[7:] = 0.0
        held = self._held.copy()
        return Executed(held[:3], held[3:], bool(state.gripper_closing), events, self.stopped)

    def _report(self, rules: int) -> tuple[str, ...]:
        names = self._names.get(rules)
        if names is None:
            names = self._names[rules] = tuple(name for i, name in enumerate(EVENTS) if rules >> i & 1)
        self._count(names)
        return names

    def _count(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.counts[name] = self.counts.get(name, 0) + 1
            self.totals[name] = self.totals.get(name, 0) + 1


def _positive(name: str, value: float, largest: float = 1e6) -> float:
    if not isinstance(value, int | float | np.floating) or not 0.0 < value <= largest:
        raise ConfigError(f"{name} must be a positive, finite number, got {value}. Correct the task's limits.")
    return float(value)


def _pack_bounds(limits: Limits) -> list[float]:
    """Return the first 12 entries of the rules' bounds, or refuse the limits."""
    try:
        low, high, axis = (np.array(v, float) for v in (limits.box_min_m, limits.box_max_m, limits.cone_axis))
    except (TypeError, ValueError):
        raise ConfigError(
            "limits.box_min_m, box_max_m and cone_axis must each be three numbers, got "
            f"{limits.box_min_m}, {limits.box_max_m}, {limits.cone_axis}."
        ) from None
    if any(v.shape != (3,) or not np.isfinite(v).all() for v in (low, high, axis)):
        raise ConfigError(
            "limits.box_min_m, box_max_m and cone_axis must each be three finite numbers, got "
            f"{limits.box_min_m}, {limits.box_max_m}, {limits.cone_axis}."
        )
    sides = high - low
    if sides.min() < 1e-3 or sides.max() > MAX_SIDE_M:
        raise ConfigError(
            f"the workspace box from {limits.box_min_m} to {limits.box_max_m} m has sides of "
            f"{np.round(sides, 4).tolist()} m; each must be between 0.001 and {MAX_SIDE_M} m. "
            "Measure the workspace and set limits.box_min_m and limits.box_max_m."
        )
    if abs(np.linalg.norm(axis) - 1.0) > 1e-3:
        raise ConfigError(f"limits.cone_axis must be a unit vector, got {limits.cone_axis}.")
    for name in ("cone_rad", "step_rad"):
        if _positive(f"limits.{name}", getattr(limits, name)) > math.pi:
            raise ConfigError(f"limits.{name} must be at most pi, got {getattr(limits, name)}.")
    step_m = _positive("limits.step_m", limits.step_m)
    return [*low, *high, *axis, limits.cone_rad, step_m, limits.step_rad]
