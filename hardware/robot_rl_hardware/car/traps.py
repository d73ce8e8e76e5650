"""Seven traps of an F1TENTH car, each looked for in what its topics said for a few seconds, and in its car file.

Each was found by reading the usual stack: a mux that lets commands through when the joystick dies, odometry of the
wrong sign, an inertial sensor in g and degrees, a wheelbase of 0.25 m, a servo that is clipped to one side, odometry
that waits for the first command, and commands that never grow old.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_rl.probes import Check, Status
from robot_rl_hardware.car.scripted_drive import speeds
from robot_rl_hardware.car.settings import CarSettings

Rows = Sequence[tuple[float, ...]]

G_M_S2 = 9.80665
OLD_COMMAND_MS = 100.0
_MOVING_M_S, _TURNING_RAD_S = 0.2, 0.2
_LEAST = 20
_STOCK_WHEELBASE_M = 0.25
_STOCK = (
    "ackermann_mux",
    "vesc_driver_node",
    "vesc_driver",
    "joy_teleop",
    "ackermann_to_vesc_node",
    "vesc_to_odom_node",
)
"""Names of nodes of the usual stack."""
_WHERE = "hold it in the hand or on a stand, and push or turn it while this looks; or look while it drives"


@dataclass(frozen=True, kw_only=True)
class CarSeen:
    """What was seen of a car over ROS.

    Attributes:
        where: Namespace and domain, for people.
        trouble: Why ROS itself could not be used; empty if it could.
        nodes: Names of the nodes in the domain.
        status: The newest status of our own node; {} if there is none.
        commanders: How many programs publish commands of any kind.
        joysticks: How many publish `joy`.
        command_ages_ms: Of the stamped commands that came, at arrival.
        unstamped: How many commands came without a stamp.
        odometry: (time, forward speed, yaw rate) of `odom`, or of `twist` where there is none.
        imu: (time, ax, ay, az, yaw rate) as told, whatever the units.
        imu_frame: Frame of those.
        poses: (time, x, y, yaw) of the localisation.
    """

    where: str
    trouble: str = ""
    nodes: tuple[str, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    commanders: int = 0
    joysticks: int = 0
    command_ages_ms: tuple[float, ...] = ()
    unstamped: int = 0
    odometry: Rows = ()
    imu: Rows = ()
    imu_frame: str = ""
    poses: Rows = ()


def car_checks(seen: CarSeen, car: CarSettings) -> list[Check]:
    """Return every check of a car."""
    checks = [_check("ROS 2", "fail" if seen.trouble else "ok", seen.trouble or seen.where, "mend it, then try again")]
    return [
        *checks, check_deadman(seen), check_odometry_sign(seen), check_imu(seen), check_wheelbase(seen, car),
        check_steering_range(car), check_first_odometry(seen), check_old_commands(seen),
    ]  # fmt: skip


def check_deadman(seen: CarSeen) -> Check:
    """Trap 1: the usual mux forwards `/drive` when the joystick's node has died, and never sends a stop by itself."""
    name = "Deadman"
    stock = [node for node in seen.nodes if node.rpartition("/")[2] in _STOCK]
    if any("mux" in node for node in stock):
        found = f"{', '.join(stock)}: a joystick that dies lets commands through, and nothing sends a stop"
        return _check(name, "fail", found, "end them; start robot-rl node car driver=vesc, which fails closed")
    if stock:
        found = f"{', '.join(stock)} can drive the car beside its deadman"
        return _check(name, "fail", found, "end them: only robot-rl node car may have the VESC")
    if not seen.status:
        return _check(name, "fail", "no car's node answers", "start one: robot-rl node car driver=... car=...")
    if not seen.joysticks:
        return _check(name, "warn", "nobody publishes joy, so the car stands", "start the joystick's node")
    return _check(name, "ok", f"fails closed; {seen.status.get('reason') or 'held, the car drives'}")


def check_odometry_sign(seen: CarSeen) -> Check:
    """Trap 2: odometry whose speed has the other sign than the motion, as a hard-coded minus gives on some builds."""
    name = "Odometry sign"
    pair = _speeds(seen)
    if pair is None:
        found = "not seen: the car did not move, or odometry or poses are missing"
        return _check(name, "warn", found, f"{_WHERE}, with the localisation running")
    told, true = pair
    share = float(np.mean(np.sign(told) == np.sign(true)))
    if share < 0.5:
        found = f"reversed: forward is told as backward ({share:.0%} of the samples agree)"
        return _check(name, "fail", found, "change the sign of speed_to_erpm_gain in the car file, then look again")
    ratio = float(np.median(told / true))
    if not 0.85 < ratio < 1.15:
        found = f"the wheels tell {ratio:.2f} times the speed of the localisation"
        return _check(name, "warn", found, "robot-rl calibrate car measures speed_to_erpm_gain")
    return _check(name, "ok", f"forward is forward; {ratio:.2f} times the localisation's speed")


