"""The car's twin made from the numbers of a car file: what was measured on the car is what the twin is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from robot_rl.car import CarReset
from robot_rl_sim.car.settings import CarModel, CarTwinConfig, Sensors, TyreModel
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.course import make_course
from robot_rl_tasks.car.place import Place, surface
from robot_rl_tasks.car.places import place

OPEN = "open"
"""Name of the place without any walls, large enough for the drive of a calibration."""
_OPEN_RADIUS_M = 6.0


class MeasuredTwin(CarTwin):
    """A twin that knows where its course begins."""

    def start(self, seed: int) -> CarReset:
        """Return the first gate of the course, at rest."""
        gate = self.place.course.gates[0]
        return CarReset(p_WC=(float(gate.p_W[0]), float(gate.p_W[1])), yaw_rad=gate.heading_rad, seed=seed)


def make_measured(
    numbers: Mapping[str, float],
    control_hz: float,
    course: str = "oval",
    ground: str = "carpet",
    tyres: TyreModel = "contact",
    beams: int = 108,
    physics_dt_s: float = 0.002,
) -> MeasuredTwin:
    """Return the twin of a car.

    Args:
        numbers: By the names of a car file: wheelbase_m, max_speed_m_s, max_reverse_m_s, max_steering_rad,
            max_current_a, brake_current_a, latency_s, steering_lag_s, friction, speed_to_erpm_gain.
        control_hz: Commands a second.
        course: A place by name, or "open" for a floor without walls.
        ground: What "open" is covered with; its friction is that of `numbers` everywhere.
        tyres, physics_dt_s: Of `CarTwinConfig`.
        beams: Of the lidar; 0 has none.

    Raises:
        ConfigError: There is no such course, or a number is impossible for a twin.
    """
    where = place_of(course, ground)
    where = dataclasses.replace(where, surface=dataclasses.replace(where.surface, friction=numbers["friction"]))
    return MeasuredTwin(
        where,
        CarTwinConfig(
            car=model_of(numbers), sensors=Sensors(beams=beams), control_hz=control_hz, physics_dt_s=physics_dt_s,
            tyres=tyres, command_delay_s=numbers["latency_s"],
        ),
    )  # fmt: skip


def model_of(numbers: Mapping[str, float]) -> CarModel:
    """Return the default car with what was measured: axles, steering, motor, limits."""
    plain = CarModel()
    stretch = numbers["wheelbase_m"] / plain.wheelbase_m
    return dataclasses.replace(
        plain,
        front_m=stretch * plain.front_m,
        rear_m=stretch * plain.rear_m,
        # A longer car of the same mass turns more slowly: its inertia grows with the square of its length.
        yaw_inertia_kg_m2=stretch**2 * plain.yaw_inertia_kg_m2,
        hull_m=(stretch * plain.hull_m[0], plain.hull_m[1]),
        max_steering_rad=numbers["max_steering_rad"],
        steering_lag_s=numbers["steering_lag_s"],
        erpm_gain=abs(numbers["speed_to_erpm_gain"]),
        max_current_a=numbers["max_current_a"],
        brake_current_a=numbers["brake_current_a"],
        max_speed_m_s=max(numbers["max_speed_m_s"], numbers["max_reverse_m_s"]),
    )


def place_of(course: str, ground: str) -> Place:
    """Return a place by name, or "open", a floor without walls that is covered with `ground`."""
    return _open(ground) if course == OPEN else place(course)


def _open(ground: str) -> Place:
    angles = np.linspace(0.0, 2.0 * math.pi, 60, endpoint=False)
    line = _OPEN_RADIUS_M * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    course = make_course(OPEN, line, 1.0, 1.0, source="a floor without walls")
    return Place(course=course, obstacles=np.zeros((0, 3)), surface=surface(ground))
