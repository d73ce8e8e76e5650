"""The shared memory between a gripper's process and its client, and how a gripper is made from settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robot_rl.errors import ConfigError, nearest
from robot_rl_controllers.drive.slots import Layout, Memory, Slot
from robot_rl_hardware.grippers.protocol import Gripper

WISH = Layout(numbers=1, words=1)
TOLD = Layout(numbers=3, words=3, text=512)

# Words of what is told.
PHASE, GRASPED, DONE = 0, 1, 2
STARTING, READY, FAILED = 0, 1, 2
# Words of a wish.
GO, STOP = 0, 1


class GripperBoard:
    """Two slots: the newest wish, and the newest reading.

    Attributes:
        wish: number: opening [m]; word: GO or STOP.
        told: numbers: opening, largest opening [m], monotonic time of the reading; words: phase, whether it holds
            something, number of the newest wish that was carried out; text: what went wrong last.
    """

    def __init__(self, fd: int = -1) -> None:
        size = Slot.size(WISH)
        self.memory = Memory(size + Slot.size(TOLD), fd)
        self.wish = Slot(self.memory, 0, WISH)
        self.told = Slot(self.memory, size, TOLD)


def make_gripper(kind: str, address: str, settings: Mapping[str, Any]) -> Gripper:
    """Return a gripper that is not yet connected.

    Args:
        kind: "franka_hand" or "robotiq".
        address: of the robot, for its own hand.
        settings: of the gripper; their names are those of its constructor.
    """
    from robot_rl_hardware.grippers.franka_hand import FrankaHand
    from robot_rl_hardware.grippers.robotiq import Robotiq

    kinds = ("franka_hand", "robotiq")
    try:
        if kind == "franka_hand":
            return FrankaHand(address, **settings)
        if kind == "robotiq":
            return Robotiq(**settings)
    except TypeError as e:
        raise ConfigError(f"the cell's gripper settings do not fit a {kind}: {str(e).split('() ')[-1]}") from None
    raise ConfigError(f"gripper.kind must be one of {', '.join(kinds)} or none, got '{kind}'.{nearest(kind, kinds)}")
