"""Settings of a Franka, checked once: address, tool frame, load, and when the robot itself shall stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from robot_rl.cell import Cell
from robot_rl.errors import ConfigError, nearest
from robot_rl.geometry import Vector, quat_normalise, quat_to_matrix
from robot_rl.preflight import is_simulator
from robot_rl.task import Limits

REALTIME = ("auto", "enforce", "ignore")
GRIPPERS = ("franka_hand", "robotiq", "none")


@dataclass(frozen=True, kw_only=True)
class FciSettings:
    """How to use one Franka.

    Attributes:
        address: IP address or name of the control box (C2), not of the arm's own web page behind a router.
        realtime: "enforce" refuses to connect without a real-time kernel, "ignore" does not, "auto" refuses unless the
            address is a simulator's.
        p_FE, quat_FE: the tool centre point E in the flange F; by default that of the Franka Hand, between its
            fingertips.
        load_kg, p_FL, inertia_L: mass, centre of mass in F and inertia tensor (3, 3) of what is mounted in addition to
            the end effector that is configured in Desk. All zero: nothing is.
        reflex_force_n, reflex_torque_nm: external force (per axis) and joint torque at which the robot itself stops.
            The force shall lie above the task's `limits.force_n`, so that the guard stops first and gently.
        wrench_sign: -1 because the robot reports what it exerts on the world, and we want what the world exerts on it.
            `docs/fci.md` tells how to check it with one hand.
        clear_at_start: clear an error that the robot has since before, on the word of whoever starts the driver.
        gripper: "franka_hand", "robotiq" or "none".
        gripper_settings: passed to the gripper.
    """

    address: str
    realtime: str = "auto"
    p_FE: tuple[float, float, float] = (0.0, 0.0, 0.1034)
    quat_FE: tuple[float, float, float, float] = (0.9238795325112867, 0.0, 0.0, -0.3826834323650898)
    load_kg: float = 0.0
    p_FL: tuple[float, float, float] = (0.0, 0.0, 0.0)
    inertia_L: tuple[float, ...] = (0.0,) * 9
    reflex_force_n: float = 100.0
    reflex_torque_nm: tuple[float, ...] = (60.0, 60.0, 60.0, 60.0, 11.0, 11.0, 11.0)
    wrench_sign: float = -1.0
    clear_at_start: bool = False
    gripper: str = "franka_hand"
    gripper_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.address:
            raise ConfigError(
                "the cell has no address of a Franka; set `address` in the cell's file to that of the control box, "
                "for example 172.16.0.2"
            )
        _one_of("realtime", self.realtime, REALTIME)
        _one_of("gripper", self.gripper, GRIPPERS)
        for name, size in (("p_FE", 3), ("quat_FE", 4), ("p_FL", 3), ("inertia_L", 9), ("reflex_torque_nm", 7)):
            _finite(name, getattr(self, name), size)
        if abs(math.hypot(*self.quat_FE) - 1.0) > 1e-3:
            raise ConfigError(f"quat_FE must be a unit quaternion wxyz, got {self.quat_FE}")
        if not 0.0 <= self.load_kg <= 3.0:
            raise ConfigError(f"load_kg must be between 0 and 3 kg, which is what the arm carries, got {self.load_kg}")
        if not 5.0 <= self.reflex_force_n <= 300.0:
            raise ConfigError(f"reflex_force_n must be between 5 and 300 N, got {self.reflex_force_n}")
        if min(self.reflex_torque_nm) <= 0.0:
            raise ConfigError(f"reflex_torque_nm must be seven positive torques, got {self.reflex_torque_nm}")
        if self.wrench_sign not in (-1.0, 1.0):
            raise ConfigError(f"wrench_sign must be -1 or 1, got {self.wrench_sign}")

    @classmethod
    def of_cell(cls, cell: Cell, limits: Limits | None = None, **overrides: Any) -> FciSettings:
        """Return the settings of a cell.

        The cell's `gripper` mapping holds `kind` and, beside it, what the gripper needs; the load and the tool frame
        of another end effector are given as `overrides`.

        Args:
            cell: gives the address and the gripper.
            limits: if given, the robot's own force limit is set half above the task's.
            **overrides: further settings by name.
        """
        known = {f.name for f in fields(cls)}
        for name in overrides:
            if name not in known:
                raise ConfigError(f"a Franka has no setting '{name}'; it has {sorted(known)}.{nearest(name, known)}")
        gripper = dict(cell.gripper)
        kind = str(gripper.pop("kind", "franka_hand"))
        found: dict[str, Any] = {"address": cell.address, "gripper": kind, "gripper_settings": gripper}
        if limits is not None:
            found["reflex_force_n"] = min(max(1.5 * limits.force_n, 20.0), 300.0)
        return cls(**{**found, **overrides})

    def with_address(self, address: str) -> FciSettings:
        """Return the same settings for another address."""
        return replace(self, address=address)

    @property
    def X_FE(self) -> Vector:  # noqa: N802
        """Pose (4, 4) of the tool centre point in the flange."""
        X = np.eye(4)
        X[:3, :3] = quat_to_matrix(quat_normalise(np.array(self.quat_FE)))
        X[:3, 3] = self.p_FE
        return X

    @property
    def enforces_realtime(self) -> bool:
        """Whether a real-time kernel is a condition."""
        return self.realtime == "enforce" or (self.realtime == "auto" and not self.simulated)

    @property
    def simulated(self) -> bool:
        """Whether the address is of this machine, which no robot's is."""
        return is_simulator(self.address)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got '{value}'.{nearest(value, allowed)}")


def _finite(name: str, value: Any, size: int) -> None:
    if len(value) != size or not all(math.isfinite(v) for v in value):
        raise ConfigError(f"{name} must be {size} finite numbers, got {value}")
