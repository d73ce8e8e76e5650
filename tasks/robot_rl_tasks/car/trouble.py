"""Telling that a car is in trouble, from what it can measure: a crash, a wheel in the air, or no way forward."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, fields

import numpy as np

from robot_rl.car import CarState
from robot_rl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TroubleSettings:
    """When a car is in trouble.

    Attributes:
        shock_m_s2: A horizontal acceleration above it is a crash; tyres give no more than about 10, and a hull that
            loses 0.5 m/s at a wall shows 13 or more.
        stuck_s, stuck_m: A car that asks for motion all that time and moves less than that far is stuck.
        moving_m_s: Speeds below it ask for none.
        upright_m_s2, tipped_s: A specific force along its z below it for that long means that it lies on a side or its
            roof.
    """

    shock_m_s2: float = 13.0
    stuck_s: float = 1.0
    stuck_m: float = 0.15
    moving_m_s: float = 0.3
    upright_m_s2: float = 3.0
    tipped_s: float = 0.4

    def __post_init__(self) -> None:
        for f in fields(self):
            if not 0.0 < getattr(self, f.name) < math.inf:
                raise ConfigError(f"trouble.{f.name} must be positive, got {getattr(self, f.name)}")


@dataclass(slots=True)
class TroubleDetector:
    """Watches readings and commands. `update` names the trouble a car is in: "crash", "stuck", "flip", or ""."""

    settings: TroubleSettings = field(default_factory=TroubleSettings)
    _track: deque[tuple[float, float, float, bool]] = field(default_factory=deque)
    _tipped_since_s: float | None = None

    def reset(self) -> None:
        """Forget what was seen; at the start of an episode and after a recovery."""
        self._track.clear()
        self._tipped_since_s = None

    def update(self, state: CarState, asked_m_s: float) -> str:
        """Take the next reading and the speed that was asked for before it, and name the trouble."""
        set_ = self.settings
        if state.acceleration_m_s2[2] < set_.upright_m_s2:
            since = self._tipped_since_s = state.stamp_s if self._tipped_since_s is None else self._tipped_since_s
            if state.stamp_s - since >= set_.tipped_s:
                return "flip"
        else:
            self._tipped_since_s = None
        if state.shock_m_s2 > set_.shock_m_s2:
            return "crash"
        x, y = map(float, state.p_WC)
        self._track.append((state.stamp_s, x, y, abs(asked_m_s) > set_.moving_m_s))
        while self._track and state.stamp_s - self._track[0][0] > set_.stuck_s + 1e-6:
            self._track.popleft()
        rows = np.array(self._track)
        if rows[-1, 0] - rows[0, 0] < 0.9 * set_.stuck_s or not rows[:, 3].all():
            return ""
        # Both halves are averaged, so that the pose's noise is not taken for motion.
        third = max(len(rows) // 3, 1)
        moved = rows[-third:, 1:3].mean(axis=0) - rows[:third, 1:3].mean(axis=0)
        return "stuck" if math.hypot(*moved) < set_.stuck_m * 2 / 3 else ""
