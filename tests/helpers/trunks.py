"""Small trunks and checkpoints for the tests, and the plainest way to run a trunk: loops over pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_rl.encoders.networks import NETWORKS, Weights
from robot_rl.encoders.program import Conv, Pool, Trunk, pads


def small_trunk(seed: int = 0, size: int = 16, name: str = "small") -> Trunk:
    """Return a trunk of random weights that uses everything a program can say."""
    rng = np.random.default_rng(seed)

    def conv(kernel: int, inputs: int, outputs: int, **settings) -> Conv:
        shape = (kernel, kernel, inputs // settings.get("groups", 1), outputs)
        weight = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:3]))).astype(np.float32)
        return Conv(weight=weight, bias=rng.standard_normal(outputs).astype(np.float32), **settings)

    ops = (
        conv(3, 3, 8, stride=2, activation="relu6"),  # 1
        conv(5, 8, 8, groups=8, source=1, activation="relu"),  # 2
        conv(1, 8, 8, source=2, add=1),  # 3
        Pool(kind="max", kernel=3, stride=2, padding="half", source=3),  # 4
        conv(1, 8, 6, stride=1, source=4, padding="half"),  # 5
        conv(3, 8, 6, source=4, padding="half", add=5, activation="relu"),  # 6
        Pool(kind="average", kernel=2, stride=2, source=6),  # 7
    )
    return Trunk(
        name=name, ops=ops, size=size, source=f"{seed:012x}".ljust(64, "0"),
        input_mean=np.array([0.5, 0.4, 0.3], np.float32), input_std=np.array([0.2, 0.3, 0.25], np.float32),
        feature_mean=rng.standard_normal(6).astype(np.float32), feature_std=rng.uniform(0.5, 2.0, 6).astype(np.float32),
    )  # fmt: skip


def run_plainly(trunk: Trunk, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the (height, width, channels) features of one picture, in double precision."""
    values = [(image / 255.0 - trunk.input_mean) / trunk.input_std]
    for op in trunk.ops:
        x = values[op.source]
        fill = -np.inf if isinstance(op, Pool) and op.kind == "max" else 0.0
        around = [pads(side, op.kernel, op.stride, op.padding) for side in x.shape[:2]]
        x = np.pad(x, (*around, (0, 0)), constant_values=fill)
        rows = range(0, x.shape[0] - op.kernel + 1, op.stride)
        columns = range(0, x.shape[1] - op.kernel + 1, op.stride)
        windows = np.array([[x[r : r + op.kernel, c : c + op.kernel] for c in columns] for r in rows])
        if isinstance(op, Pool):
            y = windows.max(axis=(2, 3)) if op.kind == "max" else windows.mean(axis=(2, 3))
        else:
            each, per_group = op.weight.shape[2], op.weight.shape[3] // op.groups
            parts = [
                np.tensordot(
                    windows[..., g * each : (g + 1) * each], op.weight[..., g * per_group : (g + 1) * per_group], 3
                )
                for g in range(op.groups)
            ]
            y = np.concatenate(parts, axis=-1) + op.bias
            y = y + values[op.add] if op.add is not None else y
            y = {"none": y, "relu": np.maximum(y, 0.0), "relu6": np.clip(y, 0.0, 6.0)}[op.activation]
        values.append(y)
    return values[-1]


class _Drawn(Weights):
    """Random weights in place of a checkpoint's, remembered by name: a checkpoint of any supported network."""

    def __init__(self, network: str, seed: int) -> None:
        super().__init__(None, network)
        self._rng = np.random.default_rng(seed)
        self.arrays: dict[str, NDArray[np.float32]] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if len(shape) == 4:
            drawn = self._rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))
        else:
            low, high = {"weight": (0.5, 1.5), "running_var": (0.5, 2.0)}.get(name.rpartition(".")[2], (-0.3, 0.3))
            drawn = self._rng.uniform(low, high, shape)
        self.arrays[name] = drawn.astype(np.float32)
        return self.arrays[name]


def drawn_checkpoint(network: str, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return random weights of a supported network by name, with a name in each block that is not converted."""
    weights = _Drawn(network, seed)
    NETWORKS[network].ops(weights)
    arrays = dict(weights.arrays)
    one = np.zeros(1, np.float32)
    if network.startswith("resnet"):
        parts = NETWORKS[network].blocks
        arrays |= {f"layer{i + 1}.{k}.more": one for i, n in enumerate(parts) for k in range(n)}
    else:
        arrays |= {f"_blocks.{k}.more": one for k in range(NETWORKS[network].blocks[0])}
    return arrays
