"""The scripted drive on a twin with secret numbers, in simulated time: the file makes a twin that drives alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from cars import F1TENTH

from robot_rl.car import CarCommand, CarExecuted, CarReset, CarState
from robot_rl.errors import ConfigError
from robot_rl_hardware.car.calibrated import draw, fit_car, load_recording, save_recording, table
from robot_rl_hardware.car.calibration import Leg, fit
from robot_rl_hardware.car.file import load_car, save_car
from robot_rl_hardware.car.scripted_drive import Drive, Room, drive, here, needed
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.simulated import NUMBERS_OF_TWIN
from robot_rl_hardware.car.twin_plant import TwinPlant
from robot_rl_hardware.car.vesc_messages import SetServo
from robot_rl_hardware.car.vesc_pilot import Pilot, VescSettings
from robot_rl_sim.car.measured import make_measured

HZ, TOP_M_S = 50.0, 3.5
WIDE = Room(ahead_m=50.0, behind_m=50.0, left_m=50.0, right_m=50.0)
SECRET = dataclasses.replace(
    F1TENTH, max_speed_m_s=4.0, speed_to_erpm_gain=3900.0, steering_to_servo_gain=-1.05, steering_to_servo_offset=0.47,
    latency_s=0.08, steering_lag_s=0.14, friction=0.6,
)  # fmt: skip
BELIEVED = dataclasses.replace(F1TENTH, max_speed_m_s=4.0)


class LockStep:
    """A car over ROS 2 in simulated time: the node's pilot drives by one file, and the twin is another one."""

    def __init__(self, believed: CarSettings, really: CarSettings) -> None:
        twin = make_measured({n: getattr(really, n) for n in NUMBERS_OF_TWIN}, HZ, course="open", beams=0)
        self.plant, self.pilot, self.now_s = TwinPlant(twin, really), Pilot(believed, VescSettings()), 0.0
        self.steering, self.stop_at_s, self.periods = 0.0, np.inf, 0

    def connect(self) -> None:
        self.pilot.heard(self.plant.reset(CarReset(p_WC=(1.0, 2.0), yaw_rad=0.7)), self.now_s)

    def reset(self, request: CarReset) -> CarState:
        self.pilot.heard(self.plant.reset(request), self.now_s)
        return self.observe()

    def command(self, command: CarCommand) -> CarExecuted:
        if self.now_s >= self.stop_at_s:
            return CarExecuted(0.0, 0.0, stopped=True, reason="the deadman is not held")
        # As in the node: what was told before shows first, then comes what is told now.
        self.now_s, self.periods = self.now_s + 1.0 / HZ, self.periods + 1
        self.pilot.heard(self.plant.step(), self.now_s)
        self.pilot.drive(command.speed_m_s, command.steering_rad, self.now_s)
        for one in self.pilot.tick(self.now_s):
            self.plant.obey(one)
            if isinstance(one, SetServo):
                self.steering = self.pilot.car.steering_of(one.position)
        return CarExecuted(command.steering_rad, command.speed_m_s)

    def observe(self) -> CarState:
        """Return what the twin tells, with what the node's file makes of it."""
        assert self.plant.state is not None
        speed = self.pilot.car.speed_of(self.plant.values().erpm)
        return dataclasses.replace(self.plant.state, speed_m_s=speed, steering_rad=self.steering)

    def close(self) -> None:
        self.plant.close()


@pytest.fixture(scope="module")
def driven() -> Drive:
    car = LockStep(BELIEVED, SECRET)
    car.reset(here(car))
    return drive(car, BELIEVED, TOP_M_S, WIDE)


