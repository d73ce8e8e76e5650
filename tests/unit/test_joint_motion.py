"""Joint moves: exact ends, no limit exceeded, no jump; and the law that tracks them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from robot_rl.errors import ConfigError, RobotError
from robot_rl.task import Compliance
from robot_rl_controllers.gains import pack_limits
from robot_rl_controllers.joint_motion import (
    FR3_Q_MAX,
    FR3_Q_MIN,
    JointMove,
    MotionLimits,
    evaluate_move,
    joint_impedance_torque,
    joint_tick,
    pack_joint_gains,
)

unhurried = settings(deadline=None)  # the first call of a kernel loads or compiles it
LOW, HIGH = np.array(FR3_Q_MIN), np.array(FR3_Q_MAX)
LIMITS = pack_limits(Compliance())
GAINS = pack_joint_gains()
unit7 = st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7).map(np.array)
poses = unit7.map(lambda u: LOW + u * (HIGH - LOW))
positive7 = st.lists(st.floats(0.05, 20.0), min_size=7, max_size=7).map(tuple)
motion_limits = st.builds(MotionLimits, velocity_rad_s=positive7, acceleration_rad_s2=positive7, jerk_rad_s3=positive7)


def sample(move: JointMove, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = [tuple(a.copy() for a in move.at(t)) for t in times]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


@unhurried
@given(poses, poses, motion_limits)
def test_no_limit_is_exceeded_and_both_ends_are_exact(a: np.ndarray, b: np.ndarray, limits: MotionLimits) -> None:
    move = JointMove(a, b, limits)
    times = np.linspace(0.0, move.duration_s, 401)
    q, dq = sample(move, times)
    dt = times[1] - times[0]
    assert (q[0] == a).all()
    assert (q[-1] == b).all()
    assert not dq[[0, -1]].any()
    assert (q >= np.minimum(a, b) - 1e-12).all()
    assert (q <= np.maximum(a, b) + 1e-12).all()
    assert (np.abs(dq).max(axis=0) <= np.array(limits.velocity_rad_s) * (1 + 1e-9)).all()
    if dt > 1e-6:  # a mean rate over an interval is bounded by the rate itself; rounding of dq grows with 1/dt
        a_max, j_max = np.array(limits.acceleration_rad_s2), np.array(limits.jerk_rad_s3)
        acceleration = np.diff(dq, axis=0) / dt
        assert (np.abs(acceleration) <= a_max * (1 + 1e-6) + 1e-12 / dt).all()
        assert (np.abs(np.diff(acceleration, axis=0)) <= j_max * dt * (1 + 1e-6) + 1e-12 / dt).all()


@unhurried
@given(poses, poses, motion_limits)
def test_the_velocity_is_the_derivative_and_nothing_jumps(a: np.ndarray, b: np.ndarray, limits: MotionLimits) -> None:
    move = JointMove(a, b, limits)
    times = np.linspace(-0.1, move.duration_s + 0.1, 301)
    q, dq = sample(move, times)
    dt = times[1] - times[0]
    trapezoid = 0.5 * (dq[1:] + dq[:-1]) * dt
    slack = np.array(limits.acceleration_rad_s2) * dt**2
    assert (np.abs(np.diff(q, axis=0) - trapezoid) <= slack + 1e-12).all()


@unhurried
@given(poses, poses, motion_limits)
def test_the_slowest_joint_runs_at_one_of_its_limits(a: np.ndarray, b: np.ndarray, limits: MotionLimits) -> None:
    move = JointMove(a, b, limits)
    moving = np.abs(b - a) > 1e-6
    if not moving.any():
        return
    faster = MotionLimits(
        velocity_rad_s=tuple(1.1 * v for v in limits.velocity_rad_s),
        acceleration_rad_s2=tuple(1.1 * v for v in limits.acceleration_rad_s2),
        jerk_rad_s3=tuple(1.1 * v for v in limits.jerk_rad_s3),
    )
    assert JointMove(a, b, faster).duration_s < move.duration_s
    jerk_alone = 2.0 * 2.0 * (0.5 * np.abs(b - a) / np.array(limits.jerk_rad_s3)).max() ** (1.0 / 3.0)
    assert move.duration_s >= jerk_alone * (1 - 1e-9)


def test_a_move_to_where_the_arm_is_takes_no_time_and_an_arm_outside_its_limits_may_come_back() -> None:
    home = 0.5 * (LOW + HIGH)
    assert JointMove(home, home).duration_s == 0.0
    assert (JointMove(home, home).at(0.0)[0] == home).all()
    assert JointMove(HIGH + 0.05, home).duration_s > 0.0
    assert (JointMove(HIGH, home).at(math.nan)[0] == HIGH).all()


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (HIGH + 0.01, "joint 1 cannot go to 2.9107 rad; it is limited to"),
        (np.full(7, np.nan), "7 finite angles"),
        (np.zeros(6), "7 finite angles"),
    ],
)
def test_a_goal_out_of_reach_is_refused(goal: np.ndarray, words: str) -> None:
    with pytest.raises(RobotError, match=words):
        JointMove(0.5 * (LOW + HIGH), goal)


@pytest.mark.parametrize(
    "wrong",
    [
        {"velocity_rad_s": (0.0,) * 7},
        {"jerk_rad_s3": (math.inf,) * 7},
        {"acceleration_rad_s2": (1.0,)},
        {"q_min": HIGH},
    ],
)
def test_limits_with_which_no_move_would_end_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MotionLimits(**wrong)


@unhurried
@given(poses, poses)
def test_a_double_integrator_arm_follows_the_move_within_its_clip(a: np.ndarray, b: np.ndarray) -> None:
    move, dt = JointMove(a, b), 0.002
    q, dq, tau = a.copy(), np.zeros(7), np.zeros(7)
    inertia = np.array([0.6, 0.6, 0.5, 0.5, 0.2, 0.15, 0.1])
    for tick in range(int(move.duration_s / dt) + 500):
        q_ref, dq_ref = move.at(tick * dt)
        before = tau.copy()
        joint_impedance_torque(q, dq, np.zeros(7), q_ref, dq_ref, GAINS, LIMITS, tau, tau, dt)
        assert (np.abs(tau - before) <= 0.9 * 2 + 1e-9).all()
        dq = dq + dt * tau / inertia
        q = q + dt * dq
        assert (np.abs(q - q_ref) <= 0.05).all()
    assert_allclose(q, b, atol=2e-3)


@unhurried
@given(poses, poses)
def test_a_blocked_joint_is_pushed_with_stiffness_times_clip_at_most(a: np.ndarray, b: np.ndarray) -> None:
    tau, free = np.zeros(7), LIMITS.copy()
    free[2] = 1e9
    joint_impedance_torque(a, np.zeros(7), np.zeros(7), b, np.zeros(7), GAINS, free, tau, tau, 0.001)
    assert (np.abs(tau) <= GAINS[:7] * GAINS[14:] + 1e-9).all()


def test_a_tick_in_few_arrays_gives_the_bits_of_the_law_in_many() -> None:
    rng = np.random.default_rng(3)
    plan = JointMove(LOW, HIGH).plan
    move = np.r_[plan, np.zeros(14), GAINS, LIMITS]
    q_ref, dq_ref, expected, tau = np.zeros((4, 7))
    for at_s in (-1.0, 0.0, 0.3, 1.0, math.nan, 1e9):
        q, dq, tau_prev, coriolis = rng.normal(size=(4, 7))
        evaluate_move(plan, at_s, q_ref, dq_ref)
        joint_impedance_torque(q, dq, coriolis, q_ref, dq_ref, GAINS, LIMITS, tau_prev, expected, 0.001)
        joint_tick(np.r_[q, dq, tau_prev, coriolis, np.zeros(55)], move, at_s, tau, 0.001)
        assert (tau == expected).all()
        assert tau.any()


@unhurried
@given(
    st.integers(0, 6),
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=21, max_size=21).map(np.array),
    st.floats(allow_nan=True),
)
def test_torques_are_finite_for_any_input(which: int, values: np.ndarray, dt: float) -> None:
    home = 0.5 * (LOW + HIGH)
    inputs = [home, np.zeros(7), np.zeros(7), home, np.zeros(7), GAINS, LIMITS]
    inputs[which] = values[: len(inputs[which])].copy()
    out = np.full(7, np.nan)
    q, dq, coriolis, q_ref, dq_ref, gains, limits = inputs
    joint_impedance_torque(q, dq, coriolis, q_ref, dq_ref, gains, limits, values[:7], out, dt)
    assert np.isfinite(out).all()
    joint_impedance_torque(q, dq, coriolis, q_ref, dq_ref, gains, limits, np.full(7, 3.0), out, 0.001)
    assert np.isfinite(out).all()
    if which != 6:
        assert (np.abs(out - 3.0) <= 0.9 + 1e-9).all()
