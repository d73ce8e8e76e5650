"""From the robot's state, as the library tells it, to the sample that the loop reads a thousand times a second."""

from __future__ import annotations

import ctypes
import time
from typing import Any

import numpy as np

from robot_rl.compiled import kernel
from robot_rl.geometry import Vector, matrix_to_quat_into
from robot_rl_controllers.drive.fr3_kinematics import FLANGE_M, LINKS, forward, jacobian
from robot_rl_controllers.drive.plant import Sample
from robot_rl_controllers.gains import READ_J, READ_P, READ_QUAT, READING_SIZE
from robot_rl_hardware.fci.settings import FciSettings

# What the library tells of a state, in one array: q, dq and torques as they follow each other in a reading, then the
# pose.
_Q, _DQ, _TAU, _POSE, _SIZE = 0, 7, 14, 21, 37


@kernel
def place(q: Vector, tool: Vector, pose: Vector, J: Vector) -> None:
    """Fill in the tool's pose (7,) and its Jacobian (6, 7) in B at joint positions (7,)."""
    anchors, axes = np.empty((7, 3)), np.empty((7, 3))
    forward(LINKS, tool, q, anchors, axes, pose)
    jacobian(anchors, axes, pose, J)


@kernel
def spread(told: Vector, reading: Vector, tool: Vector) -> None:
    """Fill in a reading but for its wrench and its Coriolis torques.

    Args:
        told: (37,) in the layout above; its pose column by column.
        reading: (83,) see `gains`.
        tool: (7,) tool in the last link, see `fr3_kinematics`.
    """
    for i in range(_POSE):
        reading[i] = told[i]
    turn = np.empty((3, 3))
    for column in range(3):
        reading[READ_P + column] = told[_POSE + 12 + column]
        for row in range(3):
            turn[row, column] = told[_POSE + 4 * column + row]
    matrix_to_quat_into(reading[READ_QUAT : READ_QUAT + 4], turn)
    place(reading[:7], tool, np.empty(7), reading[READ_J:READING_SIZE].reshape((6, 7)))


class StateReader:
    """Fills in samples, without allocating more than lists of numbers."""

    def __init__(self, settings: FciSettings) -> None:
        """Prepare for a tool, and compile."""
        self._tool = np.array([*settings.p_FE[:2], FLANGE_M + settings.p_FE[2], *settings.quat_FE])
        self._sign = float(settings.wrench_sign)
        # The library makes a list at each look. Slices of this type take one at half the cost of numpy's or struct's.
        self._lists = (ctypes.c_double * _SIZE)()
        self._told = np.ctypeslib.as_array(self._lists)
        self._told[_POSE:] = np.eye(4).ravel()
        spread(self._told, Sample().packed, self._tool)
        self.jacobian_at(np.zeros(7))

    def fill(self, sample: Sample, state: Any) -> None:
        """Fill in what torques are computed from, as soon as a state has arrived: here its time begins.

        The Coriolis torques stay those of the state before: the library takes 9 us for them, and in one millisecond a
        joint at its limit of acceleration changes its speed by 0.01 rad/s, which moves them by some 0.01 N m.

        Args:
            sample: changed in place.
            state: of pylibfranka.
        """
        sample.stamp_s = time.monotonic()
        told = self._lists
        told[_Q:_DQ], told[_DQ:_TAU], told[_TAU:_POSE] = state.q, state.dq, state.tau_J_d
        told[_POSE:_SIZE] = state.O_T_EE
        spread(self._told, sample.packed, self._tool)

    def fill_rest(self, sample: Sample, state: Any, model: Any) -> None:
        """Fill in what this answer does not depend on: the robot's own time, the wrench, the Coriolis torques."""
        sample.coriolis[:] = model.coriolis(state)
        sample.robot_s = state.time.to_sec()
        sample.F_BE[:] = state.O_F_ext_hat_K
        sample.F_BE *= self._sign

    def jacobian_at(self, q: Vector) -> Vector:
        """Return the tool's Jacobian (6, 7) in B at joint positions (7,)."""
        J = np.zeros((6, 7))
        place(q, self._tool, np.zeros(7), J)
        return J
