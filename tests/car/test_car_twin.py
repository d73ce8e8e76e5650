"""The car's twin against what a car is known to do: mass, speed, turning, friction, energy, and no surprises."""

from __future__ import annotations

import robot_rl_sim  # noqa: F401  (chooses OpenGL before MuJoCo is imported)

# isort: split
import dataclasses
import math

import mujoco
import numpy as np
import pytest

from robot_rl.car import CarCommand, CarReset
from robot_rl.errors import ConfigError, RobotError
from robot_rl_sim.car.settings import CarModel, CarTwinConfig, Sensors
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.course import make_course
from robot_rl_tasks.car.place import SURFACES, Place

TYRES = ("contact", "pacejka")
G = 9.81


def open_ground(surface: str = "asphalt", **changes: float) -> Place:
    """Return a place with nothing in it."""
    u = np.linspace(0.0, 2 * math.pi, 40, endpoint=False)
    course = make_course("circle", 20.0 * np.stack([np.cos(u), np.sin(u)], axis=1), 2.0, 2.0)
    ground = dataclasses.replace(SURFACES[surface], **changes)
    return Place(course=course, obstacles=np.zeros((0, 3)), surface=ground)


def make(place: Place | None = None, **config: object) -> CarTwin:
    values = {"sensors": Sensors.perfect(), "command_delay_s": 0.0, **config}
    return CarTwin(place or open_ground(), CarTwinConfig(**values))


def drive(twin: CarTwin, seconds: float, steering: float, speed: float, current: float | None = None) -> None:
    for _ in range(round(seconds / twin.period_s)):
        twin.command(CarCommand(steering, speed, current))


def velocity_of_the_mass(twin: CarTwin) -> np.ndarray:
    """Return the velocity of the centre of gravity: what friction accelerates. The rear axle swings about it."""
    truth, rear = twin.truth(), twin.config.car.rear_m
    swing = truth.yaw_rate_rad_s * rear
    return twin.data.qvel[:2] + swing * np.array([-math.sin(truth.yaw_rad), math.cos(truth.yaw_rad)])


def test_the_whole_car_weighs_and_balances_as_stated() -> None:
    car = CarModel()
    twin = make()
    twin.reset(CarReset(p_WC=(0.0, 0.0)))
    body = twin.model.body("car").id
    assert twin.model.body_subtreemass[body] == pytest.approx(car.mass_kg, abs=1e-9)
    assert twin.data.subtree_com[body] == pytest.approx([car.rear_m, 0.0, car.height_m], abs=1e-6)
    # Turning inertia about the centre of gravity, from the kinetic energy of a spin of 1 rad/s about it.
    full = np.zeros((twin.model.nv, twin.model.nv))
    mujoco.mj_fullM(twin.model, twin.data, full)
    spin = np.zeros(twin.model.nv)
    spin[:6] = (0.0, -car.rear_m, 0.0, 0.0, 0.0, 1.0)
    assert spin @ full @ spin == pytest.approx(car.yaw_inertia_kg_m2, rel=0.01)


@pytest.mark.parametrize("tyres", TYRES)
@pytest.mark.parametrize("speed", [1.0, 3.0, 5.0, 8.0, -1.5])
def test_steady_speed_is_the_commanded_one_within_one_percent(tyres: str, speed: float) -> None:
    twin = make(tyres=tyres)
    twin.reset(CarReset(p_WC=(0.0, 0.0)))
    drive(twin, 5.0, 0.0, speed)
    truth = twin.truth()
    assert truth.v_C[0] == pytest.approx(speed, rel=0.01)
    assert twin.observe().speed_m_s == pytest.approx(speed, rel=0.01)
    assert abs(truth.p_WC[1]) < 0.01, "it drifts off a straight line"


@pytest.mark.parametrize("tyres", TYRES)
@pytest.mark.parametrize("steering", [0.1, 0.25, 0.4, -0.25])
def test_at_low_speed_it_turns_like_a_bicycle(tyres: str, steering: float) -> None:
    car = CarModel()
    twin = make(tyres=tyres)
    twin.reset(CarReset(p_WC=(0.0, 0.0)))
    drive(twin, 4.0, steering, 1.0)
    truth = twin.truth()
    radius = truth.v_C[0] / truth.yaw_rate_rad_s
    assert math.copysign(1.0, radius) == math.copysign(1.0, steering), "left is positive"
    assert abs(radius) == pytest.approx(car.wheelbase_m / math.tan(abs(steering)), rel=0.03)


