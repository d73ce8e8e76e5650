"""From commands to torques: finite, slow to change, and no jump between holding, following and joint moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, RobotError
from robot_rl.task import Compliance
from robot_rl_controllers.drive.fr3_kinematics import HOME_Q, Fr3Kinematics
from robot_rl_controllers.drive.motion import Motion
from robot_rl_controllers.drive.plant import Sample
from robot_rl_controllers.gains import FR3_TORQUE_LIMITS_NM
from robot_rl_controllers.joint_motion import MotionLimits

ARM = Fr3Kinematics()
LARGEST_STEP = 0.95  # N m in a tick of a millisecond, below what trips the robot
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def sample_at(q: np.ndarray, dq: np.ndarray | None = None) -> Sample:
    p, quat = ARM.tool_pose(q)
    sample = Sample(q=q.copy(), p_BE=p, quat_BE=quat, J=ARM.tool_jacobian(q))
    if dq is not None:
        sample.dq[:] = dq
    return sample


def started() -> tuple[Motion, Sample]:
    motion, sample = Motion(Compliance(), 0.001), sample_at(np.array(HOME_Q))
    motion.start(sample)
    return motion, sample


EVENTS = st.sampled_from(["hold", "pose", "far", "nan", "joints", "bad_reading", "softer"])


@settings(max_examples=60, deadline=None)
@given(events=st.lists(st.tuples(EVENTS, st.integers(1, 30)), max_size=8), seed=st.integers(0, 1000))
def test_whatever_is_asked_torques_are_finite_limited_and_slow_to_change(
    events: list[tuple[str, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    motion, sample = started()
    q = sample.q.copy()
    for event, ticks in events:
        if event == "hold":
            motion.hold(sample)
        elif event == "joints":
            motion.follow_joints(sample_at(q), q + rng.uniform(-0.3, 0.3, 7), MotionLimits())
        elif event == "softer":
            motion.set_compliance(Compliance(stiffness=(300.0,) * 3 + (20.0,) * 3))
        else:
            scale = {"pose": 0.05, "far": 5.0}.get(event, math.nan)
            motion.follow_pose(sample.p_BE + scale * rng.uniform(-1, 1, 3), sample.quat_BE)
        for _ in range(ticks):
            q = q + rng.uniform(-1e-3, 1e-3, 7)
            reading = sample_at(q, rng.uniform(-1.0, 1.0, 7))
            if event == "bad_reading":
                reading.q[rng.integers(7)] = math.nan
            reading.tau_prev[:] = sample.tau_prev
            tau = motion.update(reading).copy()
            assert np.isfinite(tau).all()
            assert (np.abs(tau) <= np.array(FR3_TORQUE_LIMITS_NM) + 1e-9).all()
            assert np.abs(tau - sample.tau_prev).max() <= LARGEST_STEP
            sample = reading
            sample.tau_prev[:] = tau


def test_the_step_counts_from_what_the_robot_was_told_last() -> None:
    motion, sample = started()
    sample.tau_prev[:] = 20.0  # a lost packet: the robot knows an older torque than we do
    tau = motion.update(sample)
    np.testing.assert_allclose(tau[:4], 20.0 - 0.9, atol=1e-9)


def test_a_hold_is_frozen_where_the_arm_was_when_it_began() -> None:
    motion, sample = started()
    motion.follow_pose(sample.p_BE + np.array([0.05, 0.0, 0.0]), sample.quat_BE)
    for _ in range(20):
        motion.update(sample)
    moved = sample_at(np.array(HOME_Q) + 0.01)
    motion.hold(moved)
    held = motion.held.copy()
    np.testing.assert_allclose(held[:3], moved.p_BE)
    pushed = moved
    for i in range(200):  # pushed away slowly, the arm pulls back to where the hold began and never follows
        pushed = sample_at(np.array(HOME_Q) + 0.01 + 1e-5 * i)
        pushed.tau_prev[:] = motion.update(pushed)
    np.testing.assert_array_equal(motion.held, held)
    force = np.linalg.lstsq(pushed.J.T, pushed.tau_prev, rcond=None)[0][:3]
    assert force @ (held[:3] - pushed.p_BE) > 0.0


def test_a_hold_begun_on_a_bad_reading_takes_the_first_good_one() -> None:
    motion, _ = started()
    bad = sample_at(np.array(HOME_Q))
    bad.p_BE[0] = math.nan
    motion.hold(bad)
    assert np.isfinite(motion.held).all()
    moved = sample_at(np.array(HOME_Q) + 0.02)
    tau = motion.update(moved)
    assert np.abs(tau).max() < 0.5, "there is nothing to pull towards but where the arm is"


def test_a_joint_move_ends_at_its_goal_and_stays() -> None:
    motion, sample = started()
    goal = np.array(HOME_Q) + 0.2
    motion.follow_joints(sample, goal, MotionLimits())
    assert motion.in_joints
    ticks = 0
    while not motion.joint_move_over:
        motion.update(sample)
        ticks += 1
        assert ticks < 5000
    at_goal = sample_at(goal)
    at_goal.tau_prev[:] = 0.0
    np.testing.assert_allclose(motion.update(at_goal), 0.0, atol=1e-9)
    with pytest.raises(RobotError, match="joint 4 cannot go to"):
        motion.follow_joints(sample, np.zeros(7) + 3.0 * np.eye(7)[3], MotionLimits())


def test_a_compliance_that_is_none_is_refused() -> None:
    motion, _ = started()
    with pytest.raises(ConfigError, match=r"compliance\.stiffness"):
        motion.set_compliance(Compliance(stiffness=(math.nan,) * 6))
