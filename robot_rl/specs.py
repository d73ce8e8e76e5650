"""What an observation and an action are made of: names, shapes, units, and their flat layout.

The learner sees one flat float32 state vector and, when a task has cameras, a dictionary of uint8 images, or of the
features that a frozen encoder made of them. An action is one flat float32 vector in [-1, 1]: the continuous groups
first, then one number per discrete group, whose choices are spread evenly over [-1, 1]. One representation serves
gymnasium, the replay, the wire and the agent.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class StateField:
    """One named part of the state vector.

    Attributes:
        size: How many numbers it has.
        unit: Physical unit in words, such as "m" or "m/s".
        scale: A typical magnitude in that unit; networks see `(value - offset) / scale`.
        offset: A typical value, subtracted before scaling.
        doc: What it is and in which frame.
    """

    size: int
    unit: str
    scale: float = 1.0
    offset: tuple[float, ...] = ()
    doc: str = ""

    def __post_init__(self) -> None:
        if self.size <= 0 or self.scale <= 0.0:
            raise SpecError(f"a state field needs a positive size and scale, got size {self.size}, scale {self.scale}")
        if self.offset and len(self.offset) != self.size:
            raise SpecError(f"offset has {len(self.offset)} numbers, the field has {self.size}")


@dataclass(frozen=True, kw_only=True)
class ImageField:
    """One camera image, (height, width, 3) uint8 RGB."""

    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (height, width, 3)."""
        return (self.height, self.width, 3)


FEATURE_REACH = 6.0
"""How many standard deviations of a channel the bytes of a stored feature reach to either side of its mean."""
FEATURE_SCALE = 2.0 * FEATURE_REACH / 255.0
FEATURE_OFFSET = -FEATURE_REACH
"""A stored byte stands for byte * FEATURE_SCALE + FEATURE_OFFSET standard deviations of its channel."""


RAW = "cnn"
"""Of what says that it was made by no encoder: pictures that a policy's own convolutions read."""


@dataclass(frozen=True, kw_only=True)
class FeatureField:
    """What a frozen encoder made of one camera's image: (views, height, width, channels) uint8.

    Attributes:
        views: The image as it is (number 0), and randomly shifted copies of it to learn from.
        height, width, channels: Of the map of features.
        encoder: What made them; features of different encoders do not mix.
    """

    views: int
    height: int
    width: int
    channels: int
    encoder: str = ""

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise SpecError(f"a feature field needs at least one view of at least one number, got {self.shape}")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (views, height, width, channels)."""
        return (self.views, self.height, self.width, self.channels)

    @property
    def raw(self) -> bool:
        """Whether these are pictures still, which the policy's own convolutions read."""
        return self.encoder.partition("/")[0] == RAW

    @property
    def view_shape(self) -> tuple[int, int, int]:
        """Return (height, width, channels): what is left when a view is chosen."""
        return self.shape[1:]


CameraField = ImageField | FeatureField


@dataclass(frozen=True, kw_only=True)
class ObservationSpec:
    """The ordered state fields of a task, and what is seen through its cameras."""

    state: Mapping[str, StateField]
    images: Mapping[str, CameraField] = field(default_factory=dict)

    @functools.cached_property
    def size(self) -> int:
        """Length of the flat state vector."""
        return sum(f.size for f in self.state.values())

    @functools.cached_property
    def slices(self) -> dict[str, slice]:
        """Where each field lies in the flat state vector."""
        out: dict[str, slice] = {}
        start = 0
        for name, f in self.state.items():
            out[name] = slice(start, start + f.size)
            start += f.size
        return out

    @functools.cached_property
    def scale(self) -> NDArray[np.float32]:
        """(size,) float32 typical magnitude of each entry."""
        return np.concatenate([np.full(f.size, f.scale, np.float32) for f in self.state.values()])

    @functools.cached_property
    def offset(self) -> NDArray[np.float32]:
        """(size,) float32 typical value of each entry."""
        parts = [np.asarray(f.offset or (0.0,) * f.size, np.float32) for f in self.state.values()]
        return np.concatenate(parts)

    def describe(self) -> dict[str, object]:
        """Return a plain dictionary for the handshake and for run records."""
        return {
            "state": {k: [f.size, f.unit, f.scale, list(f.offset)] for k, f in self.state.items()},
            "images": {k: _describe(f) for k, f in self.images.items()},
        }


