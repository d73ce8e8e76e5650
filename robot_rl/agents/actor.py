"""The actor: a squashed Gaussian over the continuous entries beside a categorical over the joint discrete choice."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from robot_rl.agents import networks
from robot_rl.agents.config import AgentConfig
from robot_rl.agents.eyes import Eyes
from robot_rl.agents.networks import Mlp
from robot_rl.specs import ActionSpec, ObservationSpec

NO_IMAGES: Mapping[str, Array] = MappingProxyType({})


class ActorOutput(NamedTuple):
    """What the actor says of a batch of states.

    Attributes:
        mean, log_std: (B, C) Gaussian of the continuous action before tanh.
        log_choice: (B, K) log probabilities of the joint choices; K is 1 where there is no discrete group.
    """

    mean: Array
    log_std: Array
    log_choice: Array


class Actor:
    """Shapes and constants of the actor; its parameters are passed to every call."""

    def __init__(self, observation_spec: ObservationSpec, action_spec: ActionSpec, config: AgentConfig) -> None:
        self.config = config
        self.state_size = observation_spec.size
        self.continuous_size = action_spec.continuous_size
        self.choices = action_spec.joint_choices
        self._counts = action_spec.choice_counts
        self._offset = observation_spec.offset
        self._inverse_scale = (1.0 / observation_spec.scale).astype(np.float32)
        outputs = 2 * self.continuous_size + (self.choices if self.choices > 1 else 0)
        self.eyes = Eyes(observation_spec, config)
        self.net = Mlp(
            1, self.state_size + self.eyes.size, config.hidden, outputs, config.activation, config.actor_layer_norm
        )

    def normalise(self, state: Array) -> Array:
        """Return (state - offset) / scale of the observation's specification."""
        return (state - self._offset) * self._inverse_scale

    def init(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw parameters as numpy; the first action is near 0, with a standard deviation of `init_std`."""
        cfg = self.config
        params = self.net.init(rng, head_scale=0.1)
        first = self.net.vectors["bias"].start + self.continuous_size
        raw = networks.raw_of_std(cfg.init_std, cfg.min_std, cfg.max_std)
        params["vectors"][0, first : first + self.continuous_size] = raw
        return params | self.eyes.init(rng)

    def __call__(self, params: Mapping[str, Any], x: Array, images: Mapping[str, Array] = NO_IMAGES) -> ActorOutput:
        """Evaluate (B, S) normalised states, and (B, height, width, channels) features by camera."""
        cfg, c = self.config, self.continuous_size
        out = self.net(params, self.eyes.join(x, params, images))[0]
        log_std = networks.log_std_of(out[:, c : 2 * c], cfg.min_std, cfg.max_std)
        if self.choices > 1:
            return ActorOutput(out[:, :c], log_std, jax.nn.log_softmax(out[:, 2 * c :]))
        return ActorOutput(out[:, :c], log_std, jnp.zeros((len(out), 1)))

    def choice_of(self, action: Array) -> Array:
        """Return the (B,) joint choice of (B, A) actions, as `ActionSpec.joint_index` does."""
        index = jnp.zeros(action.shape[:-1], jnp.int32)
        for i, n in enumerate(self._counts):
            level = jnp.rint((action[..., self.continuous_size + i] + 1.0) * (0.5 * (n - 1)))
            index = index * n + jnp.clip(level, 0, n - 1).astype(jnp.int32)
        return index

    def clone_loss(self, out: ActorOutput, action: Array, weight: Array) -> Array:
        """Return how badly the actor explains demonstrated actions: the mean over rows, weighted.

        Args:
            out: What the actor says of the states.
            action: (B, A) demonstrated actions.
            weight: (B,) 1 for rows that count, 0 for others.
        """
        cfg = self.config
        target = action[:, : self.continuous_size]
        clipped = jnp.clip(target, -cfg.bc_clip, cfg.bc_clip)
        u = jnp.arctanh(clipped)
        if cfg.bc_loss == "nll":
            loss = -networks.squashed_log_prob(u, out.mean, out.log_std)
        else:
            error = jnp.square((jnp.tanh(out.mean) - target) / cfg.bc_std).sum(axis=-1)
            spread = -networks.squashed_log_prob(u, jax.lax.stop_gradient(out.mean), out.log_std)
            loss = 0.5 * error + spread
        if self.choices > 1:
            loss = loss - jnp.take_along_axis(out.log_choice, self.choice_of(action)[:, None], axis=1)[:, 0]
        return (loss * weight).sum() / jnp.maximum(weight.sum(), 1.0)

    def weights(self, params: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
        """Return copies of the parameters as numpy, with what `robot_rl.policy.NumpyPolicy` needs to act alike."""
        out = self.net.named(params, 0) | self.eyes.weights(params)
        out["activation"] = np.array([0.0 if self.config.activation == "tanh" else 1.0], np.float32)
        out["std_bounds"] = np.array([self.config.min_std, self.config.max_std], np.float32)
        return out
