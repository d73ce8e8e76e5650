"""Evaluates published weights by the learner's own network, to compare other programs with it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from robot_rl.agents.actor import Actor
from robot_rl.agents.config import AgentConfig
from robot_rl.agents.eyes import EYES
from robot_rl.specs import ActionSpec, ObservationSpec

NO_FEATURES: Mapping[str, NDArray[np.uint8]] = MappingProxyType({})


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
    features: Mapping[str, NDArray[np.uint8]] = NO_FEATURES,
) -> Answers:
    """Return what the learner's actor says of n observations, by the weights that it published.

    Args:
        observation_spec, action_spec: What the policy reads and gives.
        weights: As `Agent.policy` gives them.
        states: (n, S) in physical units.
        features: By camera (n, height, width, channels), as a frozen encoder stores them.
    """
    norm = "scale0" in weights
    hidden = tuple(len(weights[f"shift{i}"]) for i in range(sum(name.startswith("shift") for name in weights)))
    heads = {
        name: {
            key.removeprefix(f"eye/{name}/"): jnp.asarray(value)
            for key, value in weights.items()
            if key.startswith(f"eye/{name}/")
        }
        for name in features
    }
    eye: dict[str, Any] = {}
    if heads:
        _, eye["eye_masks"], eye["eye_width"] = next(iter(heads.values()))["w"].shape
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
            **eye,
        ),
    )
    layers = {name: weights[name][None] for name in (*(f"w{i}" for i in range(len(hidden))), "head")}
    if norm:
        layers["w0"] = np.concatenate([weights["w0"], weights["b0"][None]])[None]
    layers["vectors"] = np.concatenate([weights[name] for name in actor.net.vectors])[None]
    params = {name: jnp.asarray(value) for name, value in layers.items()} | ({EYES: heads} if heads else {})
    images = {name: jnp.asarray(value) for name, value in features.items()}
    # A GPU's default multiplies in fewer bits than what it is compared with.
    with jax.default_matmul_precision("highest"):
        out = actor(params, actor.normalise(jnp.asarray(states)), images)
    return Answers(*(np.asarray(v) for v in (jnp.tanh(out.mean), jnp.exp(out.log_std), jnp.exp(out.log_choice))))
