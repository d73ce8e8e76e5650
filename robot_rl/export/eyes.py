"""The eyes of a policy as a torch module: pictures through the frozen trunk, and each camera's head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.encoders.program import Conv, Trunk, pads
from robot_rl.errors import ExportError
from robot_rl.export.module import import_torch
from robot_rl.policy import LN_EPS
from robot_rl.specs import FEATURE_OFFSET, FEATURE_SCALE, FeatureField


def eyes_module(cameras: Mapping[str, FeatureField], weights: Mapping[str, NDArray[np.float32]], trunk: Trunk) -> Any:
    """Return an `nn.Module` from one (H, W, 3) uint8 picture of each camera, in order, to the numbers its policy reads.

    The features pass through the bytes in which they are stored while a policy learns, so it sees no other ones here.
    The module gives them too, (cameras, height, width, channels) uint8: a runtime that computes a last digit otherwise
    stores a feature that lies next to a border one step apart, and only who sees the bytes can tell that from an error.

    Args:
        cameras: What the policy was told of each camera.
        weights: As `Agent.policy` gives them.
        trunk: The frozen network that made the features.

    Raises:
        ExportError: The features are not of this trunk.
    """
    torch = import_torch()
    _check(cameras, trunk)
    functional = torch.nn.functional
    # The same product and sum as `TorchTrunk` does, so that not even a rounding differs.
    rate = (1.0 / (255.0 * trunk.input_std)).astype(np.float32)
    shift = (-trunk.input_mean / trunk.input_std).astype(np.float32)

    class Eyes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.keep("rate", rate)
            self.keep("shift", shift)
            self.keep("feature_mean", trunk.feature_mean)
            self.keep("feature_std", trunk.feature_std)
            for i, op in enumerate(trunk.ops):
                if isinstance(op, Conv):
                    self.keep(f"conv{i}", op.weight.transpose(3, 2, 0, 1))
                    self.keep(f"bias{i}", op.bias)
            for i, name in enumerate(cameras):
                masks, w = weights[f"eye/{name}/masks"], weights[f"eye/{name}/w"]
                combined = np.einsum("pck,ckh->pch", masks, w, optimize=True).reshape(-1, w.shape[2])
                self.keep(f"head{i}", combined)
                self.keep(f"vectors{i}", weights[f"eye/{name}/vectors"])

        def keep(self, name: str, value: NDArray[Any]) -> None:
            self.register_buffer(name, torch.tensor(np.ascontiguousarray(value, np.float32)))

        def forward(self, *pictures: Any) -> Any:
            stored = self.stored(torch.stack(pictures))
            steps = stored * FEATURE_SCALE + FEATURE_OFFSET
            numbers = torch.cat([self.head(i, steps[i]) for i in range(len(cameras))])
            return numbers, stored.to(torch.uint8)

        def stored(self, pictures: Any) -> Any:
            """Return what is stored of pictures, whole numbers of 0 to 255, (N, height, width, channels)."""
            values = [(pictures.float() * self.rate + self.shift).permute(0, 3, 1, 2)]
            for i in range(len(trunk.ops)):
                values.append(self.step(i, values))
            steps = (values[-1].permute(0, 2, 3, 1) - self.feature_mean) / self.feature_std
            return torch.clamp(torch.round((steps - FEATURE_OFFSET) / FEATURE_SCALE), 0.0, 255.0)

        def step(self, i: int, values: list[Any]) -> Any:
            op = trunk.ops[i]
            x = values[op.source]
            height, width, _ = trunk.shapes[op.source]
            around = (*pads(width, op.kernel, op.stride, op.padding), *pads(height, op.kernel, op.stride, op.padding))
            if not isinstance(op, Conv):
                if op.kind == "average":
                    return functional.avg_pool2d(x, op.kernel, op.stride)
                return functional.max_pool2d(functional.pad(x, around, value=float("-inf")), op.kernel, op.stride)
            x = functional.pad(x, around) if any(around) else x
            y = functional.conv2d(x, getattr(self, f"conv{i}"), getattr(self, f"bias{i}"), op.stride, 0, 1, op.groups)
            y = y if op.add is None else y + values[op.add]
            return {"none": lambda v: v, "relu": functional.relu, "relu6": functional.relu6}[op.activation](y)

        def head(self, i: int, stored: Any) -> Any:
            bias, scale, shift = getattr(self, f"vectors{i}")
            h = stored.reshape(-1) @ getattr(self, f"head{i}") + bias
            h = h - h.mean()
            return torch.tanh(h * torch.rsqrt((h * h).mean() + float(LN_EPS)) * scale + shift)

    return Eyes().eval()


def _check(cameras: Mapping[str, FeatureField], trunk: Trunk) -> None:
    for name, camera in cameras.items():
        if camera.view_shape != trunk.output:
            raise ExportError(
                f"the policy reads features of shape {camera.view_shape} of the camera '{name}', the trunk "
                f"{trunk.name} makes {trunk.output}; export it with the run's own encoder (obs.encoder)"
            )