def _describe(camera: CameraField) -> list[object]:
    return [*camera.shape, camera.encoder] if isinstance(camera, FeatureField) else [*camera.shape]


@dataclass(frozen=True, kw_only=True)
class ContinuousGroup:
    """A group of continuous action entries; 1.0 means `scale` in `unit`."""

    size: int
    unit: str
    scale: float
    doc: str = ""


@dataclass(frozen=True, kw_only=True)
class DiscreteGroup:
    """One action entry that picks among named choices."""

    choices: tuple[str, ...]
    doc: str = ""

    def __post_init__(self) -> None:
        if len(self.choices) < 2:
            raise SpecError(f"a discrete group needs at least two choices, got {self.choices}")

    def index(self, value: float) -> int:
        """Return the choice nearest to `value` in [-1, 1]."""
        n = len(self.choices) - 1
        return min(max(round((float(value) + 1.0) * 0.5 * n), 0), n)

    def value(self, index: int) -> float:
        """Return the number in [-1, 1] that stands for choice `index`."""
        return 2.0 * index / (len(self.choices) - 1) - 1.0


@dataclass(frozen=True, kw_only=True)
class ActionSpec:
    """Named continuous and discrete groups, and their flat layout in [-1, 1]."""

    continuous: Mapping[str, ContinuousGroup]
    discrete: Mapping[str, DiscreteGroup] = field(default_factory=dict)

    @functools.cached_property
    def continuous_size(self) -> int:
        """How many continuous entries come first."""
        return sum(g.size for g in self.continuous.values())

    @functools.cached_property
    def size(self) -> int:
        """Length of the flat action vector."""
        return self.continuous_size + len(self.discrete)

    @functools.cached_property
    def slices(self) -> dict[str, slice]:
        """Where each group lies in the flat action vector."""
        out: dict[str, slice] = {}
        start = 0
        for name, g in self.continuous.items():
            out[name] = slice(start, start + g.size)
            start += g.size
        for name in self.discrete:
            out[name] = slice(start, start + 1)
            start += 1
        return out

    @functools.cached_property
    def choice_counts(self) -> tuple[int, ...]:
        """Number of choices of each discrete group."""
        return tuple(len(g.choices) for g in self.discrete.values())

    @functools.cached_property
    def joint_choices(self) -> int:
        """Number of joint choices over all discrete groups (1 when there is none)."""
        return int(np.prod(self.choice_counts, dtype=int)) if self.discrete else 1

    @functools.cached_property
    def joint_values(self) -> NDArray[np.float32]:
        """(joint_choices, n_discrete) float32: the action entries of each joint choice, last group fastest."""
        if not self.discrete:
            return np.zeros((1, 0), np.float32)
        grids = np.meshgrid(*[np.arange(n) for n in self.choice_counts], indexing="ij")
        idx = np.stack([g.ravel() for g in grids], axis=1)
        counts = np.asarray(self.choice_counts)
        return (2.0 * idx / (counts - 1) - 1.0).astype(np.float32)

    def joint_index(self, actions: NDArray[np.floating]) -> NDArray[np.int32]:
        """Return the joint choice of each action.

        Args:
            actions: (..., size) actions in [-1, 1].
        """
        out = np.zeros(actions.shape[:-1], np.int32)
        for i, n in enumerate(self.choice_counts):
            value = np.asarray(actions[..., self.continuous_size + i])
            idx = np.clip(np.rint((value + 1.0) * 0.5 * (n - 1)), 0, n - 1).astype(np.int32)
            out = out * n + idx
        return out

    def describe(self) -> dict[str, object]:
        """Return a plain dictionary for the handshake and for run records."""
        return {
            "continuous": {k: [g.size, g.unit, g.scale] for k, g in self.continuous.items()},
            "discrete": {k: list(g.choices) for k, g in self.discrete.items()},
        }
