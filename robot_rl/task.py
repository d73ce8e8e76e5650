"""The `Task`: what is to be done, as data and pure functions. It never asks whether it runs in simulation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.robot import ArmCommand, ResetRequest, RobotState, Vector
from robot_rl.specs import ActionSpec, ObservationSpec


@dataclass(frozen=True, kw_only=True)
class Compliance:
    """Settings of the Cartesian impedance controller for a task.

    Attributes:
        stiffness: (3 translational [N/m], 3 rotational [N m/rad]).
        damping: (3 [N s/m], 3 [N m s/rad]).
        clip_m: Largest position error per axis that the spring sees; stiffness times clip bounds the contact force.
        clip_rad: Largest rotation error (norm) that the spring sees.
        speed_m_s, speed_rad_s: How fast the reference slews towards the target.
    """

    stiffness: tuple[float, float, float, float, float, float] = (2000.0, 2000.0, 2000.0, 150.0, 150.0, 150.0)
    damping: tuple[float, float, float, float, float, float] = (89.0, 89.0, 89.0, 7.0, 7.0, 7.0)
    clip_m: tuple[float, float, float] = (0.01, 0.01, 0.01)
    clip_rad: float = 0.1
    speed_m_s: float = 0.5
    speed_rad_s: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The workspace and the rates that the guard enforces.

    Attributes:
        box_min_m, box_max_m: Corners of the workspace box of the tool in B.
        cone_rad: Largest angle between the tool's z axis and `cone_axis`.
        cone_axis: Unit vector in B that the tool's z axis shall stay near; straight down by default.
        step_m, step_rad: Largest distance from the measured pose to a commanded one in one control period.
        force_n: Contact force above which the guard latches a stop.
        command_age_s: A command older than this is not executed; the arm holds.
        soft_force_n: Contact force above which nothing is advanced against it; off by default.
        speed_m_s, speed_rad_s: How fast successive commands may move; by default 1.5 steps in a control period, which
            the steps alone allow when the direction is reversed.
        acceleration_m_s2, acceleration_rad_s2: How fast that speed may grow; slowing down is always allowed. Off by
            default.
    """

    box_min_m: tuple[float, float, float]
    box_max_m: tuple[float, float, float]
    cone_rad: float = 0.6
    cone_axis: tuple[float, float, float] = (0.0, 0.0, -1.0)
    step_m: float = 0.08
    step_rad: float = 0.5
    force_n: float = 80.0
    command_age_s: float = 0.25
    soft_force_n: float = math.inf
    speed_m_s: float = math.inf
    speed_rad_s: float = math.inf
    acceleration_m_s2: float = math.inf
    acceleration_rad_s2: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Geom:
    """A primitive shape of an object, in the object's frame.

    Attributes:
        kind: "box" (half sizes), "cylinder" or "capsule" (radius, half height along z) or "sphere" (radius).
        size_m: Sizes as MuJoCo orders them.
        pos_m, quat: Pose in the object's frame, quaternion wxyz.
        rgba: Colour.
        collides: False for looks only.
        sliding: Sliding friction against whatever touches the shape, fingers too; none takes the larger one of both.
    """

    kind: Literal["box", "cylinder", "capsule", "sphere"]
    size_m: tuple[float, ...]
    pos_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    rgba: tuple[float, float, float, float] = (0.8, 0.3, 0.2, 1.0)
    collides: bool = True
    sliding: float | None = None


