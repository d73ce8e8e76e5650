"""Settings of a Franka, what its errors mean, and where the objects of its rig are. No robot is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.cell import Box, Cell
from robot_rl.errors import ConfigError, RobotError
from robot_rl.geometry import quat_angle, quat_mul, quat_normalise, rotate
from robot_rl.preflight import STATEMENTS, sign
from robot_rl.task import Geom, Limits, SceneObject
from robot_rl_controllers.drive.fr3_kinematics import HOME_Q, Fr3Kinematics
from robot_rl_hardware.fci import faults
from robot_rl_hardware.fci.driver import make_driver
from robot_rl_hardware.fci.objects import RigObjects
from robot_rl_hardware.fci.settings import FciSettings
from robot_rl_tasks.reach import Reach

MEASURED = Box(min_m=(0.3, -0.2, 0.02), max_m=(0.6, 0.2, 0.4))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"address": ""}, "has no address of a Franka"),
        ({"realtime": "enforced"}, "Did you mean 'enforce'"),
        ({"gripper": "robotic"}, "Did you mean 'robotiq'"),
        ({"quat_FE": (1.0, 1.0, 0.0, 0.0)}, "unit quaternion"),
        ({"p_FE": (0.0, float("nan"), 0.0)}, "3 finite numbers"),
        ({"load_kg": 9.0}, "between 0 and 3 kg"),
        ({"reflex_force_n": 0.0}, "between 5 and 300 N"),
        ({"wrench_sign": 0.5}, "-1 or 1"),
    ],
)
def test_a_wrong_setting_gets_a_sentence(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        FciSettings(**{"address": "172.16.0.2", **wrong})


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'load_kg'"):
        FciSettings.of_cell(Cell(name="c", address="172.16.0.2"), loadkg=0.2)


@given(st.floats(1.0, 500.0))
def test_the_guard_stops_before_the_robot_does(force_n: float) -> None:
    limits = Limits(box_min_m=(0.3, -0.2, 0.0), box_max_m=(0.6, 0.2, 0.4), force_n=force_n)
    settings = FciSettings.of_cell(Cell(name="c", address="172.16.0.2"), limits)
    assert settings.reflex_force_n > min(force_n, 250.0)


def test_a_simulator_starts_at_once_but_an_arm_of_metal_only_measured_and_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    make_driver(Reach(), Cell(name="c", address="127.0.0.1"))
    with pytest.raises(RobotError, match="robot-rl calibrate bounds"):
        make_driver(Reach(), Cell(name="c", address="172.16.0.2"))
    measured = Cell(name="c", address="172.16.0.2", bounds=MEASURED)
    with pytest.raises(RobotError, match="robot-rl doctor --robot"):
        make_driver(Reach(), measured)
    sign(measured, "Ada", dict.fromkeys(STATEMENTS, "yes"), [])
    make_driver(Reach(), measured)


def test_the_default_tool_is_that_of_our_kinematics() -> None:
    flange, hand = Fr3Kinematics((0.0, 0.0, 0.107, 1.0, 0.0, 0.0, 0.0)), Fr3Kinematics()
    settings = FciSettings(address="127.0.0.1")
    p_BF, quat_BF = flange.tool_pose(np.array(HOME_Q))
    p_BE, quat_BE = hand.tool_pose(np.array(HOME_Q))
    np.testing.assert_allclose(p_BF + rotate(quat_BF, settings.X_FE[:3, 3]), p_BE, atol=1e-9)
    assert quat_angle(quat_mul(quat_BF, np.array(settings.quat_FE)), quat_BE) < 1e-6


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ('motion aborted by reflex! ["cartesian_reflex", "joint_reflex"]', ("cartesian_reflex", "joint_reflex")),
        ("Move command aborted: User Stop pressed!", ()),
        ("broken [list", ()),
        ("[not json]", ()),
    ],
)
def test_names_of_errors_are_read_from_words(said: str, names: tuple[str, ...]) -> None:
    assert faults.names_in(said) == names


@given(st.lists(st.sampled_from([*faults.ADVICE, "power_limit_violation"]), unique=True))
def test_only_lost_packets_alone_are_soft(names: list[str]) -> None:
    fault = faults.of_errors(faults.names_in(json.dumps(names)), "it ended")
    assert fault.soft == (names == [faults.LOST_PACKETS])
    assert fault.recoverable
    assert all(name in fault.reason for name in names)


@pytest.mark.parametrize("mode", ["Other", "Move", "Guiding", "Reflex", "UserStopped", "AutomaticErrorRecovery"])
def test_every_mode_but_idle_says_what_to_do(mode: str) -> None:
    fault = faults.of_mode(mode, ())
    assert fault is not None
    assert not fault.soft


def test_an_idle_robot_may_be_driven() -> None:
    assert faults.of_mode("Idle", ()) is None


def test_placed_objects_stay_and_held_ones_go_along() -> None:
    ball = (Geom(kind="sphere", size_m=(0.01,)),)
    rig = RigObjects(
        {
            "cube": SceneObject(geoms=ball),
            "hole": SceneObject(geoms=ball, motion="placed", pos_m=(0.5, 0.1, 0.0)),
            "peg": SceneObject(geoms=ball, motion="held", pos_m=(0.0, 0.0, 0.05)),
        }
    )
    assert rig.names == ("hole", "peg")
    put = np.array([0.4, -0.1, 0.02, 0.0, 1.0, 0.0, 0.0])
    rig.place({"hole": put, "peg": put})
    p, quat, out = np.array([0.5, 0.0, 0.3]), quat_normalise(np.array([0.1, 1.0, 0.2, 0.0])), np.zeros(14)
    rig.fill(out, p, quat)
    np.testing.assert_allclose(out[:7], put)
    np.testing.assert_allclose(out[7:10], p + rotate(quat, np.array([0.0, 0.0, 0.05])))
    np.testing.assert_allclose(out[10:], quat)
