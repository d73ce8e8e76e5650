"""Each trap of an F1TENTH car is told from what its topics say, and a sound car shows none of them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from cars import F1TENTH

from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.traps import CarSeen, car_checks, verdict

G = 9.80665
SOUND = dataclasses.replace(
    F1TENTH, steering_to_servo_offset=0.5, max_steering_rad=0.28, measured=("wheelbase_m",)
)  # fmt: skip


def driving(*, sign: float = 1.0, gain: float = 1.0, turn: float = 1.0, seconds: float = 4.0) -> CarSeen:
    """Return what is seen of a car on a circle of 2 m/s and 1 rad/s, with noise; its odometry may be wrong."""
    rng, time_s = np.random.default_rng(0), np.arange(0.0, seconds, 0.02)
    n, yaw = len(time_s), np.array([math.remainder(t, math.tau) for t in time_s])
    poses = np.stack([time_s, 2.0 * np.sin(time_s), 2.0 - 2.0 * np.cos(time_s), yaw], axis=1)
    poses[:, 1:3] += rng.normal(0.0, 0.01, (n, 2))
    imu = np.stack([time_s, np.zeros(n), np.full(n, 2.0), np.full(n, G), np.ones(n)], axis=1)
    imu[:, 1:] += rng.normal(0.0, 0.05, (n, 4))
    odometry = np.stack([time_s, np.full(n, sign * gain * 2.0), np.full(n, turn)], axis=1)
    return CarSeen(
        where="/ in ROS domain 0", nodes=("/car", "/joy"), status={"drives": True, "reason": ""}, commanders=1,
        joysticks=1, command_ages_ms=(4.0,) * 50, odometry=rows(odometry), imu=rows(imu), imu_frame="base_link",
        poses=rows(poses),
    )  # fmt: skip


def rows(array: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, array.tolist()))


def in_g(seen: CarSeen) -> CarSeen:
    """Return the inertial sensor as the VESC tells it: g and degrees a second."""
    imu = np.array(seen.imu)
    imu[:, 1:4] /= G
    imu[:, 4] = np.degrees(imu[:, 4])
    return dataclasses.replace(seen, imu=rows(imu))


def in_degrees(seen: CarSeen) -> CarSeen:
    imu = np.array(seen.imu)
    imu[:, 4] = np.degrees(imu[:, 4])
    return dataclasses.replace(seen, imu=rows(imu))


def told(seen: CarSeen, car: CarSettings = SOUND) -> dict[str, tuple[str, str]]:
    return {check.name: (check.status, f"{check.found}; {check.advice}") for check in car_checks(seen, car)}


def test_a_sound_car_shows_none_of_them() -> None:
    checks = car_checks(driving(), SOUND)
    assert [check.status for check in checks] == ["ok"] * 8, told(driving())
    assert verdict(checks) == "The car can be driven."


def changed(**values: object) -> CarSeen:
    return dataclasses.replace(driving(), **values)  # pyright: ignore[reportArgumentType]


TRAPS = {
    "mux": (changed(nodes=("/ackermann_mux", "/car")), "Deadman", "fail", "a joystick that dies lets commands through"),
    "driver": (changed(nodes=("/vesc/vesc_driver_node",)), "Deadman", "fail", "can drive the car beside its deadman"),
    "no node": (changed(status={}), "Deadman", "fail", "no car's node answers"),
    "no joystick": (changed(joysticks=0), "Deadman", "warn", "nobody publishes joy"),
    "reversed": (driving(sign=-1.0), "Odometry sign", "fail", "forward is told as backward"),
    "gain": (driving(gain=1.3), "Odometry sign", "warn", "the wheels tell 1.3"),
    "no pose": (changed(poses=()), "Odometry sign", "warn", "not seen"),
    "g": (in_g(driving()), "IMU units", "fail", "accelerations are in g"),
    "degrees": (in_degrees(driving()), "IMU units", "fail", "degrees a second instead of radians"),
    "frame": (changed(imu_frame=""), "IMU units", "warn", "no frame_id"),
    "no imu": (changed(imu=()), "IMU units", "warn", "no inertial sensor tells anything"),
    "turns": (driving(turn=1.32), "Wheelbase", "fail", "turns 1.32 times as fast as the gyroscope"),
    "silent odometry": (changed(odometry=(), status={}, commanders=0), "Odometry at rest", "fail", "before the first"),
    "unstamped": (changed(unstamped=3), "Old commands", "fail", "3 commands came without a stamp"),
    "old": (changed(command_ages_ms=(300.0,) * 9), "Old commands", "fail", "commands are 300 ms old"),
    "ahead": (changed(command_ages_ms=(-40.0,) * 9), "Old commands", "fail", "stamped 40 ms in the future"),
    "unwatched": (changed(status={}), "Old commands", "fail", "no watchdog looks at them"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_each_trap_is_a_sentence_with_what_to_do(trap: str) -> None:
    seen, name, status, words = TRAPS[trap]
    found = told(seen)[name]
    assert found[0] == status
    assert words in found[1]
    assert not found[1].endswith("; ")
    assert name in verdict(car_checks(seen, SOUND))


@pytest.mark.parametrize(
    ("values", "name", "status", "words"),
    [
        ({"wheelbase_m": 0.25}, "Wheelbase", "fail", "0.25 m, which F1TENTH's files say of a car of 0.33 m"),
        ({"measured": ()}, "Wheelbase", "warn", "0.3302 m, assumed"),
        ({"steering_to_servo_offset": 0.5304, "max_steering_rad": 0.4189}, "Steering range", "warn",
         "-0.263 to +0.313 rad (left is positive), and max_steering_rad is 0.4189; set max_steering_rad to 0.263"),
    ],
)  # fmt: skip
def test_the_traps_of_a_car_file(values: dict, name: str, status: str, words: str) -> None:
    found = told(driving(), dataclasses.replace(SOUND, **values))[name]
    assert found[0] == status
    assert words in found[1]


def test_a_car_that_stands_is_not_blamed_for_what_only_motion_shows() -> None:
    seen = changed(poses=rows(np.stack([np.arange(0, 4, 0.02), *np.zeros((3, 200))], axis=1)))
    assert told(seen)["Odometry sign"][0] == "warn"


def test_without_ros_there_is_a_sentence_and_no_traceback() -> None:
    found = told(CarSeen(where="/", trouble="ROS 2 (rclpy) is not installed"))
    assert found["ROS 2"] == ("fail", "ROS 2 (rclpy) is not installed; mend it, then try again")


def test_messages_that_come_twice_or_overtake_each_other_change_nothing() -> None:
    seen = driving()
    twice = [row for row in seen.poses for _ in (0, 1)]
    twice[10], twice[40] = twice[40], twice[10]
    assert told(dataclasses.replace(seen, poses=tuple(twice)))["Odometry sign"][0] == "ok"
