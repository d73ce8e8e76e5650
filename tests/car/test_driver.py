"""The classical driver laps every preset without touching anything, as fast as its profile says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robot_rl.car import CarReset
from robot_rl.errors import ConfigError
from robot_rl_sim.car.settings import CarTwinConfig
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.driver import DriverSettings, PurePursuit, speed_profile
from robot_rl_tasks.car.lap_timer import LapTimer
from robot_rl_tasks.car.line import ClosedLine
from robot_rl_tasks.car.places import PRESETS, place, random_place


def for_ground(friction: float) -> DriverSettings:
    grip = friction * 9.81
    return DriverSettings(lateral_m_s2=0.6 * grip, accelerate_m_s2=min(0.5 * grip, 5.0), brake_m_s2=0.45 * grip)


@pytest.mark.parametrize("tyres", ["contact", "pacejka"])
@pytest.mark.parametrize("name", PRESETS)
def test_it_laps_each_preset_without_touching_anything(name: str, tyres: str) -> None:
    where = place(name)
    settings = for_ground(where.surface.friction)
    twin, driver = CarTwin(where, CarTwinConfig(tyres=tyres, spread=0.3)), PurePursuit(where.course, settings)
    gate = where.course.gates[0]
    state = twin.reset(CarReset(p_WC=gate.p_W, yaw_rad=gate.heading_rad, seed=3))
    timer = LapTimer(where.course)
    furthest = 0.0
    for _ in range(1500):
        twin.command(driver.command(state))
        state, truth = twin.observe(), twin.truth()
        assert not truth.collided
        furthest = max(furthest, abs(where.course.line.project(truth.p_WC, driver.s_m)[1]))
        timer.update(state.pose_stamp_s, state.p_WC)
        if len(timer.laps_s) == 2:
            break
    expected = where.course.line.length_m * float(np.mean(1.0 / driver.profile))
    assert len(timer.laps_s) == 2
    assert timer.laps_s[1] == pytest.approx(expected, rel=0.08)
    assert furthest < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_the_profile_asks_for_no_more_than_friction_gives(seed: int) -> None:
    line, set_ = random_place(seed).course.line, DriverSettings()
    v = speed_profile(line, set_)
    ds = line.length_m / len(line.s)
    along = (np.roll(v, -1) ** 2 - v**2) / (2 * ds)
    across = v**2 * np.abs(line.curvatures)
    assert v.max() <= set_.max_speed_m_s
    assert across.max() <= set_.lateral_m_s2 * 1.001
    assert along.max() <= set_.accelerate_m_s2 * 1.001
    assert along.min() >= -set_.brake_m_s2 * 1.001
    used = across / set_.lateral_m_s2
    ellipse = used**2 + (np.maximum(along, 0.0) / set_.accelerate_m_s2) ** 2
    assert ellipse.max() <= 1.05
    # And no less: everywhere something holds it back.
    braking = np.roll(used, -1) ** 2 + (np.maximum(-along, 0.0) / set_.brake_m_s2) ** 2
    busy = np.maximum.reduce([ellipse, np.roll(ellipse, 1), braking, np.roll(braking, 1), v / set_.max_speed_m_s])
    assert busy.min() > 0.9


def test_on_a_circle_the_profile_is_the_speed_of_friction() -> None:
    u = np.linspace(0.0, 2 * math.pi, 60, endpoint=False)
    line = ClosedLine(2.0 * np.stack([np.cos(u), np.sin(u)], axis=1))
    assert speed_profile(line, DriverSettings(lateral_m_s2=4.5)) == pytest.approx(
        np.full(len(line.s), 3.0), rel=0.01
    )  # fmt: skip


def test_it_finds_back_from_beside_the_line_and_from_facing_across() -> None:
    where = place("oval")
    for offset, turn in ((0.45, 0.0), (-0.45, 0.0), (0.0, 0.9), (0.0, -0.9)):
        twin, driver = CarTwin(where), PurePursuit(where.course, for_ground(0.9))
        gate = where.course.gates[3]
        left = np.array([-math.sin(gate.heading_rad), math.cos(gate.heading_rad)])
        p = np.array(gate.p_W) + offset * left
        state = twin.reset(CarReset(p_WC=(float(p[0]), float(p[1])), yaw_rad=gate.heading_rad + turn))
        for _ in range(120):
            twin.command(driver.command(state))
            state = twin.observe()
            assert not twin.truth().collided
        assert abs(where.course.line.project(twin.truth().p_WC)[1]) < 0.15


def test_settings_of_no_car_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"driver\.lateral_m_s2 must be a positive number, got -1"):
        DriverSettings(lateral_m_s2=-1.0)
