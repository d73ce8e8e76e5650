"""Two bins side by side and the cube in them: their sizes, and where the cube is, as functions of a reading alone."""

from __future__ import annotations

import numpy as np

from robot_rl.robot import RobotState

HALF_M = 0.025  # of the cube
BINS_X_M, LEFT_Y_M, RIGHT_Y_M = 0.5, 0.09, -0.09  # middles of the bins; left is left seen from the base
BIN_HALF_M = 0.07  # from a bin's middle to the inside of its walls
WALL_M = 0.04  # height of the walls
FLOOR_M = 0.004  # thickness of the floor
GAP_M = 0.001  # between a wall and a cube that is put beside it


def in_left(state: RobotState) -> bool:
    """Return whether the cube is inside the left bin: its middle between the walls and below their rim."""
    return _in_bin(state, LEFT_Y_M)


def in_right(state: RobotState) -> bool:
    """Return whether the cube is inside the right bin."""
    return _in_bin(state, RIGHT_Y_M)


def lost(state: RobotState) -> bool:
    """Return whether the cube is outside both bins and out of the hand's way of carrying it.

    That is on the table beside the bins, or further out than the tool may follow. A cube that stands on a rim is not
    lost: it can be grasped.
    """
    x, y, z = state.objects["cube"][:3]
    outside = abs(x - BINS_X_M) > BIN_HALF_M + 0.01 + HALF_M or abs(y) > LEFT_Y_M + BIN_HALF_M + 0.01 + HALF_M
    low = z < WALL_M and not in_left(state) and not in_right(state)
    return bool(outside or low or not np.isfinite(z))


def _in_bin(state: RobotState, y_m: float) -> bool:
    x, y, z = state.objects["cube"][:3]
    return bool(abs(x - BINS_X_M) < BIN_HALF_M and abs(y - y_m) < BIN_HALF_M and 0.0 < z < WALL_M)
