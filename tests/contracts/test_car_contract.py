"""What every `Car` keeps to: the lock-step twin, and whatever stands behind the topics of a car's node."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from car_programs import command
from cars import F1TENTH
from ros_rig import Program, own_domain, program

from robot_rl.car import Car, CarCommand, CarReset, CarState
from robot_rl.errors import ConfigError, RobotError
from robot_rl_hardware.car.file import save_car
from robot_rl_hardware.ros.car_client import RosCar, RosCarConfig, make_ros_car
from robot_rl_sim.car.settings import CarModel, CarTwinConfig, Sensors
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.places import place

BEAMS = 36
START = place("oval").course.gates[0]
CASES = ["lock-step", pytest.param("ros", marks=[pytest.mark.ros, pytest.mark.slow])]


@dataclass
class Rig:
    """A car, and the person with the deadman where there has to be one."""

    car: Car
    joystick: Program | None = None

    def begin(self) -> CarState:
        """Reset, while a person lets the button go and presses it until the car may drive."""
        request = CarReset(p_WC=(float(START.p_W[0]), float(START.p_W[1])), yaw_rad=START.heading_rad)
        if self.joystick is None:
            return self.car.reset(request)
        over, joystick = threading.Event(), self.joystick

        def press() -> None:
            while not over.wait(0.7):
                joystick.send(signal.SIGUSR2)
                over.wait(0.3)
                joystick.send(signal.SIGUSR1)

        thread = threading.Thread(target=press)
        thread.start()
        try:
            return self.car.reset(request)
        finally:
            over.set()
            thread.join()


@pytest.fixture(scope="module", params=CASES)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    if request.param == "lock-step":
        limits = CarModel(max_speed_m_s=F1TENTH.max_speed_m_s)
        twin = CarTwin(place("oval"), CarTwinConfig(car=limits, sensors=Sensors(beams=BEAMS)))
        twin.connect()
        yield Rig(twin)
        twin.close()
        return
    pytest.importorskip("rclpy")
    path = tmp_path_factory.mktemp("car") / "car.yaml"
    save_car(path, F1TENTH)
    node = ["node", "car", f"car={path}", "driver=twin", f"driver.twin.beams={BEAMS}"]
    with contextlib.ExitStack() as stack:
        domain = stack.enter_context(own_domain())
        started = stack.enter_context(program([sys.executable, "-m", "robot_rl", *node], domain))
        started.wait_for_words("stands: the twin")
        joystick = stack.enter_context(program(command("joystick", domain), domain))
        joystick.wait_for_words("joystick ready")
        patient = {"state_age_s": 5.0, "pose_age_s": 5.0, "answer_s": 5.0, "connect_s": 60.0}
        car = RosCar(RosCarConfig(domain=domain, beams=BEAMS, person_s=100.0, **patient))
        car.connect()
        yield Rig(car, joystick)
        car.close()


def test_a_reading_has_the_documented_shapes(rig: Rig) -> None:
    state = rig.begin()
    shapes = {"p_WC": (2,), "acceleration_m_s2": (3,), "angular_rate_rad_s": (3,), "ranges_m": (BEAMS,)}
    for name, shape in shapes.items():
        assert getattr(state, name).shape == shape
        assert np.isfinite(getattr(state, name)).all()
    assert state.wheel_speeds_m_s.shape in ((4,), (0,))
    assert -math.pi < state.yaw_rad <= math.pi
    assert state.pose_stamp_s <= state.stamp_s + 0.1
    assert np.linalg.norm(state.acceleration_m_s2) == pytest.approx(9.81, abs=1.5)
    assert np.linalg.norm(state.p_WC - START.p_W) < 0.3


def test_time_passes_while_it_is_commanded_and_a_reading_is_a_copy(rig: Rig) -> None:
    state = rig.begin()
    before = {f.name: np.copy(getattr(state, f.name)) for f in dataclasses.fields(state) if f.name != "images"}
    for _ in range(5):
        rig.car.command(CarCommand(0.1, 0.5))
    assert rig.car.observe().stamp_s > state.stamp_s
    for name, value in before.items():
        assert np.array_equal(getattr(state, name), value), f"a later reading changed {name} of an earlier one"


def test_it_goes_forward_and_to_the_left(rig: Rig) -> None:
    """As long as it takes on a machine that stops it now and then for being busy."""
    executed = None
    for _ in range(10):
        before, state = rig.begin(), None
        for _ in range(30):
            executed = rig.car.command(CarCommand(0.2, 1.0))
            if executed.stopped:
                break
            state = rig.car.observe()
            assert executed.speed_m_s == pytest.approx(1.0)
            assert executed.steering_rad == pytest.approx(0.2, abs=1e-6)
            assert tuple(executed.events) == ()
        else:
            assert state is not None
            assert state.speed_m_s == pytest.approx(1.0, abs=0.2)
            assert math.remainder(state.yaw_rad - before.yaw_rad, math.tau) > 0.2
            assert state.steering_rad == pytest.approx(0.2, abs=0.01)
            return
    pytest.fail(f"it never drove for a second and a half: {executed}")


def test_what_is_beyond_the_limits_is_cut_and_named(rig: Rig) -> None:
    executed = None
    for _ in range(10):
        rig.begin()
        executed = rig.car.command(CarCommand(1.0, 50.0))
        if not executed.stopped:
            assert set(executed.events) == {"steering", "speed"}
            assert executed.speed_m_s == F1TENTH.max_speed_m_s
            assert 0.2 < executed.steering_rad < 0.5
            return
    pytest.fail(f"it was never allowed to drive: {executed}")


@pytest.mark.parametrize("command", [CarCommand(math.nan, 1.0), CarCommand(0.0, math.inf)])
def test_a_command_that_is_no_number_is_refused(rig: Rig, command: CarCommand) -> None:
    rig.begin()
    with pytest.raises(RobotError, match="commands are finite numbers"):
        rig.car.command(command)


def test_over_ros_a_car_that_is_not_there_is_a_sentence() -> None:
    pytest.importorskip("rclpy")
    with own_domain() as domain:
        car = RosCar(RosCarConfig(domain=domain, connect_s=0.5))
        with pytest.raises(RobotError, match=r"no car's node is at / in ROS domain \d+ .* robot-rl node car"):
            car.connect()
        with pytest.raises(RobotError, match="the car is not connected"):
            car.observe()
        car.close()
        car.close()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"control_hz": 5.0}, "robot.control_hz is 5; a car is commanded 11 to 50 times a second"),
        ({"beams": -1}, "robot.beams is -1"),
        ({"person_s": 0.0}, "robot.person_s is 0.0; it must be positive"),
        ({"camera_topic": "/image"}, "it needs {} for the camera's name"),
    ],
)
def test_settings_of_no_car_are_refused(values: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        RosCarConfig(**values)


def test_a_task_of_an_arm_is_refused() -> None:
    with pytest.raises(ConfigError, match="and 'object' is no task of a car"):
        make_ros_car(object())  # pyright: ignore[reportArgumentType]
