"""`LapTimer`: when a car crosses which gate, between two readings, and how long its laps take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from robot_rl.car import wrap
from robot_rl_tasks.car.course import Course


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A gate that was crossed.

    Attributes:
        gate: Its index.
        stamp_s: When, interpolated between the readings before and after.
        lap_s: Duration of the lap that ended here; None unless this is the finish after all gates in order.
    """

    gate: int
    stamp_s: float
    lap_s: float | None = None


@dataclass(slots=True)
class LapTimer:
    """Follows a car from gate to gate. A gate counts when it is crossed forward, within its ends, in its turn.

    Attributes:
        course: Gives the gates.
        margin_m: How far beyond its ends a gate still counts: the pose's noise.
        next_gate: Index of the gate that comes next; None before `begin`.
        laps_s: Durations of the complete laps.
    """

    course: Course
    margin_m: float = 0.1
    next_gate: int | None = None
    laps_s: list[float] = field(default_factory=list)
    _last: tuple[float, float, float] | None = None
    _started_s: float | None = None

    def begin(self, stamp_s: float, p: Sequence[float], s_m: float | None = None) -> int:
        """Start where the car stands, and return the gate that comes next. A lap begins at the next start line.

        Args:
            stamp_s: Time.
            p: Position in W [m].
            s_m: Arc length, where it is known; otherwise that of the nearest point of the line.
        """
        s = self.course.line.project(np.asarray(p, float))[0] if s_m is None else s_m
        self._last, self._started_s = (stamp_s, float(p[0]), float(p[1])), None
        self.next_gate = self.course.gate_after(s)
        return self.next_gate

    def resume(self, stamp_s: float, p: Sequence[float], yaw_rad: float) -> int:
        """After a recovery: aim for the nearest gate that lies ahead of the car, and return its index.

        The lap in progress is lost unless that gate is the one that was due anyway.
        """
        best, cost = self.next_gate or 0, math.inf
        for i, gate in enumerate(self.course.gates):
            dx, dy = gate.p_W[0] - p[0], gate.p_W[1] - p[1]
            past, _ = gate.sides(p)
            turn = abs(wrap(math.atan2(dy, dx) - yaw_rad))
            against = abs(wrap(gate.heading_rad - yaw_rad))
            # A gate behind the car, or one to be crossed the other way, costs as much as the way around to it.
            price = math.hypot(dx, dy) + 1.5 * turn + 1.5 * against + (3.0 if past > 0.0 else 0.0)
            if price < cost:
                best, cost = i, price
        if best != self.next_gate:
            self._started_s = None
        self.next_gate, self._last = best, (stamp_s, float(p[0]), float(p[1]))
        return best

    def update(self, stamp_s: float, p: Sequence[float]) -> list[Crossing]:
        """Take the next reading and return the gates that were crossed since the one before, in order."""
        if self._last is None or self.next_gate is None:
            self.begin(stamp_s, p)
            return []
        before, now = self._last, (stamp_s, float(p[0]), float(p[1]))
        self._last = now
        found: list[Crossing] = []
        if now[0] <= before[0]:
            return found
        fraction = 0.0
        for _ in self.course.gates:
            gate = self.course.gates[self.next_gate]
            past0, left0 = gate.sides(before[1:])
            past1, left1 = gate.sides(now[1:])
            if not past0 < 0.0 <= past1:
                break
            share = past0 / (past0 - past1)
            left = left0 + share * (left1 - left0)
            if share < fraction or not -gate.right_m - self.margin_m <= left <= gate.left_m + self.margin_m:
                break
            fraction = share
            found.append(self._crossed(before[0] + share * (now[0] - before[0])))
        return found

    def _crossed(self, stamp_s: float) -> Crossing:
        gate = self.next_gate or 0
        lap = None
        if gate == 0:
            if self._started_s is not None:
                lap = stamp_s - self._started_s
                self.laps_s.append(lap)
            self._started_s = stamp_s
        self.next_gate = (gate + 1) % len(self.course.gates)
        return Crossing(gate=gate, stamp_s=stamp_s, lap_s=lap)
