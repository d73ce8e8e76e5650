"""Training of success classifiers on frozen features: several at once, one for each part of the episodes left out."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from robot_rl.errors import SpecError
from robot_rl.rewards.head import LN_EPS, HeadConfig, shapes

CHUNK = 50  # steps between two words on the progress


def train_heads(
    features: Mapping[str, NDArray[np.uint8]],
    labels: NDArray[np.integer],
    trains: NDArray[np.bool_],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    config: HeadConfig,
    progress: Callable[[int, int], None] = lambda done, n: None,
) -> list[dict[str, NDArray[np.float32]]]:
    """Return the weights of M heads, each trained on its own frames; they are computed together, in one program.

    Args:
        features: (N, views, h, w, C) uint8 by camera. Each step draws one view of each frame and camera: that is the
            shift augmentation.
        labels: (N,) 1 success, 0 failure.
        trains: (M, N) whether head m may see frame n.
        scale, offset: (C,) or scalars: a stored number times scale plus offset is what a head reads.
        config: Settings.
        progress: Told the steps done, and of how many.

    Raises:
        SpecError: A head has no frame of one of the labels.
    """
    cameras = tuple(features)
    rng = np.random.default_rng(config.seed)
    members = len(trains)
    pools = [[np.flatnonzero(row & (labels == value)) for value in (0, 1)] for row in trains]
    if any(not len(pool) for pair in pools for pool in pair):
        raise SpecError("a head has frames of one label alone to learn from; label more episodes, or use fewer folds")
    view = features[cameras[0]].shape[2:]
    params = first_weights(rng, members, shapes(cameras, view, config))
    data = {
        camera: jnp.asarray(array.reshape(*array.shape[:2], -1, array.shape[-1])) for camera, array in features.items()
    }
    targets = jnp.asarray(np.where(labels == 1, 1.0 - config.smoothing, config.smoothing), jnp.float32)
    reading = (jnp.asarray(scale, jnp.float32), jnp.asarray(offset, jnp.float32))
    how = _How(cameras, config.dropout, config.learning_rate, config.weight_decay, config.steps)
    carry = (params, how.optimiser().init(params))
    views = {camera: array.shape[1] for camera, array in features.items()}
    for start in range(0, config.steps, CHUNK):
        n = min(CHUNK, config.steps - start)
        draw = _draw(rng, pools, n, config.batch, views)
        keys = jax.random.split(jax.random.key(int(rng.integers(2**31))), (n, members))
        carry, loss = _steps(carry, (draw, keys), data, targets, reading, how)
        loss.block_until_ready()
        progress(start + n, config.steps)
    arrays = {name: np.asarray(value, np.float32) for name, value in carry[0].items()}
    return [{name: value[m].copy() for name, value in arrays.items()} for m in range(members)]


class _How(NamedTuple):
    """What a program is compiled for, beside the shapes of its arrays."""

    cameras: tuple[str, ...]
    dropout: float
    learning_rate: float
    weight_decay: float
    steps: int

    def optimiser(self) -> optax.GradientTransformation:
        rate = optax.cosine_decay_schedule(self.learning_rate, self.steps, 0.05)
        return optax.adamw(rate, weight_decay=self.weight_decay)


@functools.partial(jax.jit, static_argnames="how", donate_argnums=0)
def _steps(
    carry: tuple[Any, Any], drawn: tuple[dict[str, Array], Array], data: dict[str, Array], targets: Array,
    reading: tuple[Array, Array], how: _How,
) -> tuple[tuple[Any, Any], Array]:  # fmt: skip
    optimiser = how.optimiser()
    keep = 1.0 - how.dropout

    def loss_of(p: dict[str, Array], draw: dict[str, Array], key: Array) -> Array:
        parts = []
        for camera in how.cameras:
            x = data[camera][draw["rows"], draw[camera]].astype(jnp.float32) * reading[0] + reading[1]
            parts.append(jnp.einsum("bpc,pck->bck", x, p[f"masks/{camera}"]).reshape(len(x), -1))
        z = jnp.concatenate(parts, axis=1)
        z = jnp.where(jax.random.bernoulli(key, keep, z.shape), z / keep, 0.0)
        h = z @ p["dense"]
        h = h - h.mean(-1, keepdims=True)
        h = h * jax.lax.rsqrt(jnp.square(h).mean(-1, keepdims=True) + LN_EPS)
        logits = jnp.tanh(h * p["scale"] + p["shift"]) @ p["head"] + p["bias"][0]
        return optax.sigmoid_binary_cross_entropy(logits, targets[draw["rows"]]).mean()

    def step(carry: tuple[Any, Any], drawn: tuple[dict[str, Array], Array]) -> tuple[tuple[Any, Any], Array]:
        p, state = carry
        losses, grads = jax.vmap(jax.value_and_grad(loss_of))(p, *drawn)
        updates, state = optimiser.update(grads, state, p)
        return (optax.apply_updates(p, updates), state), losses.mean()

    return jax.lax.scan(step, carry, drawn)


def first_weights(rng: np.random.Generator, members: int, of: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Draw (members, *shape) weights for shapes as `rewards.head.shapes` gives them."""
    out: dict[str, Any] = {}
    for name, shape in of.items():
        value = np.zeros((members, *shape), np.float32)
        if name == "scale":
            value[:] = 1.0
        elif name not in ("shift", "bias"):
            value[:] = rng.standard_normal(value.shape, np.float32) / math.sqrt(shape[0])
        out[name] = jnp.asarray(value)
    return out


def _draw(
    rng: np.random.Generator, pools: list[list[NDArray[np.int64]]], n: int, batch: int, views: Mapping[str, int]
) -> dict[str, Array]:
    """Return (n, M, batch) rows, half of each label, and as many views for each camera."""
    half = batch // 2
    rows = np.empty((n, len(pools), batch), np.int32)
    for m, (failures, successes) in enumerate(pools):
        rows[:, m, :half] = rng.choice(failures, (n, half))
        rows[:, m, half:] = rng.choice(successes, (n, half))
    return {"rows": jnp.asarray(rows), **{
        camera: jnp.asarray(rng.integers(0, count, rows.shape, np.int32)) for camera, count in views.items()
    }}  # fmt: skip
