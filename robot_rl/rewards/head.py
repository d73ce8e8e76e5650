"""The head of a success classifier on frozen features, run with numpy alone: what judges frames on the robot's machine.

Learned spatial embeddings for each camera (SERL's: every channel is summed over the picture with a few learnt masks of
its own), then one dense layer with layer norm and tanh, then a logit. `robot_rl.agents.success` trains it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, SpecError

LN_EPS = 1e-6
Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """How a classifier is trained.

    Attributes:
        embeddings: Learnt masks for each channel of each camera.
        hidden: Width of the dense layer.
        steps: Gradient steps.
        batch: Frames in a step, half of them successes.
        learning_rate, weight_decay: Of AdamW.
        dropout: Share of the embedded numbers that is left out in a step.
        smoothing: Labels are taken as this and 1 - this: no frame is certain, and a wrong label pulls less.
        folds: Parts into which the episodes are cut; each is judged by a classifier that has seen the others alone.
        seed: Of the folds, the first weights and the batches.
    """

    embeddings: int = 8
    hidden: int = 64
    steps: int = 250
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    dropout: float = 0.1
    smoothing: float = 0.02
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("embeddings", "hidden", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.batch < 2 or self.batch % 2:
            raise ConfigError(f"batch is {self.batch}; it must be an even number, half of each label")
        if self.folds < 2:
            raise ConfigError(
                f"folds is {self.folds}; it must be at least 2: one part is judged by what saw the others"
            )
        if not self.learning_rate > 0.0 or self.weight_decay < 0.0:
            raise ConfigError(
                f"learning_rate is {self.learning_rate} and weight_decay {self.weight_decay}; they must be positive, "
                "and not negative"
            )
        if not 0.0 <= self.dropout < 1.0 or not 0.0 <= self.smoothing < 0.5:
            raise ConfigError(
                f"dropout is {self.dropout} and smoothing {self.smoothing}; they must lie in 0 to below 1 and below 0.5"
            )


def shapes(cameras: Sequence[str], view: tuple[int, int, int], config: HeadConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight for pictures whose features are `view`, (h, w, C)."""
    h, w, c = view
    return {
        **{f"masks/{camera}": (h * w, c, config.embeddings) for camera in cameras},
        "dense": (len(cameras) * c * config.embeddings, config.hidden),
        "scale": (config.hidden,),
        "shift": (config.hidden,),
        "head": (config.hidden,),
        "bias": (1,),
    }


def head_logits(weights: Weights, cameras: Sequence[str], values: Mapping[str, NDArray[np.float32]]) -> NDArray[Any]:
    """Return (N,) logits of success.

    Args:
        weights: Named as in `shapes`.
        cameras: In the order of the training.
        values: (N, h, w, C) float32 features by camera, dequantised.
    """
    parts = []
    for camera in cameras:
        x, masks = values[camera], weights[f"masks/{camera}"]
        x = x.reshape(len(x), -1, x.shape[-1])
        if x.shape[1:] != masks.shape[:2]:
            raise SpecError(
                f"the classifier reads features of camera '{camera}' as (places, channels) {masks.shape[:2]}, got "
                f"{x.shape[1:]}; use the encoder that it was trained with"
            )
        parts.append(np.einsum("npc,pck->nck", x, masks, optimize=True).reshape(len(x), -1))
    h = np.concatenate(parts, axis=1) @ weights["dense"]
    h = h - h.mean(-1, keepdims=True)
    h = h / np.sqrt(np.square(h).mean(-1, keepdims=True) + LN_EPS)
    return np.tanh(h * weights["scale"] + weights["shift"]) @ weights["head"] + weights["bias"][0]
