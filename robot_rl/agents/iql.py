"""Implicit Q-learning (Kostrikov et al., arXiv:2110.06169): an agent that learns from what was recorded, and only that.

The values never ask what an action would be worth that nobody took. V learns an upper expectile of the values of the
recorded actions, the critics regress to V of the next state, and the actor clones recorded actions, those more that
turned out better than V expected:

    u    = min_i Q'_i(s, a) - V(s)
    L_V  = mean |tau - 1(u < 0)| u^2                        tau: `expectile`
    L_Q  = mean_i (Q_i(s, a) - (r + discount * V(s')))^2
    L_pi = sum w nll(a|s) / sum w,   w = min(exp(beta * u), `advantage_clip`)     beta: `advantage_weight`

The actor is that of `rlpd.Agent`, hybrid actions and eyes included; V, critics and actor have eyes of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from robot_rl.agents.actor import Actor
from robot_rl.agents.compiling import compile_update
from robot_rl.agents.config import AgentConfig
from robot_rl.agents.eyes import Eyes
from robot_rl.agents.networks import Mlp, Params
from robot_rl.agents.trees import checked, on_device, zeros_of
from robot_rl.specs import ActionSpec, ObservationSpec

Info = dict[str, Array]


class IqlState(NamedTuple):
    """Parameters of actor, critics, target critics and V, the optimisers' states, and the updates done."""

    actor: Any
    critic: Any
    target: Any
    value: Any
    actor_opt: Any
    critic_opt: Any
    value_opt: Any
    step: Any


