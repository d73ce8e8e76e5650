"""The task `lap` in its environment, trouble seen from the sensors, and the way back onto the course."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from cars import reading

from robot_rl.car import CarReset
from robot_rl.car_env import CarEnv
from robot_rl.errors import ConfigError, SpecError
from robot_rl_sim.car.settings import CarTwinConfig, Sensors
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.driver import DriverSettings, PurePursuit
from robot_rl_tasks.car.lap import Lap
from robot_rl_tasks.car.places import place
from robot_rl_tasks.car.trouble import TroubleDetector


def make(beams: int = 0, sensors: Sensors | None = None, **task: object) -> CarEnv:
    where = place("oval")
    twin = CarTwin(where, CarTwinConfig(sensors=sensors or Sensors(beams=beams)))
    return CarEnv(twin, Lap(course=where.course, beams=beams, **task))


def test_it_is_a_gymnasium_environment() -> None:
    env = make(beams=12)
    observation, _ = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert isinstance(env.action_space, gymnasium.spaces.Box)
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(observation, again)
    observation, reward, terminated, truncated, info = env.step(np.zeros(2, np.float32))
    assert env.observation_space.contains(observation)
    assert isinstance(reward, float)
    assert (terminated, truncated) == (False, False)
    assert info["reason"] == ""


def test_actions_change_only_so_much_and_the_executed_one_is_told_and_seen() -> None:
    env = make(slew=0.2)
    env.reset(seed=0)
    env.step(np.array([1.0, 1.0], np.float32))
    observation, *_, info = env.step(np.array([1.0, -2.0], np.float32))
    assert info["executed_action"] == pytest.approx([1.0, -1.0]), "a place in the window, within it"
    where = env.observation_spec.slices["last_action"]
    assert observation[where] == pytest.approx([0.4, -1.0]), "the setting that it stood for"
    executed = env.car.observe()
    assert executed.steering_rad == pytest.approx(0.4 * 0.4)
    with pytest.raises(SpecError, match=r"shape \(2,\) and finite entries"):
        env.step(np.array([np.nan, 0.0]))


def test_an_action_beyond_the_car_is_told_as_what_the_car_did() -> None:
    env = make(max_steering_rad=0.8, slew=2.0)  # twice what the car can
    env.reset(seed=0)
    *_, info = env.step(np.array([1.0, -1.0], np.float32))
    assert info["guard_events"] == ("steering",)
    assert info["executed_action"][0] == pytest.approx(0.4189 / 0.8, abs=1e-4)


def test_the_rewards_of_a_clean_lap_add_up_to_its_length_and_the_clock_truncates() -> None:
    env = make(sensors=Sensors.perfect(), max_steps=260)
    course = env.task.course
    driver = PurePursuit(course, DriverSettings(max_speed_m_s=3.0))
    env.reset(seed=3)
    total, ended = 0.0, None
    way = 0.0
    before = env.car.truth().p_WC
    while ended is None:
        command = driver.command(env.robot_state)
        action = env.action_of(command.steering_rad, command.speed_m_s)
        _, reward, terminated, truncated, info = env.step(action)
        total += reward / env.task.control_hz
        now = env.car.truth().p_WC
        way += math.hypot(*(now - before))
        before = now
        if terminated or truncated:
            ended = terminated, truncated, info
    assert ended[:2] == (False, True)
    assert ended[2]["reason"] == "time limit"
    assert ended[2]["success"], "a lap was completed"
    assert 0.85 * way < total <= way + 0.1, "the way made good is at most the way driven"


def test_driving_into_the_wall_terminates_with_the_penalty() -> None:
    env = make(slew=2.0)
    env.reset(seed=0)
    rewards: list[float] = []
    terminated = truncated = False
    info: dict[str, Any] = {}
    while not (terminated or truncated) and len(rewards) < 200:
        _, reward, terminated, truncated, info = env.step(np.array([0.0, 1.0], np.float32))
        rewards.append(reward)
    assert (terminated, truncated, info["reason"]) == (True, False, "crash")
    assert not info["success"]
    assert rewards[-1] < -env.task.penalty + 6.0


def test_standing_still_is_stuck() -> None:
    env = make()
    env.reset(seed=0)
    terminated = truncated = False
    info: dict[str, Any] = {}
    for _ in range(60):
        *_, terminated, truncated, info = env.step(np.array([0.0, -1.0], np.float32))
        if terminated:
            break
    assert (terminated, truncated, info["reason"]) == (True, False, "stuck")


def test_the_reward_is_for_the_goal_that_was_seen() -> None:
    env = make(sensors=Sensors.perfect(), max_speed_m_s=3.0)
    course = env.task.course
    driver = PurePursuit(course, DriverSettings(max_speed_m_s=2.0))
    observation, _ = env.reset(seed=2)
    where = env.observation_spec.slices["gate"]
    before = env.car.truth()
    for _ in range(100):
        goal = observation[where].astype(float)
        command = driver.command(env.robot_state)
        observation, reward, *_ = env.step(env.action_of(command.steering_rad, command.speed_m_s))
        now = env.car.truth()
        c, s = math.cos(before.yaw_rad), math.sin(before.yaw_rad)
        d = now.p_WC - before.p_WC
        moved = np.array([c * d[0] + s * d[1], -s * d[0] + c * d[1]])
        away = math.hypot(*goal)
        if away > 0.5:
            assert reward == pytest.approx(float(moved @ goal) / away * env.task.control_hz, abs=0.05)
        before = now


def test_a_lidar_of_another_size_and_impossible_settings_are_refused() -> None:
    where = place("oval")
    env = CarEnv(CarTwin(where), Lap(course=where.course, beams=10))
    with pytest.raises(ConfigError, match=r"task\.beams is 10, and the car's lidar gives 0 distances"):
        env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"task\.min_speed_m_s must be from 0"):
        Lap(course=where.course, min_speed_m_s=6.0)
    with pytest.raises(ConfigError, match=r"task\.slew"):
        Lap(course=where.course, slew=0.0)


@pytest.mark.gl
def test_its_camera_is_part_of_the_observation() -> None:
    from robot_rl.errors import MissingDependency
    from robot_rl.specs import ImageField
    from robot_rl_sim.gl import require_gl

    try:
        require_gl()
    except MissingDependency as e:
        pytest.skip(str(e))
    where = place("corridor")
    twin = CarTwin(where, CarTwinConfig(cameras=("front",), image_size=64))
    env = CarEnv(twin, Lap(course=where.course), {"front": ImageField(height=64, width=64)})
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation["front"].std() > 10.0, "it sees something"
    env.close()


def test_trouble_is_named_from_what_the_sensors_show() -> None:
    assert TroubleDetector().update(reading(shock_m_s2=30.0), 1.0) == "crash"
    lying, still, parked = TroubleDetector(), TroubleDetector(), TroubleDetector()
    found = []
    rng = np.random.default_rng(0)
    for k in range(40):
        t, p = 0.05 * k, 0.01 * rng.standard_normal(2)
        lying_state = reading(stamp_s=t, acceleration_m_s2=np.array([0.0, 9.5, 0.2]))
        found.append(
            (lying.update(lying_state, 0.0), still.update(reading(stamp_s=t, p_WC=p), 1.0),
             parked.update(reading(stamp_s=t, p_WC=p), 0.0))
        )  # fmt: skip
    assert found[2] == ("", "", "")
    assert found[-1] == ("flip", "stuck", "")


def test_clean_fast_laps_raise_no_alarm() -> None:
    where = place("corridor")
    twin, driver, detector = CarTwin(where), PurePursuit(where.course), TroubleDetector()
    gate = where.course.gates[0]
    state = twin.reset(CarReset(p_WC=gate.p_W, yaw_rad=gate.heading_rad))
    for _ in range(400):
        command = driver.command(state)
        twin.command(command)
        state = twin.observe()
        assert detector.update(state, command.speed_m_s) == ""
