from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl.geometry import quat_angle
from robot_rl.robot import ArmCommand
from robot_rl_hardware.operator.jog import MAX_FRACTION, MOTIONS, JogConfig, Jogger

P, DOWN = np.array([0.5, 0.0, 0.3]), np.array([0.0, 1.0, 0.0, 0.0])
keys = st.sampled_from([*sorted(MOTIONS), "g", "-", "+", "x", "space"])
ticks = st.lists(st.tuples(st.floats(0.001, 0.5), st.none() | keys), max_size=60)


def distance(a: ArmCommand, b: ArmCommand) -> tuple[float, float]:
    """Return metres and radians between two commands."""
    return float(np.linalg.norm(a.p_BE - b.p_BE)), quat_angle(a.quat_BE, b.quat_BE)


@given(ticks)
@settings(deadline=None)
def test_it_never_moves_faster_or_longer_than_the_keys_grant(script: list[tuple[float, str | None]]) -> None:
    config, jogger, now_s, pressed_s = JogConfig(), Jogger(), 0.0, -1e9
    before = jogger.target(P, DOWN, now_s)
    for dt_s, key in script:
        previous_s, now_s = now_s, now_s + dt_s
        if key is not None:
            jogger.press(key, now_s)
            pressed_s = now_s if key in MOTIONS else -1e9
        # An arm that follows at once: the lead never binds.
        after = jogger.target(before.p_BE, before.quat_BE, now_s)
        moved_m, moved_rad = distance(before, after)
        assert moved_m <= MAX_FRACTION * config.speed_m_s * dt_s + 1e-9
        assert moved_rad <= MAX_FRACTION * config.speed_rad_s * dt_s + 1e-9
        if previous_s >= pressed_s + config.grant_s:
            assert moved_m == 0.0
            assert moved_rad <= 1e-7
        before = after


@given(st.sampled_from(sorted(MOTIONS)), st.integers(1, 200))
@settings(deadline=None, max_examples=40)
def test_the_target_never_leads_an_arm_that_is_stuck(key: str, count: int) -> None:
    config, jogger = JogConfig(), Jogger()
    for i in range(count):
        jogger.press(key, 0.05 * i)
        jogger.target(P, DOWN, 0.05 * i)
    command = jogger.target(P, DOWN, 0.05 * count)
    assert np.linalg.norm(command.p_BE - P) <= config.lead_m + 1e-9
    assert quat_angle(command.quat_BE, DOWN) <= config.lead_rad + 1e-9


@pytest.mark.parametrize("key", sorted(MOTIONS))
def test_each_key_moves_along_its_axis_and_back(key: str) -> None:
    jogger = Jogger()
    jogger.target(P, DOWN, 0.0)
    jogger.press(key, 0.0)
    moved = jogger.target(P, DOWN, 0.1)
    axis, sign = MOTIONS[key]
    if axis < 3:
        assert np.argmax(np.abs(moved.p_BE - P)) == axis
        assert (moved.p_BE - P)[axis] * sign > 0.0
        assert np.array_equal(moved.quat_BE, DOWN)
    else:
        assert np.array_equal(moved.p_BE, P)
        assert quat_angle(moved.quat_BE, DOWN) == pytest.approx(0.1 * MAX_FRACTION * 2.0)
    opposite = next(k for k, v in MOTIONS.items() if v == (axis, -sign))
    jogger.press(opposite, 0.1)
    back = jogger.target(P, DOWN, 0.2)
    assert distance(back, ArmCommand(P, DOWN, False)) == pytest.approx((0.0, 0.0), abs=1e-7)


def test_what_the_guard_executed_becomes_the_target() -> None:
    jogger = Jogger()
    jogger.target(P, DOWN, 0.0)
    jogger.executed(P + 0.01, DOWN)
    assert np.allclose(jogger.target(P, DOWN, 0.1).p_BE, P + 0.01)
    jogger.forget()
    assert not jogger.synchronised
    assert np.array_equal(jogger.target(P, DOWN, 0.2).p_BE, P)


def test_a_jog_is_never_set_faster_than_allowed() -> None:
    jogger = Jogger()
    for _ in range(10):
        jogger.press("+", 0.0)
    assert jogger.fraction == MAX_FRACTION
    with pytest.raises(ConfigError, match=r"up to 0\.05"):
        JogConfig(fraction=0.2)


def test_nothing_is_asked_of_the_arm_before_a_key_is_pressed() -> None:
    jogger = Jogger()
    for key in ("x", "-", "+", "space"):
        jogger.press(key, 0.0)
        assert not jogger.asked
    for key in ("g", "w"):
        jogger.press(key, 0.0)
        assert jogger.asked
        jogger.forget()
        assert not jogger.asked
