"""The guard: what it lets through is inside every bound, what it allows is untouched, and a stop stays."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl import geometry as g
from robot_rl.errors import ConfigError, RobotError
from robot_rl.robot import ArmCommand, Executed, RobotState
from robot_rl.task import Limits
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.guard_layout import EVENTS

unhurried = settings(deadline=None, max_examples=200)  # the first call of a kernel loads or compiles it
LIMITS = Limits(box_min_m=(0.3, -0.2, 0.05), box_max_m=(0.6, 0.25, 0.4))
LOW, HIGH = np.array(LIMITS.box_min_m), np.array(LIMITS.box_max_m)
DOWN = np.array([0.0, 1.0, 0.0, 0.0])
NEAR = 1e-8
seeds = st.integers(0, 2**32 - 1)
anything = st.floats(allow_nan=True, allow_infinity=True)


def state_at(p: np.ndarray, quat: np.ndarray, stamp_s: float = 0.0, force: np.ndarray | None = None) -> RobotState:
    return RobotState(
        stamp_s=stamp_s,
        q=np.zeros(7),
        dq=np.zeros(7),
        p_BE=p,
        quat_BE=quat,
        V_BE=np.zeros(6),
        F_BE=np.zeros(6) if force is None else force,
        gripper_width_m=0.08,
        gripper_closing=True,
    )


def turned(rng: np.random.Generator, quat: np.ndarray, largest_rad: float) -> np.ndarray:
    axis = rng.normal(size=3)
    return g.quat_mul(g.quat_from_rotvec(rng.uniform(0, largest_rad) * axis / np.linalg.norm(axis)), quat)


def inside(rng: np.random.Generator) -> RobotState:
    return state_at(rng.uniform(LOW, HIGH), g.quat_mul(turned(rng, DOWN, 0.55), turned_about_z(rng)))


def turned_about_z(rng: np.random.Generator) -> np.ndarray:
    return g.quat_from_rotvec(np.array([0.0, 0.0, rng.uniform(-math.pi, math.pi)]))


def anywhere(rng: np.random.Generator) -> RobotState:
    wide = HIGH - LOW
    return state_at(rng.uniform(LOW - 0.5 * wide, HIGH + 0.5 * wide), g.quat_normalise(rng.normal(size=4)))


def request(rng: np.random.Generator, state: RobotState) -> ArmCommand:
    """Return a command that is often sensible, often on a bound, and often absurd."""
    size = rng.choice([0.02, 0.08, 0.5, 100.0])
    p = state.p_BE + rng.uniform(-size, size, 3)
    if rng.random() < 0.2:
        p = np.where(rng.random(3) < 0.5, LOW, HIGH)
    return ArmCommand(p, turned(rng, state.quat_BE, rng.choice([0.1, 0.6, math.pi])), bool(rng.random() < 0.5))


def tilt(quat: np.ndarray) -> float:
    return g.vector_angle(g.rotate(quat, np.array([0.0, 0.0, 1.0])), np.array(LIMITS.cone_axis))


def out_of_box(p: np.ndarray) -> float:
    return float(np.linalg.norm(p - np.clip(p, LOW, HIGH)))


def same(a: Executed, b: Executed | ArmCommand) -> bool:
    return (a.p_BE == b.p_BE).all() and (a.quat_BE == b.quat_BE).all() and a.close_gripper == b.close_gripper


@unhurried
@given(seeds)
def test_what_is_executed_is_inside_box_cone_steps_and_rate(seed: int) -> None:
    rng = np.random.default_rng(seed)
    guard = Guard(LIMITS, 0.1)
    before = None
    state = inside(rng)
    for _ in range(8):
        done = guard.check(request(rng, state), state, 0.0, 0.0)
        assert not done.stopped
        assert out_of_box(done.p_BE) == 0.0
        assert tilt(done.quat_BE) <= LIMITS.cone_rad + NEAR
        assert np.linalg.norm(done.p_BE - state.p_BE) <= LIMITS.step_m + NEAR
        assert g.quat_angle(done.quat_BE, state.quat_BE) <= LIMITS.step_rad + NEAR
        if before is not None:
            assert np.linalg.norm(done.p_BE - before.p_BE) <= 1.5 * LIMITS.step_m + NEAR
            assert g.quat_angle(done.quat_BE, before.quat_BE) <= 1.5 * LIMITS.step_rad + NEAR
        before = done
        # The arm goes part of the way, so the last command stays within reach of the next reading.
        half = rng.uniform(0, 1)
        state = state_at(
            state.p_BE + half * (done.p_BE - state.p_BE), g.slerp(state.quat_BE, done.quat_BE, rng.uniform(0, 1) * 0.5)
        )
        if tilt(state.quat_BE) > LIMITS.cone_rad:
            state = state_at(state.p_BE, done.quat_BE)


@unhurried
@given(seeds)
def test_guarding_twice_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    guard = Guard(LIMITS, 0.1, speed_m_s=0.5, speed_rad_s=2.0, acceleration_m_s2=3.0)
    for _ in range(4):
        state = anywhere(rng) if rng.random() < 0.5 else inside(rng)
        fresh = copy.deepcopy(guard)
        once = guard.check(request(rng, state), state, 0.0, 0.0)
        again = ArmCommand(once.p_BE.copy(), once.quat_BE.copy(), once.close_gripper)
        assert same(fresh.check(again, state, 0.0, 0.0), once)
        assert same(guard.check(again, state, 0.0, 0.0), once)


@unhurried
@given(seeds)
def test_an_allowed_command_passes_bit_for_bit_without_events(seed: int) -> None:
    rng = np.random.default_rng(seed)
    quat = g.quat_mul(turned(rng, DOWN, 0.1), turned_about_z(rng))
    state = state_at(rng.uniform(LOW + 0.08, HIGH - 0.08), quat, stamp_s=9.95)
    guard = Guard(LIMITS, 0.1)
    for _ in range(5):
        command = ArmCommand(state.p_BE + rng.uniform(-0.03, 0.03, 3), turned(rng, state.quat_BE, 0.3), True)
        done = guard.check(command, state, 10.0, 9.9)
        assert same(done, command)
        assert done.events == ()
        assert not done.stopped
        assert not np.shares_memory(done.p_BE, command.p_BE)
    assert guard.counts == {}


@unhurried
@given(seeds)
def test_a_tool_outside_the_workspace_is_led_back_and_never_further_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    guard = Guard(LIMITS, 0.1)
    state = anywhere(rng)
    for _ in range(40):
        done = guard.check(request(rng, state), state, 0.0, 0.0)
        assert out_of_box(done.p_BE) <= max(out_of_box(state.p_BE) - LIMITS.step_m, 0.0) + NEAR
        assert tilt(done.quat_BE) <= max(tilt(state.quat_BE) - LIMITS.step_rad, LIMITS.cone_rad) + NEAR
        assert np.linalg.norm(done.p_BE - state.p_BE) <= LIMITS.step_m + NEAR
        assert g.quat_angle(done.quat_BE, state.quat_BE) <= LIMITS.step_rad + NEAR
        state = state_at(done.p_BE, done.quat_BE)
    assert out_of_box(state.p_BE) == 0.0


@unhurried
@given(seeds)
def test_a_clipped_rotation_keeps_its_axis(seed: int) -> None:
    rng = np.random.default_rng(seed)
    guard = Guard(dataclasses.replace(LIMITS, cone_rad=math.pi), 0.1)
    state = state_at(np.array([0.45, 0.0, 0.2]), g.quat_normalise(rng.normal(size=4)))
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    quat = g.quat_mul(g.quat_from_rotvec(rng.uniform(0.6, 3.0) * axis), state.quat_BE)
    done = guard.check(ArmCommand(state.p_BE, quat, False), state, 0.0, 0.0)
    assert done.events == ("step_rad",)
    r = g.rotvec_from_quat(g.quat_mul(done.quat_BE, g.quat_conj(state.quat_BE)))
    np.testing.assert_allclose(r, LIMITS.step_rad * axis, atol=1e-9)


POSE = np.array([0.45, 0.0, 0.2])
TILTED = g.quat_mul(g.quat_from_rotvec(np.array([0.58, 0.0, 0.0])), DOWN)


@pytest.mark.parametrize(
    ("event", "p", "quat", "at", "at_quat"),
    [
        ("workspace", [0.61, 0.0, 0.2], DOWN, [0.59, 0.0, 0.2], DOWN),
        ("cone", POSE, g.quat_mul(g.quat_from_rotvec(np.array([0.2, 0.0, 0.0])), TILTED), POSE, TILTED),
        ("step_m", [0.45, 0.0, 0.3], DOWN, POSE, DOWN),
        ("step_rad", POSE, TILTED, POSE, DOWN),
        ("measured_workspace", [0.59, 0.0, 0.2], DOWN, [0.62, 0.0, 0.2], DOWN),
        (
            "measured_cone",
            POSE,
            TILTED,
            POSE,
            g.quat_mul(g.quat_from_rotvec(np.array([0.1, 0.0, 0.0])), TILTED),
        ),
    ],
)
def test_each_rule_speaks_alone_and_is_counted(
    event: str, p: np.ndarray, quat: np.ndarray, at: np.ndarray, at_quat: np.ndarray
) -> None:
    guard = Guard(LIMITS, 0.1)
    state = state_at(np.asarray(at, float), at_quat)
    done = guard.check(ArmCommand(np.asarray(p, float), quat, False), state, 0.0, 0.0)
    assert done.events == (event,)
    assert guard.counts == {event: 1}
    guard.reset_episode()
    assert guard.counts == {}
    assert guard.totals == {event: 1}


def test_a_wall_lets_the_tool_slide_along_it() -> None:
    state = state_at(np.array([0.59, 0.0, 0.2]), DOWN)
    done = Guard(LIMITS, 0.1).check(ArmCommand(np.array([0.63, 0.03, 0.2]), DOWN, False), state, 0.0, 0.0)
    np.testing.assert_allclose(done.p_BE, [0.6, 0.03, 0.2], atol=1e-12)


def test_successive_commands_keep_speed_and_acceleration_but_may_always_stop() -> None:
    guard = Guard(LIMITS, 0.1, speed_m_s=0.3, acceleration_m_s2=1.0)
    moved, last = [], POSE
    for _ in range(6):  # the tool follows at once and is asked to run along y
        done = guard.check(ArmCommand(last + np.array([0.0, 0.04, 0.0]), DOWN, False), state_at(last, DOWN), 0.0, 0.0)
        moved.append(done.p_BE[1] - last[1])
        assert done.events == ("rate",)
        last = done.p_BE
    np.testing.assert_allclose(moved, [0.01, 0.02, 0.03, 0.03, 0.03, 0.03], atol=1e-9)
    assert guard.check(ArmCommand(last, DOWN, False), state_at(last, DOWN), 0.0, 0.0).events == ()


@pytest.mark.parametrize(
    ("event", "now_s", "command_s", "state_s"),
    [
        ("stale_command", 1.0, 0.7, 1.0),
        ("stale_command", 1.0, 1.3, 1.0),
        ("stale_command", 1.0, math.nan, 1.0),
        ("stale_observation", 1.0, 1.0, 0.7),
    ],
)
def test_a_stale_command_or_reading_holds_the_pose_where_the_hold_began(
    event: str, now_s: float, command_s: float, state_s: float
) -> None:
    guard = Guard(LIMITS, 0.1)
    command = ArmCommand(POSE + 0.03, DOWN, False)
    for creep in (0.0, 0.001, 0.002):
        done = guard.check(command, state_at(POSE + creep, DOWN, state_s), now_s, command_s)
        assert done.events == (event,)
        assert (done.p_BE == POSE).all()
        assert done.close_gripper  # as it was, so that a held part is not dropped
    moved = state_at(POSE + 0.002, DOWN, 2.0)
    assert guard.check(command, moved, 2.0, 2.0).events == ()
    assert (guard.check(command, moved, 9.0, 2.0).p_BE == POSE + 0.002).all()


@unhurried
@given(seeds, st.booleans())
def test_a_latched_stop_never_moves_until_it_is_acknowledged(seed: int, by_force: bool) -> None:
    rng = np.random.default_rng(seed)
    guard = Guard(LIMITS, 0.1)
    state = inside(rng)
    if by_force:
        push = rng.normal(size=3)
        state.F_BE[:3] = 81.0 * push / np.linalg.norm(push)
        first = guard.check(request(rng, state), state, 0.0, 0.0)
        assert first.events == ("force",)
        assert "81.0 N is above the limit of 80.0 N" in guard.stop_reason
    else:
        guard.stop("a person pressed stop")
        first = guard.check(request(rng, state), state, 0.0, 0.0)
        assert first.events == ("stopped",)
    assert (first.p_BE == state.p_BE).all()
    for _ in range(5):
        later = inside(rng)
        guard.reset_episode()
        done = guard.check(request(rng, later), later, 0.0, 0.0)
        assert done.stopped
        assert guard.stopped
        assert (done.p_BE == first.p_BE).all()
        assert (done.quat_BE == first.quat_BE).all()
    guard.acknowledge()
    still = inside(rng)
    done = guard.check(ArmCommand(still.p_BE, still.quat_BE, False), still, 0.0, 0.0)
    assert not done.stopped
    assert (done.p_BE == still.p_BE).all()


def test_a_stop_keeps_its_first_reason_and_a_force_below_the_limit_is_none() -> None:
    guard = Guard(LIMITS, 0.1)
    state = state_at(POSE, DOWN, force=np.array([0.0, 0.0, 79.0, 100.0, 0.0, 0.0]))
    assert guard.check(ArmCommand(POSE, DOWN, False), state, 0.0, 0.0).events == ()
    guard.stop("first")
    guard.stop("second")
    assert guard.stop_reason == "first"
    assert guard.counts == {"stop": 1}


@unhurried
@given(st.lists(anything, min_size=17, max_size=17).map(np.array), st.integers(0, 15), st.tuples(*[anything] * 3))
def test_any_number_anywhere_gives_a_finite_pose_inside_the_step(
    values: np.ndarray, which: int, times: tuple[float, float, float]
) -> None:
    guard = Guard(LIMITS, 0.1)
    good = state_at(POSE.copy(), DOWN.copy())
    command = ArmCommand(POSE + 0.02, DOWN.copy(), False)
    guard.check(command, good, 0.0, 0.0)
    p, quat, at, at_quat, force = np.split(values, [3, 7, 10, 14])
    command = ArmCommand(p if which & 1 else POSE, quat if which & 2 else DOWN, False)
    state = state_at(at if which & 4 else POSE, at_quat if which & 4 else DOWN)
    now_s, command_s = 0.0, 0.0
    if which & 8:
        state.F_BE[:3] = force
        now_s, command_s, state.stamp_s = times
    done = guard.check(command, state, now_s, command_s)
    assert np.isfinite(done.p_BE).all()
    assert np.linalg.norm(done.quat_BE) == pytest.approx(1.0, abs=1e-8)
    if not which & 4:
        assert np.linalg.norm(done.p_BE - POSE) <= LIMITS.step_m + NEAR
        assert g.quat_angle(done.quat_BE, DOWN) <= LIMITS.step_rad + NEAR
    assert np.isfinite(guard.check(ArmCommand(POSE, DOWN, False), good, 0.0, 0.0).p_BE).all()


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (ArmCommand(np.array([math.nan, 0, 0]), DOWN, False), "not_finite"),
        (ArmCommand(POSE, np.zeros(4), False), "not_finite"),
        (ArmCommand(np.zeros(7), DOWN, False), "not_finite"),
        (ArmCommand("here", DOWN, False), "not_finite"),
    ],
)
def test_a_command_that_is_no_pose_holds(command: ArmCommand, event: str) -> None:
    done = Guard(LIMITS, 0.1).check(command, state_at(POSE, DOWN), 0.0, 0.0)
    assert done.events == (event,)
    assert (done.p_BE == POSE).all()


def test_an_unreadable_arm_holds_its_last_command_and_is_refused_if_it_never_had_one() -> None:
    guard = Guard(LIMITS, 0.1)
    blind = state_at(np.full(3, np.nan), DOWN)
    command = ArmCommand(POSE, DOWN, False)
    with pytest.raises(RobotError, match="no tool pose to hold"):
        guard.check(command, blind, 0.0, 0.0)
    guard.check(command, state_at(POSE, DOWN), 0.0, 0.0)
    done = guard.check(ArmCommand(POSE + 0.05, DOWN, False), blind, 0.0, 0.0)
    assert done.events == ("unreadable_state",)
    assert (done.p_BE == POSE).all()


def test_an_unnormalised_or_opposite_quaternion_means_the_same_rotation() -> None:
    guard, state = Guard(LIMITS, 0.1), state_at(POSE, DOWN)
    done = guard.check(ArmCommand(POSE, -3.0 * TILTED, False), state, 0.0, 0.0)
    plain = Guard(LIMITS, 0.1).check(ArmCommand(POSE, TILTED, False), state, 0.0, 0.0)
    assert done.events == plain.events
    assert g.quat_angle(done.quat_BE, plain.quat_BE) < 1e-9


def test_a_reset_is_held_to_the_same_box_and_cone() -> None:
    guard = Guard(LIMITS, 0.1)
    guard.check_reset(POSE, DOWN)
    assert guard.check_waypoint(POSE, DOWN) == ()
    assert guard.check_waypoint(POSE + 1.0, TILTED) == ("workspace",)
    assert guard.check_waypoint(np.full(3, np.nan), DOWN) == ("not_finite",)
    with pytest.raises(
        RobotError, match=r"breaks the rule workspace and cone; allowed is the box \(0\.3, -0\.2, 0\.05"
    ):
        guard.check_reset(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))


def test_a_motion_outside_check_is_watched() -> None:
    guard = Guard(LIMITS, 0.1)
    assert guard.watch(state_at(POSE, DOWN, 1.0), 1.1) == ()
    assert guard.watch(state_at(POSE + 1.0, DOWN, 1.0), 1.0) == ("measured_workspace",)
    assert guard.watch(state_at(POSE, DOWN, 1.0), 2.0) == ("stale_observation",)
    assert guard.watch(state_at(np.full(3, np.inf), DOWN), 0.0) == ("unreadable_state",)
    assert not guard.stopped
    assert guard.watch(state_at(POSE, DOWN, force=np.full(6, 90.0)), 0.0) == ("force",)
    assert guard.stopped
    assert guard.counts == {
        "measured_workspace": 1,
        "stale_observation": 1,
        "unreadable_state": 1,
        "force": 1,
        "stop": 1,
    }
    assert set(guard.counts) - {"stop"} <= set(EVENTS)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"box_min_m": (0.7, 0.0, 0.0)}, "Measure the workspace"),
        ({"box_min_m": (0.0,) * 3, "box_max_m": (0.0,) * 3}, "Measure the workspace"),
        ({"box_min_m": (-1e3,) * 3, "box_max_m": (1e3,) * 3}, "between 0.001 and 3.0 m"),
        ({"box_min_m": (math.nan, 0.0, 0.0)}, "three finite numbers"),
        ({"box_max_m": (1.0, 1.0)}, "three finite numbers"),
        ({"box_max_m": "big"}, "three numbers"),
        ({"cone_axis": (0.0, 0.0, 0.0)}, "unit vector"),
        ({"cone_rad": 0.0}, r"limits\.cone_rad must be a positive, finite number, got 0.0"),
        ({"cone_rad": 4.0}, "at most pi"),
        ({"step_m": math.inf}, r"limits\.step_m"),
        ({"step_rad": -1.0}, r"limits\.step_rad"),
        ({"force_n": 0.0}, r"limits\.force_n"),
        ({"command_age_s": "soon"}, r"limits\.command_age_s"),
    ],
)
def test_bounds_that_bound_nothing_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Guard(dataclasses.replace(LIMITS, **wrong), 0.1)


@pytest.mark.parametrize("wrong", [{"period_s": 0.0}, {"speed_m_s": -1.0}, {"margin_m": math.nan}])
def test_settings_of_the_guard_are_checked_too(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Guard(LIMITS, **{"period_s": 0.1, **wrong})
