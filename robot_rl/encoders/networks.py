"""The networks whose weights can be converted, written down as programs of `robot_rl.encoders.program`.

Each is cut where its map has a sixteenth of the picture's side and is averaged to 4 by 4: deep enough to know objects,
still fine enough to say where they are. Of EfficientNet-Lite0 and a cube on a table that place tells the cube's
position best: a small network behind SERL's spatial embeddings errs by 2.3 mm there, and by more from earlier blocks.

Its channels are squeezed to the 48 directions in which they vary most (`robot_rl.encoders.convert`). Where the cube is
from the tool is told nearly as well by these as by all 112 (7.2 to 7.7 against 6.9 mm, root of the mean square over
frames of 15 episodes left out of 70), while what an update reads, and multiplies, is less than half.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.encoders.program import Activation, Conv, Op, Padding, Pool, Shape, value_shapes
from robot_rl.errors import EncoderError, nearest

GRID = 4
"""Side of the map of features."""
CHANNELS = 48
"""Most channels of the map of features; a network's own are squeezed to as many."""
STRIDE = 16
"""Pixels to one number of the map before it is averaged."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Weights:
    """A checkpoint's arrays by name, handed out with their shapes checked; without any, zeros of those shapes.

    Args:
        arrays: (outputs, inputs, kernel, kernel) convolutions and the vectors of batch normalisation.
        network: What they shall be of, for messages.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]] | None, network: str) -> None:
        self._arrays, self._network = arrays, network

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return one array; raise `EncoderError` if it is missing or of another shape."""
        if self._arrays is None:
            return np.zeros(shape, np.float32)
        if name not in self._arrays:
            hint = nearest(name, self._arrays)
            raise EncoderError(
                f"the weights have no layer '{name}', which {self._network} needs with the shape {shape}; found are "
                f"{len(self._arrays)} others.{hint} Supported are checkpoints of {supported()}"
            )
        found = np.asarray(self._arrays[name], np.float32)
        if found.shape != shape:
            raise EncoderError(
                f"the layer '{name}' has shape {found.shape}, {self._network} needs {shape}. Supported are "
                f"checkpoints of {supported()}"
            )
        return found

    def conv(
        self, name: str, norm: str, shape: tuple[int, int, int], *, eps: float, groups: int = 1, **settings: Any
    ) -> Conv:
        """Return a convolution with the batch normalisation behind it folded in.

        Args:
            name, norm: Of the convolution and of the normalisation.
            shape: (kernel, inputs, outputs).
            eps: Of the normalisation.
            groups: Of the convolution.
            **settings: More for `Conv`.
        """
        kernel, inputs, outputs = shape
        weight = self.take(f"{name}.weight", (outputs, inputs // groups, kernel, kernel))
        names = ("weight", "bias", "running_mean", "running_var")
        gain, bias, mean, variance = (self.take(f"{norm}.{part}", (outputs,)) for part in names)
        rate = (gain.astype(np.float64) / np.sqrt(variance.astype(np.float64) + eps)).astype(np.float32)
        folded = (weight * rate[:, None, None, None]).transpose(2, 3, 1, 0)
        shift = (bias - mean * rate).astype(np.float32)
        return Conv(weight=np.ascontiguousarray(folded), bias=shift, groups=groups, **settings)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that can be converted.

    Attributes:
        ops: Makes its program, up to the map that is averaged.
        blocks: How many blocks its checkpoints have, part by part: what tells it from its relatives.
    """

    ops: Callable[[Weights], list[Op]]
    blocks: tuple[int, ...]
    input_mean: tuple[float, float, float] = IMAGENET[0]
    input_std: tuple[float, float, float] = IMAGENET[1]


