"""The driver of a Franka: its process, its plant, and what a cell must have before an arm of metal moves."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from robot_rl.cell import Cell
from robot_rl.preflight import check_preflight
from robot_rl.task import Task
from robot_rl_controllers.drive.fr3_kinematics import FLANGE_M, Fr3Kinematics
from robot_rl_controllers.drive.handle import ProcessDriver
from robot_rl_controllers.drive.spec import RealTime
from robot_rl_hardware.fci.objects import RigObjects
from robot_rl_hardware.fci.settings import FciSettings

START_TIMEOUT_S = 90.0  # compiling, and a hand that homes


def make_driver(
    task: Task,
    cell: Cell,
    realtime: Literal["auto", "enforce", "ignore"] = "auto",
    load_kg: float = 0.0,
    p_FL: tuple[float, float, float] = (0.0, 0.0, 0.0),
    inertia_L: tuple[float, ...] = (0.0,) * 9,
    p_FE: tuple[float, float, float] = FciSettings.p_FE,
    quat_FE: tuple[float, float, float, float] = FciSettings.quat_FE,
    reflex_force_n: float | None = None,
    reflex_torque_nm: tuple[float, ...] = FciSettings.reflex_torque_nm,
    wrench_sign: float = FciSettings.wrench_sign,
    clear_at_start: bool = False,
    gripper: str | None = None,
    recoveries: int = 3,
    window_s: float = 600.0,
    start_timeout_s: float = START_TIMEOUT_S,
    real_time: RealTime | None = None,
) -> ProcessDriver:
    """Return a driver for the Franka of a cell.

    Args:
        task: Gives limits, compliance and control rate.
        cell: Gives the address, the measured bounds and the gripper.
        realtime: Whether a real-time kernel is a condition; see `FciSettings`.
        load_kg, p_FL, inertia_L, p_FE, quat_FE, wrench_sign, reflex_torque_nm, clear_at_start: See `FciSettings`.
        reflex_force_n: Force at which the robot itself stops; None takes half more than the task's `limits.force_n`.
        gripper: Instead of the cell's: "franka_hand", "robotiq" or "none".
        recoveries, window_s: How many recoveries are granted without a person within how long.
        start_timeout_s: How long connecting and warming up may take.
        real_time: What the process asks of the operating system; by default everything.

    Raises:
        ConfigError: The cell has no address, its bounds do not fit the task, or a setting is wrong.
        RobotError: Nobody looked through this cell today and signed it; simulators need no signature.
        RobotError: Nobody has signed a fresh preflight of the cell.
    """
    settings: dict[str, Any] = {
        "realtime": realtime, "load_kg": load_kg, "p_FL": p_FL, "inertia_L": inertia_L, "p_FE": p_FE,
        "quat_FE": quat_FE, "reflex_torque_nm": reflex_torque_nm, "wrench_sign": wrench_sign,
        "clear_at_start": clear_at_start,
    }  # fmt: skip
    if reflex_force_n is not None:
        settings["reflex_force_n"] = reflex_force_n
    if gripper is not None:
        settings["gripper"] = gripper
    found = FciSettings.of_cell(cell, task.limits, **settings)
    check_preflight(cell)
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
        hardware=not found.simulated,
        kinematics=Fr3Kinematics((*found.p_FE[:2], FLANGE_M + found.p_FE[2], *found.quat_FE)),
    )


def _plain(settings: FciSettings) -> dict[str, Any]:
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
