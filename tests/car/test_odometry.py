from __future__ import annotations

import dataclasses
import math

import pytest
from cars import F1TENTH

from robot_rl_hardware.car.odometry import Odometry


def test_it_tells_where_it_is_before_anything_was_commanded() -> None:
    assert Odometry(F1TENTH).add(1.0, 0.0, 0.0).x_m == 0.0


def test_a_car_that_drives_a_circle_comes_back() -> None:
    radius = 1.5
    steering = math.atan(F1TENTH.wheelbase_m / radius)
    odometry, count, speed = Odometry(F1TENTH), 500, 1.0
    time_s = 2.0 * math.pi * radius / speed / count
    ways = [odometry.add(i * time_s, speed, steering) for i in range(count + 1)]
    assert ways[count // 4].y_m == pytest.approx(radius, abs=0.02)  # to the left first
    assert max(w.x_m for w in ways) == pytest.approx(radius, abs=0.01)
    assert math.hypot(ways[-1].x_m, ways[-1].y_m) < 0.02
    assert ways[-1].yaw_rad == pytest.approx(0.0, abs=1e-6)


def test_backward_is_backward_and_a_wrong_wheelbase_turns_too_fast() -> None:
    odometry = Odometry(F1TENTH)
    odometry.add(0.0, -1.0, 0.1)
    where = odometry.add(0.1, -1.0, 0.1)
    assert where.x_m < 0.0
    assert where.yaw_rate_rad_s < 0.0
    stock = Odometry(dataclasses.replace(F1TENTH, wheelbase_m=0.25)).add(0.0, -1.0, 0.1)
    assert stock.yaw_rate_rad_s / where.yaw_rate_rad_s == pytest.approx(1.32, abs=0.01)


def test_over_a_hole_in_the_states_nothing_is_made_up() -> None:
    odometry = Odometry(F1TENTH)
    odometry.add(0.0, 2.0, 0.0)
    assert odometry.add(5.0, 2.0, 0.0).x_m == 0.0
    assert odometry.add(4.9, 2.0, 0.0).x_m == 0.0
    assert odometry.add(5.0, 2.0, 0.0).x_m == pytest.approx(0.2)
    assert odometry.gaps == 2
