"""What every torque passes last: the limit of its joint, then the limit of its change."""

from __future__ import annotations

import math

from robot_rl.compiled import kernel
from robot_rl.geometry import Vector


@kernel
def torque_step(rate: float, dt: float) -> float:
    """Return the largest torque change [N m] in a tick of `dt` seconds; zero if `dt` is not a positive number."""
    return rate * dt if math.isfinite(dt) and dt > 0.0 and math.isfinite(rate) and rate > 0.0 else 0.0


@kernel
def limit_torque(wanted: float, previous: float, limit: float, step: float) -> float:
    """Return one joint's torque [N m]: within its limit first, then within `step` of the previous one.

    A wanted or previous torque that is not finite counts as zero.
    """
    before = previous if math.isfinite(previous) else 0.0
    after = min(max(wanted, -limit), limit) if math.isfinite(wanted) else 0.0
    return min(max(after, before - step), before + step)


@kernel
def fade_out(tau_prev: Vector, tau_out: Vector, step: float) -> None:
    """Move every torque (n,) towards zero by at most `step` [N m]; the arrays may be the same."""
    for i in range(len(tau_out)):
        tau_out[i] = limit_torque(0.0, tau_prev[i], 0.0, step)
