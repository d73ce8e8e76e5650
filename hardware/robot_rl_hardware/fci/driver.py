"""The driver of a Franka: its process, its plant, and what a cell must have before an arm of metal moves."""

from __future__ import annotations

import dataclasses
from typing import Any

from robot_rl.cell import Cell
from robot_rl.errors import ConfigError
from robot_rl.task import Task
from robot_rl_controllers.drive.handle import ProcessDriver
from robot_rl_controllers.drive.spec import RealTime
from robot_rl_hardware.fci.objects import RigObjects
from robot_rl_hardware.fci.settings import FciSettings

START_TIMEOUT_S = 90.0  # compiling, and a hand that homes


def make_driver(
    task: Task,
    cell: Cell,
    *,
    realtime: str = "enforce",
    recoveries: int = 3,
    window_s: float = 600.0,
    start_timeout_s: float = START_TIMEOUT_S,
    real_time: RealTime | None = None,
    **settings: Any,
) -> ProcessDriver:
    """Return a driver for the Franka of a cell.

    Args:
        task: Gives limits, compliance and control rate.
        cell: Gives the address, the measured bounds and the gripper.
        realtime: "enforce" asks for a real-time kernel; "ignore" is for a simulator.
        recoveries, window_s: How many recoveries are granted without a person within how long.
        start_timeout_s: How long connecting and warming up may take.
        real_time: What the process asks of the operating system; by default everything.
        **settings: Further settings of `FciSettings`, such as `load_kg`.

    Raises:
        ConfigError: The cell has no address, its bounds were not measured, or a setting is wrong.
    """
    found = FciSettings.of_cell(cell, task.limits, realtime=realtime, **settings)
    if cell.bounds is None and not found.simulated:
        raise ConfigError(
            f"the cell '{cell.name}' has no measured bounds, and no arm starts without them; "
            "measure them with: robot-rl calibrate bounds"
        )
    objects = RigObjects(task.scene)
    plant = {
        "_target_": "robot_rl_hardware.fci.plant.FciPlant",
        "settings": _plain(found),
        "scene": {name: dataclasses.asdict(task.scene[name]) for name in objects.names},
    }
    return ProcessDriver(
        task,
        cell,
        plant,
        name="fci",
        objects=objects.names,
        recoveries=recoveries,
        window_s=window_s,
        real_time=real_time,
        start_timeout_s=start_timeout_s,
    )


def _plain(settings: FciSettings) -> dict[str, Any]:
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
