"""The guard between commands and in a cell: silence goes stale, bursts gain nothing, every hold says why."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.cell import Box, Cell
from robot_rl.errors import ConfigError
from robot_rl.robot import ArmCommand, Executed, RobotState
from robot_rl.task import Limits
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.guard_limits import within_cell

unhurried = settings(deadline=None, max_examples=150)
LIMITS = Limits(box_min_m=(0.3, -0.2, 0.05), box_max_m=(0.6, 0.25, 0.4))
POSE, DOWN = np.array([0.45, 0.0, 0.2]), np.array([0.0, 1.0, 0.0, 0.0])


def state_at(p: np.ndarray, stamp_s: float, force_z: float = 0.0) -> RobotState:
    wrench = np.array([0.0, 0.0, force_z, 0.0, 0.0, 0.0])
    return RobotState(stamp_s, np.zeros(7), np.zeros(7), p, DOWN, np.zeros(6), wrench, 0.08, True)


def ask(guard: Guard, p: np.ndarray, now_s: float, at: np.ndarray = POSE, given_s: float | None = None) -> Executed:
    command = ArmCommand(p, DOWN, False)
    return guard.check(command, state_at(at, now_s), now_s, now_s if given_s is None else given_s)


def test_a_command_that_nobody_renews_stands_until_it_is_stale_and_then_the_arm_holds() -> None:
    guard = Guard(LIMITS, 0.1)
    done = ask(guard, POSE + 0.03, 1.0)
    for i in range(1, 25):
        later = guard.review(state_at(POSE + 0.001 * i, 1.0 + 0.01 * i), 1.0 + 0.01 * i)
        assert (later.p_BE == done.p_BE).all()
        assert later.events == ()
        assert not later.close_gripper
    held = guard.review(state_at(POSE + 0.025, 1.26), 1.26)
    assert held.events == ("stale_command",)
    assert held.reason == "the command is 0.260 s old, allowed are 0.250 s"
    assert (held.p_BE == POSE + 0.025).all()
    assert held.close_gripper  # the fingers stay as they are measured to be told
    for i in range(20):
        again = guard.review(state_at(POSE + 0.03, 1.3 + i), 1.3 + i)
        assert (again.p_BE == held.p_BE).all()
        assert again.reason == held.reason
    assert guard.counts == {"stale_command": 1}
    assert ask(guard, POSE + 0.04, 30.0, POSE + 0.03).reason == ""


def test_before_the_first_command_and_after_forgetting_the_arm_holds_without_complaint() -> None:
    guard = Guard(LIMITS, 0.1)
    for _ in range(2):
        first = guard.review(state_at(POSE, 1.0), 1.0)
        assert (first.p_BE == POSE).all()
        assert (first.events, first.reason) == ((), "")
        assert (guard.review(state_at(POSE + 0.01, 1.1), 1.1).p_BE == POSE).all()
        ask(guard, POSE + 0.03, 1.2)
        guard.forget_motion()
    assert guard.counts == {}
    assert guard.review(state_at(POSE, 1.0), 9.0).events == ("stale_observation",)


def test_a_review_sees_force_in_between() -> None:
    guard = Guard(dataclasses.replace(LIMITS, soft_force_n=10.0, force_n=40.0), 0.1)
    ask(guard, POSE - [0.0, 0.0, 0.02], 1.0)
    pushed = guard.review(state_at(POSE - [0.0, 0.0, 0.005], 1.01, 12.0), 1.01)
    assert pushed.events == ("soft_force",)
    np.testing.assert_allclose(pushed.p_BE, POSE - [0.0, 0.0, 0.005], atol=1e-12)
    pushed = guard.review(state_at(POSE - [0.0, 0.0, 0.003], 1.01, 13.0), 1.01)
    assert pushed.events == ("soft_force",)
    np.testing.assert_allclose(pushed.p_BE, POSE - [0.0, 0.0, 0.003], atol=1e-12)
    assert guard.counts == {"soft_force": 1}
    eased = guard.review(state_at(POSE - [0.0, 0.0, 0.005], 1.02, 2.0), 1.02)
    assert (eased.p_BE == pushed.p_BE).all()  # nothing is advanced again without a command
    struck = guard.review(state_at(POSE - [0.0, 0.0, 0.005], 1.03, 60.0), 1.03)
    assert struck.stopped
    assert "contact force 60.0 N is above the limit of 40.0 N" in struck.reason
    assert guard.review(state_at(POSE, 1.04), 1.04).stopped


@unhurried
@given(st.integers(0, 2**32 - 1))
def test_reviews_do_not_change_what_the_next_command_may_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reviewed = Guard(LIMITS, 0.1, speed_m_s=0.3, acceleration_m_s2=1.0)
    p, now_s = POSE, 0.0
    for _ in range(4):
        now_s += 0.1
        plain = copy.deepcopy(reviewed)
        for i in range(rng.integers(1, 9)):
            reviewed.review(state_at(p, now_s - 0.09 + 0.01 * i), now_s - 0.09 + 0.01 * i)
        wish = p + rng.uniform(-0.05, 0.05, 3)
        one, two = ask(plain, wish, now_s, p), ask(reviewed, wish, now_s, p)
        np.testing.assert_allclose(one.p_BE, two.p_BE, atol=1e-9)
        p = p + 0.5 * (one.p_BE - p)


@unhurried
@given(st.lists(st.floats(0.0005, 0.2), min_size=2, max_size=60))
def test_a_burst_of_commands_gains_no_way(gaps: list[float]) -> None:
    guard = Guard(LIMITS, 0.1, speed_m_s=0.2)
    far = POSE + np.array([0.0, 0.079, 0.0])
    now_s, way, allowed = 1.0, 0.0, 0.2 * 0.1
    last = ask(guard, POSE, now_s).p_BE
    for i, gap_s in enumerate(gaps):
        now_s += gap_s
        allowed = 0.2 * (0.1 if gap_s >= 0.05 else gap_s)
        done = ask(guard, far if i % 2 else POSE - [0.0, 0.079, 0.0], now_s)
        way = float(np.linalg.norm(done.p_BE - last))
        assert way <= allowed + 1e-8
        last = done.p_BE


def test_speeds_and_accelerations_of_the_limits_are_kept() -> None:
    limits = dataclasses.replace(LIMITS, speed_m_s=0.3, acceleration_m_s2=1.0, speed_rad_s=1.0, acceleration_rad_s2=5.0)
    guard, last, moved = Guard(limits, 0.1), POSE, []
    for i in range(5):
        done = ask(guard, last + np.array([0.0, 0.05, 0.0]), 1.0 + 0.1 * i, last)
        moved.append(done.p_BE[1] - last[1])
        last = done.p_BE
    np.testing.assert_allclose(moved, [0.01, 0.02, 0.03, 0.03, 0.03], atol=1e-9)


@pytest.mark.parametrize(
    ("wish", "given_s", "seen_s", "words"),
    [
        (POSE, 0.5, 1.0, "the command is 0.500 s old, allowed are 0.250 s"),
        (POSE, 1.5, 1.0, "the command is 0.500 s ahead of the clock, allowed are 0.250 s"),
        (POSE, math.nan, 1.0, "the command is of no known age, allowed are 0.250 s"),
        (POSE, 1.0, 0.2, "the reading is 0.800 s old, allowed are 0.250 s"),
        (np.full(3, math.nan), 1.0, 1.0, "the command is not a pose of finite numbers"),
    ],
)
def test_a_hold_says_why(wish: np.ndarray, given_s: float, seen_s: float, words: str) -> None:
    guard = Guard(LIMITS, 0.1)
    done = guard.check(ArmCommand(wish, DOWN, False), state_at(POSE, seen_s), 1.0, given_s)
    assert (done.reason, done.stopped) == (words, False)
    guard.stop("a person pressed stop")
    assert ask(guard, POSE, 1.0).reason == "a person pressed stop"
    guard.acknowledge()
    assert ask(guard, POSE, 1.0).reason == ""


def test_an_unreadable_arm_says_so() -> None:
    guard = Guard(LIMITS, 0.1)
    ask(guard, POSE, 1.0)
    done = ask(guard, POSE, 1.0, np.full(3, math.nan))
    assert done.reason == "the reading of the arm is not made of finite numbers"


def test_the_cell_cuts_the_task_s_box() -> None:
    bounds = Box(min_m=(0.35, -0.5, 0.0), max_m=(0.7, 0.1, 0.3))
    limits = within_cell(LIMITS, Cell(bounds=bounds), hardware=True)
    assert (limits.box_min_m, limits.box_max_m) == ((0.35, -0.2, 0.05), (0.6, 0.1, 0.3))
    assert within_cell(LIMITS, Cell(), hardware=False) is LIMITS


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (None, r"cell 'lab' has no measured bounds, .* Measure them with: robot-rl calibrate bounds"),
        (Box(min_m=(-1.0, -1.0, -1.0), max_m=(2.0, 1.0, 1.0)), "where no arm reaches, so nobody measured them"),
        (Box(min_m=(0.3, 0.25, 0.0), max_m=(0.6, 0.5, 0.05)), "nothing in common along y and z"),
    ],
)
def test_hardware_is_refused_bounds_that_are_missing_a_default_or_elsewhere(bounds: Box | None, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        within_cell(LIMITS, Cell(name="lab", bounds=bounds), hardware=True)


@pytest.mark.parametrize(
    "name", ["soft_force_n", "speed_m_s", "speed_rad_s", "acceleration_m_s2", "acceleration_rad_s2"]
)
def test_new_limits_are_checked(name: str) -> None:
    for wrong in (0.0, -1.0, math.nan, "fast"):
        with pytest.raises(ConfigError, match=f"limits.{name} must be a positive"):
            Guard(dataclasses.replace(LIMITS, **{name: wrong}), 0.1)
