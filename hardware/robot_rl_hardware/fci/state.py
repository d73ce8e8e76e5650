"""From the robot's state, as the library tells it, to the sample that the loop reads a thousand times a second."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from robot_rl.compiled import kernel
from robot_rl.geometry import Vector, matrix_to_quat_into
from robot_rl_controllers.drive.fr3_kinematics import FLANGE_M, LINKS, forward, jacobian
from robot_rl_controllers.drive.plant import Sample
from robot_rl_hardware.fci.settings import FciSettings

# Layout of what the library tells, in one array: one conversion of a list is cheaper than seven.
_Q, _DQ, _TAU, _WRENCH, _POSE, _CORIOLIS, _SIZE = 0, 7, 14, 21, 27, 43, 50


@kernel
def place(q: Vector, tool: Vector, pose: Vector, J: Vector) -> None:
    """Fill in the tool's pose (7,) and its Jacobian (6, 7) in B at joint positions (7,)."""
    anchors, axes = np.empty((7, 3)), np.empty((7, 3))
    forward(LINKS, tool, q, anchors, axes, pose)
    jacobian(anchors, axes, pose, J)


@kernel
def spread(
    told: Vector, tool: Vector, sign: float, q: Vector, dq: Vector, tau: Vector, wrench: Vector, p: Vector,
    quat: Vector, J: Vector, coriolis: Vector,
) -> None:  # fmt: skip
    """Fill in a sample's arrays.

    Args:
        told: (50,) what the library told, in the layout above; its pose column by column.
        tool: (7,) tool in the last link, see `fr3_kinematics`.
        sign: of the wrench.
        q, dq, tau, wrench, p, quat, J, coriolis: receive the result.
    """
    for i in range(7):
        q[i], dq[i] = told[_Q + i], told[_DQ + i]
        tau[i], coriolis[i] = told[_TAU + i], told[_CORIOLIS + i]
    for i in range(6):
        wrench[i] = sign * told[_WRENCH + i]
    turn = np.empty((3, 3))
    for column in range(3):
        p[column] = told[_POSE + 12 + column]
        for row in range(3):
            turn[row, column] = told[_POSE + 4 * column + row]
    matrix_to_quat_into(quat, turn)
    place(q, tool, np.empty(7), J)


class StateReader:
    """Fills in samples, without allocating more than lists of numbers."""

    def __init__(self, settings: FciSettings) -> None:
        """Prepare for a tool, and compile."""
        self._tool = np.array([*settings.p_FE[:2], FLANGE_M + settings.p_FE[2], *settings.quat_FE])
        self._sign = float(settings.wrench_sign)
        self._told = np.zeros(_SIZE)
        self._told[_POSE : _POSE + 16] = np.eye(4).ravel()
        self._spread(Sample())
        self.jacobian_at(np.zeros(7))

    def fill(self, sample: Sample, state: Any, model: Any) -> None:
        """Fill in a sample.

        Args:
            sample: changed in place.
            state, model: of pylibfranka.
        """
        sample.stamp_s = time.monotonic()
        sample.robot_s = state.time.to_sec()
        wrench, pose, coriolis = state.O_F_ext_hat_K, state.O_T_EE, model.coriolis(state)
        self._told[:] = [*state.q, *state.dq, *state.tau_J_d, *wrench, *pose, *coriolis]
        self._spread(sample)

    def _spread(self, s: Sample) -> None:
        spread(
            self._told, self._tool, self._sign, s.q, s.dq, s.tau_prev, s.F_BE, s.p_BE, s.quat_BE, s.J, s.coriolis
        )  # fmt: skip

    def jacobian_at(self, q: Vector) -> Vector:
        """Return the tool's Jacobian (6, 7) in B at joint positions (7,)."""
        J = np.zeros((6, 7))
        place(q, self._tool, np.zeros(7), J)
        return J
