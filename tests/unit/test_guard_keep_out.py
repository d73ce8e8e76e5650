"""Keep-out boxes and the soft force limit: no command and no way to one enters a box, or pushes on."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.cell import Box
from robot_rl.errors import ConfigError, RobotError
from robot_rl.robot import ArmCommand, Executed, RobotState
from robot_rl.task import Limits
from robot_rl_controllers.guard import Guard

unhurried = settings(deadline=None, max_examples=300)
seeds = st.integers(0, 2**32 - 1)
LIMITS = Limits(box_min_m=(0.3, -0.2, 0.05), box_max_m=(0.6, 0.25, 0.4), soft_force_n=10.0)
LOW, HIGH = np.array(LIMITS.box_min_m), np.array(LIMITS.box_max_m)
DOWN = np.array([0.0, 1.0, 0.0, 0.0])
NEAR, EDGE = 1e-8, 5e-9
POST = Box(min_m=(0.42, -0.05, 0.0), max_m=(0.5, 0.05, 0.2))
SHELF = Box(min_m=(0.47, 0.02, 0.1), max_m=(0.7, 0.5, 0.3))


def state_at(p: np.ndarray, force: np.ndarray | None = None, stamp_s: float = 0.0) -> RobotState:
    wrench = np.zeros(6)
    wrench[:3] = 0.0 if force is None else force
    return RobotState(stamp_s, np.zeros(7), np.zeros(7), p, DOWN, np.zeros(6), wrench, 0.08, False)


def ask(guard: Guard, p: np.ndarray, at: np.ndarray, force: np.ndarray | None = None) -> Executed:
    return guard.check(ArmCommand(np.asarray(p, float), DOWN, False), state_at(np.asarray(at, float), force), 0.0, 0.0)


def deepest(p: np.ndarray, boxes: tuple[Box, ...]) -> float:
    """Return how deep the deepest of some points (..., 3) lies in the boxes; 0 outside."""
    deep = [np.minimum(p - box.min_m, np.array(box.max_m) - p).min(-1).max() for box in boxes]
    return float(max(0.0, *deep))


def crosses(a: np.ndarray, b: np.ndarray, boxes: tuple[Box, ...]) -> bool:
    """Return whether a straight way passes through a box, by looking at many points of it."""
    return deepest(a + np.linspace(0.0, 1.0, 80)[:, None] * (b - a), boxes) > EDGE


def some_boxes(rng: np.random.Generator) -> tuple[Box, ...]:
    boxes = []
    for _ in range(rng.integers(1, 4)):
        centre, half = rng.uniform(LOW, HIGH), rng.uniform(0.005, 0.08, 3)
        low, high = centre - half, centre + half
        boxes.append(Box(min_m=(low[0], low[1], low[2]), max_m=(high[0], high[1], high[2])))
    return tuple(boxes)


def free_place(rng: np.random.Generator, boxes: tuple[Box, ...]) -> np.ndarray:
    while True:
        p = rng.uniform(LOW, HIGH)
        if rng.random() < 0.3:  # on a face, as a tool that slid there
            box = boxes[0]
            axis = rng.integers(3)
            p = np.clip(rng.uniform(np.subtract(box.min_m, 0.02), np.add(box.max_m, 0.02)), LOW, HIGH)
            p[axis] = (box.min_m if rng.random() < 0.5 else box.max_m)[axis]
        if deepest(p, boxes) == 0.0 and (p >= LOW).all() and (p <= HIGH).all():
            return p


def some_force(rng: np.random.Generator) -> np.ndarray:
    push = rng.normal(size=3)
    return push / np.linalg.norm(push) * rng.choice([0.0, 5.0, 20.0, 60.0])


@unhurried
@given(seeds)
def test_what_is_executed_and_the_way_to_it_are_in_the_box_and_out_of_keep_outs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = some_boxes(rng)
    guard = Guard(LIMITS, 0.1, keep_out=boxes, speed_m_s=0.7, acceleration_m_s2=6.0)
    p = free_place(rng, boxes)
    for _ in range(12):
        force = some_force(rng)
        done = ask(guard, p + rng.uniform(-1.0, 1.0, 3) * rng.choice([0.02, 0.1, 1.0]), p, force)
        assert (done.p_BE >= LOW).all()
        assert (done.p_BE <= HIGH).all()
        assert deepest(done.p_BE, boxes) <= EDGE
        assert not crosses(p, done.p_BE, boxes)
        assert np.linalg.norm(done.p_BE - p) <= LIMITS.step_m + NEAR
        if np.linalg.norm(force) > LIMITS.soft_force_n:
            assert (done.p_BE - p) @ force / np.linalg.norm(force) >= -NEAR
        p = p + rng.choice([0.3, 1.0]) * (done.p_BE - p)


@unhurried
@given(seeds)
def test_fitting_twice_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = some_boxes(rng)
    guard = Guard(LIMITS, 0.1, keep_out=boxes, speed_m_s=0.5, acceleration_m_s2=3.0)
    for _ in range(4):
        p = rng.uniform(LOW - 0.1, HIGH + 0.1) if rng.random() < 0.5 else free_place(rng, boxes)
        force = some_force(rng)
        fresh = copy.deepcopy(guard)
        once = ask(guard, p + rng.uniform(-1.0, 1.0, 3) * rng.choice([0.02, 0.1, 1.0]), p, force)
        assert np.abs(ask(fresh, once.p_BE.copy(), p, force).p_BE - once.p_BE).max() <= NEAR
        assert np.abs(ask(guard, once.p_BE.copy(), p, force).p_BE - once.p_BE).max() <= NEAR


@unhurried
@given(seeds)
def test_a_tool_in_a_keep_out_box_is_led_out_and_never_deeper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = some_boxes(rng)[:1]
    low, high = np.maximum(box[0].min_m, LOW), np.minimum(box[0].max_m, HIGH)
    p = rng.uniform(low, high)
    guard = Guard(LIMITS, 0.1, keep_out=box)
    for _ in range(4):
        deep = deepest(p, box)
        done = ask(guard, p + rng.uniform(-0.3, 0.3, 3), p)
        assert deepest(done.p_BE, box) <= max(deep, EDGE)
        if deep > 0.01:
            assert "measured_keep_out" in done.events
        p = done.p_BE
    assert deepest(p, box) <= EDGE


def test_a_command_through_a_box_slides_along_it_and_one_into_it_ends_on_it() -> None:
    guard = Guard(LIMITS, 0.1, keep_out=(POST,))
    done = ask(guard, [0.46, 0.03, 0.1], [0.41, 0.0, 0.1])
    np.testing.assert_allclose(done.p_BE, [0.42, 0.03, 0.1], atol=1e-12)
    assert done.events == ("keep_out",)
    beside = Guard(LIMITS, 0.1, keep_out=(POST,))
    assert ask(beside, [0.46, 0.06, 0.1], [0.41, 0.055, 0.1]).events == ()
    narrow = Guard(LIMITS, 0.1, keep_out=(Box(min_m=(0.42, -0.05, 0.0), max_m=(0.43, 0.05, 0.2)),))
    done = ask(narrow, [0.46, 0.0, 0.1], [0.41, 0.0, 0.1])  # the goal is free, the way is not
    np.testing.assert_allclose(done.p_BE, [0.42, 0.0, 0.1], atol=1e-12)


def test_a_corner_of_two_boxes_holds_the_tool() -> None:
    guard = Guard(LIMITS, 0.1, keep_out=(POST, SHELF))
    at = np.array([0.48, 0.07, 0.05])
    for _ in range(6):
        at = ask(guard, at + np.array([0.0, -0.03, 0.08]), at).p_BE
        assert deepest(at, (POST, SHELF)) <= EDGE
    np.testing.assert_allclose(at[1:], [0.05, 0.1], atol=1e-9)


def test_of_many_boxes_the_nearest_bars_the_way() -> None:
    plates = tuple(Box(min_m=(0.42 + 0.01 * i, -0.1, 0.0), max_m=(0.423 + 0.01 * i, 0.1, 0.3)) for i in range(7))
    for order in (plates, plates[::-1]):
        done = ask(Guard(LIMITS, 0.1, keep_out=order), [0.489, 0.0, 0.1], [0.41, 0.0, 0.1])
        np.testing.assert_allclose(done.p_BE, [0.42, 0.0, 0.1], atol=1e-8)


def test_a_tool_deep_in_a_box_goes_straight_out_whatever_is_asked() -> None:
    guard = Guard(LIMITS, 0.1, keep_out=(POST,))
    done = ask(guard, [0.45, 0.07, 0.1], [0.45, 0.0, 0.1])
    np.testing.assert_allclose(done.p_BE, [0.42, 0.0, 0.1], atol=1e-12)
    assert done.events == ("keep_out", "measured_keep_out")
    beside = ask(Guard(LIMITS, 0.1, keep_out=(POST,)), [0.425, 0.02, 0.1], [0.425, 0.0, 0.1])
    np.testing.assert_allclose(beside.p_BE, [0.42, 0.02, 0.1], atol=1e-12)  # noise at the face still slides


def test_a_tool_with_no_way_out_holds() -> None:
    shut = tuple(
        Box(min_m=(0.2 + 0.1 * i, -0.5, 0.0), max_m=(0.3 + 0.1 * i + 0.02, 0.3, 0.5 - 0.12 * (i == 1)))
        for i in range(5)
    )
    guard = Guard(LIMITS, 0.1, keep_out=shut)
    done = ask(guard, [0.45, 0.05, 0.2], [0.45, 0.0, 0.2])
    assert "measured_keep_out" in done.events
    assert deepest(done.p_BE, shut) <= deepest(np.array([0.45, 0.0, 0.2]), shut)


def test_a_soft_force_takes_only_the_part_that_pushes_on() -> None:
    guard = Guard(LIMITS, 0.1)
    up = np.array([0.0, 0.0, 12.0])
    done = ask(guard, [0.47, 0.01, 0.15], [0.45, 0.0, 0.2], up)
    np.testing.assert_allclose(done.p_BE, [0.47, 0.01, 0.2], atol=1e-12)
    assert done.events == ("soft_force",)
    assert not done.stopped
    assert ask(guard, [0.47, 0.01, 0.25], [0.45, 0.0, 0.2], up).events == ()
    assert ask(guard, [0.47, 0.01, 0.15], [0.45, 0.0, 0.2], 0.8 * up).events == ()
    off = Guard(dataclasses.replace(LIMITS, soft_force_n=math.inf), 0.1)
    assert ask(off, [0.47, 0.01, 0.15], [0.45, 0.0, 0.2], 6.0 * up).events == ()


def test_resets_and_starts_are_held_to_keep_outs() -> None:
    guard = Guard(LIMITS, 0.1, keep_out=(POST,))
    inside, shallow = np.array([0.46, 0.0, 0.1]), np.array([0.46, 0.0, 0.195])
    assert guard.check_waypoint(inside, DOWN) == ("keep_out",)
    assert guard.watch(state_at(inside), 0.0) == ("measured_keep_out",)
    with pytest.raises(RobotError, match=r"rule keep_out; allowed is the box .* m without the box \(0\.42, -0\.05"):
        guard.check_reset(inside, DOWN)
    guard.check_start(state_at(shallow))  # by less than the margin, as a tool that rests on the box
    guard.check_start(state_at(np.array([0.295, 0.0, 0.3])))
    for outside in (inside, np.array([0.2, 0.0, 0.3]), np.full(3, math.nan)):
        with pytest.raises(RobotError, match="Guide the arm inside by hand"):
            guard.check_start(state_at(outside))


def test_a_keep_out_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"keep-out box 1 .* covers the whole workspace"):
        Guard(LIMITS, 0.1, keep_out=(POST, Box(min_m=(0.0, -1.0, 0.0), max_m=(1.0, 1.0, 1.0))))
