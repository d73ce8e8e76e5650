"""Where the demonstrator of the bins goes next, from what is seen now alone: so it recovers from whatever happens.

A cube that touches a wall leaves no room for the finger on that side. Then the closed fingers press on the cube from
above and drag it to the middle of its bin, where it is grasped as usual.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robot_rl.geometry import quat_to_matrix
from robot_rl.robot import RobotState, Vector
from robot_rl_tasks.bins import BIN_HALF_M, BINS_X_M, FLOOR_M, HALF_M, WALL_M
from robot_rl_tasks.experts import Waypoint

CARRY_M = 0.125  # height of the tool on the way, with the cube's lower side well above the walls
HOVER_M = 0.075  # above a cube, with open fingers clear of it
SHIFT_M = 0.010  # the tool may be this far from the cube's middle and still have it between its open fingers
FINGER_M, FINGER_HALF_M = 0.051, 0.0105  # from the tool to the outside of an open finger, and half that finger's width
ROOM_M = 0.004  # left between a finger and a wall
PRESS_M = 0.010  # how far below the touch of a cube's top the tool aims when it drags
HELD_M = 0.004  # a width within this of the cube's means that something is held
PADS_M = 0.0105  # half the height of a finger's pad: a tool this far above a cube touches it


def make_waypoint(source_y_m: float, goal_y_m: float) -> Callable[[int, RobotState], Waypoint]:
    """Return the waypoint function of a demonstrator that carries the cube into the bin whose middle is at `goal_y_m`.

    Args:
        source_y_m: y of the middle of the bin that the cube comes from.
        goal_y_m: y of the middle of the bin that it goes to.
    """

    def waypoint(_stage: int, state: RobotState) -> Waypoint:
        cube, p = state.objects["cube"], state.p_BE
        # A cube on the rim or in the goal's bin is grasped where it is.
        middle_y = source_y_m if abs(cube[1] - source_y_m) < abs(cube[1] - goal_y_m) else goal_y_m
        if _over(cube, goal_y_m) and not state.gripper_closing and p[2] > cube[2]:
            return Waypoint(np.array([p[0], p[1], CARRY_M]), 0.0, False, 0.0, 0.0)  # let go; make room
        if _holds(state):
            return _carry(state, goal_y_m)
        yaw = _level_yaw(cube)
        at = _between_walls(cube, yaw, middle_y) if cube[2] < WALL_M else cube[:2]
        aside = at - cube[:2]
        if np.linalg.norm(aside) > SHIFT_M:
            return _drag(state, aside / np.linalg.norm(aside))
        return _grasp(state, at, yaw)

    return waypoint


def _over(cube: Vector, y_m: float) -> bool:
    room = BIN_HALF_M - HALF_M
    return bool(abs(cube[0] - BINS_X_M) < room and abs(cube[1] - y_m) < room)


def _holds(state: RobotState) -> bool:
    away = state.objects["cube"][:3] - state.p_BE
    near = np.hypot(away[0], away[1]) < 0.02 and abs(away[2]) < 0.025
    return bool(state.gripper_closing and near and state.gripper_width_m > 2.0 * HALF_M - 3.0 * HELD_M)


def _level_yaw(cube: Vector) -> float:
    """Return the yaw in B, up to a quarter turn and within 45 degrees of 0, whichever side the cube lies on."""
    m = quat_to_matrix(cube[3:7])
    level = int(np.argmin(np.abs(m[2])))
    yaw = float(np.arctan2(m[1, level], m[0, level]))
    return (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4


def _between_walls(cube: Vector, yaw: float, middle_y: float) -> Vector:
    """Return the place (2,) nearest to the cube where open fingers, across a cube of that yaw, are off the walls."""
    s, c = abs(np.sin(yaw)), abs(np.cos(yaw))
    reach = np.array([FINGER_M * s + FINGER_HALF_M * c, FINGER_M * c + FINGER_HALF_M * s])
    room = BIN_HALF_M - reach - ROOM_M
    middle = np.array([BINS_X_M, middle_y])
    return np.clip(cube[:2], middle - room, middle + room)


def _carry(state: RobotState, goal_y_m: float) -> Waypoint:
    p, cube = state.p_BE, state.objects["cube"]
    if state.gripper_width_m > 2.0 * HALF_M + HELD_M:
        return Waypoint(p.copy(), 0.0, True, 0.0, 0.0)  # still closing
    goal = np.array([BINS_X_M, goal_y_m, CARRY_M])
    off = np.abs(goal[:2] - cube[:2])
    if off.max() < 0.03:
        release = bool(cube[2] - HALF_M < WALL_M + 0.005)
        return Waypoint(np.array([goal[0], goal[1], FLOOR_M + HALF_M + 0.015]), 0.0, not release, 0.0, 0.0)
    if cube[2] - HALF_M < WALL_M + 0.015:
        return Waypoint(np.array([p[0], p[1], CARRY_M]), 0.0, True, 0.0, 0.0)  # up first: the walls are in the way
    return Waypoint(goal, 0.0, True, 0.0, 0.0)


def _drag(state: RobotState, u: Vector) -> Waypoint:
    """Press on the cube with closed fingers and drag it along the unit vector `u` (2,), away from the wall."""
    p, cube = state.p_BE, state.objects["cube"]
    touch = cube[2] + HALF_M + PADS_M
    # Behind the cube's middle: dragged from before it, a cube tips over its front edge.
    at = cube[:2] - 0.006 * u
    off = float(np.hypot(*(at - p[:2])))
    if off > 0.02 or state.gripper_width_m > 0.01:
        height = touch + 0.03
        high = p[2] > height - 0.02
        return Waypoint(np.array([*(at if high else p[:2]), height]), 0.0, True, 0.0, 0.0)
    # From the touch on, towards the middle of the bin as well.
    ahead = 0.02 if p[2] < touch + 0.002 else 0.0
    return Waypoint(np.array([*(at + ahead * u), touch - PRESS_M]), 0.0, True, 0.0, 0.0)


def _grasp(state: RobotState, at: Vector, yaw: float) -> Waypoint:
    """Go above the place (2,) where the fingers stand on both sides of the cube, turn, go down, and close."""
    p, cube = state.p_BE, state.objects["cube"]
    tool = quat_to_matrix(state.quat_BE)
    # The tool points down, so a turn about its own z axis is the opposite one about the base's.
    turn = float(np.arctan2(tool[1, 0], tool[0, 0]) - yaw)
    off = float(np.hypot(*(at - p[:2])))
    low = max(cube[2] - 0.003, 0.015)
    opened = state.gripper_width_m > 0.07
    if p[2] < low + 0.012 and off < 0.015 and (opened or state.gripper_closing):
        return Waypoint(np.array([p[0], p[1], low]), 0.0, True, 0.0, 0.0)
    ready = off < 0.008 and abs(turn) < 0.12
    descending = off < 0.012 and abs(turn) < 0.2 and p[2] < cube[2] + HOVER_M - 0.02
    if opened and (ready or descending):
        return Waypoint(np.array([*at, low]), turn, False, 0.0, 0.0)
    # From below, first up: the fingers would sweep the cube away.
    hover = cube[2] + HOVER_M
    return Waypoint(np.array([*(at if p[2] > hover - 0.03 else p[:2]), hover]), turn, False, 0.0, 0.0)
