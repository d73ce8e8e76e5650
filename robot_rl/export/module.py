"""The acting network as a torch module, from published weights: observation in, action out, normalisation inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import MissingDependency
from robot_rl.policy import LN_EPS
from robot_rl.specs import ActionSpec, ObservationSpec

EXTRA = "pip install 'robot-rl[deploy]'"


def import_torch() -> Any:
    """Return torch, or raise `MissingDependency` with the extra that brings it."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as e:
        raise MissingDependency("torch", "exporting a policy", EXTRA) from e
    return torch


STORED = "stored"
"""Name of the features that a policy's eyes have made of the pictures."""


def output_names(action_spec: ActionSpec, sees: bool = False) -> list[str]:
    """Return what the module gives, in order.

    Args:
        action_spec: What the policy gives.
        sees: Whether it reads pictures.

    "location" and "std" (C,) of the Gaussian before tanh, where there are continuous entries; "choice_logits" (K,),
    where there are discrete ones; "action" (A,), the mode: tanh of the location and the likeliest choice; "stored"
    (cameras, height, width, channels) uint8, for a policy that sees: see `robot_rl.export.eyes`.
    """
    names = ["location", "std"] if action_spec.continuous_size else []
    names += ["choice_logits"] if action_spec.joint_choices > 1 else []
    return [*names, "action", *([STORED] if sees else [])]


def policy_module(
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    weights: Mapping[str, NDArray[np.float32]],
    eyes: Any = None,
) -> Any:
    """Return an `nn.Module` that acts as `robot_rl.policy.NumpyPolicy` does with the same weights.

    Its `forward` takes the (S,) float32 state in physical units, then what `eyes` takes, and returns a tuple, as
    `output_names` says.

    Args:
        observation_spec, action_spec: What the policy reads and gives.
        weights: As `Agent.policy` gives them, checked by `NumpyPolicy` before.
        eyes: Turns pictures into what the network reads beside the state (`robot_rl.export.eyes`).

    Raises:
        MissingDependency: torch is not installed.
    """
    torch = import_torch()
    c, k = action_spec.continuous_size, action_spec.joint_choices
    count = sum(re.fullmatch(r"w\d+", name) is not None for name in weights)
    norm, relu = "scale0" in weights, bool(weights["activation"][0])
    low, high = (float(v) for v in np.log(np.asarray(weights["std_bounds"], np.float32)))
    eps = float(LN_EPS)

    class PolicyModule(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.eyes = eyes
            constants = {
                "offset": observation_spec.offset,
                "inverse_scale": (1.0 / observation_spec.scale).astype(np.float32),
            }
            if k > 1:
                constants["joint_values"] = action_spec.joint_values
            for name, value in {**constants, **weights}.items():
                if name not in ("activation", "std_bounds") and not name.startswith("eye/"):
                    self.register_buffer(name, torch.tensor(np.asarray(value, np.float32)))

        def forward(self, state: Any, *pictures: Any) -> tuple[Any, ...]:
            x = (state - self.offset) * self.inverse_scale
            stored = ()
            if pictures:
                seen, *stored = self.eyes(*pictures)
                x = torch.cat([x, seen])
            for i in range(count):
                x = x @ getattr(self, f"w{i}")
                if norm:
                    x = self._normalised(x + self.b0 if i == 0 else x) * getattr(self, f"scale{i}")
                x = x + getattr(self, f"shift{i}")
                x = torch.relu(x) if relu else torch.tanh(x)
            return (*self._answer(x @ self.head + self.bias), *stored)

        def _normalised(self, x: Any) -> Any:
            x = x - x.mean()
            return x * torch.rsqrt((x * x).mean() + eps)

        def _answer(self, head: Any) -> tuple[Any, ...]:
            out, mode = [], []
            if c:
                location = head[:c]
                out += [location, torch.exp(low + 0.5 * (high - low) * (1.0 + torch.tanh(head[c : 2 * c])))]
                mode.append(torch.tanh(location))
            if k > 1:
                logits = head[2 * c :]
                out.append(logits)
                # index_select keeps every shape fixed; indexing by a tensor would make one depend on the data.
                best = torch.argmax(logits, dim=0, keepdim=True)
                mode.append(torch.index_select(self.joint_values, 0, best)[0])
            return (*out, torch.cat(mode))

    return PolicyModule().eval()
