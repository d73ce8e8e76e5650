"""Pytrees of arrays: made on the host without compiling anything, checked, and taken to and from plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from robot_rl.errors import CheckpointError, SpecError


def zeros_of(optimiser: optax.GradientTransformation, params: Any) -> Any:
    """Return the first state of an optimiser of the Adam family, whose state begins as zeros, as numpy."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(optimiser.init, params))


def on_device(tree: Any) -> Any:
    """Return a copy of the tree whose leaves are buffers of the device, each of its own, so that it can be donated."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)


def export(state: Any) -> dict[str, NDArray]:
    """Return copies of a state's leaves by path, such as ".critic['w0']": what a checkpoint stores."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): np.array(leaf) for path, leaf in leaves}


def restore(like: Any, arrays: Mapping[str, NDArray]) -> Any:
    """Return the state that `export` stored.

    Args:
        like: A state of the same agent, such as a fresh one; it is not consumed.
        arrays: What `export` gave.

    Raises:
        CheckpointError: Names, shapes or types differ from those of `like`.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(like)
    expected = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    missing, extra = sorted(expected.keys() - arrays.keys()), sorted(arrays.keys() - expected.keys())
    if missing or extra:
        raise CheckpointError(
            f"the stored agent lacks {missing[:4]} and has unknown {extra[:4]}; "
            "resume with the settings it was made with"
        )
    for name, leaf in expected.items():
        got = arrays[name]
        if got.shape != leaf.shape or got.dtype != leaf.dtype:
            raise CheckpointError(
                f"the stored agent's {name} is {got.dtype}{list(got.shape)}, these settings need "
                f"{leaf.dtype}{list(leaf.shape)}; resume with the settings it was made with"
            )
    return on_device(jax.tree_util.tree_unflatten(treedef, [arrays[name] for name in expected]))


def checked(batches: Mapping[str, Any], sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the arrays that an update reads, each (G, B, *size); refuse others.

    Args:
        batches: Arrays by name; names that are not in `sizes` are left out.
        sizes: Trailing shape of each.
    """
    missing = sorted(sizes.keys() - batches.keys())
    if missing:
        raise SpecError(f"batches lack {missing}; they need {sorted(sizes)}")
    lead = np.shape(batches["demo"])
    for name, size in sizes.items():
        shape = np.shape(batches[name])
        if len(lead) != 2 or 0 in lead or shape != lead + size:
            raise SpecError(f"batches['{name}'] has shape {shape}; allowed: (groups, rows, *{size}), none of them 0")
    return {name: batches[name] for name in sizes}
