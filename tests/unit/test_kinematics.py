"""Inverse kinematics of resets: it inverts, keeps the limits, repeats itself and moves nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.geometry import quat_angle, quat_from_rotvec, quat_mul
from robot_rl_sim.fr3 import HOME_Q
from robot_rl_sim.twin import ArmTwin
from robot_rl_tasks.arm import yaw_quat
from robot_rl_tasks.peg_insert import PegInsert
from robot_rl_tasks.pick_cube import PickCube
from robot_rl_tasks.reach import Reach

TWIN = ArmTwin(PickCube())
ARM = TWIN.kinematics


@settings(max_examples=100, deadline=None)
@given(
    x=st.floats(0.32, 0.62),
    y=st.floats(-0.25, 0.25),
    z=st.floats(0.02, 0.4),
    yaw=st.floats(-0.7, 0.7),
    tilt=st.floats(0.0, 0.3),
    towards=st.floats(-np.pi, np.pi),
)
def test_a_pose_of_the_workspace_is_reached_within_the_limits(
    x: float, y: float, z: float, yaw: float, tilt: float, towards: float
) -> None:
    p = np.array([x, y, z])
    lean = quat_from_rotvec(tilt * np.array([np.cos(towards), np.sin(towards), 0.0]))
    quat = np.asarray(quat_mul(lean, yaw_quat(yaw)))
    q = ARM.solve(p, quat)
    assert q is not None
    assert (q >= ARM.lower - 1e-12).all()
    assert (q <= ARM.upper + 1e-12).all()
    p_found, quat_found = ARM.tool_pose(q)
    assert np.linalg.norm(p_found - p) < 1e-6
    assert quat_angle(quat_found, quat) < 1e-6
    again = ARM.solve(p, quat)
    assert again is not None
    assert q.tobytes() == again.tobytes()
    # A quaternion and its negative, or one not quite of unit length, are the same orientation.
    other = ARM.solve(p, -1.01 * quat)
    assert other is not None
    np.testing.assert_allclose(other, q, atol=1e-6)


@pytest.mark.parametrize("task", [Reach, PickCube, PegInsert])
def test_every_start_of_a_task_is_reachable(task: type) -> None:
    rng, made = np.random.default_rng(0), task()
    for _ in range(200):
        request = made.sample_reset(rng)
        q = ARM.solve(request.p_BE, request.quat_BE)
        assert q is not None
        assert np.abs(q - HOME_Q).max() < 1.6, "no contorted posture"


@pytest.mark.parametrize("p", [(1.2, 0.0, 0.3), (0.5, 0.0, 1.5), (0.0, 0.0, -0.5)])
def test_a_pose_out_of_reach_has_no_joint_positions(p: tuple[float, float, float]) -> None:
    assert ARM.solve(np.array(p), yaw_quat(0.0)) is None


def test_asking_moves_nothing() -> None:
    state = TWIN.reset(TWIN.task.sample_reset(np.random.default_rng(0)))
    before = TWIN.data.qpos.copy(), TWIN.data.xpos.copy()
    ARM.solve(np.array([0.6, 0.1, 0.1]), yaw_quat(0.5))
    ARM.tool_pose(np.array(HOME_Q))
    np.testing.assert_array_equal(TWIN.data.qpos, before[0])
    np.testing.assert_array_equal(TWIN.data.xpos, before[1])
    p, quat = ARM.tool_pose(state.q)
    np.testing.assert_allclose(p, state.p_BE, atol=1e-12)
    np.testing.assert_allclose(quat, state.quat_BE, atol=1e-12)
