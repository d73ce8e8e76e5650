"""A robot that never moves and shows what a test says, and a person who presses what a test says."""

from __future__ import annotations

import numpy as np

from robot_rl.operator import Button, OperatorInput
from robot_rl.robot import ArmCommand, Executed, ResetRequest, RobotState

SIZE = 32
SHAPE = (SIZE, SIZE, 3)
STILL = np.zeros(7, np.float32)


class Screen:
    """A robot that never moves and shows a picture of the brightness that the test says; its cube is where it says."""

    def __init__(self) -> None:
        self.bright, self.cube_m, self.knows, self.width_m = 0, 0.025, True, 0.05
        self.t_s = 0.0

    def connect(self) -> None: ...

    def reset(self, request: ResetRequest) -> RobotState:
        return self.observe()

    def command(self, command: ArmCommand) -> Executed:
        self.t_s += 0.1
        return Executed(command.p_BE, command.quat_BE, command.close_gripper)

    def observe(self) -> RobotState:
        cube = {"cube": np.array([0.5, 0.0, self.cube_m, 1.0, 0.0, 0.0, 0.0])} if self.knows else {}
        return RobotState(
            self.t_s, np.zeros(7), np.zeros(7), np.array([0.5, 0.0, 0.2]), np.array([0.0, 1.0, 0.0, 0.0]), np.zeros(6),
            np.zeros(6), self.width_m, True, cube, {"front": np.full(SHAPE, self.bright, np.uint8)},
        )  # fmt: skip

    def close(self) -> None: ...


class Presses:
    """An operator who presses what the test says, and never acts."""

    def __init__(self) -> None:
        self.next: tuple[Button, ...] = ()

    def connect(self) -> None: ...

    def begin(self, seed: int) -> None: ...

    def read(self, state: RobotState) -> OperatorInput:
        pressed, self.next = self.next, ()
        return OperatorInput(buttons=pressed)

    def close(self) -> None: ...
