"""The camera of a twin in real time sees what the lock-step twin sees, from what the node tells of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robot_rl.car import CarReset
from robot_rl.errors import RobotError
from robot_rl_sim.car.mirror import make_car_mirror
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.places import place


def test_its_picture_is_that_of_the_twin_at_the_same_place() -> None:
    twin, mirror = CarTwin(place("oval")), make_car_mirror("oval")
    gates = place("oval").course.gates
    pictures = []
    try:
        for gate in (gates[0], gates[len(gates) // 2]):
            x, y = map(float, gate.p_W)
            twin.reset(CarReset(p_WC=(x, y), yaw_rad=gate.heading_rad))
            mirror.show(x, y, gate.heading_rad, 0.0)
            seen, drawn = twin.render("front", 128, 128), mirror.render("front", 128, 128)
            assert drawn.shape == (128, 128, 3)
            assert np.abs(seen.astype(int) - drawn).mean() < 1.0
            pictures.append(drawn)
        assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 5.0
        mirror.show(x, y, gate.heading_rad, 0.4)
        assert "front" in mirror.cameras
    finally:
        twin.close()
        mirror.close()


def test_no_picture_is_drawn_of_what_is_no_number() -> None:
    with pytest.raises(RobotError, match="a picture of the car needs finite numbers"):
        make_car_mirror("open").show(math.nan, 0.0, 0.0, 0.0)
