"""The numbers that a learner may change from call to call without compiling anew."""

from __future__ import annotations

import math
from collections.abc import Mapping

from robot_rl.errors import ConfigError, nearest

DEFAULTS = {"actor_scale": 1.0, "bc_weight": 0.0, "q_weight": 1.0}


def check_schedule(schedule: Mapping[str, float]) -> dict[str, float]:
    """Return the schedule with defaults filled in; refuse unknown names and what is no finite number from 0 on."""
    for name, value in schedule.items():
        if name not in DEFAULTS:
            raise ConfigError(
                f"the agent's schedule has no '{name}'; allowed: {', '.join(DEFAULTS)}.{nearest(name, DEFAULTS)}"
            )
        if not 0.0 <= float(value) < math.inf:
            raise ConfigError(f"the agent's schedule has {name} = {value}; allowed: a finite number of at least 0")
    return {k: float(schedule.get(k, v)) for k, v in DEFAULTS.items()}
