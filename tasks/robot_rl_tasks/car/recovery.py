"""Getting a car back on the course after a crash, one rung at a time: brake, back out, turn around, drive to the line.

A rung that does not get anywhere gives way to the next; after the last one a person is called.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robot_rl.car import CarCommand, CarState, Vector, wrap
from robot_rl_tasks.car.course import Course
from robot_rl_tasks.car.driver import DriverSettings, PurePursuit, ahead

Array = NDArray[np.float64]


@dataclass(slots=True)
class Breadcrumbs:
    """Where a car has been, every few centimetres: the one way that is known to be free.

    Attributes:
        step_m: Distance between crumbs.
        length_m: How far back they reach.
    """

    step_m: float = 0.05
    length_m: float = 4.0
    _crumbs: deque[Vector] = field(default_factory=deque)

    def drop(self, p: Vector) -> None:
        """Remember a position, if it is a step away from the newest."""
        if not self._crumbs or math.hypot(*(p - self._crumbs[-1])) >= self.step_m:
            self._crumbs.append(np.array(p))
            while len(self._crumbs) > self.length_m / self.step_m:
                self._crumbs.popleft()

    def behind(self, p: Vector, yaw_rad: float, way_m: float) -> Vector | None:
        """Return the newest crumb at least so far from a car and behind it; None if there is none."""
        c, s = math.cos(yaw_rad), math.sin(yaw_rad)
        for crumb in reversed(self._crumbs):
            d = crumb - p
            if c * d[0] + s * d[1] < -0.5 * way_m and math.hypot(*d) >= way_m:
                return crumb
        return None

    def clear(self) -> None:
        """Forget them."""
        self._crumbs.clear()


@dataclass(frozen=True, kw_only=True)
class RecoverySettings:
    """How a car gets back.

    Attributes:
        speed_m_s: Of every rung.
        back_m: How far to back out.
        brake_s: Longest braking.
        roof_s: A car that reads gravity the wrong way round all that time lies on its roof.
        blocked_s, blocked_m: Less progress than that in that time ends a stretch.
        stretch_m: Longest stretch of a turn, before it goes the other way.
        stretches: Most stretches of a turn.
        turned_rad: Two stretches that turn it less than this say that it cannot turn to that side here.
        aligned_rad: A heading nearer than this to the course's needs no turn.
        join_s, joins: Longest drive to the line, beside the time that its distance takes, and how often it is tried
            again.
        on_line_m, on_line_rad: Then it is back.
    """

    speed_m_s: float = 0.9
    back_m: float = 0.8
    brake_s: float = 1.5
    roof_s: float = 0.5
    blocked_s: float = 0.6
    blocked_m: float = 0.06
    stretch_m: float = 0.7
    stretches: int = 14
    turned_rad: float = 0.15
    aligned_rad: float = 0.8
    join_s: float = 8.0
    joins: int = 6
    on_line_m: float = 0.25
    on_line_rad: float = 0.45


class Recovery:
    """One recovery. `command` gives what to do until it returns None; then `rung` is "done" or "person".

    Args:
        course: Where to get back to.
        crumbs: Where the car came from.
        driver: Its geometry.
        settings: Speeds and distances.

    Attributes:
        rung: "brake", "back", "turn", "join", and at the end "done" or "person".
        climbed: The rungs that were used, in order.
    """

    def __init__(
        self, course: Course, crumbs: Breadcrumbs, driver: DriverSettings | None = None,
        settings: RecoverySettings | None = None,
    ) -> None:  # fmt: skip
        self.course, self.crumbs = course, crumbs
        self.settings, self.car = settings or RecoverySettings(), driver or DriverSettings()
        slow = DriverSettings(
            wheelbase_m=self.car.wheelbase_m, max_steering_rad=self.car.max_steering_rad,
            max_speed_m_s=self.settings.speed_m_s, delay_s=self.car.delay_s, lookahead_m=0.5,
            give_way_m=1000.0,  # slow as it is: slower still would not get it through grass
        )  # fmt: skip
        self._pursuit = PurePursuit(course, slow)
        self.rung, self.climbed = "brake", ["brake"]
        self._since: tuple[float, Vector] | None = None
        self._mark: tuple[float, Vector] | None = None
        self._over_since_s: float | None = None
        self._forward, self._stretch, self._tries = True, 0, 0
        self._side, self._yaw, self._turned = 0.0, 0.0, list[float]()

    def command(self, state: CarState) -> CarCommand | None:
        """Return what to do now, or None when the recovery is over."""
        if state.acceleration_m_s2[2] >= 0.0:
            self._over_since_s = None
        else:  # on its roof, which wheels cannot mend; for a moment a crash reads the same
            since_s = self._over_since_s = state.stamp_s if self._over_since_s is None else self._over_since_s
            if state.stamp_s - since_s < self.settings.roof_s:
                return CarCommand(0.0, 0.0)
            self._go("person", state)
        p, yaw = ahead(state, max(state.stamp_s - state.pose_stamp_s, 0.0))
        for _ in range(6):  # a rung may end at once; each ends only once for one reading
            if self.rung in ("done", "person"):
                return None
            if self._since is None:
                self._since = self._mark = (state.stamp_s, p)
            found = getattr(self, f"_{self.rung}")(state, p, yaw)
            if found is not None:
                return found
        return CarCommand(0.0, 0.0)

    def _go(self, rung: str, state: CarState) -> None:
        self.rung, self._since, self._mark = rung, None, None
        self.climbed.append(rung)
        self._side = 0.0

    def _blocked(self, state: CarState, p: Vector) -> bool:
        """Return whether the car has not got on for a while, though it was told to."""
        assert self._mark is not None
        at, where = self._mark
        if math.hypot(*(p - where)) > self.settings.blocked_m:
            self._mark = (state.stamp_s, p)
            return False
        return state.stamp_s - at > self.settings.blocked_s

    def _place(self, p: Vector, yaw: float) -> tuple[float, float]:
        """Return the distance from the line and the heading error, both left positive."""
        s, left = self.course.line.project(p)
        return left, wrap(yaw - float(self.course.line.heading(s)))

    def _brake(self, state: CarState, p: Vector, yaw: float) -> CarCommand | None:
        assert self._since is not None
        if abs(state.speed_m_s) < 0.1 or state.stamp_s - self._since[0] > self.settings.brake_s:
            self._go("back", state)
            return None
        return CarCommand(0.0, 0.0)

    def _back(self, state: CarState, p: Vector, yaw: float) -> CarCommand | None:
        assert self._since is not None
        gone = math.hypot(*(p - self._since[1]))
        crumb = self.crumbs.behind(p, yaw, 0.35)
        if gone >= self.settings.back_m or crumb is None or self._blocked(state, p):
            _, off = self._place(p, yaw)
            self._forward = gone >= 0.2  # what could not back out tries forward last
            self._go("turn" if abs(off) > self.settings.aligned_rad or gone < 0.2 else "join", state)
            return None
        dx, dy = crumb - p
        y = -math.sin(yaw) * dx + math.cos(yaw) * dy
        # The circle through the rear axle and the crumb is the same one backward.
        steering = math.atan(2.0 * self.car.wheelbase_m * y / float(dx * dx + dy * dy))
        return self._drive(steering, forward=False)

    def _turn(self, state: CarState, p: Vector, yaw: float) -> CarCommand | None:
        assert self._since is not None
        set_ = self.settings
        left, off = self._place(p, yaw)
        if abs(off) < set_.aligned_rad and self._stretch > 0:
            self._go("join", state)
            return None
        # Each time that the way to the line was blocked it backs out further, before it tries from elsewhere.
        reach = set_.stretch_m * (1.0 + 0.5 * self._tries)
        if self._blocked(state, p) or math.hypot(*(p - self._since[1])) > reach:
            self._stretch += 1
            self._forward = not self._forward
            self._since = self._mark = (state.stamp_s, p)
            if self._stretch >= set_.stretches:
                self._go("person", state)
                return None
            self._turned.append(self._side * wrap(yaw - self._yaw))
            self._yaw = yaw
            # A car that lies along a wall cannot turn towards it, only the other way around.
            if len(self._turned) > 1 and sum(self._turned[-2:]) < set_.turned_rad:
                self._side, self._turned = -self._side, []
        if not self._side:
            # Turn towards the course's direction, and on a tie towards the line.
            self._side = -math.copysign(1.0, off if abs(off) < 2.8 else left)
            if self._tries and abs(off) < set_.aligned_rad:  # nothing to turn for: one side, next time the other
                self._side = 1.0 if self._tries % 2 else -1.0
            self._yaw, self._turned = yaw, []
        steering = self._side * self.car.max_steering_rad
        return self._drive(steering if self._forward else -steering, forward=self._forward)

    def _join(self, state: CarState, p: Vector, yaw: float) -> CarCommand | None:
        assert self._since is not None
        set_ = self.settings
        left, off = self._place(p, yaw)
        if abs(left) < set_.on_line_m and abs(off) < set_.on_line_rad and state.speed_m_s > 0.3:
            self._go("done", state)
            return None
        patience_s = set_.join_s + 2.0 * abs(left) / set_.speed_m_s  # from far away it takes longer
        if self._blocked(state, p) or state.stamp_s - self._since[0] > patience_s:
            self._tries += 1
            if self._tries > set_.joins:
                self._go("person", state)
            else:
                self._forward, self._stretch = False, 0
                self._go("turn", state)
            return None
        self._pursuit.reset()
        return self._pursuit.command(state)

    def _drive(self, steering: float, forward: bool) -> CarCommand:
        limit = self.car.max_steering_rad
        speed = self.settings.speed_m_s if forward else -self.settings.speed_m_s
        return CarCommand(min(max(steering, -limit), limit), speed)
