"""The twin behind a motor controller: the VESC's own pilot drives it by electrical speeds, in simulated time."""

from __future__ import annotations

import dataclasses
import math

import pytest
from cars import F1TENTH, MIRRORED

from robot_rl.car import CarReset
from robot_rl.errors import RobotError
from robot_rl_hardware.car import vesc_messages as vm
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.simulated import NUMBERS_OF_TWIN
from robot_rl_hardware.car.twin_plant import TwinPlant
from robot_rl_hardware.car.vesc_pilot import Pilot, VescSettings
from robot_rl_sim.car.measured import make_measured, model_of

HZ = 50.0
START = CarReset(p_WC=(0.0, 0.0))


class Ride:
    """A pilot that believes in one car and a twin that is another one."""

    def __init__(self, believed: CarSettings, really: CarSettings | None = None) -> None:
        really = really or believed
        numbers = {name: getattr(really, name) for name in NUMBERS_OF_TWIN}
        self.twin = make_measured(numbers, HZ, course="open", beams=0)
        self.plant, self.pilot, self.now_s = TwinPlant(self.twin, really), Pilot(believed, VescSettings()), 0.0
        self.pilot.heard(self.plant.reset(START), self.now_s)

    def drive(self, seconds: float, speed_m_s: float | None, steering_rad: float = 0.0) -> None:
        for _ in range(round(seconds * HZ)):
            self.now_s += 1.0 / HZ
            if speed_m_s is None:
                self.pilot.stop("the test says so")
            else:
                self.pilot.drive(speed_m_s, steering_rad, self.now_s)
            for command in self.pilot.tick(self.now_s):
                self.plant.obey(command)
            self.pilot.heard(self.plant.step(), self.now_s)


@pytest.mark.parametrize("car", [F1TENTH, MIRRORED], ids=["f1tenth", "mirrored"])
@pytest.mark.parametrize("speed", [2.0, -0.8])
def test_it_goes_as_fast_and_turns_as_it_is_told_whichever_way_motor_and_servo_are_mounted(
    car: CarSettings, speed: float
) -> None:
    ride = Ride(car)
    ride.drive(2.0, speed, 0.2)
    assert ride.twin.truth().v_C[0] == pytest.approx(speed, rel=0.05)
    assert ride.twin.truth().yaw_rate_rad_s == pytest.approx(car.yaw_rate_of(speed, 0.2), rel=0.12)
    assert ride.plant.values().erpm * speed * car.speed_to_erpm_gain > 0.0


@pytest.mark.parametrize("speed", [3.0, -0.9])
def test_a_stop_brings_it_to_rest_and_never_drives_it_the_other_way(speed: float) -> None:
    ride = Ride(F1TENTH)
    ride.drive(2.0, speed)
    for _ in range(100):
        ride.drive(0.02, None)
        assert ride.twin.truth().v_C[0] * math.copysign(1.0, speed) > -0.03
    assert abs(ride.twin.truth().v_C[0]) < 0.02


def test_a_car_file_that_is_wrong_drives_it_wrongly() -> None:
    """The speed's gain is twice the true one, and the wheelbase that of F1TENTH's files."""
    believed = dataclasses.replace(F1TENTH, speed_to_erpm_gain=2 * F1TENTH.speed_to_erpm_gain)
    ride = Ride(believed, F1TENTH)
    ride.drive(2.0, 1.0)
    assert ride.twin.truth().v_C[0] == pytest.approx(2.0, rel=0.05)
    assert believed.speed_of(ride.plant.values().erpm) == pytest.approx(1.0, rel=0.06)


def test_the_servo_goes_no_further_than_its_ends() -> None:
    ride = Ride(F1TENTH)
    ride.plant.obey(vm.SetServo(1.0))
    ride.drive(0.0, None)
    for _ in range(50):
        ride.plant.step()
    right, _ = F1TENTH.steering_range_rad
    assert ride.twin.truth().steering_rad == pytest.approx(right, abs=1e-3)


def test_a_command_that_no_car_knows_is_a_sentence() -> None:
    with pytest.raises(RobotError, match="the car's twin does not know the command SetDuty"):
        Ride(F1TENTH).plant.obey(vm.SetDuty(0.1))


def test_a_longer_car_is_longer() -> None:
    numbers = {name: getattr(F1TENTH, name) for name in NUMBERS_OF_TWIN}
    model = model_of({**numbers, "wheelbase_m": 0.5})
    assert model.wheelbase_m == pytest.approx(0.5)
    assert model.front_m / model.rear_m == pytest.approx(model_of(numbers).front_m / model_of(numbers).rear_m)
