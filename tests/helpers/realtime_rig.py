"""A twin in real time in a process of its own, and patience with it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from robot_rl.cell import Cell
from robot_rl_controllers.drive.handle import ProcessDriver
from robot_rl_controllers.drive.interface import Reading
from robot_rl_sim.realtime import make_driver
from robot_rl_tasks.peg_insert import PegInsert
from robot_rl_tasks.pick_cube import PickCube
from robot_rl_tasks.reach import Reach

PATIENCE_S = 120.0  # the machine may be busy; nothing here is a measurement of time


@contextlib.contextmanager
def running(task: Reach | PickCube | PegInsert, cell: Cell | None = None) -> Iterator[ProcessDriver]:
    driver = make_driver(task, cell or Cell(), start_timeout_s=PATIENCE_S)
    driver.start()
    try:
        yield driver
    finally:
        driver.close()


def wait_for(driver: ProcessDriver, wanted: Callable[[Reading], bool], what: str) -> Reading:
    deadline = time.monotonic() + PATIENCE_S
    while not wanted(reading := driver.read()):
        assert time.monotonic() < deadline, f"{what} did not come: {reading.mode.name} {reading.reason}"
        time.sleep(0.005)
    return reading