def _lite(width: float, depth: float) -> Network:
    # Kernel, stride, outputs, expansion, repeats of the stages of EfficientNet-B0, as its paper lists them. The Lite
    # family leaves out squeeze and excitation, uses ReLU6, and scales neither the stem nor the first and last stage's
    # depth.
    stages = [(3, 1, 16, 1, 1), (3, 2, 24, 6, 2), (5, 2, 40, 6, 2), (3, 2, 80, 6, 3), (5, 1, 112, 6, 3),
              (5, 2, 192, 6, 4), (3, 1, 320, 6, 1)]  # fmt: skip
    ends = (0, len(stages) - 1)
    scaled = [
        (k, s, _eighth(out * width), e, n if i in ends else math.ceil(n * depth))
        for i, (k, s, out, e, n) in enumerate(stages)
    ]

    def ops(weights: Weights) -> list[Op]:
        common: dict[str, Any] = {"eps": 1e-3, "padding": "same"}
        made: list[Op] = [weights.conv("_conv_stem", "_bn0", (3, 3, 32), stride=2, activation="relu6", **common)]
        inputs, block = 32, 0
        for kernel, first_stride, outputs, expansion, repeats in scaled[:5]:
            for repeat in range(repeats):
                stride, wide, at = first_stride if repeat == 0 else 1, inputs * expansion, f"_blocks.{block}"
                begin = len(made)
                if expansion != 1:
                    made.append(
                        weights.conv(f"{at}._expand_conv", f"{at}._bn0", (1, inputs, wide), source=len(made),
                                     activation="relu6", **common)
                    )  # fmt: skip
                made.append(
                    weights.conv(f"{at}._depthwise_conv", f"{at}._bn1", (kernel, wide, wide), groups=wide,
                                 stride=stride, source=len(made), activation="relu6", **common)
                )  # fmt: skip
                add = begin if stride == 1 and inputs == outputs else None
                made.append(
                    weights.conv(f"{at}._project_conv", f"{at}._bn2", (1, wide, outputs), source=len(made), add=add,
                                 **common)
                )  # fmt: skip
                inputs, block = outputs, block + 1
        return made

    return Network(ops=ops, blocks=(sum(n for *_, n in scaled),))


