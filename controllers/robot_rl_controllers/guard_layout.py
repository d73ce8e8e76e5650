"""Where each number of the guard lies in the arrays that its compiled rules read, and the bit of each rule."""

from __future__ import annotations

# `bounds` (20 + 6 n,): box corners [m], cone axis in B, cone half angle [rad], steps from the measured pose [m, rad],
# steps between successive commands [m, rad] and how much longer each may be than the one before it, the margin [m, rad]
# by which a measured pose may leave the workspace unreported, the force [N] above which nothing is advanced against it,
# the period [s] for which the steps between commands are meant, and the two corners [m] of each keep-out box.
BOX_MIN, BOX_MAX, CONE_AXIS, CONE_RAD, STEP_M, STEP_RAD = 0, 3, 6, 9, 10, 11
RATE_M, RATE_RAD, GROWTH_M, GROWTH_RAD, MARGIN_M, MARGIN_RAD = 12, 13, 14, 15, 16, 17
SOFT_FORCE_N, PERIOD_S, KEEP_OUT_BOXES = 18, 19, 20

# `previous` (10,): pose of the last executed command, how far it was from the one before it [m, rad] in a period, and
# when that was [s].
PREVIOUS_QUAT, LAST_M, LAST_RAD, LAST_S, PREVIOUS_SIZE = 3, 7, 8, 9, 10

# `given` (23,): a request, a reading and three times, as they enter compiled code.
P, QUAT, STATE_P, STATE_QUAT, FORCE_N, COMMAND_S, STATE_S, NOW_S, GIVEN_SIZE = 0, 3, 7, 10, 14, 20, 21, 22, 23

# `trust` (3,): largest force [N], largest age of a command and of a reading [s].
MAX_FORCE_N, COMMAND_AGE_S, STATE_AGE_S = 0, 1, 2

TOLERANCE = 1e-9
"""Metres or radians by which rounding may miss a bound; far below what any sensor sees."""

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
    "soft_force",  # the request pushes on against a force that is large already: that part is taken away
    "keep_out",  # the request, or the way to it, enters a keep-out box: it slides along the box or ends there
    "measured_keep_out",  # the tool itself is in a keep-out box: it is led out
)
"""Rules in the order of their bits."""

WORKSPACE, CONE, STEPPED_M, STEPPED_RAD, RATE, MEASURED_WORKSPACE, MEASURED_CONE = 1, 2, 4, 8, 16, 32, 64
NOT_FINITE, STALE_COMMAND, STALE_OBSERVATION, UNREADABLE_STATE, FORCE = 128, 256, 512, 1024, 2048
SOFT_FORCE, KEEP_OUT, MEASURED_KEEP_OUT = 4096, 8192, 16384
HOLDS = NOT_FINITE | STALE_COMMAND | STALE_OBSERVATION | UNREADABLE_STATE | FORCE
"""Rules by which the arm holds where it is instead of following."""
