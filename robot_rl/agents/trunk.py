"""Runs a trunk of `robot_rl.encoders` with JAX: for a GPU, and to measure what encoding in every update would cost."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from robot_rl.encoders.program import Conv, Pool, Trunk, pads


def jax_trunk(trunk: Trunk) -> Callable[[Array], Array]:
    """Return a function from (N, H, W, 3) uint8 pictures to (N, height, width, channels) float32 features."""

    def run(images: Array) -> Array:
        values = [(jnp.asarray(images, jnp.float32) / 255.0 - trunk.input_mean) / trunk.input_std]
        for op in trunk.ops:
            x = values[op.source]
            around = [pads(side, op.kernel, op.stride, op.padding) for side in x.shape[1:3]]
            values.append(_pool(op, x, around) if isinstance(op, Pool) else _conv(op, x, around, values))
        return values[-1]

    return run


def _conv(op: Conv, x: Array, around: list[tuple[int, int]], values: list[Array]) -> Array:
    y = jax.lax.conv_general_dilated(
        x, jnp.asarray(op.weight), (op.stride, op.stride), around, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=op.groups,
    ) + op.bias  # fmt: skip
    y = y if op.add is None else y + values[op.add]
    return {"none": lambda v: v, "relu": jax.nn.relu, "relu6": jax.nn.relu6}[op.activation](y)


def _pool(op: Pool, x: Array, around: list[tuple[int, int]]) -> Array:
    window, strides = (1, op.kernel, op.kernel, 1), (1, op.stride, op.stride, 1)
    if op.kind == "max":
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, [(0, 0), *around, (0, 0)])
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, "VALID") / op.kernel**2