@pytest.mark.parametrize("tyres", TYRES)
@pytest.mark.parametrize(("surface", "speed"), [("asphalt", 5.0), ("grass", 4.0), ("ice", 2.2)])
def test_the_sharpest_turn_takes_nearly_all_of_the_friction(tyres: str, surface: str, speed: float) -> None:
    twin = make(open_ground(surface, rolling=0.01), tyres=tyres)
    twin.reset(CarReset(p_WC=(0.0, 0.0), speed_m_s=speed / 2))
    drive(twin, 3.0, 0.2, speed)
    before = velocity_of_the_mass(twin)
    sideways = []
    for _ in range(20):
        drive(twin, twin.period_s, 0.2, speed)
        after = velocity_of_the_mass(twin)
        sideways.append(np.hypot(*(after - before)) / twin.period_s)
        before = after
    limit = SURFACES[surface].friction * G
    assert np.mean(sideways) <= 1.04 * limit
    assert np.max(sideways) >= 0.85 * limit


def test_slippery_ground_takes_longer_to_brake_on() -> None:
    ways = {}
    for surface in ("carpet", "ice"):
        twin = make(open_ground(surface))
        twin.reset(CarReset(p_WC=(0.0, 0.0), speed_m_s=4.0))
        drive(twin, 6.0, 0.0, 0.0)
        ways[surface] = twin.truth().p_WC[0]
        friction = SURFACES[surface].friction
        assert ways[surface] >= 0.95 * 4.0**2 / (2 * friction * G), "it brakes harder than friction allows"
    assert ways["ice"] > 2.5 * ways["carpet"]


@pytest.mark.parametrize("tyres", TYRES)
@pytest.mark.parametrize("steering", [0.0, 0.3])
def test_rolling_free_it_only_loses_energy(tyres: str, steering: float) -> None:
    twin = make(tyres=tyres)
    twin.model.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_ENERGY)
    twin.reset(CarReset(p_WC=(0.0, 0.0), speed_m_s=5.0))
    energy = []
    for _ in range(60):
        drive(twin, twin.period_s, steering, 0.0, current=0.0)
        energy.append(float(twin.data.energy.sum()))
    start = energy[0]
    # The steering servo does work on the front wheels while it turns them; a thousandth covers it and the springs.
    assert (np.diff(energy) <= 1e-3 * abs(start)).all()
    assert energy[-1] < start


