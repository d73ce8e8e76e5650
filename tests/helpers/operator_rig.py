"""Device files that a test writes to, readings of an arm, and operators made from the YAML that users get."""

from __future__ import annotations

import functools
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.config import Composed, compose
from robot_rl.robot import RobotState
from robot_rl.task import Task
from robot_rl_tasks.pick_cube import PickCube

DOWN = np.array([0.0, 1.0, 0.0, 0.0])
"""The tool points straight down: its x is the base's, its y and z are the base's turned around."""


def reading(closing: bool = False, quat_BE: NDArray[np.float64] = DOWN) -> RobotState:
    """Return a reading of an arm at rest."""
    z = np.zeros
    return RobotState(0.0, z(7), z(7), np.array([0.5, 0.0, 0.2]), quat_BE, z(6), z(6), 0.08, closing)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@functools.cache
def _composed(kind: str) -> Composed:
    return compose([f"operator={kind}"])


def operator_of(kind: str, task: Task | None = None, **settings: Any) -> Any:
    """Return the operator of conf/operator/KIND.yaml with other settings."""
    composed = _composed(kind)
    values = {**composed.values["operator"], **settings}
    return composed.changed({"operator": values}).settings().operator.make(task or PickCube())


class DeviceFile:
    """A named pipe in the place of a device file."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._writer = os.open(path, os.O_RDWR)

    def write(self, data: bytes) -> None:
        os.write(self._writer, data)

    def unplug(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
        self._writer = -1

    def plug_in(self) -> None:
        self._writer = os.open(self.path, os.O_RDWR)


def js_button(number: int, value: int = 1, init: bool = False) -> bytes:
    """Return an event of linux/joystick.h."""
    return struct.pack("=IhBB", 1234, value, 0x81 if init else 0x01, number)


def js_axis(number: int, value: float, init: bool = False) -> bytes:
    return struct.pack("=IhBB", 1234, round(32767 * value), 0x82 if init else 0x02, number)


def evdev(kind: int, code: int, value: int) -> bytes:
    """Return an event of linux/input.h."""
    return struct.pack("@llHHi", 1, 2, kind, code, value)
