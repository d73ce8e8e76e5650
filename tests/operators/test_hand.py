from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_rig import DOWN

from robot_rl.errors import ConfigError, SpecError
from robot_rl.geometry import quat_from_rotvec, quat_mul, rotate, tool_delta
from robot_rl.specs import ActionSpec, ContinuousGroup
from robot_rl_hardware.operator.hand import GripperToggle, Hand, HandConfig, past_deadband
from robot_rl_tasks.pick_cube import PickCube
from robot_rl_tasks.reach import Reach

SPEC = PickCube().action_spec
unit = st.floats(-1.0, 1.0)


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(0.0, 0.8))
def test_a_deadband_rests_inside_and_rises_from_nothing_to_all(value: float, band: float) -> None:
    out = past_deadband(value, band)
    assert -1.0 <= out <= 1.0
    if math.isnan(value) or abs(value) <= band:
        assert out == 0.0
    else:
        assert math.copysign(1.0, out) == math.copysign(1.0, value)
        assert (abs(out) == 1.0) == (abs(value) >= 1.0) or abs(abs(value) - 1.0) < 1e-9
    assert past_deadband(band + 1e-9, band) < 1e-6
    assert past_deadband(1.0, band) == 1.0


@given(st.lists(unit, min_size=6, max_size=6), st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3))
@settings(deadline=None)
def test_what_a_person_sees_is_what_the_tool_does_at_any_orientation(motion: list[float], turn: list[float]) -> None:
    quat = quat_mul(quat_from_rotvec(np.array(turn)), DOWN)
    hand = Hand(SPEC, HandConfig(speed=0.5, turn=0.25))
    action = hand.action(motion, quat, False)
    assert np.abs(action).max() <= 1.0
    p, after = tool_delta(np.zeros(3), quat, 0.04 * action[:3], 0.3 * action[3:6])
    wanted = 0.04 * 0.5 * np.array(motion[:3])
    # As asked for, or shortened along its own direction.
    assert np.linalg.norm(np.cross(p, wanted)) < 1e-8
    assert p @ wanted >= -1e-12
    about = np.array(motion[3:])
    axis = rotate(after, np.array([0.0, 0.0, 1.0])) - rotate(
        quat_mul(quat_from_rotvec(0.3 * 0.25 * about), quat), np.array([0.0, 0.0, 1.0])
    )
    assert np.linalg.norm(axis) < 1e-6


def test_who_faces_the_robot_pushes_the_other_way() -> None:
    behind = Hand(SPEC, HandConfig()).action([1, 0.5, 0.3, 0, 0, 1], DOWN, False)
    facing = Hand(SPEC, HandConfig(facing_deg=180.0)).action([1, 0.5, 0.3, 0, 0, 1], DOWN, False)
    np.testing.assert_allclose(facing[:6], behind[:6] * [-1, -1, 1, 1, 1, 1], atol=1e-6)


def test_the_speed_halves_and_doubles_within_its_bounds() -> None:
    hand = Hand(SPEC, HandConfig(speed=0.25, turn=0.1))
    assert hand.action([1, 0, 0, 0, 0, 0], DOWN, False)[0] == pytest.approx(0.25)
    hand.slower()
    assert hand.action([1, 0, 0, 0, 0, 0], DOWN, False)[0] == pytest.approx(0.125)
    for _ in range(10):
        hand.faster()
    assert hand.action([1, 0, 0, 0, 0, 0], DOWN, False)[0] == pytest.approx(1.0)
    for _ in range(20):
        hand.slower()
    assert hand.action([1, 0, 0, 0, 0, 0], DOWN, False)[0] > 0.0


def test_a_task_without_a_gripper_gets_six_numbers_and_one_without_an_arm_a_sentence() -> None:
    hand = Hand(Reach().action_spec)
    assert hand.action(np.ones(6), DOWN, True).shape == (6,)
    assert not hand.has_gripper
    with pytest.raises(SpecError, match="translation and rotation"):
        Hand(ActionSpec(continuous={"wheels": ContinuousGroup(size=2, unit="m/s", scale=1.0)}))


@pytest.mark.parametrize("settings", [{"speed": 0.0}, {"turn": 1.5}, {"deadband": 0.95}, {"facing_deg": math.nan}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"operator.{next(iter(settings))} is"):
        HandConfig(**settings)


def test_a_gripper_that_takes_its_time_is_not_turned_back() -> None:
    toggle = GripperToggle(patience_s=1.0)
    assert toggle.close(False, 0.0, False) is False
    toggle.press(False, 0.0)
    for now_s in (0.0, 0.1, 0.2):  # the reading still says open
        assert toggle.pending(False, now_s)
        assert toggle.close(False, now_s, True) is True
    assert not toggle.pending(True, 0.3)  # it has closed
    assert toggle.close(True, 0.3, False) is True
    assert toggle.close(True, 5.0, False) is True


def test_the_reading_leads_when_a_person_takes_over() -> None:
    toggle = GripperToggle()
    assert toggle.close(True, 0.0, True) is True  # the policy had closed it
    toggle.press(True, 0.1)
    assert toggle.close(True, 0.1, True) is False


def test_a_gripper_that_never_obeys_is_not_waited_for_for_ever() -> None:
    toggle = GripperToggle(patience_s=1.0)
    toggle.press(False, 0.0)
    assert toggle.pending(False, 0.9)
    assert not toggle.pending(False, 1.1)
    assert toggle.close(False, 1.1, False) is False


def test_two_presses_in_one_period_cancel() -> None:
    toggle = GripperToggle()
    toggle.press(False, 0.0)
    toggle.press(False, 0.0)
    assert toggle.close(False, 0.0, True) is False
