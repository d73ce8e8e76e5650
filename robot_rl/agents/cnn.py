"""A small network that learns to see from nothing: convolutions of 3 by 3, each halving the picture, down to 4 by 4.

D4PG's and DrQ's kind of encoder (arXiv:2004.13649), 32 channels in each layer. What comes out is a map as that of a
frozen trunk, and the same head reads it (`robot_rl.agents.eyes`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from robot_rl.policy import CNN_SIDE, cnn_layers

CHANNELS = 32


def map_shape(view: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return (height, width, channels) of the map that is made of square pictures (side, side, 3)."""
    return CNN_SIDE, CNN_SIDE, CHANNELS if cnn_layers(view[0]) else view[2]


def init(rng: np.random.Generator, view: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
    """Draw weights `conv<i>` (3, 3, inputs, outputs) and zeros `shift<i>` (outputs,) as numpy."""
    out: dict[str, NDArray[np.float32]] = {}
    inputs = view[2]
    for i in range(cnn_layers(view[0])):
        gain = np.float32(math.sqrt(2.0 / (9 * inputs)))
        out[f"conv{i}"] = gain * rng.standard_normal((3, 3, inputs, CHANNELS), np.float32)
        out[f"shift{i}"] = np.zeros(CHANNELS, np.float32)
        inputs = CHANNELS
    return out


def see(head: Mapping[str, Any], pictures: Array) -> Array:
    """Return (B, 4, 4, channels) features of (B, side, side, 3) uint8 pictures."""
    x = pictures.astype(jnp.float32) / 255.0 - 0.5
    for i in range(cnn_layers(pictures.shape[1])):
        x = jax.nn.relu(_halve(x, head[f"conv{i}"]) + head[f"shift{i}"])
    return x


def _halve(x: Array, w: Array) -> Array:
    """Return the (B, height / 2, width / 2, outputs) convolution of (B, height, width, inputs), stride 2 and "SAME".

    As one product of matrices: within `lax.scan`, where agents update, the gradient of XLA's own convolution takes 30
    times as long on a CPU as outside of it (jaxlib 0.10.2).
    """
    _, height, width, _ = x.shape
    x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    shifted = [x[:, i : i + height : 2, j : j + width : 2] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, axis=-1) @ w.reshape(-1, w.shape[-1])
