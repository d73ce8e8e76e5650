"""What the arm's tasks share: observation fields, action groups, and poses seen from the tool.

All tasks use the same convention for the tool: at home its z axis points straight down and its x axis along the base's x
axis. `HOME_QUAT` is that orientation; tool rotation is observed as the rotation vector from home.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from robot_rl.geometry import quat_conj, quat_mul, quat_to_matrix, rotate, rotvec_from_quat
from robot_rl.robot import Vector
from robot_rl.specs import ContinuousGroup, DiscreteGroup, StateField

HOME_QUAT = (0.0, 1.0, 0.0, 0.0)
GRIPPER = DiscreteGroup(choices=("open", "close"), doc="where the gripper goes; repeating a choice changes nothing")


def yaw_quat(yaw_rad: float) -> Vector:
    """Return the tool orientation that points down with the given yaw about the base's z axis."""
    half = 0.5 * yaw_rad
    return quat_mul(np.array([np.cos(half), 0.0, 0.0, np.sin(half)]), np.array(HOME_QUAT))


def upright_quat(yaw_rad: float) -> Vector:
    """Return the orientation of an object that stands upright with the given yaw."""
    return np.array([np.cos(0.5 * yaw_rad), 0.0, 0.0, np.sin(0.5 * yaw_rad)])


def tool_delta_groups(translation_m: float, rotation_rad: float) -> dict[str, ContinuousGroup]:
    """Return the six tool-frame delta entries; 1.0 means the given step in one control period."""
    return {
        "translation": ContinuousGroup(size=3, unit="m", scale=translation_m, doc="step along the tool's axes"),
        "rotation": ContinuousGroup(size=3, unit="rad", scale=rotation_rad, doc="rotation vector in the tool's frame"),
    }


def arm_fields(centre_m: tuple[float, float, float]) -> dict[str, StateField]:
    """Return the proprioceptive fields, which `fill_arm` fills in this order (15 numbers)."""
    return {
        "tool_position": StateField(size=3, unit="m", scale=0.1, offset=centre_m, doc="p_BE in the base frame"),
        "tool_rotation": StateField(size=3, unit="rad", scale=0.3, doc="rotation vector from straight down, in B"),
        "tool_velocity": StateField(size=3, unit="m/s", scale=0.2, doc="in the tool's frame"),
        "tool_angular_velocity": StateField(size=3, unit="rad/s", scale=0.5, doc="in the tool's frame"),
        "tool_force": StateField(size=3, unit="N", scale=10.0, doc="force on the tool, in the tool's frame"),
    }


@njit(cache=True)
def fill_arm(out: Vector, p: Vector, quat: Vector, V: Vector, F: Vector) -> None:
    """Fill the first 15 entries of a state vector from tool pose, twist and wrench in the base frame."""
    home_conj = np.array([0.0, -1.0, 0.0, 0.0])
    out[0:3] = p
    out[3:6] = rotvec_from_quat(quat_mul(quat, home_conj))
    inverse = quat_conj(quat)
    out[6:9] = rotate(inverse, V[0:3])
    out[9:12] = rotate(inverse, V[3:6])
    out[12:15] = rotate(inverse, F[0:3])


@njit(cache=True)
def in_tool_frame(p: Vector, quat: Vector, p_BO: Vector) -> Vector:
    """Return p_EO (3,): the position of O seen from the tool."""
    return rotate(quat_conj(quat), p_BO - p)


@njit(cache=True)
def relative_yaw(quat_tool: Vector, quat_object: Vector) -> float:
    """Return the yaw of an upright object in the frame of a downward tool, in (-pi, pi]."""
    m = quat_to_matrix(quat_mul(quat_conj(quat_tool), quat_object))
    # Object x axis in the tool's xy plane.
    return float(np.arctan2(m[1, 0], m[0, 0]))


def as_float32(values: Vector) -> NDArray[np.float32]:
    """Return a float32 copy."""
    return values.astype(np.float32)
