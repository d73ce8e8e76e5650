"""Training of a success classifier that never ends: VICE, in which the policy's own frames are what is no goal.

VICE (Fu et al., arXiv:1805.11686) as SERL regularises it: labels are smoothed, and rows of a batch are mixed with each
other, embeddings and labels alike (mixup), so that the classifier does not grow sure of the few goals that it knows. It
minimises the binary cross-entropy of half goals and half others. At its best it says 1 / (1 + share), where `share` is
how common such frames are among the others against among the goals: a policy that often shows the goal lowers it, but
not below one half as long as most of its frames show something else.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from robot_rl.agents.success import first_weights
from robot_rl.rewards.head import LN_EPS, HeadConfig, shapes
from robot_rl.rewards.settings import ViceConfig

Rows = Mapping[str, NDArray[np.uint8]]


class Discriminator:
    """A head on frozen features (`robot_rl.rewards.head`) and the state of its optimiser.

    Args:
        cameras: In the order in which they are read.
        view: (h, w, C) of a camera's features.
        scale, offset: A stored number times scale plus offset is what the head reads.
        config: Settings.
        seed: Of the first weights and of what is mixed.
        weights: To go on with, as `weights()` gives them; fresh ones when None.
    """

    def __init__(
        self, cameras: tuple[str, ...], view: tuple[int, int, int], scale: float, offset: float, config: ViceConfig,
        seed: int, weights: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:  # fmt: skip
        self._config, self._cameras = config, cameras
        self._rng = np.random.default_rng([seed, 11])
        wanted = shapes(cameras, view, HeadConfig(embeddings=config.embeddings, hidden=config.hidden))
        drawn = {name: value[0] for name, value in first_weights(self._rng, 1, wanted).items()}
        if weights is not None:
            drawn = {name: jnp.asarray(weights[name]) for name in wanted}
        optimiser = optax.adam(config.learning_rate)
        self._carry: tuple[Any, Any] = (drawn, optimiser.init(drawn))
        self._lesson = jax.jit(
            functools.partial(_lesson, cameras=cameras, scale=scale, offset=offset, optimiser=optimiser),
            donate_argnums=0,
        )

    def learn(self, rows: Rows, labels: NDArray[np.float32]) -> float:
        """Do a gradient step for each batch and return the mean loss [nat].

        Args:
            rows: (n, B, h, w, C) uint8 features by camera.
            labels: (n, B) 1 for goals, 0 for others.
        """
        alpha, shape = self._config.mixup, labels.shape
        share = self._rng.beta(alpha, alpha, shape) if alpha > 0.0 else np.ones(shape)
        other = np.argsort(self._rng.random(shape), axis=1)  # a permutation of each batch
        targets = self._config.smoothing + labels * (1.0 - 2.0 * self._config.smoothing)
        drawn = {"targets": targets.astype(np.float32), "share": share.astype(np.float32), "other": other}
        self._carry, loss = self._lesson(self._carry, {name: rows[name] for name in self._cameras}, drawn)
        return float(loss)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of the weights, named as `robot_rl.rewards.head` reads them."""
        return {name: np.array(value, np.float32) for name, value in self._carry[0].items()}


def _lesson(
    carry: tuple[Any, Any], rows: Mapping[str, Array], drawn: Mapping[str, Array], *, cameras: tuple[str, ...],
    scale: float, offset: float, optimiser: optax.GradientTransformation,
) -> tuple[tuple[Any, Any], Array]:  # fmt: skip
    def loss_of(p: Mapping[str, Array], x: Mapping[str, Array], d: Mapping[str, Array]) -> Array:
        parts = []
        for camera in cameras:
            f = x[camera].astype(jnp.float32) * scale + offset
            f = f.reshape(len(f), -1, f.shape[-1])
            parts.append(jnp.einsum("bpc,pck->bck", f, p[f"masks/{camera}"]).reshape(len(f), -1))
        z, share = jnp.concatenate(parts, axis=1), d["share"]
        z = share[:, None] * z + (1.0 - share[:, None]) * z[d["other"]]
        targets = share * d["targets"] + (1.0 - share) * d["targets"][d["other"]]
        h = z @ p["dense"]
        h = h - h.mean(-1, keepdims=True)
        h = h * jax.lax.rsqrt(jnp.square(h).mean(-1, keepdims=True) + LN_EPS)
        logits = jnp.tanh(h * p["scale"] + p["shift"]) @ p["head"] + p["bias"][0]
        return optax.sigmoid_binary_cross_entropy(logits, targets).mean()

    def step(carry: tuple[Any, Any], xs: tuple[Mapping[str, Array], Mapping[str, Array]]):
        p, state = carry
        loss, grads = jax.value_and_grad(loss_of)(p, *xs)
        updates, state = optimiser.update(grads, state, p)
        return (optax.apply_updates(p, updates), state), loss

    carry, losses = jax.lax.scan(step, carry, (rows, drawn))
    return carry, losses.mean()
