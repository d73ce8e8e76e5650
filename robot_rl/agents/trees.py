"""Pytrees of arrays: made on the host, without compiling anything."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


def zeros_of(optimiser: optax.GradientTransformation, params: Any) -> Any:
    """Return the first state of an optimiser of the Adam family, whose state begins as zeros, as numpy."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(optimiser.init, params))


def on_device(tree: Any) -> Any:
    """Return a copy of the tree whose leaves are buffers of the device, each of its own, so that it can be donated."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)
