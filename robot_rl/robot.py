"""The `Robot` that an environment drives: five methods, and the plain data that crosses them.

Frames follow the monogram of drake: B is the robot's base, E the tool centre point (between the fingertips).
`X_BE` is a pose of E in B stored as position (3,) and quaternion (4,) wxyz; `V_BE` is (v, omega) of E in B;
`F_BE` is (force, torque) that the world exerts on the tool, expressed in B.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import RobotError

Vector = NDArray[np.float64]


@dataclass(slots=True)
class RobotState:
    """One stamped reading of a robot. Arrays are copies: later readings never change it.

    Attributes:
        stamp_s: Monotonic time at which the reading was taken, seconds (simulated time in a lock-step twin).
        q, dq: (7,) joint positions [rad] and velocities [rad/s].
        p_BE, quat_BE: (3,) tool position [m] and (4,) wxyz orientation in the base frame.
        V_BE: (6,) tool twist in the base frame [m/s, rad/s].
        F_BE: (6,) external wrench on the tool in the base frame [N, N m].
        gripper_width_m: Opening between the fingers.
        gripper_closing: Whether the last gripper command was to close.
        objects: (7,) pose (p, quat wxyz) in B of each object that the rig can measure; a twin knows them all.
        images: (H, W, 3) uint8 RGB per camera.
    """

    stamp_s: float
    q: Vector
    dq: Vector
    p_BE: Vector
    quat_BE: Vector
    V_BE: Vector
    F_BE: Vector
    gripper_width_m: float
    gripper_closing: bool
    objects: Mapping[str, Vector] = field(default_factory=dict)
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(slots=True)
class ArmCommand:
    """A request for one control period: where the tool shall go, and whether the gripper closes."""

    p_BE: Vector
    quat_BE: Vector
    close_gripper: bool


@dataclass(slots=True)
class Executed:
    """What the guard let through, and why it differs from the request.

    Attributes:
        p_BE, quat_BE, close_gripper: The command that reached the controller.
        events: Names of the guard's rules that changed or refused the request (empty if none).
        stopped: The guard holds the arm until a recovery or a person's acknowledgement; the episode must end.
        reason: Why, in words for the log; empty if it does not hold.
    """

    p_BE: Vector
    quat_BE: Vector
    close_gripper: bool
    events: Sequence[str] = ()
    stopped: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ResetRequest:
    """Where an episode shall begin.

    Attributes:
        p_BE, quat_BE: Start pose of the tool.
        gripper_width_m: Start opening of the gripper.
        objects: (7,) start pose of each free object; one that is not named stays where it is. A real cell ignores it
            and asks a person or a reset policy.
        keep_scene: Only the arm moves, in a twin too: it drives to the start, and every object stays where it is.
    """

    p_BE: Vector
    quat_BE: Vector
    gripper_width_m: float = 0.08
    objects: Mapping[str, Vector] = field(default_factory=dict)
    keep_scene: bool = False

    def __post_init__(self) -> None:
        if self.keep_scene and self.objects:
            raise RobotError(
                f"the reset shall keep the scene, and yet place {', '.join(self.objects)}; ask for one of the two"
            )


class Robot(Protocol):
    """A robot as the environment sees it: a twin in lock-step, a twin in real time, or hardware."""

    def connect(self) -> None:
        """Open devices and refuse to start when something the task needs is missing."""
        ...

    def reset(self, request: ResetRequest) -> RobotState:
        """Bring the robot to the start pose and return the first reading."""
        ...

    def command(self, command: ArmCommand) -> Executed:
        """Pass a request through the guard and let one control period go by."""
        ...

    def observe(self) -> RobotState:
        """Return the newest reading; raises `RobotError` when it is older than allowed."""
        ...

    def close(self) -> None:
        """Hold still, then release every device. Safe to call twice."""
        ...
