"""The guard's verdict on one request: may request and reading be trusted, and what may be executed. Compiled."""

from __future__ import annotations

import math

from robot_rl.compiled import kernel
from robot_rl.geometry import Quat, Vector, finite, norm3_t, quat_normalise_t
from robot_rl_controllers.guard_layout import (
    COMMAND_AGE_S,
    COMMAND_S,
    FORCE,
    FORCE_N,
    LAST_M,
    LAST_RAD,
    LAST_S,
    MAX_FORCE_N,
    NOT_FINITE,
    NOW_S,
    PERIOD_S,
    QUAT,
    SOFT_FORCE_N,
    STALE_COMMAND,
    STALE_OBSERVATION,
    STATE_AGE_S,
    STATE_P,
    STATE_QUAT,
    STATE_S,
    UNREADABLE_STATE,
)
from robot_rl_controllers.guard_rules import fit_pose

SOONEST = 0.5
"""Commands that come less than this part of a period after the last one get less than a period's way to go."""


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
    quat = (given[STATE_QUAT], given[STATE_QUAT + 1], given[STATE_QUAT + 2], given[STATE_QUAT + 3])
    if not finite(given[STATE_P:COMMAND_S]) or _is_zero(quat):
        return UNREADABLE_STATE
    rules = 0
    if norm3_t((given[FORCE_N], given[FORCE_N + 1], given[FORCE_N + 2])) > trust[MAX_FORCE_N]:
        rules |= FORCE
    if _stale(given[NOW_S], given[STATE_S], trust[STATE_AGE_S]):
        rules |= STALE_OBSERVATION
    if _stale(given[NOW_S], given[COMMAND_S], trust[COMMAND_AGE_S]):
        rules |= STALE_COMMAND
    if not finite(given[:STATE_P]) or _is_zero((given[QUAT], given[QUAT + 1], given[QUAT + 2], given[QUAT + 3])):
        rules |= NOT_FINITE
    return rules


@kernel
def judge(given: Vector, trust: Vector, bounds: Vector, previous: Vector, out: Vector) -> int:
    """Write the pose to execute into `out` (7,) and return the rules that spoke; `out` is untouched if it must hold."""
    rules = distrust(given, trust)
    if rules != 0:
        return rules
    x = (given[0], given[1], given[2])
    q = _unit((given[QUAT], given[QUAT + 1], given[QUAT + 2], given[QUAT + 3]))
    p = (given[STATE_P], given[STATE_P + 1], given[STATE_P + 2])
    m = STATE_QUAT
    quat = _unit((given[m], given[m + 1], given[m + 2], given[m + 3]))
    if math.isnan(previous[0]):
        previous[0], previous[1], previous[2] = p
        previous[3], previous[4], previous[5], previous[6] = quat
        previous[LAST_M], previous[LAST_RAD] = 0.0, 0.0
    # Requests in a burst share the way of one period. Jitter is no burst, and where no time passes there is none.
    share = (given[NOW_S] - previous[LAST_S]) / bounds[PERIOD_S]
    if not 0.0 < share < SOONEST:
        share = 1.0
    push = (0.0, 0.0, 0.0)
    force = (given[FORCE_N], given[FORCE_N + 1], given[FORCE_N + 2])
    force_n = norm3_t(force)
    if force_n > bounds[SOFT_FORCE_N]:
        push = (force[0] / force_n, force[1] / force_n, force[2] / force_n)
    rules = fit_pose(x, q, p, quat, push, share, bounds, previous, out)
    previous[LAST_S] = given[NOW_S]
    return rules
