"""The eyes of a policy as a torch module: pictures to what is stored of them, and each camera's head behind that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.encoders.encoder import Encoder
from robot_rl.encoders.program import Conv, Trunk, pads
from robot_rl.encoders.raw import SIDE, RawEncoder
from robot_rl.errors import ExportError
from robot_rl.export.module import import_torch
from robot_rl.policy import LN_EPS, cnn_layers
from robot_rl.specs import FEATURE_OFFSET, FEATURE_SCALE, FeatureField


def eyes_module(
    cameras: Mapping[str, FeatureField], weights: Mapping[str, NDArray[np.float32]], encoder: Encoder | RawEncoder
) -> Any:
    """Return an `nn.Module` from one (H, W, 3) uint8 picture of each camera, in order, to the numbers its policy reads.

    The features pass through the bytes in which they are stored while a policy learns, so it sees no other ones here.
    The module gives them too, (cameras, height, width, channels) uint8: a runtime that computes a last digit otherwise
    stores a feature that lies next to a border one step apart, and only who sees the bytes can tell that from an error.

    Args:
        cameras: What the policy was told of each camera.
        weights: As `Agent.policy` gives them.
        encoder: Of the run: a frozen trunk, or none where the policy's own convolutions see.

    Raises:
        ExportError: The features are not of this encoder.
    """
    torch = import_torch()
    _check(cameras, encoder)
    functional = torch.nn.functional
    see = _smaller(torch, encoder) if isinstance(encoder, RawEncoder) else _frozen(torch, encoder.trunk)
    layers = {name: cnn_layers(camera.height) if camera.raw else 0 for name, camera in cameras.items()}

    class Eyes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.see = see
            for i, name in enumerate(cameras):
                part = {k.rpartition("/")[2]: v for k, v in weights.items() if k.startswith(f"eye/{name}/")}
                combined = np.einsum("pck,ckh->pch", part["masks"], part["w"], optimize=True)
                _keep(torch, self, f"head{i}", combined.reshape(-1, part["w"].shape[2]))
                _keep(torch, self, f"vectors{i}", part["vectors"])
                for n in range(layers[name]):
                    _keep(torch, self, f"conv{i}_{n}", part[f"conv{n}"].transpose(3, 2, 0, 1))
                    _keep(torch, self, f"shift{i}_{n}", part[f"shift{n}"])

        def forward(self, *pictures: Any) -> Any:
            stored = self.see(torch.stack(pictures))
            numbers = torch.cat([self.head(i, name, stored[i]) for i, name in enumerate(cameras)])
            return numbers, stored.to(torch.uint8)

        def head(self, i: int, name: str, stored: Any) -> Any:
            if layers[name]:
                x = (stored / 255.0 - 0.5).permute(2, 0, 1)[None]
                for n in range(layers[name]):
                    x = functional.pad(x, (0, 1, 0, 1))
                    x = functional.conv2d(x, getattr(self, f"conv{i}_{n}"), getattr(self, f"shift{i}_{n}"), 2)
                    x = functional.relu(x)
                features = x[0].permute(1, 2, 0)
            else:
                features = stored * FEATURE_SCALE + FEATURE_OFFSET
            bias, scale, shift = getattr(self, f"vectors{i}")
            h = features.reshape(-1) @ getattr(self, f"head{i}") + bias
            h = h - h.mean()
            return torch.tanh(h * torch.rsqrt((h * h).mean() + float(LN_EPS)) * scale + shift)

    return Eyes().eval()


def _keep(torch: Any, module: Any, name: str, value: NDArray[Any]) -> None:
    module.register_buffer(name, torch.tensor(np.ascontiguousarray(value, np.float32)))


def _smaller(torch: Any, encoder: RawEncoder) -> Any:
    """Return a module from (N, H, W, 3) uint8 pictures to those averaged to (N, SIDE, SIDE, 3), whole numbers."""
    cell = encoder.size // SIDE

    class Smaller(torch.nn.Module):
        def forward(self, pictures: Any) -> Any:
            shown = torch.nn.functional.avg_pool2d(pictures.float().permute(0, 3, 1, 2), cell, cell)
            return torch.round(shown).permute(0, 2, 3, 1)

    return Smaller()


def _frozen(torch: Any, trunk: Trunk) -> Any:
    """Return a module from (N, H, W, 3) uint8 pictures to what is stored of a trunk's features, whole numbers."""
    functional = torch.nn.functional
    # The same product and sum as `TorchTrunk` does, so that not even a rounding differs.
    rate = (1.0 / (255.0 * trunk.input_std)).astype(np.float32)
    shift = (-trunk.input_mean / trunk.input_std).astype(np.float32)

    class Frozen(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            _keep(torch, self, "rate", rate)
            _keep(torch, self, "shift", shift)
            _keep(torch, self, "feature_mean", trunk.feature_mean)
            _keep(torch, self, "feature_std", trunk.feature_std)
            for i, op in enumerate(trunk.ops):
                if isinstance(op, Conv):
                    _keep(torch, self, f"conv{i}", op.weight.transpose(3, 2, 0, 1))
                    _keep(torch, self, f"bias{i}", op.bias)

        def forward(self, pictures: Any) -> Any:
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

    return Frozen()


def _check(cameras: Mapping[str, FeatureField], encoder: Encoder | RawEncoder) -> None:
    for name, camera in cameras.items():
        if camera.view_shape != encoder.field.view_shape:
            raise ExportError(
                f"the policy reads features of shape {camera.view_shape} of the camera '{name}', the encoder "
                f"{encoder.field.encoder} makes {encoder.field.view_shape}; export it with the run's own encoder "
                "(obs.encoder)"
            )
