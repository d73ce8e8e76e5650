"""What every gripper can do, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from robot_rl.errors import RobotError


class GripperError(RobotError):
    """A gripper cannot be reached or refuses."""


@dataclass(frozen=True, slots=True)
class GripperReading:
    """What a gripper tells of itself.

    Attributes:
        width_m: Opening between the fingers.
        max_width_m: Largest opening.
        grasped: Whether it holds something.
    """

    width_m: float
    max_width_m: float
    grasped: bool = False


class Gripper(Protocol):
    """A gripper; only its own process calls these, which may take as long as the fingers need."""

    def connect(self) -> None:
        """Open it, and let it find its range if it has to; raises `GripperError`."""
        ...

    def go(self, width_m: float) -> None:
        """Move the fingers to an opening, stopping at what is between them; a grasp if the opening is zero."""
        ...

    def stop(self) -> None:
        """Leave the fingers where they are."""
        ...

    def read(self) -> GripperReading:
        """Return the present opening."""
        ...

    def close(self) -> None:
        """Release the device; the fingers keep their hold. Safe to call twice."""
        ...