def check_imu(seen: CarSeen) -> Check:
    """Trap 3: the VESC tells g and degrees, which the usual driver copies into a message of m/s² and rad/s."""
    name = "IMU units"
    if len(seen.imu) < _LEAST:
        advice = "does the VESC have an inertial sensor, and is it switched on in VESC Tool?"
        return _check(name, "warn", "no inertial sensor tells anything", advice)
    rows = np.array(seen.imu)
    gravity = float(np.median(np.linalg.norm(rows[:, 1:4], axis=1)))
    if 0.7 < gravity < 1.4:
        found = f"gravity reads {gravity:.2f}: accelerations are in g, and so rates in degrees"
        advice = f"use imu of robot-rl node car, which converts; else multiply by {G_M_S2} and pi/180"
        return _check(name, "fail", found, advice)
    if abs(gravity - G_M_S2) > 1.5:
        found = f"gravity reads {gravity:.2f} m/s^2 instead of {G_M_S2:.2f}"
        return _check(name, "fail", found, "calibrate the sensor in VESC Tool, with the car standing still")
    ratio = _yaw_ratio(seen)
    if ratio is not None and abs(ratio) > 15.0:
        found = f"it turns {ratio:.0f} times faster than the localisation: degrees a second instead of radians"
        return _check(name, "fail", found, "multiply the rates by pi/180; imu of robot-rl node car is in rad/s")
    if ratio is not None and ratio < 0.0:
        found = "it turns the other way than the localisation: its axes are not the car's"
        return _check(name, "fail", found, "set the sensor's rotation in VESC Tool until left is positive")
    if not seen.imu_frame:
        return _check(name, "warn", f"gravity {gravity:.2f} m/s^2, but no frame_id", "its publisher must name a frame")
    return _check(name, "ok", f"gravity {gravity:.2f} m/s^2, frame {seen.imu_frame}")


def check_wheelbase(seen: CarSeen, car: CarSettings) -> Check:
    """Trap 4: F1TENTH's files say 0.25 m for a car of 0.33 m, and its odometry turns a third too fast."""
    name = "Wheelbase"
    advice = "measure between the axles with a ruler, write it as wheelbase_m, and name it in measured"
    pair = _yaw_rates(seen)
    if pair is not None:
        told, true = pair
        ratio = float(np.median(told / true))
        if not 0.8 < ratio < 1.2:
            found = f"{car.wheelbase_m:g} m, and the odometry turns {ratio:.2f} times as fast as the gyroscope"
            return _check(name, "fail", found, f"{advice}; or robot-rl calibrate car, if the steering is off")
    if math.isclose(car.wheelbase_m, _STOCK_WHEELBASE_M):
        found = f"{car.wheelbase_m:g} m, which F1TENTH's files say of a car of 0.33 m"
        return _check(name, "fail", found, advice)
    if "wheelbase_m" not in car.measured:
        return _check(name, "warn", f"{car.wheelbase_m:g} m, assumed", advice)
    return _check(name, "ok", f"{car.wheelbase_m:g} m, measured")


def check_steering_range(car: CarSettings) -> Check:
    """Trap 5: a clipped servo reaches less than the steering that is believed in, and not the same to both sides."""
    right, left = car.steering_range_rad
    found = f"{right:+.3f} to {left:+.3f} rad (left is positive)"
    name = "Steering range"
    if left + right > 0.02 or left + right < -0.02 or max(left, -right) < car.max_steering_rad - 0.02:
        found += f", and max_steering_rad is {car.max_steering_rad:g}"
        advice = (
            f"set max_steering_rad to {min(left, -right):.3f}, or trim the linkage so that servo_min and servo_max "
            "leave as much to both sides"
        )
        return _check(name, "warn", found, advice)
    return _check(name, "ok", found)


def check_first_odometry(seen: CarSeen) -> Check:
    """Trap 6: the usual driver tells no odometry before the first command has come."""
    name = "Odometry at rest"
    if seen.odometry:
        when = "though nobody commands" if not seen.commanders else "while somebody commands"
        return _check(name, "ok", f"comes, {when}")
    if seen.status:
        found = f"none comes: {seen.status.get('reason') or 'the car tells nothing'}"
        return _check(name, "fail", found, "is the VESC switched on? Its answers are what odometry is made of")
    found = "none comes before the first command" if not seen.commanders else "none comes"
    advice = "the usual driver waits for a command; odometry of robot-rl node car begins with the first answer"
    return _check(name, "fail", found, advice)


