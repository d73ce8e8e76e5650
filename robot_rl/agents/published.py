"""Evaluates published weights by the learner's own network, to compare other programs with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from robot_rl.agents.actor import Actor
from robot_rl.agents.config import AgentConfig
from robot_rl.specs import ActionSpec, ObservationSpec


class Answers(NamedTuple):
    """What the actor says of n observations, as float32.

    Attributes:
        mean: (n, C) mode of the continuous entries, in [-1, 1].
        std: (n, C) standard deviation of the Gaussian before tanh.
        choice: (n, K) probability of each joint choice; K is 1 where there is no discrete group.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    choice: NDArray[np.float32]


def answers(
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    weights: Mapping[str, NDArray[np.float32]],
    states: NDArray[np.float32],
) -> Answers:
    """Return what the learner's actor says of (n, S) states in physical units, by the weights that it published."""
    norm = "scale0" in weights
    hidden = tuple(len(weights[f"shift{i}"]) for i in range(sum(name.startswith("shift") for name in weights)))
    actor = Actor(
        observation_spec,
        action_spec,
        AgentConfig(
            hidden=hidden,
            activation="relu" if weights["activation"][0] else "tanh",
            actor_layer_norm=norm,
            min_std=float(weights["std_bounds"][0]),
            max_std=float(weights["std_bounds"][1]),
            init_std=float(np.sqrt(weights["std_bounds"].prod())),
        ),
    )
    layers = {name: weights[name][None] for name in (*(f"w{i}" for i in range(len(hidden))), "head")}
    if norm:
        layers["w0"] = np.concatenate([weights["w0"], weights["b0"][None]])[None]
    layers["vectors"] = np.concatenate([weights[name] for name in actor.net.vectors])[None]
    params = {name: jnp.asarray(value) for name, value in layers.items()}
    # A GPU's default multiplies in fewer bits than what it is compared with.
    with jax.default_matmul_precision("highest"):
        out = actor(params, actor.normalise(jnp.asarray(states)))
    return Answers(*(np.asarray(v) for v in (jnp.tanh(out.mean), jnp.exp(out.log_std), jnp.exp(out.log_choice))))
