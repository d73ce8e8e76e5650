"""Our FR3 against numbers computed from its maker's description by another library; see scripts/make_fr3_golden.py."""

from __future__ import annotations

import robot_rl_sim  # noqa: F401  (chooses OpenGL before MuJoCo is imported)

# isort: split
import json
import pathlib
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl_controllers.gains import FR3_TORQUE_LIMITS_NM
from robot_rl_sim import fr3

GOLDEN: dict[str, Any] = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "fr3_official.json").read_text())
POSES = GOLDEN["poses"]
LOWER = np.array([limit["lower"] for limit in GOLDEN["limits"].values()])
UPPER = np.array([limit["upper"] for limit in GOLDEN["limits"].values()])


def bare_arm() -> tuple[mujoco.MjModel, mujoco.MjData]:
    """The arm whose hand and motors weigh nothing and whose gravity is not compensated, as the URDF describes it."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    fr3.add_arm(spec)
    for body in spec.bodies:
        body.gravcomp = 0.0
    for joint in spec.joints:
        joint.armature = 0.0
    for name in ("fr3_hand", *fr3.FINGER_JOINTS):
        body = spec.body(name)
        # MuJoCo asks for some mass on what moves; a nanogram is nothing at the accuracy compared.
        body.mass, body.inertia = 1e-12, (1e-15,) * 3
    model = spec.compile()
    return model, mujoco.MjData(model)


@pytest.fixture(scope="module")
def arm() -> tuple[mujoco.MjModel, mujoco.MjData]:
    return bare_arm()


@pytest.fixture(scope="module")
def with_hand() -> tuple[mujoco.MjModel, mujoco.MjData]:
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    fr3.add_arm(spec)
    model = spec.compile()
    return model, mujoco.MjData(model)


def at(arm: tuple[mujoco.MjModel, mujoco.MjData], q: Any) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model, data = arm
    mujoco.mj_resetData(model, data)
    data.qpos[:7] = q
    mujoco.mj_forward(model, data)
    return model, data


def test_every_link_weighs_what_the_maker_says(arm: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, _ = arm
    for name, official in GOLDEN["links"].items():
        body = model.body(f"fr3_{name}")
        assert body.mass[0] == pytest.approx(official["mass_kg"], abs=1e-6), name
        np.testing.assert_allclose(body.ipos, official["com_m"], atol=1e-6, err_msg=name)
        R = np.zeros(9)
        mujoco.mju_quat2Mat(R, body.iquat)
        R = R.reshape(3, 3)
        xx, yy, zz, xy, xz, yz = official["inertia_kg_m2"]
        wanted = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
        np.testing.assert_allclose(R @ np.diag(body.inertia) @ R.T, wanted, atol=1e-8, err_msg=name)
    assert model.body_subtreemass[model.body("fr3_link0").id] == pytest.approx(GOLDEN["total_mass_kg"], abs=1e-6)


def test_joint_limits_are_the_makers_exactly(arm: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, _ = arm
    for name, limit in zip(fr3.ARM_JOINTS, GOLDEN["limits"].values(), strict=True):
        assert tuple(model.joint(name).range) == (limit["lower"], limit["upper"])
        assert model.joint(name).limited[0] == 1
        assert tuple(model.actuator(name).ctrlrange) == (-limit["effort"], limit["effort"])
    assert FR3_TORQUE_LIMITS_NM == fr3.TORQUE_LIMITS_NM
    assert (LOWER < fr3.HOME_Q).all()
    assert (fr3.HOME_Q < UPPER).all()


@pytest.mark.parametrize("number", range(len(POSES)))
def test_the_flange_is_where_the_official_arm_has_it(arm: Any, number: int) -> None:
    _, data = at(arm, POSES[number]["q"])
    np.testing.assert_allclose(data.body("fr3_flange").xpos, POSES[number]["p"], atol=1e-6)
    np.testing.assert_allclose(data.body("fr3_flange").xmat.reshape(3, 3), POSES[number]["R"], atol=1e-6)


@pytest.mark.parametrize("number", range(len(POSES)))
def test_gravity_pulls_as_on_the_official_arm(arm: Any, number: int) -> None:
    _, data = at(arm, POSES[number]["q"])
    np.testing.assert_allclose(data.qfrc_bias[:7], POSES[number]["gravity_Nm"], atol=1e-6)


def test_the_arm_is_as_hard_to_accelerate_as_the_official_one(arm: Any) -> None:
    compared = 0
    for pose in POSES:
        if "mass_matrix_diagonal" not in pose:
            continue
        model, data = at(arm, pose["q"])
        column = np.zeros(model.nv)
        diagonal = []
        for i in range(7):
            mujoco.mj_mulM(model, data, column, np.eye(model.nv)[i])
            diagonal.append(column[i])
        np.testing.assert_allclose(diagonal, pose["mass_matrix_diagonal"], atol=1e-6)
        compared += 1
    assert compared >= 3


def test_reach_is_that_of_the_official_arm(arm: Any) -> None:
    reach = GOLDEN["reach"]
    _, data = at(arm, reach["q"])
    far = np.linalg.norm(data.body("fr3_flange").xpos - reach["from_m"])
    assert far == pytest.approx(reach["distance_m"], abs=1e-6)
    assert far == pytest.approx(0.855, abs=0.005), "the data sheet's reach"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7))
def test_no_configuration_reaches_farther(share: list[float]) -> None:
    _, data = at(SHARED, LOWER + np.array(share) * (UPPER - LOWER))
    assert (
        np.linalg.norm(data.body("fr3_flange").xpos - GOLDEN["reach"]["from_m"]) <= GOLDEN["reach"]["distance_m"] + 1e-9
    )


SHARED = bare_arm()


def test_the_hand_is_the_frankas(with_hand: Any) -> None:
    model, data = at(with_hand, fr3.HOME_Q)
    assert model.body("fr3_hand").mass[0] == pytest.approx(0.73)
    flange, tcp = data.body("fr3_flange"), data.body("fr3_tcp")
    R = flange.xmat.reshape(3, 3)
    np.testing.assert_allclose(R.T @ (tcp.xpos - flange.xpos), (0.0, 0.0, 0.1034), atol=1e-9)
    turn = R.T @ tcp.xmat.reshape(3, 3)
    np.testing.assert_allclose(turn[:2, 0], (np.sqrt(0.5), -np.sqrt(0.5)), atol=1e-9)  # turned by -45 degrees
    for finger in fr3.FINGER_JOINTS:
        assert tuple(model.joint(finger).range) == (0.0, 0.04)
        assert 0.0 < model.actuator(finger).forcerange[1] <= 70.0


def test_the_finger_pads_meet_at_the_tool_centre(with_hand: Any) -> None:
    model, data = at(with_hand, fr3.HOME_Q)
    data.qpos[7:9] = 0.0
    mujoco.mj_forward(model, data)
    R, p = data.body("fr3_tcp").xmat.reshape(3, 3), data.body("fr3_tcp").xpos
    for side, finger in ((1.0, fr3.FINGER_JOINTS[0]), (-1.0, fr3.FINGER_JOINTS[1])):
        pad = data.geom(f"{finger}_pad")
        inner = R.T @ (pad.xpos - p) - (0.0, side * model.geom(f"{finger}_pad").size[1], 0.0)
        np.testing.assert_allclose(inner, 0.0, atol=0.0011)  # the pads reach a millimetre beyond the tool centre point


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7))
def test_compensated_gravity_leaves_the_arm_where_it_is(share: list[float]) -> None:
    _, data = at(COMPENSATED, LOWER + np.array(share) * (UPPER - LOWER))
    np.testing.assert_allclose(data.qfrc_bias[:7] - data.qfrc_gravcomp[:7], 0.0, atol=1e-9)


def _compensated() -> tuple[mujoco.MjModel, mujoco.MjData]:
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    fr3.add_arm(spec)
    model = spec.compile()
    return model, mujoco.MjData(model)


COMPENSATED = _compensated()
