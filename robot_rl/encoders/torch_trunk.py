"""Runs a trunk with torch, on one thread: the fastest there is for a handful of pictures on an actor's processor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.encoders.program import Conv, Trunk, pads
from robot_rl.errors import MissingDependency


def import_torch(needed_for: str) -> Any:
    """Return torch, or raise `MissingDependency` with the extra that brings it."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as e:
        raise MissingDependency("torch", needed_for, 'pip install "robot-rl[vision]"') from e
    return torch


class TorchTrunk:
    """A trunk ready to run.

    Args:
        trunk: The program and its weights.
        threads: Processor threads of torch in this process.
    """

    def __init__(self, trunk: Trunk, threads: int = 1) -> None:
        torch = self._torch = import_torch("encoding images (obs=images)")
        torch.set_num_threads(threads)
        self._trunk = trunk
        self._weights: list[tuple[Any, Any] | None] = []
        for op in trunk.ops:
            if isinstance(op, Conv):
                weight = torch.from_numpy(np.ascontiguousarray(op.weight.transpose(3, 2, 0, 1)))
                self._weights.append(
                    (weight.contiguous(memory_format=torch.channels_last), torch.from_numpy(op.bias.copy()))
                )
            else:
                self._weights.append(None)
        # (picture / 255 - mean) / std as one product and one sum.
        self._rate = torch.from_numpy((1.0 / (255.0 * trunk.input_std)).astype(np.float32))
        self._shift = torch.from_numpy((-trunk.input_mean / trunk.input_std).astype(np.float32))
        self._last = {value: i for i, op in enumerate(trunk.ops) for value in op.reads}  # then its memory is free

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (N, height, width, channels) features of (N, H, W, 3) pictures."""
        torch = self._torch
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(images)).float() * self._rate + self._shift
            values = {0: x.permute(0, 3, 1, 2)}  # the memory stays as it is, which is what channels_last means
            for i, op in enumerate(self._trunk.ops):
                values[i + 1] = self._step(i, values)
                for value in set(op.reads):
                    if self._last[value] == i:
                        del values[value]
            return values[len(self._trunk.ops)].permute(0, 2, 3, 1).contiguous().numpy()

    def _step(self, i: int, values: dict[int, Any]) -> Any:
        op, functional = self._trunk.ops[i], self._torch.nn.functional
        x = values[op.source]
        top, bottom = pads(x.shape[2], op.kernel, op.stride, op.padding)
        left, right = pads(x.shape[3], op.kernel, op.stride, op.padding)
        if isinstance(op, Conv):
            weight, bias = self._weights[i]  # pyright: ignore[reportGeneralTypeIssues]
            even = (top, left) == (bottom, right)
            if not even:
                x = functional.pad(x, (left, right, top, bottom))
            y = functional.conv2d(x, weight, bias, op.stride, (top, left) if even else 0, 1, op.groups)
            if op.add is not None:
                y = y + values[op.add]
            if op.activation == "none":
                return y
            return functional.relu6(y, inplace=True) if op.activation == "relu6" else functional.relu(y, inplace=True)
        if op.kind == "max":
            x = functional.pad(x, (left, right, top, bottom), value=float("-inf"))
            return functional.max_pool2d(x, op.kernel, op.stride)
        return functional.avg_pool2d(x, op.kernel, op.stride)
