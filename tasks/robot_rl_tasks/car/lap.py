"""The task `lap`: drive around a course, gate by gate, as fast as the car can without a crash.

Practice never ends: after a crash the car gets back by itself and drives on from where it then is. Steering and speed
as numbers from -1 to 1 are called a setting; a policy's action is a place in the window of settings that may follow
the last one (`window`), or, with `residual`, around what the classical driver would do.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.car import CarReset, CarState, Vector, wrap
from robot_rl.car_env import CarEnv, CarRecovery
from robot_rl.errors import ConfigError
from robot_rl.specs import ActionSpec, ContinuousGroup, ObservationSpec, StateField
from robot_rl.task import Outcome
from robot_rl_tasks.car.course import Course
from robot_rl_tasks.car.driver import DriverSettings, PurePursuit, ahead
from robot_rl_tasks.car.lap_expert import LapExpert, SlowLap
from robot_rl_tasks.car.lap_timer import LapTimer
from robot_rl_tasks.car.place import Place
from robot_rl_tasks.car.recovery import Breadcrumbs, Recovery
from robot_rl_tasks.car.tally import CapSettings, SpeedCap, Tally
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
        slew: Largest change of a setting in one step.
        residual: How far from the classical driver's setting a policy may go, steering and speed; None drives without
            the driver, within `slew` of the last setting.
        penalty: Of a failure, in m/s of one step; the shock of a crash adds up to half of it.
        reward_scale: Multiplies the reward, so that values are of the size that networks begin with.
        beams: Lidar distances in the observation; 0 for none. The car's lidar must give as many.
        range_m: Distances beyond read as this.
        object_state: Whether the observation says where the course lies: the next two gates, their ends, the borders
            and the heading against the line. Without it that is left to cameras, and of the course the state holds what
            FastRLAP's does: in which direction the next gate lies, and how far away.
        start_speed_m_s: Episodes begin at up to this speed, where the car can.
        trouble: When the car has failed.
        cap: How the highest speed rises in practice.
        driver: Of the classical driver: the expert, the residual's, and the one that is raced against.
        place: What stands around the course, for a twin to build; None where the world is real.
    """

    course: Course
    control_hz: float = 20.0
    max_steps: int = 600
    max_steering_rad: float = 0.4
    min_speed_m_s: float = 0.0
    max_speed_m_s: float = 5.0
    slew: float = 0.25
    residual: tuple[float, float] | None = None
    penalty: float = 10.0
    reward_scale: float = 1.0
    beams: int = 0
    range_m: float = 6.0
    object_state: bool = True
    start_speed_m_s: float = 0.0
    trouble: TroubleSettings = field(default_factory=TroubleSettings)
    cap: CapSettings = field(default_factory=CapSettings)
    driver: DriverSettings = field(default_factory=DriverSettings)
    place: Place | None = None
    name: str = "lap"

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_speed_m_s < self.max_speed_m_s:
            raise ConfigError(
                f"task.min_speed_m_s must be from 0 to below task.max_speed_m_s, got {self.min_speed_m_s:g} and "
                f"{self.max_speed_m_s:g}"
            )
        if not 0.01 <= self.slew <= 2.0:
            raise ConfigError(f"task.slew is from 0.01 to 2 of a setting's range of 2, got {self.slew:g}")
        if self.residual is not None and not all(0.0 < r <= 1.0 for r in self.residual):
            raise ConfigError(f"task.residual is two numbers above 0 and at most 1, or null, got {self.residual}")
        fields = self._fields()
        if self.residual is not None:
            fields["driver"] = StateField(size=2, unit="1", doc="setting of the classical driver")
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
        self._goal, self._p, self._s, self._left = 0, np.zeros(2), 0.0, 0.0
        self.speed_cap, self.tally = SpeedCap(self.cap, self.max_speed_m_s), Tally()
        self._crumbs = Breadcrumbs()
        self._pursuit = PurePursuit(self.course, self.driver)
        self._driven: F32 = self.rest_action  # the classical driver's setting
        self._trouble, self._held, self._clean, self._laps = "", False, False, 0
        self.open_window = np.full(2, -1.0, np.float32), np.full(2, 1.0, np.float32)

    def _fields(self) -> dict[str, StateField]:
        """Return what every observation holds, in its order; `state_vector` fills it in."""
        own = {
            "speed": StateField(size=1, unit="m/s", scale=3.0, doc="forward"),
            "yaw_rate": StateField(size=1, unit="rad/s", scale=3.0, doc="to the left"),
            "acceleration": StateField(size=2, unit="m/s^2", scale=5.0, doc="specific force forward and left"),
        }
        last = StateField(size=2, unit="1", doc="setting of steering and speed that was executed last")
        cap = StateField(size=1, unit="m/s", scale=3.0, doc="highest speed allowed now")
        if not self.object_state:
            return own | {
                "goal_direction": StateField(size=2, unit="1", doc="unit vector to the next gate's middle in C"),
                "goal_distance": StateField(size=1, unit="m", scale=2.0, doc="how far away that is"),
                "last_action": last,
                "speed_cap": cap,
            }
        return own | {
            "gate": StateField(size=2, unit="m", scale=2.0, doc="middle of the next gate in C"),
            "gate_direction": StateField(size=2, unit="1", doc="cosine and sine of its direction in C"),
            "gate_ends": StateField(size=2, unit="m", doc="how far it reaches left and right of its middle"),
            "gate_after": StateField(size=2, unit="m", scale=4.0, doc="middle of the gate after that in C"),
            "last_action": last,
            "borders": StateField(size=2, unit="m", doc="free way left and right of the car"),
            "askew": StateField(size=1, unit="1", scale=0.5, doc="sine of the heading against the course's"),
            "speed_cap": cap,
        }

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
        """Find a car that was placed."""
        self._detector.reset()
        self._crumbs.clear()
        self._pursuit.reset()
        self.timer = LapTimer(self.course)
        self._p, _ = self._pose(state)
        self._s, self._left = self.course.line.project(self._p)
        self._goal = self.timer.begin(state.stamp_s, (float(self._p[0]), float(self._p[1])), self._s)
        self._trouble, self._held, self._clean, self._laps = "", False, False, 0
        if not self.tally.rescued:  # what was driven to no end before a new start is nobody's
            self.tally = Tally()
        self.tally.stand(state.stamp_s, self._p)
        self._consult(state)

    def resume(self, state: CarState) -> None:
        """Find a car that goes on where it is; its lap goes on too, unless it has to aim for another gate now."""
        self._laps = 0
        if not (self._trouble or self._held):
            return
        self._detector.reset()
        self._pursuit.reset()
        self._p, yaw = self._pose(state)
        self._s, self._left = self.course.line.project(self._p)
        self._goal = self.timer.resume(state.stamp_s, (float(self._p[0]), float(self._p[1])), yaw)
        self._trouble, self._held = "", False
        self.tally.move(state.stamp_s, self._p)
        self._consult(state)

    def recovery(self, state: CarState) -> Recovery | None:
        """Return the way back for a car in trouble."""
        return Recovery(self.course, self._crumbs, self.driver) if self._trouble else None

    def recovering(self, state: CarState) -> None:
        """Count time and way of a recovery."""
        p, _ = self._pose(state)
        self._crumbs.drop(p)
        self.tally.move(state.stamp_s, p, recovering=True)

    def rescued(self, recovery: CarRecovery) -> CarReset | None:
        """Count how a recovery ended; a car that did not get back is put on the nearest point of the line."""
        self.tally.climbed = " ".join(recovery.climbed)
        if recovery.rung != "person":
            return None
        self.tally.rescued = True
        x, y = self.course.line.point(self._s)
        return CarReset(p_WC=(x, y), yaw_rad=float(self.course.line.heading(self._s)))

    def facts(self) -> dict[str, float | int | str | bool]:
        """Return what the episode came to, see `Tally`, and count the next from here."""
        return self.tally.take(self.speed_cap.now_m_s)

    def recall(self, row: Mapping[str, Any]) -> None:
        """Take up where an earlier session of a run stood, from a row of its episodes."""
        cap = row.get("speed_cap_m_s")
        if isinstance(cap, int | float) and math.isfinite(cap):
            self.speed_cap.recall(float(cap))

    def evidence(self, env: CarEnv, policy: Any, run: Path) -> None:
        """Race a trained policy and keep what it came to in its run, see `evidence`."""
        from robot_rl_tasks.car.evidence import evidence

        evidence(env, policy, run)

    def expert(self, settings: SlowLap) -> LapExpert:
        """Return a classical driver that demonstrates one lap."""
        slow = min(settings.speed_m_s, self.max_speed_m_s)
        return LapExpert(self, dataclasses.replace(self.driver, max_speed_m_s=slow))

    def setting(self, steering_rad: float, speed_m_s: float) -> F32:
        """Return the setting (2,) of a command, within -1 and 1."""
        scale, offset = self.mapping()
        return np.clip((np.array([steering_rad, speed_m_s], np.float32) - offset) / scale, -1.0, 1.0)

    def window(self, state: CarState, last: F32) -> tuple[F32, F32]:
        """Return the lowest and the highest setting (2,) that may follow the last one."""
        if self.residual is None:
            low, high = np.maximum(last - self.slew, -1.0), np.minimum(last + self.slew, 1.0)
        else:
            reach = np.array(self.residual, np.float32)
            low, high = np.maximum(self._driven - reach, -1.0), np.minimum(self._driven + reach, 1.0)
        top = float(self.setting(0.0, self.speed_cap.now_m_s)[1])
        low[1] = min(low[1], max(top, float(last[1]) - self.slew))
        high[1] = max(min(high[1], top), low[1])
        self.open_window = low, high
        return low, high

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
        self._s, self._left = self.course.line.project(p, self._s)
        self._p, self._held = p, stopped
        self._crumbs.drop(p)
        way = self.tally.move(state.stamp_s, p)
        self._count_laps(state.stamp_s)
        self._goal = self.timer.next_gate or 0
        left, right = self._free()
        # Standing by choice is no better than being stuck: it would be worth nothing and never end. Only a car that
        # its own limits hold still is excused.
        trouble = self._detector.update(state, 0.0 if stopped else self.max_speed_m_s)
        if not trouble and min(left, right) < -_LOST_M:
            trouble = "left the course"
        self._trouble = trouble
        if trouble:
            self._clean = False
            self.speed_cap.trouble()
            shock = min(state.shock_m_s2 / 100.0, 0.5) if trouble == "crash" else 0.0
            return Outcome((reward - self.penalty * (1.0 + shock)) * self.reward_scale, True, False, trouble)
        self.speed_cap.drove(way)
        self._consult(state)
        return Outcome(reward * self.reward_scale, False, self._laps > 0)

    def _count_laps(self, stamp_s: float) -> None:
        for crossing in self.timer.update(stamp_s, (float(self._p[0]), float(self._p[1]))):
            if crossing.gate == 0:
                if crossing.lap_s is not None:
                    self._laps += 1
                    self.tally.lap(crossing.lap_s, stamp_s - crossing.stamp_s, self._clean)
                self._clean = True

    def _free(self) -> tuple[float, float]:
        """Return the free way left and right of the car's middle [m]."""
        i = int(self._s / self.course.line.length_m * len(self.course.line.s)) % len(self.course.line.s)
        return float(self.course.left_at_s[i]) - self._left, float(self.course.right_at_s[i]) + self._left

    def _consult(self, state: CarState) -> None:
        """Ask the classical driver, if the policy drives around what it does."""
        if self.residual is not None:
            command = self._pursuit.command(state)
            self._driven = self.setting(command.steering_rad, command.speed_m_s)

    def state_vector(self, state: CarState, last_action: F32) -> F32:
        """Return the flat state of `observation_spec`."""
        p, yaw = self._pose(state)
        gates = self.course.gates
        gate, after = gates[self._goal], gates[(self._goal + 1) % len(gates)]
        out = [state.speed_m_s, state.yaw_rate_rad_s, *state.acceleration_m_s2[:2]]
        x, y = in_car(gate.p_W, p, yaw)
        if self.object_state:
            turn = gate.heading_rad - yaw
            askew = math.sin(yaw - float(self.course.line.heading(self._s)))
            out += [
                x, y, math.cos(turn), math.sin(turn), gate.left_m, gate.right_m, *in_car(after.p_W, p, yaw),
                *last_action, *self._free(), askew,
            ]  # fmt: skip
        else:
            away = math.hypot(x, y)
            nearest = max(away, 1e-6)  # on the very middle there is no direction
            out += [x / nearest, y / nearest, away, *last_action]
        out.append(self.speed_cap.now_m_s)
        if self.residual is not None:
            out.extend(self._driven)
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
