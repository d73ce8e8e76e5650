from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.cell import Box, Cell
from robot_rl.cli.node_arm import slowed
from robot_rl.errors import ConfigError, RobotError
from robot_rl.preflight import STATEMENTS, sign
from robot_rl.task import Compliance
from robot_rl_hardware.operator.stopping import AGAIN_S, CONFIRM_S, ENDED, StopRequest
from robot_rl_hardware.operator.view import SILENT_S, STALE_S, ArmView

modes = st.sampled_from(["RUN", "HOLD", "RESETTING", "", *ENDED])


@given(st.lists(st.tuples(st.floats(0.01, 0.5), modes), min_size=1, max_size=60))
@settings(deadline=None)
def test_a_stop_is_asked_for_until_the_arm_says_that_it_is_stopped(script: list[tuple[float, str]]) -> None:
    sent: list[float] = []
    now_s = 0.0
    stop = StopRequest(lambda reason: sent.append(now_s))
    stop.press("a key", now_s)
    assert sent == [0.0]
    for dt_s, mode in script:
        now_s += dt_s
        told = stop.tick(mode, now_s)
        if not stop.pending:
            assert mode in ENDED
            assert len(sent) >= 3
            assert told == ""
            return
        assert now_s - sent[-1] < AGAIN_S
        assert ("NOT CONFIRMED" in told) == (now_s > CONFIRM_S)


def test_a_second_press_is_sent_at_once_and_a_later_stop_begins_anew() -> None:
    sent: list[str] = []
    stop = StopRequest(sent.append)
    assert stop.tick("RUN", 0.0) == ""
    stop.press("a key", 0.0)
    stop.press("another key", 0.01)
    assert sent == ["a key", "a key"]
    stop.tick("STOPPED", 0.2)
    assert stop.tick("STOPPED", 0.4) == ""
    assert not stop.pending
    stop.press("a button", 1.0)
    assert sent[-1] == "a button"


@given(st.floats(0.0, 10.0), st.floats(0.0, 10.0))
@settings(deadline=None)
def test_old_readings_and_old_statuses_count_for_nothing(age_s: float, status_age_s: float) -> None:
    view = ArmView(
        where="/arm", mode="STOPPED", p_BE=np.zeros(3), quat_BE=np.array([1.0, 0, 0, 0]), age_s=age_s,
        status_age_s=status_age_s,
    )  # fmt: skip
    assert view.fresh == (age_s < STALE_S)
    assert (view.told_mode == "STOPPED") == (status_age_s < SILENT_S)
    assert any("OLD" in line for line in view.lines()) == (age_s > STALE_S or status_age_s > SILENT_S)
    assert not dataclasses.replace(view, p_BE=np.array([0.0, math.nan, 0.0])).fresh


@given(st.floats(0.01, 1.0))
def test_a_first_motion_is_slowed_and_not_softened(share: float) -> None:
    usual = Compliance()
    slow = slowed(usual, share)
    assert slow.speed_m_s == pytest.approx(share * usual.speed_m_s)
    assert slow.speed_rad_s == pytest.approx(share * usual.speed_rad_s)
    assert slow.stiffness == usual.stiffness


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_no_arm_is_made_faster_by_slowing_it(share: float) -> None:
    with pytest.raises(ConfigError, match="above 0, at most 1"):
        slowed(Compliance(), share)


def test_the_driver_of_a_franka_asks_for_a_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from robot_rl_hardware.fci.driver import make_driver
    from robot_rl_tasks.reach import Reach

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    cell = Cell(name="bench", address="192.0.2.1", bounds=Box(min_m=(0.3, -0.2, 0.05), max_m=(0.6, 0.2, 0.4)))
    with pytest.raises(RobotError, match="nobody has signed"):
        make_driver(Reach(), cell)
    sign(cell, "Ada", STATEMENTS, [])
    make_driver(Reach(), cell).close()
    moved = dataclasses.replace(cell, bounds=Box(min_m=(0.3, -0.2, 0.05), max_m=(0.7, 0.2, 0.4)))
    with pytest.raises(RobotError, match="the bounds of 'bench' changed"):
        make_driver(Reach(), moved)
