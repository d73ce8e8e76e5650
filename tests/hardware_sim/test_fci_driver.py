"""The driver of a Franka as a process of its own, against a simulator of the protocol that enforces its rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fci_sim_process import Simulator

from robot_rl.errors import RobotError
from robot_rl.task import Compliance, Limits
from robot_rl_controllers.drive.interface import Mode
from robot_rl_tasks.reach import Reach

Until = Callable[..., None]


def test_tracks_for_five_seconds_without_an_abort(make_rig: Callable[..., Any], simulator: Simulator) -> None:
    readings = []
    for _attempt in range(3):  # a machine that is shared may starve the simulator itself
        with make_rig(robot=simulator) as rig:
            readings = rig.go(rig.sine, 5.0)
        if all(r.mode is Mode.RUN for r in readings):
            break
    assert {r.mode for r in readings} == {Mode.RUN}
    away = [np.linalg.norm(r.executed.p_BE - r.state.p_BE) for r in readings[50:]]
    assert np.median(away) < 0.015  # not the largest: this process may be kept waiting, and then its command jumps
    assert np.ptp([r.state.p_BE[1] for r in readings]) > 0.08  # it went


def test_a_jump_of_the_target_does_not_abort(make_rig: Callable[..., Any], simulator: Simulator) -> None:
    with make_rig(robot=simulator) as rig:
        readings = rig.go(lambda t: np.array([0.0, 0.08 if t % 1.0 > 0.5 else -0.08, 0.0]), 3.0)
    assert not any("discontinuity" in r.reason or "limit" in r.reason for r in readings)
    assert np.ptp([r.state.p_BE[1] for r in readings]) > 0.05


def test_pressing_the_table_stops_at_the_tasks_force(make_rig: Callable[..., Any], until: Until) -> None:
    task = Reach()
    task.limits = Limits(box_min_m=(0.28, -0.30, -0.05), box_max_m=(0.72, 0.30, 0.50), force_n=12.0, command_age_s=1.0)
    task.compliance = Compliance(clip_m=(0.02, 0.02, 0.02), speed_m_s=0.6)
    with make_rig(task) as rig:
        readings = rig.go(lambda t: np.array([0.0, 0.0, -0.12 * t]), 12.0, while_running=True)
        pressed = readings[-1]
        assert pressed.mode is Mode.STOPPED
        assert "force" in pressed.reason
        after = rig.go(lambda t: np.array([0.0, 0.0, 0.1 * t]), 0.5)
        assert max(np.linalg.norm(r.state.p_BE - pressed.state.p_BE) for r in after) < 0.02  # no command moves it
        with pytest.raises(RobotError):
            rig.driver.recover()
        assert rig.mode is Mode.STOPPED
        rig.driver.acknowledge("a test")
        until(lambda: rig.mode is Mode.RUN, "the arm runs again")
        up = rig.go(lambda t: np.array([0.0, 0.0, 0.1 * t]), 1.0)
        assert up[-1].mode is Mode.RUN
        assert up[-1].state.p_BE[2] > pressed.state.p_BE[2] + 0.03
