"""Cars for the tests: F1TENTH's own numbers, and one whose motor and servo turn the other way."""

from __future__ import annotations

import dataclasses

import numpy as np

from robot_rl.car import CarState
from robot_rl_hardware.car.settings import CarSettings

F1TENTH = CarSettings(
    name="f1tenth",
    speed_to_erpm_gain=4614.0,
    speed_to_erpm_offset=0.0,
    steering_to_servo_gain=-1.2135,
    steering_to_servo_offset=0.5304,
    servo_min=0.15,
    servo_max=0.85,
    wheelbase_m=0.3302,
    max_speed_m_s=3.0,
    max_reverse_m_s=1.0,
    max_steering_rad=0.4189,
    max_acceleration_m_s2=6.0,
    max_current_a=40.0,
    brake_current_a=20.0,
    latency_s=0.05,
    steering_lag_s=0.1,
    friction=0.8,
)
MIRRORED = dataclasses.replace(
    F1TENTH, speed_to_erpm_gain=-4200.0, speed_to_erpm_offset=60.0, steering_to_servo_gain=0.8
)


def reading(**values: object) -> CarState:
    """Return a reading of a car that stands at the origin on its wheels, but for what is given."""
    base = {
        "stamp_s": 0.0, "pose_stamp_s": 0.0, "p_WC": np.zeros(2), "yaw_rad": 0.0, "speed_m_s": 0.0,
        "yaw_rate_rad_s": 0.0, "wheel_speeds_m_s": np.zeros(4), "acceleration_m_s2": np.array([0.0, 0.0, 9.81]),
        "angular_rate_rad_s": np.zeros(3), "shock_m_s2": 0.0, "steering_rad": 0.0, "current_a": 0.0,
        "ranges_m": np.zeros(0),
    }  # fmt: skip
    return CarState(**{**base, **values})
