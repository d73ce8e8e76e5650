"""The planar lidar sees what MuJoCo's own rays hit, and the walls of a slow lap become the widths of its course."""

from __future__ import annotations

import robot_rl_sim  # noqa: F401  (chooses OpenGL before MuJoCo is imported)

# isort: split
import math

import mujoco
import numpy as np
import pytest

from robot_rl.car import CarReset
from robot_rl_sim.car.lidar import scan_into, scans_into
from robot_rl_sim.car.settings import CarTwinConfig, Sensors
from robot_rl_sim.car.twin import LIDAR_M, CarTwin
from robot_rl_tasks.car.driver import DriverSettings, PurePursuit
from robot_rl_tasks.car.places import place
from robot_rl_tasks.car.recording import Drive, record_course
from robot_rl_tasks.car.scans import Scans


@pytest.mark.parametrize("name", ["corridor", "hall", "meadow"])
def test_beams_end_where_rays_of_mujoco_do(name: str) -> None:
    where = place(name)
    twin = CarTwin(where, CarTwinConfig(sensors=Sensors.perfect(beams=61)))
    gate = where.course.gates[2]
    ranges = twin.reset(CarReset(p_WC=gate.p_W, yaw_rad=gate.heading_rad + 0.3)).ranges_m
    yaw = gate.heading_rad + 0.3
    at = np.array([*gate.p_W, 0.12]) + LIDAR_M * np.array([math.cos(yaw), math.sin(yaw), 0.0])
    for i, angle in enumerate(yaw + np.linspace(-2.35, 2.35, 61)):
        hit = np.zeros(1, np.int32)
        away = mujoco.mj_ray(
            twin.model, twin.data, at, np.array([math.cos(angle), math.sin(angle), 0.0]), None, 1,
            twin.model.body("car").id, hit,
        )  # fmt: skip
        # The car's wheels are bodies of their own; a beam that meets one first says nothing of the walls.
        if hit[0] >= 0 and twin.model.geom_bodyid[hit[0]] != 0:
            continue
        if away < 0 or away > 10.0:
            assert not np.isfinite(ranges[i]) or ranges[i] > 9.9
        else:
            # Walls are 6 cm thick boxes about their line: half of that across, more along a grazing beam.
            assert ranges[i] == pytest.approx(away, abs=0.035) or 0.0 < ranges[i] - away < 0.5


def test_a_batch_of_scans_is_each_scan() -> None:
    where = place("hall")
    rng = np.random.default_rng(0)
    poses = np.column_stack([rng.uniform(0.0, 6.0, 20), rng.uniform(0.0, 5.0, 20), rng.uniform(-3.0, 3.0, 20)])
    many, one = np.empty((20, 90)), np.empty(90)
    scans_into(many, poses, -2.0, 4.0 / 89, 10.0, where.segments, where.obstacles)
    for i, (x, y, yaw) in enumerate(poses):
        scan_into(one, x, y, yaw - 2.0, 4.0 / 89, 10.0, where.segments, where.obstacles)
        np.testing.assert_array_equal(many[i], one)


def test_a_slow_lap_with_a_lidar_gives_the_line_and_the_widths() -> None:
    where = place("corridor")
    twin = CarTwin(where, CarTwinConfig(sensors=Sensors(beams=120)))
    driver = PurePursuit(where.course, DriverSettings(max_speed_m_s=1.2))
    gate = where.course.gates[5]
    state = twin.reset(CarReset(p_WC=gate.p_W, yaw_rad=gate.heading_rad, seed=5))
    rows = []
    for _ in range(round(1.08 * where.course.line.length_m / 1.15 * 20)):
        twin.command(driver.command(state))
        state = twin.observe()
        rows.append((state.pose_stamp_s, *state.p_WC, state.yaw_rad, *state.ranges_m))
    table = np.array(rows)
    scans = Scans(ranges_m=table[:, 4:])
    drive = Drive(stamps_s=table[:, 0], p_W=table[:, 1:3], yaw_rad=table[:, 3], scans=scans)
    course = record_course(drive, "corridor by hand").course
    assert course.widths == "measured"
    assert max(abs(where.course.line.project(p)[1]) for p in course.line.points) < 0.15  # where the car itself was
    free = course.left_at_s + course.right_at_s
    assert np.median(free) == pytest.approx(1.6, abs=0.15)
    assert free.min() > 1.1
    assert free.max() < 2.4
    course.check_width(0.31)
