"""Simulated robots that speak the Franka's own protocol; without them these tests are skipped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from fci_sim_process import Simulator, why_not
from patience import wait_until

from robot_rl.cell import Cell
from robot_rl.geometry import Vector
from robot_rl.robot import ArmCommand
from robot_rl_controllers.drive.handle import ProcessDriver
from robot_rl_controllers.drive.interface import Mode, Reading
from robot_rl_hardware.fci.driver import make_driver
from robot_rl_tasks.reach import Reach

PERIOD_S = 0.02


class Rig:
    """A simulated robot, its driver, and an actor's end of it.

    Args:
        simulator: The robot.
        task: By default one whose commands may be a second old: a busy machine sends them when it can.
    """

    def __init__(self, simulator: Simulator, task: Reach | None = None) -> None:
        if task is None:
            task = Reach()
            task.limits = dataclasses.replace(task.limits, command_age_s=1.0)
        self.robot = simulator
        cell = Cell(name="sim", address=simulator.host)
        self.driver: ProcessDriver = make_driver(task, cell, gripper="none")
        self._sequence = 0

    def __enter__(self) -> Rig:
        self.driver.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.close()

    @property
    def mode(self) -> Mode:
        """What the driver does now."""
        return self.driver.read().mode

    def go(self, offset: Callable[[float], Vector], seconds: float, while_running: bool = False) -> list[Reading]:
        """Send commands along an offset [m] from where the arm is, a function of time; return what was read meanwhile.

        With `while_running` it ends as soon as the arm does not run.
        """
        state = self.driver.read().state
        readings, began_s = [], time.monotonic()
        while (now := time.monotonic()) - began_s < seconds:
            self._sequence += 1
            self.driver.send(ArmCommand(state.p_BE + offset(now - began_s), state.quat_BE, False), self._sequence, now)
            time.sleep(PERIOD_S)
            readings.append(self.driver.read())
            if while_running and readings[-1].mode is not Mode.RUN:
                break
        return readings

    @staticmethod
    def sine(t: float) -> Vector:
        """A smooth way for `go`."""
        return np.array([0.0, 0.05 * np.sin(2.0 * t), 0.02 * np.sin(3.0 * t)])


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """A robot that enforces its rules, with a cube of 4 cm between its fingers."""
    if reason := why_not():
        pytest.skip(reason)
    with Simulator(object_width_m=0.04) as running:
        yield running


@pytest.fixture(scope="module")
def patient_simulator() -> Iterator[Simulator]:
    """A robot that lets late commands pass: for tests whose own process may be kept waiting."""
    if reason := why_not():
        pytest.skip(reason)
    with Simulator(object_width_m=0.04, lenient=True) as running:
        yield running


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait until a condition holds."""

    return wait_until


@pytest.fixture(scope="module")
def rig(simulator: Simulator) -> Iterator[Rig]:
    """A driver that runs; each test leaves it running."""
    with Rig(simulator) as made:
        yield made


@pytest.fixture
def make_rig(patient_simulator: Simulator) -> Callable[..., Rig]:
    """Make a driver for this test alone, of a task of its own; it is a context manager.

    By default its robot is another than that of `rig`: a robot serves one driver at a time.
    """

    def make(task: Reach | None = None, robot: Simulator = patient_simulator) -> Rig:
        return Rig(robot, task)

    return make
