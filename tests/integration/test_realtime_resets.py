"""Resets of the twin in real time: to random starts of every task, the scene set up at their end."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from realtime_rig import running, wait_for

from robot_rl.cell import Box, Cell
from robot_rl.errors import RobotError
from robot_rl.geometry import quat_angle
from robot_rl.robot import ResetRequest
from robot_rl_controllers.drive.handle import ProcessDriver
from robot_rl_controllers.drive.interface import Mode, Reading
from robot_rl_tasks.peg_insert import PegInsert
from robot_rl_tasks.pick_cube import PickCube
from robot_rl_tasks.reach import Reach


def reset(driver: ProcessDriver, request: ResetRequest) -> Reading:
    driver.begin_reset(request)
    assert driver.read().mode is Mode.RESETTING or driver.read().reason
    return wait_for(driver, lambda reading: reading.mode is not Mode.RESETTING, "the end of the reset")


@pytest.mark.parametrize("task", [Reach(), PickCube(), PegInsert()], ids=lambda task: task.name)
def test_it_drives_to_random_starts(task: Reach | PickCube | PegInsert) -> None:
    rng = np.random.default_rng(1)
    with running(task) as driver:
        if task.scene:
            with pytest.raises(RobotError, match="there is no object 'teapot' to place"):
                driver.begin_reset(dataclasses.replace(task.sample_reset(rng), objects={"teapot": np.zeros(7)}))
        for _ in range(2):
            request = task.sample_reset(rng)
            reading = reset(driver, request)
            assert reading.mode is Mode.RUN, reading.reason
            assert np.linalg.norm(reading.state.p_BE - request.p_BE) < 0.003
            assert quat_angle(reading.state.quat_BE, request.quat_BE) < 0.03
            for name, pose in request.objects.items():
                assert np.linalg.norm(reading.state.objects[name][:3] - pose[:3]) < 0.005
            if not any(obj.motion == "held" for obj in task.scene.values()):
                assert reading.state.gripper_width_m == pytest.approx(request.gripper_width_m, abs=0.004)


def test_a_start_that_may_not_be_visited_is_refused() -> None:
    task = Reach()
    cell = Cell(bounds=Box(min_m=(0.2, -0.3, 0.0), max_m=(0.7, 0.3, 0.6)), keep_out=(
        Box(min_m=(0.30, 0.10, 0.0), max_m=(0.70, 0.30, 0.6)),))  # fmt: skip
    request = task.sample_reset(np.random.default_rng(0))
    with running(task, cell) as driver:
        inside = dataclasses.replace(request, p_BE=np.array([0.5, 0.2, 0.2]))
        with pytest.raises(RobotError, match="keep_out"):
            driver.begin_reset(inside)
        with pytest.raises(RobotError, match="breaks the rule workspace"):
            driver.begin_reset(dataclasses.replace(request, p_BE=np.array([2.0, 0.0, 0.2])))
        assert driver.read().mode is Mode.RUN
