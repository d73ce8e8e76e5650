"""The task `lap`: drive around a course, gate by gate, as fast as the car can without a crash."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robot_rl.car import CarReset, CarState, Vector, wrap
from robot_rl.errors import ConfigError
from robot_rl.specs import ActionSpec, ContinuousGroup, ObservationSpec, StateField
from robot_rl.task import Outcome
from robot_rl_tasks.car.course import Course
from robot_rl_tasks.car.driver import ahead
from robot_rl_tasks.car.lap_timer import LapTimer
from robot_rl_tasks.car.trouble import TroubleDetector, TroubleSettings

F32 = NDArray[np.float32]
_LOST_M = 1.0
"""A car further than this beyond the borders has left the course."""


@dataclass(kw_only=True)
class Lap:
    """Reward is the speed made good towards the gate that was seen: no map, no zig-zag, nothing to be had by standing.

    A crash, a flip, leaving the course and being stuck end the episode as failures; the clock does not.

    Attributes:
        course: What is driven.
        control_hz, max_steps: Rate, and length of an episode.
        max_steering_rad, min_speed_m_s, max_speed_m_s: What the actions -1 and 1 mean.
        slew: Largest change of an action entry in one step.
        penalty: Of a failure; the shock of a crash adds up to half of it.
        beams: Lidar distances in the observation; 0 for none. The car's lidar must give as many.
        range_m: Distances beyond read as this.
        start_speed_m_s: Episodes begin at up to this speed, where the car can.
        trouble: When the car has failed.
    """

    course: Course
    control_hz: float = 20.0
    max_steps: int = 600
    max_steering_rad: float = 0.4
    min_speed_m_s: float = 0.0
    max_speed_m_s: float = 5.0
    slew: float = 0.25
    penalty: float = 10.0
    beams: int = 0
    range_m: float = 6.0
    start_speed_m_s: float = 0.0
    trouble: TroubleSettings = field(default_factory=TroubleSettings)
    name: str = "lap"

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_speed_m_s < self.max_speed_m_s:
            raise ConfigError(
                f"task.min_speed_m_s must be from 0 to below task.max_speed_m_s, got {self.min_speed_m_s:g} and "
                f"{self.max_speed_m_s:g}"
            )
        if not 0.01 <= self.slew <= 2.0:
            raise ConfigError(f"task.slew is from 0.01 to 2 of an action's range of 2, got {self.slew:g}")
        fields: dict[str, StateField] = {
            "speed": StateField(size=1, unit="m/s", scale=3.0, doc="forward"),
            "yaw_rate": StateField(size=1, unit="rad/s", scale=3.0, doc="to the left"),
            "acceleration": StateField(size=2, unit="m/s^2", scale=5.0, doc="specific force forward and left"),
            "gate": StateField(size=2, unit="m", scale=2.0, doc="middle of the next gate in C"),
            "gate_direction": StateField(size=2, unit="1", doc="cosine and sine of its direction in C"),
            "gate_ends": StateField(size=2, unit="m", doc="how far it reaches left and right of its middle"),
            "gate_after": StateField(size=2, unit="m", scale=4.0, doc="middle of the gate after that in C"),
            "last_action": StateField(size=2, unit="1", doc="steering and speed that were executed last"),
        }
        if self.beams:
            fields["ranges"] = StateField(size=self.beams, unit="m", scale=0.5 * self.range_m, doc="lidar distances")
        self.observation_spec = ObservationSpec(state=fields)
        steering = ContinuousGroup(size=1, unit="rad", scale=self.max_steering_rad, doc="left positive")
        half = 0.5 * (self.max_speed_m_s - self.min_speed_m_s)
        speed = ContinuousGroup(size=1, unit="m/s", scale=half, doc="about the middle of the speeds allowed")
        self.action_spec: ActionSpec = ActionSpec(continuous={"steering": steering, "speed": speed})
        self.rest_action: F32 = np.array([0.0, -1.0], np.float32)
        self.timer = LapTimer(self.course)
        self._detector = TroubleDetector(self.trouble)
        self._goal, self._p, self._s = 0, np.zeros(2), 0.0

    def mapping(self) -> tuple[F32, F32]:
        """Return scale and offset (2,) of steering [rad] and speed [m/s]."""
        half = 0.5 * (self.max_speed_m_s - self.min_speed_m_s)
        scale = np.array([self.max_steering_rad, half], np.float32)
        return scale, np.array([0.0, self.min_speed_m_s + half], np.float32)

    def sample_reset(self, rng: np.random.Generator) -> CarReset:
        """Draw a start anywhere on the course, a little beside the line and a little askew."""
        line = self.course.line
        i = int(rng.integers(len(line.s)))
        room = 0.3 * float(min(self.course.left_at_s[i], self.course.right_at_s[i]))
        p = line.points[i] + rng.uniform(-room, room) * line.normals[i]
        return CarReset(
            p_WC=(float(p[0]), float(p[1])), yaw_rad=wrap(float(line.headings[i]) + float(rng.uniform(-0.2, 0.2))),
            speed_m_s=float(rng.uniform(0.0, self.start_speed_m_s)), seed=int(rng.integers(2**31)),
        )  # fmt: skip

    def begin(self, state: CarState) -> None:
        """Find the car on the course."""
        self._detector.reset()
        self.timer = LapTimer(self.course)
        self._p, _ = self._pose(state)
        self._s, _ = self.course.line.project(self._p)
        self._goal = self.timer.begin(state.stamp_s, (float(self._p[0]), float(self._p[1])), self._s)

    def outcome(self, state: CarState, stopped: bool) -> Outcome:
        """Judge the state that a step led to, for the goal that was seen before it; then aim for the next.

        Args:
            state: The reading after the step.
            stopped: Whether the car's own limits hold it: that is no failure of the task's.
        """
        p, _ = self._pose(state)
        # Towards the gate's middle as seen before, but never back once its line is passed.
        gate = self.course.gates[self._goal]
        to = np.array(gate.p_W) - self._p
        away = math.hypot(*to)
        forward = np.array([math.cos(gate.heading_rad), math.sin(gate.heading_rad)])
        towards = to / away if away > 0.3 else forward
        reward = float((p - self._p) @ towards) * self.control_hz
        self._s, left = self.course.line.project(p, self._s)
        self._p = p
        self.timer.update(state.stamp_s, (float(p[0]), float(p[1])))
        self._goal = self.timer.next_gate or 0
        i = int(self._s / self.course.line.length_m * len(self.course.line.s)) % len(self.course.line.s)
        beyond = left - self.course.left_at_s[i] if left > 0 else -left - self.course.right_at_s[i]
        # Standing by choice is no better than being stuck: it would be worth nothing and never end. Only a car that
        # its own limits hold still is excused.
        trouble = self._detector.update(state, 0.0 if stopped else self.max_speed_m_s)
        if not trouble and beyond > _LOST_M:
            trouble = "left the course"
        if trouble:
            shock = min(state.shock_m_s2 / 100.0, 0.5) if trouble == "crash" else 0.0
            return Outcome(reward - self.penalty * (1.0 + shock), True, False, trouble)
        return Outcome(reward, False, bool(self.timer.laps_s))

    def state_vector(self, state: CarState, last_action: F32) -> F32:
        """Return the flat state of `observation_spec`."""
        p, yaw = self._pose(state)
        gates = self.course.gates
        gate, after = gates[self._goal], gates[(self._goal + 1) % len(gates)]
        turn = gate.heading_rad - yaw
        out = [
            state.speed_m_s, state.yaw_rate_rad_s, *state.acceleration_m_s2[:2],
            *in_car(gate.p_W, p, yaw), math.cos(turn), math.sin(turn), gate.left_m, gate.right_m,
            *in_car(after.p_W, p, yaw), *last_action,
        ]  # fmt: skip
        if self.beams:
            if len(state.ranges_m) != self.beams:
                raise ConfigError(
                    f"task.beams is {self.beams}, and the car's lidar gives {len(state.ranges_m)} distances; make them "
                    "the same"
                )
            out.extend(np.clip(np.nan_to_num(state.ranges_m, posinf=self.range_m), 0.0, self.range_m))
        return np.array(out, np.float32)

    def _pose(self, state: CarState) -> tuple[Vector, float]:
        """Return position and heading now: those of the localisation, carried on by speed and turning rate."""
        return ahead(state, max(state.stamp_s - state.pose_stamp_s, 0.0))


def in_car(p_W: tuple[float, float], p_WC: Vector, yaw_rad: float) -> tuple[float, float]:
    """Return a point of W in C."""
    dx, dy = p_W[0] - float(p_WC[0]), p_W[1] - float(p_WC[1])
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return c * dx + s * dy, -s * dx + c * dy
