"""What goes wrong at a Franka, one thing at a time: each ends in the state that docs/fci.md tells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fci_sim_process import Simulator

from robot_rl.errors import RobotError
from robot_rl_controllers.drive.interface import Mode
from robot_rl_controllers.drive.plant import Sample
from robot_rl_hardware.fci.plant import FciPlant
from robot_rl_hardware.fci.settings import FciSettings
from robot_rl_tasks.reach import Reach

Until = Callable[..., None]


def test_a_stall_holds_the_arm_until_it_is_recovered(rig: Any, until: Until) -> None:
    rig.go(rig.sine, 0.5)
    while rig.mode is Mode.RUN:  # a simulator that was kept waiting itself has not missed enough of the 60 ms
        os.kill(rig.driver.pid, signal.SIGSTOP)
        time.sleep(0.06)
        os.kill(rig.driver.pid, signal.SIGCONT)
        rig.go(rig.sine, 0.1)
    held = rig.driver.read()
    assert held.mode is Mode.HOLD
    assert "communication_constraints_violation" in held.reason
    with pytest.raises(RobotError, match="HOLD"):
        rig.driver.begin_reset(Reach().sample_reset(np.random.default_rng(0)))
    rig.driver.recover()
    until(lambda: rig.mode is Mode.RUN, "the arm runs again")
    p = rig.driver.read().state.p_BE
    time.sleep(0.3)
    resting = rig.driver.read()
    assert np.linalg.norm(resting.state.p_BE - p) < 2e-3  # it waits for a new command
    assert resting.recoveries_left == held.recoveries_left - 1


def test_a_collision_waits_for_a_person(rig: Any, until: Until) -> None:
    rig.robot.say("reflex")
    until(lambda: rig.mode is Mode.STOPPED, "the arm stopped")
    assert "cartesian_reflex" in rig.driver.read().reason
    with pytest.raises(RobotError):
        rig.driver.recover()
    rig.driver.acknowledge("a test")
    until(lambda: rig.mode is Mode.RUN, "the arm runs again")


@pytest.mark.parametrize(("word", "told"), [("user-stop", "user stop"), ("guide", "by hand")])
def test_a_person_at_the_robot_is_waited_for(rig: Any, until: Until, word: str, told: str) -> None:
    rig.robot.say(word)
    until(lambda: rig.mode is Mode.STOPPED, "the arm stopped")
    assert told in rig.driver.read().reason
    rig.driver.acknowledge("a test, too early")
    until(lambda: rig.mode is Mode.STOPPED, "the arm is stopped still")
    assert told in rig.driver.read().reason
    rig.robot.say("release")

    def runs() -> bool:
        if rig.mode is Mode.STOPPED:
            rig.driver.acknowledge("a test")
        return rig.mode is Mode.RUN

    until(runs, "the arm runs again")


def test_a_killed_driver_leaves_an_arm_at_rest_that_a_person_takes_up_again(
    make_rig: Callable[..., Any], until: Until, rest: Any
) -> None:
    with make_rig() as rig:
        rig.go(rig.sine, 0.5)
        os.kill(rig.driver.pid, signal.SIGKILL)
        with pytest.raises(RobotError, match="ended with exit code"):
            until(lambda: rig.mode is None, "reading fails")
    with pytest.raises(RobotError, match=r"communication_constraints_violation.*clear_at_start"), make_rig():
        pass
    rest(clear_at_start=True)


def test_the_arm_rests_after_its_parent_was_killed(patient_simulator: Simulator, until: Until, rest: Any) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, patient_simulator.host],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    try:
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        until(lambda: not Path(f"/proc/{child}").exists(), "the driver ended")
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    rest()


PARENT = """
import sys, time, numpy as np
from robot_rl.cell import Cell
from robot_rl.robot import ArmCommand
from robot_rl_hardware.fci.driver import make_driver
from robot_rl_tasks.reach import Reach
driver = make_driver(Reach(), Cell(name="sim", address=sys.argv[1]), gripper="none")
driver.start()
state, sequence = driver.read().state, 0
while True:
    sequence += 1
    p = state.p_BE + np.array([0.0, 0.05 * np.sin(0.1 * sequence), 0.0])
    driver.send(ArmCommand(p, state.quat_BE, False), sequence, time.monotonic())
    time.sleep(0.02)
    if sequence == 50:
        print(driver.pid, flush=True)
"""


@pytest.fixture
def rest(patient_simulator: Simulator) -> Callable[..., None]:
    """Connect anew, and find the robot idle and still."""

    def look(**settings: Any) -> None:
        plant = FciPlant(FciSettings(address=patient_simulator.host, gripper="none", **settings))
        plant.connect()
        try:
            sample = Sample()
            plant.begin(sample)  # refuses unless the robot is idle and at rest
            assert np.abs(sample.dq).max() < 0.05
        finally:
            plant.close()

    return look
