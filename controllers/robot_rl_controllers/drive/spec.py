"""What a driver's process is told at its start: plain data that travels as JSON, never as code or pickles."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_rl.cell import Cell
from robot_rl.errors import ConfigError
from robot_rl.task import Compliance, Limits
from robot_rl.typed import Target, build


@dataclass(frozen=True, kw_only=True)
class RealTime:
    """What the loop asks of the operating system. What is not granted is reported once and done without.

    Attributes:
        fifo: Run before every ordinary process.
        priority: Among real-time processes, 1 to 98.
        lock_memory: Keep all memory from being paged out.
        cpus: Processors to run on; none leaves the choice to the system.
        keep_awake: Keep all processors out of the sleep states from which waking takes long.
    """

    fifo: bool = True
    priority: int = 80
    lock_memory: bool = True
    cpus: tuple[int, ...] = ()
    keep_awake: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.priority <= 98:
            raise ConfigError(f"real_time.priority must be from 1 to 98, got {self.priority}; 80 is usual")
        if any(cpu < 0 for cpu in self.cpus):
            raise ConfigError(f"real_time.cpus must be numbers of processors from 0, got {self.cpus}")


ORDINARY = RealTime(fifo=False, lock_memory=False, keep_awake=False)
"""For a simulated arm, which shares its machine with a learner."""


@dataclass(frozen=True, kw_only=True)
class DriveSpec:
    """One driver.

    Attributes:
        name: For messages and logs.
        parent: Process that started it; when that is gone, the driver ends.
        memory: Descriptor of the shared memory.
        plant: What makes the plant.
        objects: Names of the objects whose poses the plant tells.
        limits: What the guard enforces, already narrowed to the cell.
        cell: Where the robot stands.
        compliance: How stiff it is at first.
        period_s: Control period of the commands.
        hardware: Whether something real moves.
        open_m: How far each finger opens until a reset says otherwise [m].
        recoveries, window_s: How many recoveries are granted without a person within how long.
        real_time: What is asked of the operating system.
    """

    name: str
    parent: int
    memory: int
    plant: Target
    objects: tuple[str, ...]
    limits: Limits
    cell: Cell
    compliance: Compliance
    period_s: float
    hardware: bool = False
    open_m: float = 0.04
    recoveries: int = 3
    window_s: float = 600.0
    real_time: RealTime = field(default_factory=RealTime)

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "plant"}
        values["plant"] = {"_target_": self.plant.path, **self.plant.settings}
        return json.dumps(values, default=_plain)

    @classmethod
    def from_json(cls, text: str) -> DriveSpec:
        """Return the spec in a text, with every type checked."""
        values = json.loads(text)
        return build(cls, values)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise ConfigError(f"a driver's settings must be plain numbers, texts, lists and groups, got {value!r}")