class IqlAgent:
    """An offline agent for one observation and action specification."""

    def __init__(self, observation_spec: ObservationSpec, action_spec: ActionSpec, config: AgentConfig) -> None:
        self.config = config
        self.actor = Actor(observation_spec, action_spec, config)
        self.eyes = Eyes(observation_spec, config)
        self._c = action_spec.continuous_size
        self._sizes: dict[str, tuple[int, ...]] = {"reward": (), "discount": (), "demo": ()}
        self._sizes |= dict.fromkeys(("state", "next_state"), (observation_spec.size,))
        self._sizes |= {"action": (action_spec.size,), **self.eyes.sizes("image", "next_image")}
        seen = observation_spec.size + self.eyes.size
        common = (config.activation, config.layer_norm)
        self.critic = Mlp(config.critics, seen + self._c, config.hidden, action_spec.joint_choices, *common)
        self.value = Mlp(1, seen, config.hidden, 1, *common)
        self._actor_opt, self._critic_opt = optax.adam(config.actor_lr), optax.adam(config.critic_lr)
        self._update = compile_update(self._update_group)

    def init(self, seed: int) -> IqlState:
        """Return a fresh state."""
        rng = np.random.default_rng(seed)
        actor = self.actor.init(rng)
        critic, value = self.critic.init(rng) | self.eyes.init(rng), self.value.init(rng) | self.eyes.init(rng)
        return on_device(
            IqlState(
                actor=actor, critic=critic, target=critic, value=value, actor_opt=zeros_of(self._actor_opt, actor),
                critic_opt=zeros_of(self._critic_opt, critic), value_opt=zeros_of(self._critic_opt, value),
                step=np.zeros((), np.int32),
            )
        )  # fmt: skip

    def update(
        self, state: IqlState, batches: Mapping[str, Any], schedule: Mapping[str, float] | None = None
    ) -> tuple[IqlState, Info]:
        """Do G updates of everything.

        Args:
            state: Consumed: its buffers are donated to the result.
            batches: As for `rlpd.Agent.update`; who acted ("demo") makes no difference here.
            schedule: Taken for the sake of the common interface; there is none.
        """
        del schedule
        return self._update(state, checked(batches, self._sizes))

    def policy(self, state: IqlState) -> dict[str, NDArray[np.float32]]:
        """Return the actor's weights as numpy, ready for `Policy` and `NumpyPolicy`."""
        return self.actor.weights(state.actor)

    def _update_group(self, state: IqlState, batches: dict[str, Array]) -> tuple[IqlState, Info]:
        state, info = jax.lax.scan(self._update_once, state, batches)
        return state, {name: value.mean() for name, value in info.items()}

    def _update_once(self, state: IqlState, batch: dict[str, Array]) -> tuple[IqlState, Info]:
        cfg = self.config
        x, next_x = self.actor.normalise(batch["state"]), self.actor.normalise(batch["next_state"])
        images, next_images = self.eyes.of(batch), self.eyes.of(batch, "next_image")
        choice = self.actor.choice_of(batch["action"])
        taken = self._taken(state.target, x, images, batch["action"], choice).min(axis=0)

        def value_loss(params: Params) -> tuple[Array, Array]:
            v = self.value(params, self.eyes.join(x, params, images))[0, :, 0]
            return expectile_loss(taken - v, cfg.expectile).mean(), v

        (value_error, v), grads = jax.value_and_grad(value_loss, has_aux=True)(state.value)
        updates, value_opt = self._critic_opt.update(grads, state.value_opt)
        value: Any = optax.apply_updates(state.value, updates)

        next_v = self.value(value, self.eyes.join(next_x, value, next_images))[0, :, 0]
        y = batch["reward"] + batch["discount"] * next_v

        def critic_loss(params: Params) -> tuple[Array, Array]:
            q = self._taken(params, x, images, batch["action"], choice)
            return jnp.square(q - y).mean(axis=1).sum(), q

        (critic_error, q), grads = jax.value_and_grad(critic_loss, has_aux=True)(state.critic)
        updates, critic_opt = self._critic_opt.update(grads, state.critic_opt)
        critic = optax.apply_updates(state.critic, updates)

        weight = advantage_weight(taken - v, cfg.advantage_weight, cfg.advantage_clip)

        def actor_loss(params: Params) -> Array:
            return self.actor.clone_loss(self.actor(params, x, images), batch["action"], weight)

        clone_error, grads = jax.value_and_grad(actor_loss)(state.actor)
        updates, actor_opt = self._actor_opt.update(grads, state.actor_opt)
        info = {
            "critic_loss": critic_error / cfg.critics,
            "value_loss": value_error,
            "q_mean": q.mean(),
            "q_std": q.std(axis=0).mean(),
            "target_mean": y.mean(),
            "target_max": y.max(),
            "value_mean": v.mean(),
            "advantage_weight": weight.mean(),
            "bc_loss": clone_error,
        }
        return IqlState(
            actor=optax.apply_updates(state.actor, updates), critic=critic,
            target=jax.tree.map(lambda t, p: t + cfg.polyak * (p - t), state.target, critic), value=value,
            actor_opt=actor_opt, critic_opt=critic_opt, value_opt=value_opt, step=state.step + 1,
        ), info  # fmt: skip

    def _taken(
        self, params: Params, x: Array, images: Mapping[str, Array], action: Array, choice: Array
    ) -> Array:  # fmt: skip
        """Return the (N, B) values of the actions that were taken."""
        out = self.critic(params, jnp.concatenate([self.eyes.join(x, params, images), action[:, : self._c]], axis=1))
        return jnp.take_along_axis(out, choice[None, :, None], axis=2)[:, :, 0]


def expectile_loss(error: Array, expectile: float) -> Array:
    """Return the squared errors, those above 0 weighed by `expectile` and those below by what it lacks to 1."""
    return jnp.where(error > 0.0, expectile, 1.0 - expectile) * jnp.square(error)


def advantage_weight(advantage: Array, weight: float, clip: float) -> Array:
    """Return how much each action is cloned: min(exp(weight * advantage), clip), without a gradient."""
    return jax.lax.stop_gradient(jnp.minimum(jnp.exp(weight * advantage), clip))
