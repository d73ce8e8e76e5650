"""A frozen trunk as data: a short program of convolutions and poolings over a picture, with its weights.

Batch normalisation is folded into the convolutions when a trunk is converted, so nothing else is left to compute. The
same program is run by torch on the actor's machine (`torch_trunk`) and by JAX (`robot_rl.agents.trunk`); a file of it
holds numbers and plain values alone.

Values are numbered: 0 is the normalised picture, and operation i makes value i + 1. Each operation reads the value
that its `source` names, and may add another one to its result before the activation, which is how a skip connection is
written down.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from robot_rl.checkpoint import load, save
from robot_rl.errors import CheckpointError, EncoderError
from robot_rl.specs import FEATURE_OFFSET, FEATURE_SCALE

KIND = "trunk"

Padding = Literal["same", "half"]
Activation = Literal["none", "relu", "relu6"]
PoolKind = Literal["max", "average"]
Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution with bias: y = activation(conv(values[source]) + bias [+ values[add]]).

    Attributes:
        weight: (kernel, kernel, inputs / groups, outputs) float32.
        bias: (outputs,) float32.
        stride: Of both axes.
        groups: Input channels are cut into this many groups, each with its own share of the outputs.
        padding: Zeros around the picture: "same" as TensorFlow counts them (the output is ceil(size / stride), and the
            odd zero lies behind), "half" is kernel // 2 on every side, as torchvision's networks do.
        activation: Nonlinearity at the end.
        source: Number of the value that is read.
        add: Number of the value that is added before the activation, if any.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int = 1
    groups: int = 1
    padding: Padding = "same"
    activation: Activation = "none"
    source: int = 0
    add: int | None = None

    @property
    def kernel(self) -> int:
        """Side of the kernel."""
        return int(self.weight.shape[0])

    @property
    def reads(self) -> tuple[int, ...]:
        """Numbers of the values that it needs."""
        return (self.source,) if self.add is None else (self.source, self.add)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The maximum or average over square windows of values[source]; only the maximum may be padded."""

    kind: PoolKind
    kernel: int
    stride: int
    padding: Padding = "same"
    source: int = 0

    @property
    def reads(self) -> tuple[int, ...]:
        """Number of the value that it needs."""
        return (self.source,)