def _eighth(channels: float) -> int:
    """Round to a multiple of 8, but not down by more than a tenth, as EfficientNet does."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _resnet(*blocks: int) -> Network:
    def ops(weights: Weights) -> list[Op]:
        padding: Padding = "half"
        relu: Activation = "relu"
        common: dict[str, Any] = {"eps": 1e-5, "padding": padding}
        made: list[Op] = [weights.conv("conv1", "bn1", (7, 3, 64), stride=2, activation=relu, **common)]
        made.append(Pool(kind="max", kernel=3, stride=2, padding=padding, source=1))
        inputs = 64
        for stage, (repeats, outputs) in enumerate(zip(blocks[:3], (64, 128, 256), strict=True)):
            for repeat in range(repeats):
                at, stride = f"layer{stage + 1}.{repeat}", 2 if stage > 0 and repeat == 0 else 1
                begin = skip = len(made)
                if stride != 1 or inputs != outputs:
                    names = f"{at}.downsample.0", f"{at}.downsample.1"
                    made.append(weights.conv(*names, (1, inputs, outputs), stride=stride, source=begin, **common))
                    skip = len(made)
                first = weights.conv(
                    f"{at}.conv1", f"{at}.bn1", (3, inputs, outputs), stride=stride, source=begin, activation=relu,
                    **common,
                )  # fmt: skip
                made.append(first)
                made.append(
                    weights.conv(f"{at}.conv2", f"{at}.bn2", (3, outputs, outputs), source=len(made), add=skip,
                                 activation=relu, **common)
                )  # fmt: skip
                inputs = outputs
        return made

    return Network(ops=ops, blocks=blocks)


NETWORKS: dict[str, Network] = {
    "efficientnet_lite0": _lite(1.0, 1.0),
    "efficientnet_lite1": _lite(1.0, 1.1),
    "efficientnet_lite2": _lite(1.1, 1.2),
    "efficientnet_lite3": _lite(1.2, 1.4),
    "efficientnet_lite4": _lite(1.4, 1.8),
    "resnet18": _resnet(2, 2, 2, 2),
    "resnet34": _resnet(3, 4, 6, 3),
}


def supported() -> str:
    """Return the supported networks in words."""
    return (
        "efficientnet_lite0 to 4 with the names of the package efficientnet-lite-pytorch (_conv_stem.weight, "
        "_blocks.0._bn1.weight, ...), and resnet18 and resnet34 with those of torchvision or timm (conv1.weight, "
        "layer1.0.conv1.weight, ...)"
    )


def network_of(names: Mapping[str, Any]) -> str:
    """Return which network a checkpoint is of, by the names of its arrays; raise `EncoderError` if none is known."""
    if "_conv_stem.weight" in names:
        blocks = (_count(names, "_blocks."),)
    elif "layer1.0.conv1.weight" in names:
        if "layer1.0.conv3.weight" in names:
            shape = np.shape(names["layer1.0.conv3.weight"])
            raise EncoderError(
                f"the weights have a layer 'layer1.0.conv3.weight' of shape {shape}, so they are of a ResNet with "
                "bottlenecks (50, 101, 152), whose maps are too wide to keep. Supported are checkpoints of "
                f"{supported()}"
            )
        blocks = tuple(_count(names, f"layer{i}.") for i in (1, 2, 3, 4))
    else:
        raise EncoderError(
            f"the weights are of no supported network: their layers begin with {', '.join(list(names)[:3]) or 'none'}. "
            f"Supported are checkpoints of {supported()}"
        )
    alike = [name for name, network in NETWORKS.items() if network.blocks == blocks]
    for name in alike[:-1]:  # relatives of equal depth differ in their widths
        with contextlib.suppress(EncoderError):
            NETWORKS[name].ops(Weights(names, name))
            return name
    if alike:
        return alike[-1]
    kind = "EfficientNet-Lite" if len(blocks) == 1 else "ResNet"
    counts = ", ".join(f"{name} {'+'.join(map(str, n.blocks))}" for name, n in NETWORKS.items())
    raise EncoderError(
        f"the weights are of a{'n' if kind[0] == 'E' else ''} {kind} of {'+'.join(map(str, blocks))} blocks, which is "
        f"not supported; supported are {counts}"
    )


def _count(names: Mapping[str, Any], prefix: str) -> int:
    return len({name[len(prefix) :].partition(".")[0] for name in names if name.startswith(prefix)})


def program_of(name: str, size: int, arrays: Mapping[str, NDArray[Any]] | None = None) -> tuple[Op, ...]:
    """Return the program of a network for square pictures, ending in a map of 4 by 4 with at most `CHANNELS` channels.

    The last operation squeezes the channels where there are more; its weights are zeros until a conversion sets them.

    Args:
        name: One of `NETWORKS`.
        size: Height and width of the pictures, pixels.
        arrays: Its weights by name; without any they are zeros, which is enough to know the shapes.
    """
    if name not in NETWORKS:
        raise EncoderError(
            f"there is no encoder '{name}'; there are {', '.join(NETWORKS)}, or give a file of weights."
            f"{nearest(name, NETWORKS)}"
        )
    if size < GRID * STRIDE or size % (GRID * STRIDE):
        raise EncoderError(
            f"pictures of {size} pixels do not fit the encoder {name}; allowed are multiples of {GRID * STRIDE} "
            "(robot.image_size=128)"
        )
    ops = NETWORKS[name].ops(Weights(arrays, name))
    window = size // (GRID * STRIDE)
    if window > 1:
        ops.append(Pool(kind="average", kernel=window, stride=window, source=len(ops)))
    channels = value_shapes(name, tuple(ops), size)[-1][2]
    if channels > CHANNELS:
        weight, bias = np.zeros((1, 1, channels, CHANNELS), np.float32), np.zeros(CHANNELS, np.float32)
        ops.append(Conv(weight=weight, bias=bias, source=len(ops)))
    return tuple(ops)


def output_shape(name: str, size: int) -> Shape:
    """Return (height, width, channels) of a network's map of features."""
    return value_shapes(name, program_of(name, size), size)[-1]