@dataclass(frozen=True, kw_only=True)
class Joint:
    """How an object hangs on another one: turning about its own origin, with a spring towards its rest pose.

    Attributes:
        to: Name of the object that carries it, which comes before it in the scene.
        axis: Unit vector of a hinge, in the object's frame; none makes a ball joint.
        stiffness_n_m_rad, damping_n_m_s_rad: Of the spring, per axis.
        armature_kg_m2: Inertia added to each axis: light links on stiff springs need some to be simulated.
        range_rad: How far a hinge turns to either side of its rest; none is unlimited.
    """

    to: str
    axis: tuple[float, float, float] | None = None
    stiffness_n_m_rad: float = 0.0
    damping_n_m_s_rad: float = 0.0
    armature_kg_m2: float = 0.0
    range_rad: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Tie:
    """What holds a point of an object to a point of another, so that a chain of joints ends there.

    Attributes:
        to: Name of the other object.
        at_m: The point in the frame of the object that is tied.
        there_m: The point in the frame of the other.
    """

    to: str
    at_m: tuple[float, float, float]
    there_m: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """An object of a task for a twin to build.

    Attributes:
        geoms: Its shapes.
        mass_kg: Total mass, shared by volume.
        motion: "free" moves by physics, "placed" is fixed but set at each reset, "held" is rigid in the hand,
            "jointed" turns on another object.
        pos_m, quat: Rest pose in B; in E for a held object, in the frame of its carrier for a jointed one.
        friction: Sliding, torsional and rolling coefficient.
        joint: How a jointed object hangs on its carrier; none for the others.
        tie: What the object is tied to, if anything.
    """

    geoms: tuple[Geom, ...]
    mass_kg: float = 0.05
    motion: Literal["free", "placed", "held", "jointed"] = "free"
    pos_m: tuple[float, float, float] = (0.5, 0.0, 0.0)
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    friction: tuple[float, float, float] = (1.0, 0.005, 0.0001)
    joint: Joint | None = None
    tie: Tie | None = None


@dataclass(slots=True)
class Outcome:
    """How one step ended: reward, whether the task is over (not by the clock), and whether it succeeded."""

    reward: float
    terminated: bool
    success: bool
    reason: str = ""


class Task(Protocol):
    """Observations, actions, reward, success, reset and limits of one skill."""

    name: str
    observation_spec: ObservationSpec
    action_spec: ActionSpec
    control_hz: float
    max_steps: int
    compliance: Compliance
    limits: Limits
    scene: Mapping[str, SceneObject]

    def sample_reset(self, rng: np.random.Generator) -> ResetRequest:
        """Draw where the next episode begins."""
        ...

    def state_vector(self, state: RobotState) -> NDArray[np.float32]:
        """Return the flat state of `observation_spec`."""
        ...

    def outcome(self, state: RobotState) -> Outcome:
        """Judge the state that a step led to."""
        ...


class Judge(Protocol):
    """What says of a step whether it is a success, in the place of the task: a classifier, or a person."""

    def begin(self) -> None:
        """An episode begins."""
        ...

    def outcome(self, state: RobotState) -> tuple[Outcome, dict[str, Any]]:
        """Judge the state that a step led to, and tell what else is known of it, as plain values."""
        ...

    def heard(self, verdict: str) -> None:
        """Hear what the operator said, "success", "failure" or "discard", of the state that was judged last."""
        ...

    def close(self) -> None:
        """Let go of files. Safe to call twice; the next `begin` opens them again."""
        ...


class Expert(Protocol):
    """A scripted source of demonstrations for a twin."""

    def reset(self, rng: np.random.Generator) -> None:
        """Start an episode."""
        ...

    def action(self, state: RobotState) -> NDArray[np.float32]:
        """Return an action in the task's action space."""
        ...


@dataclass(slots=True)
class EpisodeInfo:
    """What is known of a finished episode beside its transitions."""

    success: bool = False
    truncated: bool = False
    steps: int = 0
    reward_sum: float = 0.0
    reason: str = ""
    source: str = "policy"
    guard_events: dict[str, int] = field(default_factory=dict)


__all__ = [
    "ArmCommand",
    "Compliance",
    "EpisodeInfo",
    "Expert",
    "Geom",
    "Joint",
    "Judge",
    "Limits",
    "Outcome",
    "ResetRequest",
    "RobotState",
    "SceneObject",
    "Task",
    "Tie",
    "Vector",
]
