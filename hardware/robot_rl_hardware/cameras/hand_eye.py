"""The hand-eye equation AX = XB in closed form (Park and Martin 1994), since not every OpenCV offers it to Python."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from robot_rl.geometry import matrix_to_quat, quat_to_matrix, rotvec_from_quat
from robot_rl.robot import Vector

Matrix = NDArray[np.float64]


def pose_of(p: Vector, quat: Vector) -> Matrix:
    """Return the (4, 4) matrix of a position (3,) [m] and a quaternion (4,) wxyz."""
    X = np.eye(4)
    X[:3, :3], X[:3, 3] = quat_to_matrix(quat), p
    return X


def inverse(X: Matrix) -> Matrix:
    """Return the inverse of a rigid (4, 4) transform."""
    out = np.eye(4)
    out[:3, :3] = X[:3, :3].T
    out[:3, 3] = -X[:3, :3].T @ X[:3, 3]
    return out


def solve_hand_eye(X_WE: Sequence[Matrix], X_CT: Sequence[Matrix]) -> Matrix:
    """Return X_EC, constant, from poses of the hand in a world in which the board stands still, and of the board seen.

    Between two views the hand moves by A, the board seems to move by B, and A X_EC = X_EC B. The logarithms of the
    rotations are vectors that X_EC's rotation maps onto each other; its translation then follows linearly.

    Args:
        X_WE: (4, 4) poses of what carries the camera.
        X_CT: (4, 4) poses of the board in the camera, one for each.
    """
    pairs = [
        (inverse(X_WE[i]) @ X_WE[j], X_CT[i] @ inverse(X_CT[j])) for i, j in combinations(range(len(X_WE)), 2)
    ]  # fmt: skip
    alpha = np.array([rotvec_from_quat(matrix_to_quat(A[:3, :3])) for A, _ in pairs])
    beta = np.array([rotvec_from_quat(matrix_to_quat(B[:3, :3])) for _, B in pairs])
    U, _, Vt = np.linalg.svd(alpha.T @ beta)
    R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    left = np.concatenate([A[:3, :3] - np.eye(3) for A, _ in pairs])
    right = np.concatenate([R @ B[:3, 3] - A[:3, 3] for A, B in pairs])
    X_EC = np.eye(4)
    X_EC[:3, :3] = R
    X_EC[:3, 3] = np.linalg.lstsq(left, right, rcond=None)[0]
    return X_EC
