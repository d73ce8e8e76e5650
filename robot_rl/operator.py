"""The `Operator`: a person beside the robot, as the loops that record, train and evaluate see them.

Devices (keyboard, gamepad, SpaceMouse, a ROS 2 topic) and the scripted operator of tests and benchmarks stand behind
this one protocol. A loop asks once in each control period; nothing here ever waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.robot import RobotState

Button = Literal["success", "failure", "discard", "pause", "stop"]
BUTTONS: tuple[Button, ...] = ("success", "failure", "discard", "pause", "stop")
"""What a person says of an episode or of the session: it succeeded, it failed, it shall not be learnt from; wait
before the next step, or go on; end the motion now, latched until it is acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorInput:
    """What a person does in one control period.

    Attributes:
        action: (A,) float32 in [-1, 1] in the task's action space while the person acts; None while the policy does.
        buttons: Pressed since the last period, in their order.
        note: A sentence about the device when people should see one, such as why it counts as let go.
    """

    action: NDArray[np.float32] | None = None
    buttons: tuple[Button, ...] = ()
    note: str = ""


NOBODY = OperatorInput()
"""Nobody acts and nothing was pressed."""


class Operator(Protocol):
    """A source of actions and words of a person.

    A device that dies, or whose newest sample is too old, counts as let go: `read` then returns no action and a note.
    """

    def connect(self) -> None:
        """Open the device; raises `RobotError` naming the devices that are there when it cannot."""
        ...

    def begin(self, seed: int) -> None:
        """Begin an episode: what was held or pressed before counts no more. The seed is for scripted operators."""
        ...

    def read(self, state: RobotState) -> OperatorInput:
        """Return what the person does now, given the newest reading. Called once a control period; never waits."""
        ...

    def close(self) -> None:
        """Release the device. Safe to call twice."""
        ...
