"""Where a Franka's tool is, read from the robot itself while nothing drives it: for measuring bounds by hand.

It opens the robot's connection, tells it the tool's frame, and only reads: torque control is never begun.
"""

from __future__ import annotations

import numpy as np

from robot_rl.cell import Cell
from robot_rl.errors import ConfigError
from robot_rl.geometry import Vector
from robot_rl_controllers.drive.plant import PlantFault, Sample


class DirectArm:
    """A Franka that is read and not driven; a `with` block.

    Args:
        cell: Gives the address.

    Raises:
        ConfigError: The cell has no address.
    """

    def __init__(self, cell: Cell) -> None:
        from robot_rl_hardware.fci.plant import FciPlant
        from robot_rl_hardware.fci.settings import FciSettings

        if not cell.address:
            raise ConfigError(
                f"the cell '{cell.name}' has no address, so there is no robot to read; write `address:` into its file, "
                "or start an arm node and leave --direct out"
            )
        self._address = cell.address
        # No deadline is kept here, so no real-time kernel is asked for, and the gripper is left alone.
        self._plant = FciPlant(FciSettings(address=cell.address, realtime="ignore", gripper="none"))
        self._sample = Sample()

    def __enter__(self) -> DirectArm:
        """Connect; raises `RobotError` when the robot cannot be reached."""
        self._plant.connect()
        return self

    def __exit__(self, *_: object) -> None:
        """Release the robot."""
        self._plant.close()

    def look(self) -> tuple[Vector | None, list[str]]:
        """Return the position of the tool in B [m], None if there is none, and lines about it."""
        try:
            self._plant.read(self._sample)
        except PlantFault as e:
            return None, [f"robot at {self._address}: {e.reason}"]
        p = self._sample.p_BE
        force_n = float(np.linalg.norm(self._sample.F_BE[:3]))
        return p.copy(), [
            f"robot at {self._address}, read only: guide it by hand",
            f"tool  x {p[0]:+.4f}  y {p[1]:+.4f}  z {p[2]:+.4f} m   force {force_n:.1f} N",
        ]
