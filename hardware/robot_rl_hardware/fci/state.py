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


@kernel
def take(
    columns: Vector, q: Vector, links: Vector, tool: Vector, anchors: Vector, axes: Vector, pose: Vector, p: Vector,
    quat: Vector, J: Vector,
) -> None:  # fmt: skip
    """Fill in position (3,) and quaternion (4,) wxyz of the measured tool pose, and its Jacobian (6, 7) in B.

    Args:
        columns: (16,) the measured pose as it came, column by column.
        q: (7,) joint positions [rad].
        links, tool: of the arm, see `fr3_kinematics`.
        anchors, axes, pose: scratch, (7, 3), (7, 3) and (7,).
        p, quat, J: receive the result.
    """
    turn = np.empty((3, 3))
    for column in range(3):
        p[column] = columns[12 + column]
        for row in range(3):
            turn[row, column] = columns[4 * column + row]
    matrix_to_quat_into(quat, turn)
    forward(links, tool, q, anchors, axes, pose)
    jacobian(anchors, axes, pose, J)


class StateReader:
    """Fills in samples, without allocating more than the library's own lists."""

    def __init__(self, settings: FciSettings) -> None:
        """Prepare for a tool, and compile."""
        tool = np.array([*settings.p_FE[:2], FLANGE_M + settings.p_FE[2], *settings.quat_FE])
        self._kinematics = LINKS, tool, np.zeros((7, 3)), np.zeros((7, 3)), np.zeros(7)
        self._pose = np.eye(4).ravel()
        self._sign = settings.wrench_sign
        self.jacobian_at(np.zeros(7))

    def fill(self, sample: Sample, state: Any, model: Any) -> None:
        """Fill in a sample.

        Args:
            sample: changed in place.
            state, model: of pylibfranka.
        """
        sample.stamp_s = time.monotonic()
        sample.robot_s = state.time.to_sec()
        sample.q[:] = state.q
        sample.dq[:] = state.dq
        sample.tau_prev[:] = state.tau_J_d
        sample.F_BE[:] = state.O_F_ext_hat_K
        sample.F_BE *= self._sign
        self._pose[:] = state.O_T_EE
        take(self._pose, sample.q, *self._kinematics, sample.p_BE, sample.quat_BE, sample.J)
        sample.coriolis[:] = model.coriolis(state)

    def jacobian_at(self, q: Vector) -> Vector:
        """Return the tool's Jacobian (6, 7) in B at joint positions (7,)."""
        J = np.zeros((6, 7))
        take(self._pose, q, *self._kinematics, np.zeros(3), np.zeros(4), J)
        return J
