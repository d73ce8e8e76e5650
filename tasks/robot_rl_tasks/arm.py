"""What the arm's tasks share: observation fields, action groups, and poses seen from the tool.

All tasks use the same convention for the tool: at home its z axis points straight down and its x axis along the base's
x axis. `HOME_QUAT` is that orientation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.compiled import kernel
from robot_rl.geometry import quat_conj, quat_mul, quat_to_matrix, rotate
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


def arm_fields() -> dict[str, StateField]:
    """Return the proprioceptive fields, which `fill_arm` fills in this order (3 numbers).

    Everything is egocentric: where on the table and at which yaw the tool is does not matter, so it is not shown, and
    what was learnt in one place holds in another. Velocities are left out on purpose as well. At 10 Hz under impedance
    control the pose says nearly all, and a policy that sees its own speed copies it: cloned from demonstrations with
    pauses, it stops once and never starts again.
    """
    return {
        "tool_height": StateField(size=1, unit="m", scale=0.05, offset=(0.1,), doc="z of p_BE: tool above the table"),
        "tool_tilt": StateField(size=2, unit="1", scale=0.1, doc="x and y of the base's down axis, seen from the tool"),
    }


def wrench_fields() -> dict[str, StateField]:
    """Return the contact wrench, which `fill_wrench` fills in this order (6 numbers)."""
    return {
        "tool_force": StateField(size=3, unit="N", scale=10.0, doc="force on the tool, in the tool's frame"),
        "tool_torque": StateField(size=3, unit="N m", scale=1.0, doc="torque on the tool, in the tool's frame"),
    }


@kernel
def fill_arm(out: Vector, p: Vector, quat: Vector) -> None:
    """Fill the first 3 entries of a state vector from the tool pose in the base frame."""
    down = rotate(quat_conj(quat), np.array([0.0, 0.0, -1.0]))
    out[0] = p[2]
    out[1] = down[0]
    out[2] = down[1]


@kernel
def fill_wrench(out: Vector, quat: Vector, F: Vector) -> None:
    """Fill the first 6 entries of `out` with the wrench seen from the tool."""
    inverse = quat_conj(quat)
    out[0:3] = rotate(inverse, F[0:3])
    out[3:6] = rotate(inverse, F[3:6])


@kernel
def fill_own(out: Vector, p: Vector, quat: Vector, F: Vector) -> None:
    """Fill all 9 entries of what an arm with a wrench knows by itself: its pose, then the wrench."""
    fill_arm(out, p, quat)
    fill_wrench(out[3:9], quat, F)


@kernel
def in_tool_frame(p: Vector, quat: Vector, p_BO: Vector) -> Vector:
    """Return p_EO (3,): the position of O seen from the tool."""
    return rotate(quat_conj(quat), p_BO - p)


@kernel
def relative_yaw(quat_tool: Vector, quat_object: Vector) -> float:
    """Return the yaw of an upright object in the frame of a downward tool, in (-pi, pi]."""
    m = quat_to_matrix(quat_mul(quat_conj(quat_tool), quat_object))
    # Object x axis in the tool's xy plane.
    return float(np.arctan2(m[1, 0], m[0, 0]))


def as_float32(values: Vector) -> NDArray[np.float32]:
    """Return a float32 copy."""
    return values.astype(np.float32)
