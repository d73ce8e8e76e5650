"""The demonstration of the task `lap`: one slow lap of the classical driver, in the place of a person."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robot_rl.car import CarState
from robot_rl.errors import ConfigError
from robot_rl_tasks.car.driver import DriverSettings, PurePursuit

if TYPE_CHECKING:
    from robot_rl_tasks.car.lap import Lap

F32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SlowLap:
    """How a demonstration is driven.

    Attributes:
        speed_m_s: Never faster.
    """

    speed_m_s: float = 1.2

    def __post_init__(self) -> None:
        if not 0.2 <= self.speed_m_s < math.inf:
            raise ConfigError(f"expert.speed_m_s is {self.speed_m_s}; it must be at least 0.2 m/s")


class LapExpert:
    """A classical driver that goes around once, from wherever it begins: the one slow lap of a person.

    Args:
        task: Whose window it acts in.
        settings: How it drives.

    Attributes:
        finished: Whether it has come around.
    """

    def __init__(self, task: Lap, settings: DriverSettings) -> None:
        self._task, self._pursuit = task, PurePursuit(task.course, settings)
        self.finished, self._way, self._s = False, 0.0, math.nan

    def reset(self, rng: np.random.Generator) -> None:
        """Begin a lap."""
        self._pursuit.reset()
        self.finished, self._way, self._s = False, 0.0, math.nan

    def action(self, state: CarState) -> F32:
        """Return the place in the window of what the driver wants."""
        command, length = self._pursuit.command(state), self._task.course.line.length_m
        s = self._pursuit.s_m
        if not math.isnan(self._s):
            self._way += math.remainder(s - self._s, length)
        self._s, self.finished = s, self._way >= length
        low, high = self._task.open_window
        share = (self._task.setting(command.steering_rad, command.speed_m_s) - low) / np.maximum(high - low, 1e-6)
        return np.clip(2.0 * share - 1.0, -1.0, 1.0).astype(np.float32)
