"""What tests show about the car: VESC, safety, twin, courses, calibration and topics, a row for each claim."""

from __future__ import annotations

from collections.abc import Sequence

from verify.children import Runner
from verify.claims import claim
from verify.rows import Row

STAGE = "tests"
SECONDS = 240.0

# What is claimed -> the files of the tests that show it.
CLAIMS: dict[str, Sequence[str]] = {
    "VESC: frames and messages byte for byte, a peer that damages, delays, vanishes; car file, limits, signs": (
        "tests/car/test_vesc_frame.py",
        "tests/car/test_vesc_messages.py",
        "tests/car/test_vesc.py",
        "tests/car/test_vesc_pilot.py",
        "tests/car/test_car_file.py",
        "tests/car/test_odometry.py",
    ),
    "deadman, watchdog and governor fail closed, whatever falls silent or repeats itself": (
        "tests/car/test_watchdog.py",
        "tests/car/test_deadman_device.py",
        "tests/car/test_governor.py",
    ),
    "the twin: mass, coasting, top speed, friction, a tyre's peak, repeatable to the bit; told what a VESC is told": (
        "tests/car/test_car_twin.py",
        "tests/car/test_twin_plant.py",
        "tests/car/test_car_mirror.py",
        "tests/car/test_lidar.py",
    ),
    "courses from one lap and from maps, gates, lap times, the classical driver": (
        "tests/car/test_courses.py",
        "tests/car/test_recording.py",
        "tests/car/test_course_record.py",
        "tests/car/test_maps.py",
        "tests/car/test_driver.py",
    ),
    "the task, practice without a reset, recovery, laps, the race": (
        "tests/car/test_lap.py",
        "tests/car/test_lap_practice.py",
        "tests/car/test_recovery.py",
        "tests/car/test_laps.py",
        "tests/car/test_race.py",
        "tests/car/test_lap_training.py",
    ),
    "calibration finds secret numbers; the traps of the usual stack are told": (
        "tests/car/test_calibration.py",
        "tests/car/test_calibrate_drive.py",
        "tests/car/test_traps.py",
        "tests/car/test_car_cli.py",
    ),
}
ROS = "the car's topics from another node: twist, F1TENTH's own, deadman, status, what is old"


def measure(runner: Runner) -> list[Row]:
    """Run the tests of each claim and return a row for it; those over ROS 2 one at a time."""
    rows = [claim(runner, STAGE, what, files) for what, files in CLAIMS.items()]
    return [*rows, claim(runner, STAGE, ROS, ["tests/ros/test_car_node.py"], options=())]
