"""Relocating a cube between two bins: where it is, what counts, and one direction after the other without a reset."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.env import RobotEnv
from robot_rl.robot import ArmCommand, RobotState
from robot_rl_sim.twin import ArmTwin
from robot_rl_tasks.arm import yaw_quat
from robot_rl_tasks.bin_relocate import BinRelocate, Direction
from robot_rl_tasks.bins import BIN_HALF_M, BINS_X_M, FLOOR_M, HALF_M, LEFT_Y_M, RIGHT_Y_M, in_left, in_right, lost
from robot_rl_tasks.experts import Sloppiness

SHARED = ArmTwin(BinRelocate())
STATE = SHARED.reset(SHARED.task.sample_reset(np.random.default_rng(0)))
REST_M = FLOOR_M + HALF_M


def with_cube(x: float, y: float, z: float, closing: bool = False) -> RobotState:
    objects = {**STATE.objects, "cube": np.array([x, y, z, 1.0, 0.0, 0.0, 0.0])}
    return dataclasses.replace(STATE, objects=objects, gripper_closing=closing)


@settings(max_examples=200, deadline=None)
@given(x=st.floats(0.2, 0.8), y=st.floats(-0.4, 0.4), z=st.floats(-0.5, 0.3))
def test_a_cube_is_in_at_most_one_place(x: float, y: float, z: float) -> None:
    state = with_cube(x, y, z)
    assert in_left(state) + in_right(state) + lost(state) <= 1


@settings(max_examples=100, deadline=None)
@given(x=st.floats(0.3, 0.7), y=st.floats(-0.3, 0.3), z=st.floats(0.0, 0.2))
def test_left_and_right_mirror_each_other(x: float, y: float, z: float) -> None:
    one, other = with_cube(x, y, z), with_cube(x, -y, z)
    assert in_left(one) == in_right(other)
    assert lost(one) == lost(other)


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ((BINS_X_M, LEFT_Y_M, REST_M), in_left),
        ((BINS_X_M + BIN_HALF_M - HALF_M, RIGHT_Y_M, REST_M), in_right),
        ((BINS_X_M, 0.30, HALF_M), lost),
        ((0.70, LEFT_Y_M, HALF_M), lost),
        ((BINS_X_M, LEFT_Y_M, -0.3), lost),
    ],
)
def test_where_the_cube_is(place: tuple[float, float, float], where: object) -> None:
    state = with_cube(*place)
    assert [predicate(state) for predicate in (in_left, in_right, lost)] == [
        predicate is where for predicate in (in_left, in_right, lost)
    ]


def test_a_cube_in_the_hand_or_on_a_rim_is_nowhere_yet_and_not_lost() -> None:
    for place in ((BINS_X_M, 0.0, 0.10), (BINS_X_M, LEFT_Y_M, 0.12), (BINS_X_M, 0.0, 0.04 + HALF_M)):
        state = with_cube(*place)
        assert not any(predicate(state) for predicate in (in_left, in_right, lost))


@pytest.mark.parametrize(("direction", "goal_y"), [("forward", RIGHT_Y_M), ("backward", LEFT_Y_M)])
def test_success_is_the_cube_let_go_in_the_other_bin(direction: Direction, goal_y: float) -> None:
    task = BinRelocate(direction=direction)
    there = task.outcome(with_cube(BINS_X_M, goal_y, REST_M))
    assert (there.reward, there.terminated, there.success, there.reason) == (1.0, True, True, "relocated")
    for state in (with_cube(BINS_X_M, -goal_y, REST_M), with_cube(BINS_X_M, goal_y, REST_M, closing=True)):
        assert task.outcome(state) == task.outcome(with_cube(BINS_X_M, 0.0, 0.1))
        assert not task.outcome(state).terminated
    gone = task.outcome(with_cube(0.75, 0.0, HALF_M))
    assert (gone.reward, gone.terminated, gone.success, gone.reason) == (0.0, True, False, "lost")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), forward=st.booleans())
def test_a_drawn_cube_lies_in_the_bin_that_it_comes_from_and_touches_no_wall(seed: int, forward: bool) -> None:
    task = BinRelocate(direction="forward" if forward else "backward")
    request = task.sample_reset(np.random.default_rng(seed))
    cube = request.objects["cube"]
    state = with_cube(*cube[:3])
    assert (in_left if forward else in_right)(state)
    yaw = 2.0 * np.arctan2(cube[6], cube[3])
    extent = HALF_M * (abs(np.cos(yaw)) + abs(np.sin(yaw)))
    middle = LEFT_Y_M if forward else RIGHT_Y_M
    assert np.abs(cube[:2] - (BINS_X_M, middle)).max() + extent < BIN_HALF_M


def test_a_home_start_leaves_every_object_alone() -> None:
    task = BinRelocate()
    twin = ArmTwin(task)
    env = RobotEnv(twin, task)
    env.reset(seed=4)
    cube = np.array([0.46, -0.12, REST_M, np.cos(0.2), 0.0, 0.0, np.sin(0.2)])
    twin.reset(dataclasses.replace(task.rehome(np.random.default_rng(0)), objects={"cube": cube}))
    env.reset(options={"request": BinRelocate(direction="backward").rehome(np.random.default_rng(1))})
    after = env.robot_state.objects
    np.testing.assert_allclose(after["cube"], cube, atol=1e-12)
    for name in ("left_bin", "right_bin"):
        np.testing.assert_array_equal(after[name], STATE.objects[name])


def test_each_direction_begins_where_the_other_ended() -> None:
    """Four episodes on one twin, of which only the first is given a cube: nobody else ever touches the scene."""
    twin = ArmTwin(BinRelocate())
    tasks = {name: BinRelocate(direction=name) for name in ("forward", "backward")}
    request = tasks["forward"].sample_reset(np.random.default_rng(11))
    for episode in range(4):
        task = tasks["forward" if episode % 2 == 0 else "backward"]
        env = RobotEnv(twin, task)
        env.reset(options={"request": request})
        expert = task.expert(Sloppiness(noise=0.1))
        expert.reset(np.random.default_rng(episode))
        done, info = False, {}
        while not done:
            _, _, terminated, truncated, info = env.step(expert.action(env.robot_state))
            done = terminated or truncated
        assert info["success"], (episode, info)
        request = tasks["backward" if episode % 2 == 0 else "forward"].rehome(np.random.default_rng(episode))
        assert not request.objects


@pytest.mark.parametrize("corner", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_a_cube_in_a_corner_is_freed_and_relocated(corner: tuple[int, int]) -> None:
    task = BinRelocate()
    env = RobotEnv(SHARED, task)
    room = BIN_HALF_M - HALF_M - 0.001
    cube = np.array([BINS_X_M + corner[0] * room, LEFT_Y_M + corner[1] * room, REST_M, 1.0, 0.0, 0.0, 0.0])
    home = task.rehome(np.random.default_rng(3))
    env.reset(options={"request": dataclasses.replace(home, objects={"cube": cube})})
    expert = task.expert(Sloppiness(noise=0.1))
    expert.reset(np.random.default_rng(5))
    done, info = False, {}
    while not done:
        _, _, terminated, truncated, info = env.step(expert.action(env.robot_state))
        done = terminated or truncated
    assert info["success"], info


@pytest.mark.parametrize("aside", [0.04, -0.04])
def test_fingers_that_open_against_a_wall_do_not_hold_the_arm_fast(aside: float) -> None:
    above = np.array([BINS_X_M, LEFT_Y_M + aside, 0.10])
    away = np.array([BINS_X_M, RIGHT_Y_M, REST_M, 1.0, 0.0, 0.0, 0.0])
    home = SHARED.task.rehome(np.random.default_rng(0))
    start = SHARED.reset(dataclasses.replace(home, p_BE=above, quat_BE=yaw_quat(0.0), objects={"cube": away}))
    low = np.array([above[0], above[1], 0.025])
    for step in range(30):  # down with closed fingers, then open
        SHARED.command(ArmCommand(low, start.quat_BE, step < 20))
    pressed = SHARED.observe()
    assert pressed.p_BE[2] < 0.04
    assert abs(pressed.p_BE[1] - low[1]) > 0.005, "the wall is in the way"
    for _ in range(20):
        SHARED.command(ArmCommand(SHARED.observe().p_BE + np.array([0.0, 0.0, 0.03]), start.quat_BE, False))
    assert SHARED.observe().p_BE[2] > 0.08


def test_a_yaw_is_the_same_whichever_side_the_cube_lies_on() -> None:
    """Two quarter turns about different axes lay the cube on another side; what is seen must not change."""
    task = BinRelocate()
    yaw = 0.2
    seen = []
    for side in ((1.0, 0.0, 0.0, 0.0), (2**-0.5, 2**-0.5, 0.0, 0.0), (2**-0.5, 0.0, 2**-0.5, 0.0)):
        w, x, y, z = side
        c, s = np.cos(yaw / 2), np.sin(yaw / 2)
        quat = np.array([c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w])  # the yaw after the side
        state = with_cube(BINS_X_M, LEFT_Y_M, REST_M)
        cube = np.concatenate([state.objects["cube"][:3], quat])
        seen.append(task.state_vector(dataclasses.replace(state, objects={**state.objects, "cube": cube})))
    for other in seen[1:]:
        np.testing.assert_allclose(other, seen[0], atol=1e-6)