@pytest.mark.parametrize("tyres", TYRES)
def test_it_stays_on_its_wheels_and_finite_up_to_eight_metres_a_second(tyres: str) -> None:
    twin = make(tyres=tyres)
    rng = np.random.default_rng(3)
    twin.reset(CarReset(p_WC=(0.0, 0.0)))
    drive(twin, 3.0, 0.0, 8.0)
    height = []
    for _ in range(100):
        drive(twin, 0.1, float(rng.uniform(-0.4, 0.4)), float(rng.uniform(6.0, 8.0)))
        height.append(float(twin.data.qpos[2]))
        assert np.isfinite(twin.data.qpos).all()
        assert twin.truth().upright > 0.9
    assert max(np.abs(height)) < 0.02
    assert not twin.truth().collided


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not() -> None:
    def states(seed: int) -> list[np.ndarray]:
        twin = CarTwin(open_ground(), CarTwinConfig(sensors=Sensors(beams=20), spread=1.0))
        out = []
        for _ in range(2):  # a second episode forgets the first
            state = twin.reset(CarReset(p_WC=(0.0, 0.0), seed=seed))
            for k in range(30):
                twin.command(CarCommand(0.3 * math.sin(0.2 * k), 3.0))
                state = twin.observe()
            out.append(np.concatenate([state.p_WC, state.acceleration_m_s2, [state.yaw_rad, state.speed_m_s]]))
        return out

    first, again, other = states(1), states(1), states(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


def test_steering_follows_with_its_rate_and_lag_after_the_delay() -> None:
    twin = make(command_delay_s=0.1, control_hz=100.0)
    car = twin.config.car
    twin.reset(CarReset(p_WC=(0.0, 0.0)))
    angles = []
    for _ in range(60):
        twin.command(CarCommand(0.4, 0.0))
        angles.append(twin.truth().steering_rad)
    at = np.array(angles)
    assert (at[:9] == 0.0).all(), "nothing moves before the delay is over"
    assert np.diff(at).max() <= car.steering_rate_rad_s * twin.period_s + 1e-9
    assert np.diff(at).max() == pytest.approx(car.steering_rate_rad_s * twin.period_s, rel=0.05)
    assert at[-1] == pytest.approx(0.4, abs=0.01)


def test_current_pushes_with_the_torque_of_the_motor() -> None:
    car = CarModel()
    twin = make()
    twin.reset(CarReset(p_WC=(0.0, 0.0), speed_m_s=2.0))
    drive(twin, 0.5, 0.0, 0.0, current=15.0)
    gained = twin.truth().v_C[0] - 2.0
    wheels = 4 * (0.7 * car.wheel_kg + 3e-4 / car.wheel_radius_m**2)  # turning with the car, they weigh more
    push = 15.0 * car.newton_per_ampere - SURFACES["asphalt"].rolling * car.mass_kg * G
    assert gained == pytest.approx(0.5 * push / (car.mass_kg + wheels), rel=0.03)


def test_sensors_read_what_is_true_late_and_noisy_as_told() -> None:
    sensors = dataclasses.replace(Sensors.perfect(), pose_latency_s=0.1)
    twin = make(sensors=sensors)
    state = twin.reset(CarReset(p_WC=(1.0, 2.0), yaw_rad=0.5))
    assert state.acceleration_m_s2 == pytest.approx([0.0, 0.0, G], abs=0.3)
    drive(twin, 3.0, 0.0, 2.0)
    state, truth = twin.observe(), twin.truth()
    assert state.stamp_s - state.pose_stamp_s == pytest.approx(0.1, abs=1e-9)
    assert np.hypot(*(truth.p_WC - state.p_WC)) == pytest.approx(0.2, rel=0.02), "0.1 s late at 2 m/s"
    drive(twin, 3.0, 0.2, 2.0)
    state, truth = twin.observe(), twin.truth()
    assert state.yaw_rate_rad_s == pytest.approx(truth.yaw_rate_rad_s, rel=0.02)
    # Centripetal: to the left, in SI units and not in g.
    assert state.acceleration_m_s2[1] == pytest.approx(truth.v_C[0] * truth.yaw_rate_rad_s, rel=0.1)
    noisy = make(sensors=dataclasses.replace(Sensors.perfect(), pose_noise_m=0.05))
    noisy.reset(CarReset(p_WC=(0.0, 0.0)))
    readings = []
    for _ in range(300):
        noisy.command(CarCommand(0.0, 0.0))
        readings.append(noisy.observe().p_WC - noisy.truth().p_WC)
    assert np.std(readings) == pytest.approx(0.05, rel=0.1)


def test_commands_beyond_the_car_are_held_back_and_named() -> None:
    twin = make()
    twin.reset(CarReset(p_WC=(0.0, 0.0)))
    executed = twin.command(CarCommand(1.0, 30.0))
    assert (executed.steering_rad, executed.speed_m_s) == (twin.config.car.max_steering_rad, 8.0)
    assert executed.events == ("steering", "speed")
    assert twin.command(CarCommand(0.1, 1.0)).events == ()
    assert twin.command(CarCommand(0.0, 0.0, current_a=-500.0)).current_a == -50.0
    with pytest.raises(RobotError, match="commands are finite numbers"):
        twin.command(CarCommand(math.nan, 1.0))


@pytest.mark.parametrize(
    ("make_it", "sentence"),
    [
        (lambda: CarModel(mass_kg=-1.0), "car.mass_kg must be a positive number"),
        (lambda: CarModel(yaw_inertia_kg_m2=0.001), "less than that of its wheels alone"),
        (lambda: CarModel(mass_kg=0.7), "wheels and uprights weigh 0.60 kg of the car's 0.70"),
        (lambda: Sensors(beams=1), "sensors.beams is 0 for no lidar or 2 to 2000"),
        (lambda: CarTwinConfig(tyres="magic"), "car_twin.tyres is one of"),
        (lambda: CarTwinConfig(physics_dt_s=0.02), "at most 0.005 s"),
        (lambda: make(cameras=("frontal",)), "the car has .*Did you mean 'front'"),
        (lambda: make(control_hz=30.0), "does not divide the control period"),
    ],
)
def test_settings_that_no_car_has_are_refused(make_it, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_it()


def test_it_cannot_be_used_before_a_reset_or_started_at_no_place() -> None:
    twin = make()
    with pytest.raises(RobotError, match="before a reset"):
        twin.command(CarCommand(0.0, 0.0))
    with pytest.raises(RobotError, match="before a reset"):
        twin.observe()
    with pytest.raises(RobotError, match="give finite numbers"):
        twin.reset(CarReset(p_WC=(math.nan, 0.0)))
