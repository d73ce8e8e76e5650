"""The `Plant`: a robot that takes joint torques once a millisecond, seen from inside the driver's process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from robot_rl.geometry import Vector
from robot_rl_controllers.gains import (
    READ_CORIOLIS,
    READ_DQ,
    READ_F,
    READ_J,
    READ_P,
    READ_Q,
    READ_QUAT,
    READ_TAU,
    READING_SIZE,
)


class Sample:
    """What a plant fills in at each tick, in place, so that the loop allocates nothing.

    All arrays lie in one, which the laws read.

    Args:
        **arrays: First values of arrays by name.

    Attributes:
        stamp_s: Monotonic time at which the state arrived.
        robot_s: The robot's own time; a gap above one tick is a missed state.
        q, dq: (7,) joint positions [rad] and velocities [rad/s].
        tau_prev: (7,) torques [N m] that the robot says it was last told.
        p_BE, quat_BE: tool pose in B, wxyz.
        F_BE: (6,) external wrench on the tool in B.
        J: (6, 7) tool Jacobian in B, rows v then omega.
        coriolis: (7,) [N m].
        width_m: opening of the gripper, NaN if it is unknown here.
        packed: (83,) the `reading` of `gains`; the arrays above are views into it.
    """

    __slots__ = (
        "F_BE", "J", "coriolis", "dq", "p_BE", "packed", "q", "quat_BE", "robot_s", "stamp_s", "tau_prev", "width_m",
    )  # fmt: skip

    def __init__(self, **arrays: Vector) -> None:
        self.stamp_s, self.robot_s, self.width_m = 0.0, 0.0, float("nan")
        packed: Vector = np.zeros(READING_SIZE)
        self.packed = packed
        self.q, self.dq = packed[READ_Q:READ_DQ], packed[READ_DQ:READ_TAU]
        self.tau_prev, self.coriolis = packed[READ_TAU:READ_CORIOLIS], packed[READ_CORIOLIS:READ_P]
        self.p_BE, self.quat_BE = packed[READ_P:READ_QUAT], packed[READ_QUAT:READ_F]
        self.F_BE, self.J = packed[READ_F:READ_J], packed[READ_J:].reshape(6, 7)
        for name, values in arrays.items():
            getattr(self, name)[:] = values


class PlantFault(Exception):
    """The robot ended the motion by itself.

    Args:
        reason: names of its errors.
        recoverable: whether `recover` may be tried (a reflex, lost packets) or the robot is gone.
        soft: whether recovery may be granted without a person (lost packets only).
        refused: whether there was no control to lose: the robot was not ready to be controlled.
    """

    def __init__(self, reason: str, *, recoverable: bool = True, soft: bool = False, refused: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.recoverable, self.soft, self.refused = reason, recoverable, soft, refused


class Plant(Protocol):
    """A robot under torque control. Only one thread of one process ever calls it."""

    dt_s: float
    """Seconds between two ticks: 0.001 on hardware."""

    def connect(self) -> None:
        """Open the robot and compile what will run; raises `RobotError`."""
        ...

    def begin(self, sample: Sample) -> None:
        """Take over torque control at rest and fill in a first sample."""
        ...

    def read(self, sample: Sample) -> None:
        """Wait for the next state and fill it in; raises `PlantFault`."""
        ...

    def write(self, tau: Vector, finger_m: float) -> None:
        """Answer with (7,) torques [N m] without gravity and each finger's position [m]; raises `PlantFault`."""
        ...

    def end(self) -> None:
        """Give torque control back at rest."""
        ...

    def recover(self) -> None:
        """Clear the robot's own error; raises `PlantFault`."""
        ...

    def close(self) -> None:
        """Release the robot."""
        ...


@runtime_checkable
class WithMoreToTell(Protocol):
    """A plant whose `read`, while in control, fills in no more of a sample than the answer depends on.

    That is stamp_s, q, dq, tau_prev, coriolis, J, p_BE and quat_BE.
    """

    def tell_more(self, sample: Sample) -> None:
        """Fill in the rest of the state that `read` told last; called once it is answered."""
        ...


@runtime_checkable
class WithObjects(Protocol):
    """A plant that also knows its scene: a twin. Its objects are named when it is made, in a fixed order."""

    def object_poses(self, out: Vector) -> None:
        """Fill in the (7 n,) poses in B: position [m] and orientation wxyz of each object."""
        ...

    def place_objects(self, poses: Mapping[str, Vector]) -> None:
        """Put objects at rest at (7,) poses in B, as a person does who resets the cell."""
        ...
