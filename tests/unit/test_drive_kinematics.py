"""The driver's own kinematics: those of the maker's description, and those of the simulator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.geometry import quat_angle, quat_conj, quat_mul, quat_to_matrix, rotvec_from_quat
from robot_rl_controllers.drive.fr3_kinematics import FLANGE_M, HAND_TOOL, HOME_Q, Q_MAX, Q_MIN, Fr3Kinematics
from robot_rl_sim import fr3
from robot_rl_sim.kinematics import ArmKinematics
from robot_rl_sim.scenes import build_spec, compile_scene
from robot_rl_tasks.arm import yaw_quat

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "fr3_official.json").read_text())
ARM = Fr3Kinematics()
SIM = ArmKinematics(compile_scene(build_spec({}, 0.002), "kinematics"))
ANGLES = st.tuples(*(st.floats(a, b) for a, b in zip(Q_MIN, Q_MAX, strict=True)))


def test_constants_are_those_of_the_twin_and_of_the_maker() -> None:
    assert tuple(HOME_Q) == tuple(fr3.HOME_Q)
    for i, limits in enumerate(GOLDEN["limits"].values()):
        assert (Q_MIN[i], Q_MAX[i]) == (limits["lower"], limits["upper"])
    np.testing.assert_array_equal(ARM.lower, SIM.lower)
    np.testing.assert_array_equal(ARM.upper, SIM.upper)


@settings(max_examples=200, deadline=None)
@given(q=ANGLES)
def test_the_tool_is_where_the_twin_has_it(q: tuple[float, ...]) -> None:
    p, quat = ARM.tool_pose(np.array(q))
    p_sim, quat_sim = SIM.tool_pose(np.array(q))
    np.testing.assert_allclose(p, p_sim, atol=1e-9)
    assert quat_angle(quat, quat_sim) < 1e-9


@pytest.mark.parametrize("pose", GOLDEN["poses"])
def test_the_flange_is_where_the_official_arm_has_it(pose: dict[str, list[float]]) -> None:
    p, quat = Fr3Kinematics((0.0, 0.0, FLANGE_M, 1.0, 0.0, 0.0, 0.0)).tool_pose(np.array(pose["q"]))
    np.testing.assert_allclose(p, pose["p"], atol=1e-6)
    np.testing.assert_allclose(quat_to_matrix(quat), pose["R"], atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(q=ANGLES)
def test_the_jacobian_is_the_derivative_of_the_pose(q: tuple[float, ...]) -> None:
    J, h = ARM.tool_jacobian(np.array(q)), 1e-6
    for j in range(7):
        step = np.eye(7)[j] * h
        (p1, quat1), (p0, quat0) = ARM.tool_pose(np.array(q) + step), ARM.tool_pose(np.array(q) - step)
        np.testing.assert_allclose(J[:3, j], (p1 - p0) / (2 * h), atol=1e-7)
        np.testing.assert_allclose(J[3:, j], rotvec_from_quat(quat_mul(quat1, quat_conj(quat0))) / (2 * h), atol=1e-7)


@settings(max_examples=100, deadline=None)
@given(x=st.floats(0.32, 0.62), y=st.floats(-0.25, 0.25), z=st.floats(0.02, 0.4), yaw=st.floats(-0.7, 0.7))
def test_the_search_finds_what_the_twin_finds(x: float, y: float, z: float, yaw: float) -> None:
    p, quat = np.array([x, y, z]), yaw_quat(yaw)
    q, q_sim = ARM.solve(p, quat), SIM.solve(p, quat)
    assert q is not None
    assert q_sim is not None
    np.testing.assert_allclose(q, q_sim, atol=1e-9)
    p_found, quat_found = ARM.tool_pose(q)
    np.testing.assert_allclose(p_found, p, atol=1e-6)
    assert quat_angle(quat_found, quat) < 1e-6
    assert ARM.solve(p, -1.01 * quat) is not None


@pytest.mark.parametrize("p", [(1.2, 0.0, 0.3), (0.5, 0.0, 1.5), (0.0, 0.0, -0.5)])
def test_a_pose_out_of_reach_has_no_joint_positions(p: tuple[float, float, float]) -> None:
    assert ARM.solve(np.array(p), yaw_quat(0.0)) is None


def test_another_tool_is_a_tool_farther_on() -> None:
    longer = Fr3Kinematics((0.0, 0.0, HAND_TOOL[2] + 0.1, *HAND_TOOL[3:]))
    p, quat = ARM.tool_pose(np.array(HOME_Q))
    p_longer, quat_longer = longer.tool_pose(np.array(HOME_Q))
    np.testing.assert_allclose(p_longer - p, [0.0, 0.0, -0.1], atol=1e-6)
    np.testing.assert_allclose(quat_longer, quat, atol=1e-12)
