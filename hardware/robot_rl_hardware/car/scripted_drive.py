"""The scripted drive of a calibration, done by whatever `Car` there is: over ROS 2, behind a deadman, or in a twin.

It watches what it needs: room before it starts and while it drives, and an answer to each command. Whatever goes wrong
ends the drive with the car standing; what was recorded until then is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from robot_rl.car import Car, CarCommand, CarReset, CarState
from robot_rl.errors import ConfigError, RobotError
from robot_rl_hardware.car.calibration import SCRIPT, Leg, Recording
from robot_rl_hardware.car.settings import CarSettings

G_M_S2 = 9.80665
RATE_HZ = 50.0
_WINDOW_S = 0.12
"""Half of the time over which poses are fitted by a line for the speed: a jump of one pose must not show."""
_MARGIN_M = 0.5
_FOLLOWS_S = 0.25
"""Time constant with which a car takes up a speed, for the room that it will need."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """The floor that is free, as the standing car sees it [m]: ahead and behind, to the left and to the right."""

    ahead_m: float
    behind_m: float
    left_m: float
    right_m: float

    def __post_init__(self) -> None:
        for name in ("ahead_m", "behind_m", "left_m", "right_m"):
            if not 0.0 <= getattr(self, name) < 1e3:
                raise ConfigError(f"the room's {name} is {getattr(self, name)}; it is a distance in metres")

    def holds(self, x_m: float, y_m: float) -> bool:
        """Return whether a point, in the frame of the car where it stood, lies within."""
        return -self.behind_m <= x_m <= self.ahead_m and -self.right_m <= y_m <= self.left_m

    def words(self) -> str:
        """Return the room as a person says it."""
        return f"{self.ahead_m:.1f} ahead, {self.behind_m:.1f} behind, {self.left_m:.1f} left, {self.right_m:.1f} right"


def needed(car: CarSettings, top_m_s: float, script: Sequence[Leg] = SCRIPT) -> Room:
    """Return the room that the script takes with a highest speed: the rolling car's way, and half a metre around it.

    Where the wheels ask for more than the tyres give, the circle is as wide as friction makes it.
    """
    x = y = yaw = speed = 0.0
    points, dt_s = [(0.0, 0.0)], 0.02
    right, left = car.steering_range_rad
    for leg in script:
        steering = leg.steering * (left if leg.steering > 0.0 else -right)
        for _ in range(round(leg.time_s / dt_s)):
            speed += (leg.speed * top_m_s - speed) * dt_s / _FOLLOWS_S
            most = car.friction * G_M_S2 / max(speed, 0.1)
            yaw += min(max(car.yaw_rate_of(speed, steering), -most), most) * dt_s
            x, y = x + speed * math.cos(yaw) * dt_s, y + speed * math.sin(yaw) * dt_s
            points.append((x, y))
    low, high = np.min(points, axis=0) - _MARGIN_M, np.max(points, axis=0) + _MARGIN_M
    return Room(ahead_m=float(high[0]), behind_m=float(-low[0]), left_m=float(high[1]), right_m=float(-low[1]))


@dataclass
class Drive:
    """What came of a drive.

    Attributes:
        rows: Time, servo position, ERPM, yaw rate of each period.
        poses: Time, x, y, yaw of each new pose.
        problem: Why it ended early; empty if it did not.
    """

    rows: list[tuple[float, float, float, float]] = field(default_factory=list)
    poses: list[tuple[float, float, float, float]] = field(default_factory=list)
    problem: str = ""

    def recording(self) -> Recording:
        """Return the drive on one clock, with the speed of the poses.

        Raises:
            ConfigError: There is too little of it, or the poses do not cover it.
        """
        rows, poses = np.array(self.rows).reshape(-1, 4), np.array(self.poses).reshape(-1, 4)
        if len(poses) < 50:
            raise ConfigError(f"the localisation told {len(poses)} poses during the drive; a fit needs 50 or more")
        at_s, speed = speeds(poses)
        keep = (rows[:, 0] >= at_s[0]) & (rows[:, 0] <= at_s[-1])
        time_s, servo, erpm, yaw_rate = rows[keep].T
        return Recording(
            time_s=time_s, servo=servo, erpm=erpm, speed_m_s=np.interp(time_s, at_s, speed), yaw_rate_rad_s=yaw_rate
        )


def speeds(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return times [s] and forward speeds [m/s] of poses (N, 4) of time, x, y, yaw: the slope of those around each."""
    time_s, x, y, yaw = poses.T
    first = np.searchsorted(time_s, time_s - _WINDOW_S)
    last = np.searchsorted(time_s, time_s + _WINDOW_S, side="right")
    out = np.zeros(len(time_s))
    for i, (a, b) in enumerate(zip(first, last, strict=True)):
        t = time_s[a:b] - time_s[a:b].mean()
        spread = float(t @ t)
        if spread > 0.0:
            out[i] = (t @ x[a:b] * math.cos(yaw[i]) + t @ y[a:b] * math.sin(yaw[i])) / spread
    return time_s, out


