"""The driver's process and its parent: whichever dies, the other notices, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from realtime_rig import PATIENCE_S, running, wait_for

from robot_rl.cell import Cell
from robot_rl.errors import RobotError
from robot_rl.robot import ArmCommand
from robot_rl_controllers.drive.handle import ProcessDriver
from robot_rl_controllers.drive.interface import Mode
from robot_rl_controllers.drive.records import Board
from robot_rl_tasks.reach import Reach


def test_a_killed_process_is_told_with_its_exit_code() -> None:
    with running(Reach()) as victim:
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(RobotError, match="the process of driver twin ended with exit code -9"):
            wait_for(victim, lambda reading: reading.mode is Mode.CLOSED, "the news of its death")
        with pytest.raises(RobotError, match="was started before; close it first"):
            victim.start()
        victim.close()
        with pytest.raises(RobotError, match="is not running; start it first"):
            victim.read()
        victim.start()
        assert victim.read().mode is Mode.RUN


def test_a_process_that_stands_still_keeps_nobody_waiting_and_finds_the_stop_when_it_goes_on() -> None:
    with running(Reach()) as driver:
        state = driver.read().state
        driver.send(ArmCommand(state.p_BE, state.quat_BE, False), 1, time.monotonic())
        os.kill(driver.pid, signal.SIGSTOP)
        try:
            with pytest.raises(RobotError, match="has not answered for 2 s; its loop stands still"):
                driver.home()
            before = driver.read()
            assert time.monotonic() - before.state.stamp_s > 1.0, "a reading is as old as it is"
            driver.stop("seen too late")
        finally:
            os.kill(driver.pid, signal.SIGCONT)
        stopped = wait_for(driver, lambda reading: reading.mode is Mode.STOPPED, "the stop")
        assert stopped.reason == "seen too late"
        assert np.linalg.norm(stopped.state.p_BE - state.p_BE) < 0.005


PARENT = """
import sys, time, logging
from robot_rl.cell import Cell
from robot_rl.robot import ArmCommand
from robot_rl_sim.realtime import make_driver
from robot_rl_tasks.reach import Reach
driver = make_driver(Reach(), Cell(), start_timeout_s=60)
driver.start()
state = driver.read().state
p, quat, sequence = state.p_BE, state.quat_BE, 0
print(driver.pid, driver.board().memory.fd, flush=True)
while True:
    sequence += 1
    driver.send(ArmCommand(p + [0.0, 0.002 * min(sequence, 60), 0.0], quat, False), sequence, time.monotonic())
    time.sleep(0.02)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_its_parent_dies_the_driver_brakes_and_ends(number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    try:
        pid, fd = (int(word) for word in parent.stdout.readline().split())
        watch = os.pidfd_open(pid)
        board = Board(
            tuple(Reach().scene), os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR)
        )  # as a third process that looks on
        while np.linalg.norm(board.reading().state.V_BE[:3]) < 0.02:
            time.sleep(0.005)
        parent.send_signal(number)
        parent.wait(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while _lives(watch):
            assert time.monotonic() < deadline, "the driver outlives its parent"
            time.sleep(0.01)
        last = board.reading()
        assert (last.mode, last.reason) == (Mode.CLOSED, "its parent is gone")
        assert np.abs(last.state.dq).max() < 0.1
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def _lives(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_driver_that_cannot_start_says_why() -> None:
    task = Reach()
    driver = ProcessDriver(task, Cell(), {"_target_": "robot_rl_sim.realtime.TwinPlant", "scene": {}, "dt_s": 1.0})
    with pytest.raises(RobotError, match=r"the driver arm did not start: driver\.dt_s must be above 0"):
        driver.start()
    driver = ProcessDriver(task, Cell(), {"_target_": "robot_rl_sim.realtime.NoPlant"})
    with pytest.raises(RobotError, match="NoPlant', which does not exist"):
        driver.start()
    with pytest.raises(RobotError, match="start it first"):
        driver.read()