def check_old_commands(seen: CarSeen) -> Check:
    """Trap 7: what the usual driver does with a command that is old is not defined."""
    name = "Old commands"
    if seen.unstamped:
        found = f"{seen.unstamped} commands came without a stamp, so nobody can tell how old they are"
        return _check(name, "fail", found, "stamp each command when it is decided; unstamped ones are not followed")
    ages = sorted(seen.command_ages_ms)
    if not ages:
        return _check(name, "ok" if seen.status else "warn", "nobody commanded", "look again while the policy runs")
    p99 = ages[int(0.99 * (len(ages) - 1))]
    if ages[0] < -5.0:
        found = f"a command is stamped {-ages[0]:.0f} ms in the future"
        return _check(name, "fail", found, "let both computers follow one clock: sudo apt install chrony on each")
    if not p99 <= OLD_COMMAND_MS:
        found = f"commands are {p99:.0f} ms old when they come (p99); the car stops at {OLD_COMMAND_MS:.0f} ms"
        return _check(name, "fail", found, "bring policy and car closer together: a cable, or the policy on the car")
    if not seen.status:
        found = f"p99 {p99:.0f} ms, and no watchdog looks at them"
        return _check(name, "fail", found, "drive through robot-rl node car, which stops for a command 0.1 s old")
    return _check(name, "ok", f"p99 {p99:.0f} ms; the watchdog stops the car at {OLD_COMMAND_MS:.0f} ms")


def _speeds(seen: CarSeen) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the speeds of odometry and localisation while the car moves, one entry a sample; None if it did not."""
    if len(seen.poses) < _LEAST or len(seen.odometry) < _LEAST:
        return None
    at_s, true = speeds(_increasing(seen.poses))
    odometry = _increasing(seen.odometry)
    there = (odometry[:, 0] > at_s[0]) & (odometry[:, 0] < at_s[-1])
    real = np.interp(odometry[there, 0], at_s, true)
    moves = np.abs(real) > _MOVING_M_S
    return (odometry[there, 1][moves], real[moves]) if moves.sum() >= _LEAST else None


def _yaw_rates(seen: CarSeen) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the yaw rates of odometry and gyroscope while the car turns; None if it did not."""
    if len(seen.imu) < _LEAST or len(seen.odometry) < _LEAST:
        return None
    imu, odometry = _increasing(seen.imu), _increasing(seen.odometry)
    real = np.interp(odometry[:, 0], imu[:, 0], imu[:, 4])
    turns = (np.abs(real) > _TURNING_RAD_S) & (np.abs(odometry[:, 2]) > _TURNING_RAD_S)
    return (odometry[turns, 2], real[turns]) if turns.sum() >= _LEAST else None


def _yaw_ratio(seen: CarSeen) -> float | None:
    """Return how many times faster the gyroscope turns than the localisation; None if the car did not turn."""
    if len(seen.poses) < _LEAST:
        return None
    poses, imu = _increasing(seen.poses), _increasing(seen.imu)
    if len(poses) < _LEAST:
        return None
    rate = np.gradient(np.unwrap(poses[:, 3]), poses[:, 0])
    rate = np.convolve(rate, np.ones(5) / 5.0, mode="same")
    real = np.interp(imu[:, 0], poses[:, 0], rate)
    turns = np.abs(real) > _TURNING_RAD_S
    return float(np.median(imu[turns, 4] / real[turns])) if turns.sum() >= _LEAST else None


def _increasing(rows: Rows) -> np.ndarray:
    """Return rows (N, k) without those whose time is not later than all before: repeated or overtaken messages."""
    kept: list[tuple[float, ...]] = []
    for row in rows:
        if not kept or row[0] > kept[-1][0]:
            kept.append(row)
    return np.array(kept)


def _check(name: str, status: Status, found: str, advice: str = "") -> Check:
    return Check(name=name, status=status, found=found, advice="" if status == "ok" else advice)


def verdict(checks: Sequence[Check]) -> str:
    """Return one sentence: whether the car can be driven."""
    failed = [c.name for c in checks if c.status == "fail"]
    warned = [c.name for c in checks if c.status == "warn"]
    if failed:
        return f"The car cannot be driven like this; mend first: {', '.join(failed)}."
    return f"The car can be driven; look at: {', '.join(warned)}." if warned else "The car can be driven."
