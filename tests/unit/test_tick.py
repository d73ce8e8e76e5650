"""The compiled loops of the twin against MuJoCo's own functions."""

from __future__ import annotations

import robot_rl_sim  # noqa: F401  (chooses OpenGL before MuJoCo is imported)

# isort: split
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from robot_rl.errors import MissingDependency
from robot_rl.robot import ResetRequest
from robot_rl_controllers.drive.fr3_kinematics import jacobian
from robot_rl_controllers.joint_motion import JointMove
from robot_rl_sim import tick
from robot_rl_sim.fr3 import HOME_Q
from robot_rl_sim.native import address_of
from robot_rl_sim.twin import ArmTwin
from robot_rl_tasks.arm import yaw_quat
from robot_rl_tasks.peg_insert import PegInsert
from robot_rl_tasks.pick_cube import PickCube

TWIN = ArmTwin(PickCube())
PEG = ArmTwin(PegInsert())
UNIT = st.floats(0.0, 1.0)


def put(twin: ArmTwin, share: list[float], dq: list[float] | None = None) -> mujoco.MjData:
    """Put the arm between its joint limits and compute everything that follows from it."""
    lower, upper = twin.kinematics.lower, twin.kinematics.upper
    twin.data.qpos[:7] = lower + np.array(share) * (upper - lower)
    twin.data.qvel[:] = 0.0
    twin.data.qvel[:7] = 0.0 if dq is None else dq
    mujoco.mj_forward(twin.model, twin.data)
    return twin.data


@settings(max_examples=50, deadline=None)
@given(share=st.lists(UNIT, min_size=7, max_size=7), dq=st.lists(st.floats(-2, 2), min_size=7, max_size=7))
def test_jacobian_and_twist_are_mujocos(share: list[float], dq: list[float]) -> None:
    data, tcp = put(TWIN, share, dq), TWIN.kinematics.tcp
    J = np.zeros((6, 7))
    jacobian(data.xanchor, data.xaxis, data.xpos[tcp], J)
    jacp, jacr = np.zeros((3, TWIN.model.nv)), np.zeros((3, TWIN.model.nv))
    mujoco.mj_jacBody(TWIN.model, data, jacp, jacr, tcp)
    np.testing.assert_allclose(J, np.vstack([jacp, jacr])[:, :7], atol=1e-12)
    state = TWIN.drive_to(data.xpos[tcp], data.xquat[tcp], 0.04, 0)  # no tick: reads what is there
    spin_first = np.zeros(6)
    mujoco.mj_objectVelocity(TWIN.model, data, mujoco.mjtObj.mjOBJ_XBODY, tcp, spin_first, 0)
    np.testing.assert_allclose(state.V_BE, np.r_[spin_first[3:], spin_first[:3]], atol=1e-9)
    np.testing.assert_array_equal(state.q, data.qpos[:7])
    np.testing.assert_array_equal(state.dq, data.qvel[:7])


@settings(max_examples=30, deadline=None)
@given(
    share=st.lists(UNIT, min_size=7, max_size=7),
    wrench=arrays(float, 6, elements=st.floats(-50, 50)),
    body=st.sampled_from(["fr3_hand", "fr3_finger_left", "peg"]),
)
def test_the_wrench_is_what_the_world_does_to_the_tool_at_the_tool_centre(
    share: list[float], wrench: NDArray[np.float64], body: str
) -> None:
    """Any force and torque on any body of the tool, moved to the tool centre point by hand."""
    model, data = PEG.model, PEG.data
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    index = model.body(body).id
    data.xfrc_applied[:] = 0.0
    data.xfrc_applied[index] = wrench
    put(PEG, share)
    mujoco.mj_rnePostConstraint(model, data)
    contact = np.zeros(6)
    p = data.xpos[PEG.kinematics.tcp]
    tool = np.array([model.body(n).id for n in ("fr3_hand", "fr3_finger_left", "fr3_finger_right", "peg")])
    tick._filter_wrench(contact, 1.0, p, tool, data.cfrc_ext, data.subtree_com[model.body_rootid[index]])
    data.xfrc_applied[:] = 0.0
    arm = data.xipos[index] - p
    np.testing.assert_allclose(contact[:3], wrench[:3], atol=1e-9)
    np.testing.assert_allclose(contact[3:], wrench[3:] + np.cross(arm, wrench[:3]), atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(share=st.lists(st.floats(0.3, 0.7), min_size=7, max_size=7))
def test_a_joint_move_is_followed_to_its_goal(share: list[float]) -> None:
    TWIN.reset(ResetRequest(p_BE=np.array([0.45, 0.0, 0.3]), quat_BE=yaw_quat(0.0)))
    start = TWIN.data.qpos[:7].copy()
    goal = np.array(HOME_Q) + 0.6 * (np.array(share) - 0.5)
    move = JointMove(start, goal)
    steps, dt, n = int(np.ceil(move.duration_s / 0.02)) + 10, TWIN.config.physics_dt_s, 10
    for i in range(steps):
        before = TWIN.data.ctrl[:7].copy()
        state = TWIN.drive_along(move.plan, i * n * dt, 0.04, n)
        wanted = move.at((i + 1) * n * dt)[0]
        assert np.abs(state.q - wanted).max() < 0.05
        assert np.abs(TWIN.data.ctrl[:7] - before).max() <= 900.0 * n * dt + 1e-9
    # Friction in a joint leaves a small error over its stiffness.
    assert np.abs(TWIN.data.qpos[:7] - goal).max() < 0.01
    assert np.abs(TWIN.data.qvel[:7]).max() < 0.02


def test_the_force_reading_does_not_depend_on_the_control_rate() -> None:
    """With one tick a period the contact force must still be measured, or the guard would be blind."""
    readings = []
    for ticks in (1, 2, 50):
        twin = ArmTwin(PickCube())  # anew, for a cube that no reset names stays where the last press has pushed it
        twin.reset(ResetRequest(p_BE=np.array([0.45, 0.0, 0.05]), quat_BE=yaw_quat(0.0), gripper_width_m=0.0))
        target = (np.array([0.45, 0.0, -0.1]), yaw_quat(0.0), 0.0, ticks)
        readings.append([twin.drive_to(*target).F_BE for _ in range(1000 // ticks)][-1])
    assert readings[0][2] > 20.0
    np.testing.assert_array_equal(readings[0], readings[1])
    np.testing.assert_array_equal(readings[0], readings[2])


def test_a_function_that_mujoco_lacks_is_named() -> None:
    with pytest.raises(MissingDependency, match="mj_nonsense"):
        address_of("mj_nonsense")
