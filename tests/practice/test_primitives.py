"""Scripted motions in the twin: they arrive, they are refused by the guard, or their time runs out, and they say so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from practice_rig import bins, primitives

from robot_rl.errors import RobotError
from robot_rl.geometry import quat_angle, quat_to_matrix
from robot_rl.practice.primitives import facing
from robot_rl.robot import ResetRequest
from robot_rl_sim.twin import ArmTwin
from robot_rl_tasks.arm import upright_quat, yaw_quat

TWIN = bins()
LOW, HIGH = np.array(TWIN.task.limits.box_min_m), np.array(TWIN.task.limits.box_max_m)


@settings(max_examples=8, deadline=None)
@given(share=st.tuples(*[st.floats(0.1, 0.9)] * 3), yaw=st.floats(-0.7, 0.7))
def test_a_motion_arrives_by_the_measured_pose(share: tuple[float, float, float], yaw: float) -> None:
    arm = primitives(TWIN)
    arm.retreat()
    goal = LOW + np.array([share[0], share[1], 0.5 + 0.5 * share[2]]) * (HIGH - LOW)
    goal[2] = min(goal[2], HIGH[2] - 0.01)
    done = arm.move("there", goal, yaw_quat(yaw), close=False)
    state = TWIN.observe()
    assert done.result == "reached", done
    assert np.linalg.norm(state.p_BE - goal) == pytest.approx(done.off_m, abs=1e-9)
    assert done.off_m < arm.config.tolerance_m
    assert quat_angle(state.quat_BE, yaw_quat(yaw)) < arm.config.tolerance_rad
    assert 0.0 < done.seconds <= arm.config.timeout_s


def test_the_guard_blocks_a_motion_out_of_the_workspace_and_the_arm_stays_inside() -> None:
    arm = primitives(bins())
    done = arm.move("out", np.array([0.5, 0.6, 0.12]), yaw_quat(0.0), close=False)
    assert done.result == "blocked"
    assert "the guard does not let it on: workspace" in done.reason
    assert done.events["workspace"] > 0
    assert arm.robot.observe().p_BE[1] < HIGH[1] + 0.01


def test_a_latched_stop_blocks_every_motion_at_once() -> None:
    twin = bins()
    arm = primitives(twin)
    assert arm.held() == ""
    twin.stop("somebody pressed the button")
    assert arm.held() == "somebody pressed the button"
    before = twin.observe().p_BE.copy()
    for done in (arm.open(), arm.lift(), arm.retreat(), arm.put_down(), arm.grasp(START_CUBE, upright_quat(0.0))):
        assert done.result == "blocked"
        assert "somebody pressed the button" in done.reason
        assert done.seconds <= 0.1 + 1e-9, "one control period tells"
    assert np.linalg.norm(twin.observe().p_BE - before) < 0.005


START_CUBE = np.array([0.5, 0.09, 0.029])


def test_a_motion_that_takes_too_long_is_given_up_in_time() -> None:
    arm = primitives(bins(), speed_m_s=0.01)
    done = arm.move("far", np.array([0.5, -0.12, 0.12]), yaw_quat(0.0), close=False, timeout_s=1.0)
    assert done.result == "timed out"
    assert done.seconds == pytest.approx(1.0)
    assert "still" in done.reason
    assert done.off_m > 0.15


@settings(max_examples=3, deadline=None)
@given(x=st.floats(0.49, 0.51), y=st.floats(0.08, 0.10), yaw=st.floats(-0.7, 0.7))
def test_what_is_grasped_is_held_and_what_is_placed_stands_there(x: float, y: float, yaw: float) -> None:
    twin = bins((x, y, 0.029), yaw)
    arm = primitives(twin)
    cube = twin.observe().objects["cube"]
    assert not arm.holds(twin.observe())
    assert arm.grasp(cube[:3], cube[3:]).reached
    assert arm.holds(twin.observe())
    assert twin.observe().objects["cube"][2] > 0.06, "it is in the air"
    goal = np.array([0.5, -0.09, 0.029])
    assert arm.place(goal).reached
    state = twin.observe()
    assert not arm.holds(state)
    assert np.linalg.norm(state.objects["cube"][:2] - goal[:2]) < 0.015
    assert twin.task.predicates["in_right"](state)
    assert twin.scene_resets == 1, "the simulator has moved nothing since the beginning"


def test_put_down_lowers_what_is_held_and_drops_nothing() -> None:
    twin = bins()
    arm = primitives(twin)
    assert arm.grasp(START_CUBE, upright_quat(0.0)).reached
    done = arm.put_down()
    state = twin.observe()
    assert done.reached, done
    assert state.gripper_width_m > 0.07
    assert state.objects["cube"][2] == pytest.approx(0.029, abs=0.002)
    assert state.p_BE[2] > 0.06, "the hand has left it"


def test_fingers_that_close_on_nothing_have_missed() -> None:
    arm = primitives(bins())
    done = arm.grasp(np.array([0.5, -0.09, 0.029]), upright_quat(0.0))
    assert done.result == "missed"
    assert "closed on nothing" in done.reason


def test_a_cube_at_a_wall_is_dragged_away_from_it() -> None:
    twin = bins((0.5, 0.133, 0.029))
    arm = primitives(twin)
    before = twin.observe().objects["cube"][1]
    arm.drag(np.array([0.5, 0.133, 0.029]), np.array([0.5, 0.09, 0.029]))
    assert before - twin.observe().objects["cube"][1] > 0.01


@settings(deadline=None)
@given(yaw=st.floats(-3.1, 3.1), tool=st.floats(-0.7, 0.7), turns=st.integers(0, 3))
def test_the_hand_faces_an_upright_side_with_the_smallest_turn(yaw: float, tool: float, turns: int) -> None:
    quat = facing(yaw_quat(tool), upright_quat(yaw), turns)
    m, box = quat_to_matrix(quat), quat_to_matrix(upright_quat(yaw))
    assert m[2, 2] == pytest.approx(-1.0), "it points down"
    assert max(abs(m[:, 1] @ box[:, 0]), abs(m[:, 1] @ box[:, 1])) == pytest.approx(1.0), "fingers along an axis"
    if turns == 0:
        assert quat_angle(quat, yaw_quat(tool)) <= np.pi / 4 + 1e-6


def test_a_reset_that_keeps_the_scene_moves_the_arm_alone() -> None:
    twin = bins()
    arm = primitives(twin)
    arm.move("away", np.array([0.5, -0.1, 0.12]), yaw_quat(0.3), close=True)
    before = twin.observe()
    after = twin.reset(ResetRequest(p_BE=START_P, quat_BE=yaw_quat(0.0), keep_scene=True))
    assert np.linalg.norm(after.p_BE - START_P) < 0.003
    np.testing.assert_allclose(after.objects["cube"], before.objects["cube"], atol=1e-4)
    assert after.stamp_s > before.stamp_s, "it has driven there"
    assert twin.scene_resets == 1


START_P = np.array([0.5, 0.09, 0.12])


def test_a_scene_that_is_not_there_or_not_acknowledged_cannot_be_kept() -> None:
    request = ResetRequest(p_BE=START_P, quat_BE=yaw_quat(0.0), keep_scene=True)
    with pytest.raises(RobotError, match="no scene to keep"):
        ArmTwin(TWIN.task).reset(request)
    twin = bins()
    twin.stop("a person came near")
    with pytest.raises(RobotError, match=r"a person came near.*acknowledge"):
        twin.reset(request)
    twin.acknowledge()
    twin.reset(request)
    with pytest.raises(RobotError, match="keep the scene, and yet place cube"):
        ResetRequest(p_BE=START_P, quat_BE=yaw_quat(0.0), keep_scene=True, objects={"cube": np.zeros(7)})


def test_a_reset_that_fails_leaves_an_arm_that_can_be_commanded() -> None:
    twin = bins()
    arm = primitives(twin)
    with pytest.raises(RobotError, match="workspace"):
        twin.reset(ResetRequest(p_BE=np.array([0.9, 0.0, 0.1]), quat_BE=yaw_quat(0.0), keep_scene=True))
    assert arm.retreat().reached