def drive(
    robot: Car,
    car: CarSettings,
    top_m_s: float,
    room: Room,
    script: Sequence[Leg] = SCRIPT,
    tell: Callable[[str], None] = lambda text: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Drive:
    """Drive the script, and return what was recorded.

    Args:
        robot: Is connected; `RATE_HZ` commands make a second. A car of metal stands where it begins.
        car: Its file: it turns shares of the steering into angles, and what the car tells back into ERPM.
        top_m_s: Highest speed of the drive.
        room: That is free around the car.
        script: What to drive.
        tell: Is told each leg and how long it will take.
        stopping: Ends the drive when it says so.

    Raises:
        ConfigError: The speed is more than the car file allows, or the room is too small.
        RobotError: The car cannot be brought to a start.
    """
    if not 0.0 < top_m_s <= car.max_speed_m_s:
        raise ConfigError(
            f"the highest speed of the drive is {top_m_s:g} m/s; it must be above 0 and at most the car file's "
            f"max_speed_m_s of {car.max_speed_m_s:g}"
        )
    takes = needed(car, top_m_s, script)
    if not all(getattr(room, n) >= getattr(takes, n) for n in ("ahead_m", "behind_m", "left_m", "right_m")):
        raise ConfigError(
            f"at {top_m_s:g} m/s the drive takes, in metres from where the car stands, {takes.words()}; there is "
            f"{room.words()}. Give more room, or a lower speed"
        )
    found, state = Drive(), robot.observe()
    start, begin_s = state, state.stamp_s
    right, left = car.steering_range_rad
    total_s = sum(leg.time_s for leg in script)
    spent_s = 0.0
    try:
        for leg in script:
            tell(f"{_words(leg, top_m_s)}; {total_s - spent_s:.0f} s left")
            steering = leg.steering * (left if leg.steering > 0.0 else -right)
            spent_s += leg.time_s
            while state.stamp_s - begin_s < spent_s:
                executed = robot.command(CarCommand(steering, leg.speed * top_m_s))
                state = robot.observe()
                _record(found, state, car)
                if executed.stopped:
                    found.problem = executed.reason or "the car stopped"
                elif stopping():
                    found.problem = "it was ended by hand"
                elif not room.holds(*_seen_from(start, state)):
                    x, y = _seen_from(start, state)
                    found.problem = f"it left the room: {x:.1f} m ahead of its start and {y:.1f} m to the left"
                if found.problem:
                    return found
    except RobotError as e:
        found.problem = str(e)
    finally:
        _rest(robot)
    return found


def _record(found: Drive, state: CarState, car: CarSettings) -> None:
    if found.rows and state.stamp_s <= found.rows[-1][0]:
        return  # an answer of the motor that was read before
    erpm = car.speed_to_erpm_gain * state.speed_m_s + car.speed_to_erpm_offset if state.speed_m_s else 0.0
    found.rows.append((state.stamp_s, car.servo_of(state.steering_rad), erpm, state.yaw_rate_rad_s))
    if not found.poses or state.pose_stamp_s > found.poses[-1][0]:
        found.poses.append((state.pose_stamp_s, float(state.p_WC[0]), float(state.p_WC[1]), state.yaw_rad))


def _seen_from(start: CarState, state: CarState) -> tuple[float, float]:
    """Return where the car is in the frame in which it stood: metres ahead and to the left."""
    dx, dy = state.p_WC - start.p_WC
    c, s = math.cos(start.yaw_rad), math.sin(start.yaw_rad)
    return float(c * dx + s * dy), float(-s * dx + c * dy)


def _rest(robot: Car) -> None:
    """Command a standstill; a car that no longer listens has stopped by itself."""
    try:
        for _ in range(round(0.5 * RATE_HZ)):
            if robot.command(CarCommand(0.0, 0.0)).stopped:
                return
    except RobotError:
        return


def _words(leg: Leg, top_m_s: float) -> str:
    if not leg.speed:
        return "standing"
    where = "straight on" if not leg.steering else "to the left" if leg.steering > 0.0 else "to the right"
    return f"{where} at {leg.speed * top_m_s:.1f} m/s"


def here(robot: Car) -> CarReset:
    """Return the request of a drive that begins where the car stands: a twin could be put elsewhere."""
    robot.connect()
    state = robot.observe()
    return CarReset(p_WC=(float(state.p_WC[0]), float(state.p_WC[1])), yaw_rad=state.yaw_rad)