Op = Conv | Pool


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """A frozen network from an RGB picture to a map of features, and how the map is stored in bytes.

    Attributes:
        name: What it is, such as "efficientnet_lite0"; it says which features belong together.
        ops: The program.
        size: Height and width of the pictures that it was calibrated for, pixels.
        input_mean, input_std: (3,) a picture's value in [0, 1] is normalised with these before the program.
        feature_mean, feature_std: (channels,) of the last value; they are stored in steps of `feature_std`.
        source: SHA-256 of the weights that it was made from.
    """

    name: str
    ops: tuple[Op, ...]
    size: int
    input_mean: NDArray[np.float32]
    input_std: NDArray[np.float32]
    feature_mean: NDArray[np.float32]
    feature_std: NDArray[np.float32]
    source: str = ""

    def __post_init__(self) -> None:
        if not self.ops:
            raise EncoderError(f"the trunk {self.name} has no operations; convert its weights anew")
        channels = self.shapes[-1][2]
        for name, length in (
            ("input_mean", 3),
            ("input_std", 3),
            ("feature_mean", channels),
            ("feature_std", channels),
        ):
            value = getattr(self, name)
            if value.shape != (length,) or not np.isfinite(value).all():
                raise EncoderError(
                    f"the trunk {self.name} needs {length} finite numbers as {name}, got {value.shape}; convert anew"
                )
            if name.endswith("std") and not (value > 0).all():
                raise EncoderError(f"the trunk {self.name} has a {name} that is not positive; convert its weights anew")

    @functools.cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """(height, width, channels) of every value, the picture's first."""
        return value_shapes(self.name, self.ops, self.size)

    @property
    def output(self) -> Shape:
        """(height, width, channels) of the map of features."""
        return self.shapes[-1]

    @functools.cached_property
    def flops(self) -> int:
        """Floating-point operations of one picture: two for every product of a convolution."""
        total = 0
        for op, (height, width, _) in zip(self.ops, self.shapes[1:], strict=True):
            if isinstance(op, Conv):
                total += 2 * height * width * op.weight.size
        return total

    def quantise(self, features: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return (..., channels) features as bytes, in steps of the channels' own spread."""
        steps = (features - self.feature_mean) / self.feature_std
        return np.clip(np.rint((steps - FEATURE_OFFSET) / FEATURE_SCALE), 0, 255).astype(np.uint8)


def value_shapes(name: str, ops: tuple[Op, ...], size: int) -> tuple[Shape, ...]:
    """Return (height, width, channels) of every value of a square picture; raise `EncoderError` if ops do not fit."""
    shapes: list[Shape] = [(size, size, 3)]
    for i, op in enumerate(ops):
        where = f"operation {i} of the trunk {name}"
        for value in op.reads:
            if not 0 <= value <= i:
                raise EncoderError(f"{where} reads value {value}; allowed are 0 to {i}, what was made before it")
        height, width, channels = shapes[op.source]
        sides = tuple(out_size(side, op.kernel, op.stride, op.padding) for side in (height, width))
        if min(sides) < 1:
            raise EncoderError(
                f"{where} leaves nothing of a picture of {size} pixels; give larger pictures (image_size)"
            )
        if isinstance(op, Conv):
            if op.weight.ndim != 4 or op.weight.shape[2] * op.groups != channels:
                raise EncoderError(
                    f"{where} has weights {op.weight.shape} in {op.groups} groups, but reads {channels} channels"
                )
            channels = int(op.weight.shape[3])
            if op.bias.shape != (channels,) or channels % op.groups:
                raise EncoderError(f"{where} has {channels} outputs in {op.groups} groups and a bias {op.bias.shape}")
            if not (np.isfinite(op.weight).all() and np.isfinite(op.bias).all()):
                raise EncoderError(f"{where} has weights that are not finite; get the file of its weights anew")
        made = (*sides, channels)
        if isinstance(op, Conv) and op.add is not None and shapes[op.add] != made:
            raise EncoderError(f"{where} adds {shapes[op.add]} to {made}; a skip connection needs equal shapes")
        shapes.append((made[0], made[1], made[2]))
    return tuple(shapes)


def out_size(size: int, kernel: int, stride: int, padding: Padding) -> int:
    """Return the length of an axis after an operation."""
    if padding == "same":
        return -(-size // stride)
    return (size + 2 * (kernel // 2) - kernel) // stride + 1


def pads(size: int, kernel: int, stride: int, padding: Padding) -> tuple[int, int]:
    """Return how many zeros stand before and behind an axis of length `size`."""
    if padding == "half":
        return kernel // 2, kernel // 2
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def save_trunk(trunk: Trunk, path: Path) -> Path:
    """Write a trunk as one file, whole or not at all; raises `StorageError` if the disk does not take it."""
    arrays = {name: getattr(trunk, name) for name in _ARRAYS}
    ops: list[dict[str, Any]] = []
    for i, op in enumerate(trunk.ops):
        names = _CONV if isinstance(op, Conv) else _POOL
        ops.append({"op": "conv" if isinstance(op, Conv) else "pool", **{name: getattr(op, name) for name in names}})
        if isinstance(op, Conv):
            arrays |= {f"{i}.weight": op.weight, f"{i}.bias": op.bias}
    return save(
        path, arrays, {"kind": KIND, "name": trunk.name, "size": trunk.size, "source": trunk.source, "ops": ops}
    )


def load_trunk(path: Path) -> Trunk:
    """Read a trunk that `save_trunk` wrote, and verify every byte of it.

    Raises:
        EncoderError: It is missing, damaged or of another kind.
    """
    try:
        found = load(path)
    except CheckpointError as e:
        raise EncoderError(f"the trunk {path} cannot be read: {e}. Remove it, and it is converted anew") from e
    if found.meta.get("kind") != KIND:
        raise EncoderError(f"{path} is a {found.meta.get('kind')}, expected a {KIND}; convert the weights anew")
    try:
        return _trunk(found.meta, found.arrays)
    except (KeyError, TypeError, ValueError) as e:
        raise EncoderError(f"the trunk {path} lacks a part ({e!r}); remove it, and it is converted anew") from e


_ARRAYS = ("input_mean", "input_std", "feature_mean", "feature_std")
_CONV = ("stride", "groups", "padding", "activation", "source", "add")
_POOL = ("kind", "kernel", "stride", "padding", "source")
_ALLOWED = {"activation": get_args(Activation), "padding": get_args(Padding), "kind": get_args(PoolKind)}


def _trunk(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Trunk:
    ops: list[Op] = []
    for i, plain in enumerate(meta["ops"]):
        settings = {name: plain[name] for name in (_CONV if plain["op"] == "conv" else _POOL)}
        for name, words in _ALLOWED.items():
            if settings.get(name, words[0]) not in words:
                raise ValueError(f"operation {i} has {name} {settings[name]!r}, allowed are {', '.join(words)}")
        if not settings["stride"] >= 1:
            raise ValueError(f"operation {i} has stride {settings['stride']}")
        if plain["op"] == "conv":
            ops.append(Conv(weight=_float32(arrays, f"{i}.weight"), bias=_float32(arrays, f"{i}.bias"), **settings))
        else:
            ops.append(Pool(**settings))
    return Trunk(
        name=str(meta["name"]), ops=tuple(ops), size=int(meta["size"]), source=str(meta["source"]),
        **{name: _float32(arrays, name) for name in _ARRAYS},
    )  # fmt: skip


def _float32(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    if arrays[name].dtype != np.float32:
        raise ValueError(f"{name} is {arrays[name].dtype}, not float32")
    return arrays[name]
