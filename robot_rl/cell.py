"""The `Cell`: where a robot stands. Addresses, cameras and measured bounds, as data that may live outside the project.

`robot_rl.cell_file` reads and writes it; `cell=NAME` or `cell=my_cell.yaml` chooses one on the command line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from robot_rl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box with sides along the axes of B: two opposite corners [m]."""

    min_m: tuple[float, float, float]
    max_m: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (*self.min_m, *self.max_m)):
            raise ConfigError(f"a box needs finite corners, got {self.min_m} and {self.max_m}")
        if not all(a < b for a, b in zip(self.min_m, self.max_m, strict=True)):
            raise ConfigError(f"a box needs min_m below max_m on each axis, got {self.min_m} and {self.max_m}")

    @property
    def sides_m(self) -> tuple[float, float, float]:
        """Lengths of its sides."""
        x, y, z = (b - a for a, b in zip(self.min_m, self.max_m, strict=True))
        return (x, y, z)

    def contains(self, p: Sequence[float]) -> bool:
        """Return whether a point (3,) in B lies inside or on the box."""
        return all(a <= x <= b for a, x, b in zip(self.min_m, p, self.max_m, strict=True))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One robot in its place.

    Attributes:
        name: For people.
        address: Network address of the robot's control box; empty in a simulated cell.
        bounds: The box that the tool may visit, measured by `robot-rl calibrate bounds`; None if never measured, and
            then hardware refuses to start.
        keep_out: Boxes inside it that the tool must not enter.
        cameras: Settings of each camera by name: serial number, exposure, crop, calibration.
        gripper: Settings of the gripper, if it is not the arm's own.
    """

    name: str = "twin"
    address: str = ""
    bounds: Box | None = None
    keep_out: tuple[Box, ...] = ()
    cameras: Mapping[str, Any] = field(default_factory=dict)
    gripper: Mapping[str, Any] = field(default_factory=dict)
