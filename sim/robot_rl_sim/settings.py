"""The settings of the twin, checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from robot_rl.errors import ConfigError, nearest
from robot_rl_sim.randomise import Randomise

ModelName = Literal["primitive", "menagerie"]


@dataclass(frozen=True, kw_only=True)
class TwinConfig:
    """Settings of the twin.

    Attributes:
        physics_dt_s: Physics and control tick.
        control_hz: Control rate of the environment; 0 takes the task's.
        cameras: Which cameras `observe` renders.
        image_size: Height and width of their pictures.
        model: How the arm looks: "primitive" shapes, or the meshes of MuJoCo Menagerie (`robot_rl_sim.menagerie`).
            Kinematics, inertias and contacts are ours in both.
        reset_motion: Drive the arm to the start of an episode, as hardware does, instead of placing it there.
        randomise: What is drawn anew in each episode; nothing by default.
    """

    physics_dt_s: float = 0.002
    control_hz: float = 0.0
    cameras: tuple[str, ...] = ()
    image_size: int = 128
    model: ModelName = "primitive"
    reset_motion: bool = False
    randomise: Randomise = field(default_factory=Randomise)

    def __post_init__(self) -> None:
        """Refuse what no twin can be made of."""
        if not 0.0 < self.physics_dt_s <= 0.01:
            raise ConfigError(
                f"robot.physics_dt_s must be above 0 and at most 0.01 s, got {self.physics_dt_s}; 0.002 is usual"
            )
        if not 0.0 <= self.control_hz < math.inf:
            raise ConfigError(f"robot.control_hz must be a positive rate or 0 for the task's, got {self.control_hz}")
        if not 8 <= self.image_size <= 960:
            raise ConfigError(f"robot.image_size must be from 8 to 960 pixels, got {self.image_size}; 128 is usual")
        if self.model not in get_args(ModelName):
            allowed = list(get_args(ModelName))
            raise ConfigError(
                f"robot.model must be one of {allowed}, got '{self.model}'.{nearest(self.model, allowed)}"
            )


def whole_ticks(period_s: float, dt_s: float) -> int:
    """Return how many physics ticks make a control period.

    Raises:
        ConfigError: It is not a whole number.
    """
    ticks = max(round(period_s / dt_s), 1)
    if abs(ticks * dt_s - period_s) > 1e-6 * period_s:
        raise ConfigError(
            f"robot.physics_dt_s {dt_s} does not divide the control period of {period_s:.6g} s; "
            f"choose the period divided by a whole number, for instance {period_s / ticks:.6g}"
        )
    return ticks
