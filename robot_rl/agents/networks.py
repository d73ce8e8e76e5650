"""The actor's and the critics' networks as pure functions over dictionaries of arrays.

The critics are a true ensemble: every layer of every critic is its own. One array holds a layer of all critics; the
first layer has the critic axis in the middle, (inputs, critics, width), because all critics read the same input: their
first layers are then one matrix product without moving memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from robot_rl.agents.config import Activation

Params = dict[str, Array]

LN_EPS = 1e-6
_LOG_2PI = math.log(2.0 * math.pi)


def activation_of(name: Activation) -> Callable[[Array], Array]:
    """Return the nonlinearity called `name`."""
    return jnp.tanh if name == "tanh" else jax.nn.relu


def layer_norm(x: Array, scale: Array, bias: Array) -> Array:
    """Normalise the last axis of `x` to mean 0 and variance 1, then scale and shift it."""
    mean = x.mean(axis=-1, keepdims=True)
    centred = x - mean
    var = jnp.square(centred).mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(var + LN_EPS) * scale + bias


def init_actor(key: Array, inputs: int, hidden: Sequence[int], outputs: int, norm: bool) -> Params:
    """Draw an actor: hidden layers `w0 b0 [scale0 shift0] ...`, then a small linear head `head_w head_b`."""
    params: Params = {}
    keys = jax.random.split(key, len(hidden) + 1)
    for i, width in enumerate(hidden):
        params[f"w{i}"] = _draw(keys[i], (inputs, width), inputs)
        params[f"b{i}"] = jnp.zeros(width)
        if norm:
            params[f"scale{i}"] = jnp.ones(width)
            params[f"shift{i}"] = jnp.zeros(width)
        inputs = width
    params["head_w"] = 0.1 * _draw(keys[-1], (inputs, outputs), inputs)
    params["head_b"] = jnp.zeros(outputs)
    return params


def actor_trunk(params: Mapping[str, Array], x: Array, activation: Activation) -> Array:
    """Return the head's (B, outputs) numbers for (B, S) normalised observations."""
    act = activation_of(activation)
    layers = sum(k.startswith("w") for k in params)
    for i in range(layers):
        x = x @ params[f"w{i}"] + params[f"b{i}"]
        if f"scale{i}" in params:
            x = layer_norm(x, params[f"scale{i}"], params[f"shift{i}"])
        x = act(x)
    return x @ params["head_w"] + params["head_b"]


def init_critics(key: Array, critics: int, inputs: int, hidden: Sequence[int], outputs: int, norm: bool) -> Params:
    """Draw an ensemble of critics with `outputs` numbers each."""
    params: Params = {}
    keys = jax.random.split(key, len(hidden) + 1)
    for i, width in enumerate(hidden):
        shape = (inputs, critics, width) if i == 0 else (critics, inputs, width)
        params[f"w{i}"] = _draw(keys[i], shape, inputs)
        params[f"b{i}"] = jnp.zeros((critics, width))
        if norm:
            params[f"scale{i}"] = jnp.ones((critics, width))
            params[f"shift{i}"] = jnp.zeros((critics, width))
        inputs = width
    params["head_w"] = _draw(keys[-1], (critics, inputs, outputs), inputs)
    params["head_b"] = jnp.zeros((critics, outputs))
    return params


def take_critics(params: Mapping[str, Array], index: Array) -> Params:
    """Return the critics at `index` (M,) alone, so that nothing is computed for the others."""
    return {k: jnp.take(v, index, axis=1 if k == "w0" else 0) for k, v in params.items()}


def critic_values(params: Mapping[str, Array], x: Array, activation: Activation) -> Array:
    """Return (N, B, outputs) for (B, inputs) normalised observations beside continuous actions."""
    act = activation_of(activation)
    layers = sum(k.startswith("w") for k in params)
    inputs, critics, width = params["w0"].shape
    h = (x @ params["w0"].reshape(inputs, critics * width)).reshape(-1, critics, width)
    h = jnp.swapaxes(h, 0, 1)
    for i in range(layers):
        if i > 0:
            h = jnp.einsum("nbi,nio->nbo", h, params[f"w{i}"])
        h = h + params[f"b{i}"][:, None]
        if f"scale{i}" in params:
            h = layer_norm(h, params[f"scale{i}"][:, None], params[f"shift{i}"][:, None])
        h = act(h)
    return jnp.einsum("nbi,nio->nbo", h, params["head_w"]) + params["head_b"][:, None]


def log_std_of(raw: Array, min_std: float, max_std: float) -> Array:
    """Map any number smoothly to the logarithm of a standard deviation within [min_std, max_std]."""
    low, high = math.log(min_std), math.log(max_std)
    return low + 0.5 * (high - low) * (1.0 + jnp.tanh(raw))


def raw_of_std(std: float, min_std: float, max_std: float) -> float:
    """Return the number that `log_std_of` maps to log(std)."""
    low, high = math.log(min_std), math.log(max_std)
    return math.atanh(2.0 * (math.log(std) - low) / (high - low) - 1.0)


def squashed_log_prob(u: Array, mean: Array, log_std: Array) -> Array:
    """Return the (B,) log density of tanh(u), for u drawn from a Gaussian with (B, C) mean and log_std."""
    z = (u - mean) * jnp.exp(-log_std)
    gauss = -0.5 * jnp.square(z) - log_std - 0.5 * _LOG_2PI
    # log(1 - tanh(u)^2), without cancellation
    squash = 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))
    return (gauss - squash).sum(axis=-1)


@functools.lru_cache(maxsize=8)
def histogram_edges(low: float, high: float, bins: int) -> np.ndarray:
    """Return the (bins + 1,) float32 edges of a value histogram."""
    return np.linspace(low, high, bins + 1, dtype=np.float32)


def histogram_mean(logits: Array, edges: np.ndarray) -> Array:
    """Return the mean of the histogram whose logits lie on the last axis."""
    centres = jnp.asarray(0.5 * (edges[1:] + edges[:-1]))
    return jax.nn.softmax(logits, axis=-1) @ centres


def histogram_target(y: Array, edges: np.ndarray) -> Array:
    """Return (B, bins) probabilities of a Gaussian around each (B,) value, of width 0.75 bins (HL-Gauss)."""
    sigma = 0.75 * float(edges[1] - edges[0])
    y = jnp.clip(y, edges[0], edges[-1])
    cdf = jax.scipy.special.erf((jnp.asarray(edges) - y[:, None]) / (math.sqrt(2.0) * sigma))
    mass = cdf[:, 1:] - cdf[:, :-1]
    return mass / (cdf[:, -1:] - cdf[:, :1])


def _draw(key: Array, shape: tuple[int, ...], fan_in: int) -> Array:
    """Draw weights with variance 1 / fan_in."""
    return jax.random.normal(key, shape) / math.sqrt(fan_in)