def test_the_fitted_file_makes_a_twin_that_drives_like_the_car(driven: Drive, tmp_path: Path) -> None:
    assert driven.problem == ""
    found, notes = fit_car(driven.recording(), BELIEVED)
    assert notes == []
    save_car(tmp_path / "car.yaml", found.apply(BELIEVED))
    fitted = load_car(tmp_path / "car.yaml")
    assert set(found.values) <= set(fitted.measured)
    assert fitted.speed_to_erpm_gain == pytest.approx(SECRET.speed_to_erpm_gain, rel=0.03)
    assert fitted.steering_to_servo_offset == pytest.approx(SECRET.steering_to_servo_offset, abs=0.01)
    assert fitted.steering_to_servo_gain == pytest.approx(SECRET.steering_to_servo_gain, rel=0.03)
    assert fitted.latency_s == pytest.approx(SECRET.latency_s, abs=0.03)
    assert fitted.steering_lag_s == pytest.approx(SECRET.steering_lag_s, abs=0.03)
    assert fitted.friction == pytest.approx(SECRET.friction, rel=0.08)

    # The same wishes, in m/s and radians, for the car with its file and for the twin made of the file.
    car, twin = LockStep(fitted, SECRET), LockStep(fitted, fitted)
    wrong = LockStep(BELIEVED, SECRET)
    ends = []
    for one in (car, twin, wrong):
        one.reset(CarReset(p_WC=(0.0, 0.0)))
        for i in range(200):
            one.command(CarCommand(0.2 if (i // 40) % 2 else -0.15, 1.5))
        ends.append(one.observe())
    way_m = 1.5 * 4.0
    assert np.linalg.norm(ends[0].p_WC - ends[1].p_WC) < 0.06 * way_m
    assert abs(ends[0].yaw_rad - ends[1].yaw_rad) < 0.15
    assert np.linalg.norm(ends[2].p_WC - ends[1].p_WC) > 0.12 * way_m  # so the measure tells a wrong file from a right


def test_a_drive_is_kept_and_fits_again_to_the_bit(driven: Drive, tmp_path: Path) -> None:
    save_recording(tmp_path / "a.drive.npz", driven.recording())
    again = load_recording(tmp_path / "a.drive.npz")
    parts = ["speed"]
    assert fit(again, 0.33, parts) == fit(driven.recording(), 0.33, parts)
    draw(tmp_path / "a.png", again, BELIEVED)
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert len(table(BELIEVED, fit(again, 0.33, parts))) == 4


@pytest.mark.parametrize("content", [b"", b"PK not", b"\x93NUMPY"])
def test_a_file_that_is_no_drive_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is no recorded drive"):
        load_recording(path)


def test_a_slow_drive_leaves_friction_as_it_was_and_says_so() -> None:
    car = LockStep(BELIEVED, SECRET)
    car.reset(here(car))
    found, notes = fit_car(drive(car, BELIEVED, 1.3, WIDE).recording(), BELIEVED)
    assert "friction" not in found.values
    assert "The friction stays 0.8, which is assumed: the drive does not show the friction" in notes[0]


def test_the_deadman_ends_the_drive_with_what_was_recorded() -> None:
    car = LockStep(BELIEVED, SECRET)
    car.reset(here(car))
    car.stop_at_s = 2.0
    found = drive(car, BELIEVED, TOP_M_S, WIDE)
    assert found.problem == "the deadman is not held"
    assert 90 <= len(found.rows) <= 101


def test_too_little_room_is_told_before_anything_moves() -> None:
    car = LockStep(BELIEVED, SECRET)
    car.connect()
    with pytest.raises(ConfigError, match=r"at 3.5 m/s the drive takes, .* ahead, .*; there is 3.0 ahead"):
        drive(car, BELIEVED, TOP_M_S, Room(ahead_m=3.0, behind_m=3.0, left_m=3.0, right_m=3.0))
    assert car.periods == 0


def test_a_car_that_leaves_the_room_is_stopped() -> None:
    """It is told to drive by a file that makes it twice as fast as believed."""
    fast = dataclasses.replace(SECRET, speed_to_erpm_gain=BELIEVED.speed_to_erpm_gain / 2)
    car = LockStep(BELIEVED, fast)
    car.connect()
    found = drive(car, BELIEVED, 1.5, needed(BELIEVED, 1.5))
    assert found.problem.startswith("it left the room: ")


@pytest.mark.parametrize("top_m_s", [0.0, -1.0, 5.0, float("nan")])
def test_a_speed_that_the_file_does_not_allow_is_refused(top_m_s: float) -> None:
    car = LockStep(BELIEVED, SECRET)
    car.connect()
    with pytest.raises(ConfigError, match="it must be above 0 and at most the car file's max_speed_m_s of 4"):
        drive(car, BELIEVED, top_m_s, WIDE)


def test_the_room_grows_with_the_speed() -> None:
    script = (Leg(2.0, 1.0, 0.0), Leg(2.0, 0.5, 1.0))
    small, large = needed(BELIEVED, 1.0, script), needed(BELIEVED, 2.0, script)
    assert large.ahead_m > small.ahead_m + 1.0
    assert small.right_m == pytest.approx(0.5)
