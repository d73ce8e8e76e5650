"""RLPD: soft actor-critic with an ensemble of normalised critics, demonstrations in every batch, and a cloned start.

Actions are hybrid. The actor gives a squashed Gaussian over the continuous entries and, where the task has discrete
groups, a categorical over their K joint choices. A critic reads the state and the continuous action and gives K values
at once, so that every expectation over choices is exact. Without discrete groups K is 1 and all is plain SAC.

One call of `Agent.update` does a whole group of critic updates on the device:

    y    = r + discount * sum_k pi(k|s') min_{i drawn} Q'_i(s', a')[k],   a' ~ pi(.|s')
    L_Q  = mean_i (Q_i(s, a)[k] - y)^2
    L_pi = -q_weight sum_k pi(k|s) mean_i Q_i(s, a)[k] + alpha log pi(a|s) - alpha_k H(pi(k|s)) + bc_weight L_clone

The minimum is taken choice by choice, before the expectation. Only the drawn critics are evaluated. Each group of
parameters (actor, critics, temperatures) has its own optimiser and nothing else moves it. `AgentConfig.choice_loss`
offers another way for the choice to follow the values.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from robot_rl.agents import networks
from robot_rl.agents.actor import NO_IMAGES, Actor
from robot_rl.agents.bc import clone_steps
from robot_rl.agents.compiling import compile_update
from robot_rl.agents.config import AgentConfig
from robot_rl.agents.eyes import EYES, Eyes, without_eyes
from robot_rl.agents.networks import Mlp, Params
from robot_rl.agents.schedule import check_schedule
from robot_rl.agents.state import AgentState, Noise
from robot_rl.agents.trees import checked, on_device, zeros_of
from robot_rl.specs import ActionSpec, ObservationSpec

Info = dict[str, Array]


class Agent:
    """An RLPD agent for one observation and action specification."""

    def __init__(self, observation_spec: ObservationSpec, action_spec: ActionSpec, config: AgentConfig) -> None:
        self.config = config
        self.actor = Actor(observation_spec, action_spec, config)
        c, k = action_spec.continuous_size, action_spec.joint_choices
        self._c, self._k = c, k
        rows: dict[str, tuple[int, ...]] = {"reward": (), "discount": (), "demo": ()}
        self._sizes = rows | dict.fromkeys(("state", "next_state"), (observation_spec.size,))
        self._sizes["action"] = (action_spec.size,)
        self.eyes = Eyes(observation_spec, config)
        self._sizes |= self.eyes.sizes("image", "next_image")
        self._bins = config.value_bins if config.critic_loss == "hl_gauss" else 1
        self._edges = np.linspace(config.value_min, config.value_max, config.value_bins + 1, dtype=np.float32)
        inputs, outputs = observation_spec.size + self.eyes.size + c, k * self._bins
        self.critic = Mlp(config.critics, inputs, config.hidden, outputs, config.activation, config.layer_norm)
        entropy = -0.5 * c if config.target_entropy is None else config.target_entropy
        self._entropy = np.array([entropy, config.choice_entropy_ratio * math.log(k)], np.float32)
        self._actor_opt = optax.scale_by_adam()
        self._critic_opt = optax.adam(config.critic_lr)
        self._temperature_opt = optax.scale_by_adam()
        self._clone_opt = optax.adam(config.clone_lr)
        self._update = compile_update(self._update_group)
        self._clone = compile_update(self._clone_group)

    def init(self, seed: int) -> AgentState:
        """Return a fresh state. Nothing is compiled: the numbers are drawn by numpy."""
        cfg = self.config
        rng = np.random.default_rng(seed)
        actor, critic = self.actor.init(rng), self.critic.init(rng) | self.eyes.init(rng)
        log_temperature = np.log(np.array([cfg.init_temperature, cfg.init_choice_temperature], np.float32))
        state = AgentState(
            actor=actor,
            critic=critic,
            target=critic,
            log_temperature=log_temperature,
            actor_opt=zeros_of(self._actor_opt, actor),
            critic_opt=zeros_of(self._critic_opt, critic),
            temperature_opt=zeros_of(self._temperature_opt, log_temperature),
            clone_opt=zeros_of(self._clone_opt, actor),
            key=rng.integers(2**32, size=2, dtype=np.uint32),
            step=np.zeros((), np.int32),
        )
        return on_device(state)

    def update(
        self, state: AgentState, batches: Mapping[str, Any], schedule: Mapping[str, float]
    ) -> tuple[AgentState, Info]:
        """Do G critic updates, and an actor and temperature update after every `updates_per_actor_update` of them.

        Args:
            state: Consumed: its buffers are donated to the result.
            batches: Arrays with a leading axis G: "state", "next_state" (G, B, S) in physical units; "action"
                (G, B, A) in [-1, 1]; "reward", "discount" (G, B); "demo" (G, B) 1 where a demonstrator acted; for each
                camera with features "image/<camera>", "next_image/<camera>" (G, B, height, width, channels) uint8.
                Each G is compiled once.
            schedule: Floats, none of which compiles anew. "actor_scale" multiplies the steps of the actor and of the
                temperatures (default 1); at 0 they and their optimisers stay as they are, and cost nothing.
                "bc_weight" weighs the clone loss on demonstrated rows (default 0), "q_weight" the value (default 1).

        Returns:
            The new state, and scalars still on the device: means over the critic updates, and over the actor updates
            ("actor_updates" of them; the others are 0 when there was none).
        """
        return self._update(state, checked(batches, self._sizes), check_schedule(schedule))

    def clone(self, state: AgentState, batches: Mapping[str, Any]) -> tuple[AgentState, Info]:
        """Do G updates of the actor alone towards the demonstrated rows. `state` is consumed as in `update`."""
        sizes = {k: self._sizes[k] for k in ("state", "action", "demo", *self.eyes.sizes("image"))}
        return self._clone(state, checked(batches, sizes))

    def share_eyes(self, state: AgentState) -> AgentState:
        """Return a state whose critics begin with the actor's eyes, once cloning has taught them where to look."""
        eyes = state.actor.get(EYES)
        if eyes is None:
            return state
        begin = lambda critics: {**critics, EYES: jax.tree.map(jnp.copy, eyes)}  # noqa: E731 # updates donate buffers
        return state._replace(critic=begin(state.critic), target=begin(state.target))

    def policy(self, state: AgentState) -> dict[str, NDArray[np.float32]]:
        """Return the actor's weights as numpy, ready for `Policy` and `NumpyPolicy`."""
        return self.actor.weights(state.actor)

    def _update_group(self, state: AgentState, batches: dict[str, Array], schedule: dict[str, Array]):
        key, noise = self._draw_noise(state.key, *batches["reward"].shape)
        one = functools.partial(self._update_once, schedule=schedule)
        state, (info, actor_info) = jax.lax.scan(one, state._replace(key=key), (batches, noise))
        info = {k: v.mean() for k, v in info.items()}
        count = actor_info["actor_updates"].sum()
        info |= {k: v.sum() / jnp.maximum(count, 1.0) for k, v in actor_info.items()}
        return state, info | {"actor_updates": count}

    def _draw_noise(self, key: Array, group: int, batch: int) -> tuple[Array, Noise]:
        """Draw the random numbers of a whole group from one stream: compiling a generator takes longest."""
        cfg, n = self.config, batch * self._c
        key, draw_key = jax.random.split(key)
        normal = jax.random.normal(draw_key, (group, 2 * n + 2 * cfg.critics))
        next_action, action, rank, actor_rank = jnp.split(normal, (n, 2 * n, 2 * n + cfg.critics), axis=1)
        return key, Noise(
            next_action=next_action.reshape(group, batch, self._c),
            action=action.reshape(group, batch, self._c),
            drawn=jax.lax.top_k(rank, cfg.target_subset)[1],
            actor_drawn=jax.lax.top_k(actor_rank, cfg.actor_subset or cfg.critics)[1],
        )

    def _update_once(self, state: AgentState, xs: tuple[dict[str, Array], Noise], schedule: dict[str, Array]):
        batch, noise = xs
        x, next_x = self.actor.normalise(batch["state"]), self.actor.normalise(batch["next_state"])
        next_images = self.eyes.of(batch, "next_image")
        y = self.target_value(state, batch["reward"], batch["discount"], next_x, noise, next_images)
        choice, images = self.actor.choice_of(batch["action"]), self.eyes.of(batch)

        def loss_of(params: Params) -> tuple[Array, Info]:
            seen = self.eyes.join(x, params, images)
            x_a = jnp.concatenate([seen, batch["action"][:, : self._c]], axis=1)
            return self._critic_loss(params, x_a, choice, y)

        grads, info = jax.grad(loss_of, has_aux=True)(state.critic)
        updates, critic_opt = self._critic_opt.update(grads, state.critic_opt)
        critic = optax.apply_updates(state.critic, updates)
        tau = self.config.polyak
        target = jax.tree.map(lambda t, q: t + tau * (q - t), state.target, critic)
        state = state._replace(critic=critic, critic_opt=critic_opt, target=target, step=state.step + 1)

        due = (state.step % self.config.updates_per_actor_update == 0) & (schedule["actor_scale"] > 0.0)
        moving = (state.actor, state.actor_opt, state.log_temperature, state.temperature_opt)
        step = functools.partial(self._actor_step, critic=state.critic, x=x, batch=batch, noise=noise)
        skipped = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), jax.eval_shape(step, moving, schedule)[1])
        moving, actor_info = jax.lax.cond(due, step, lambda m, _: (m, skipped), moving, schedule)
        actor, actor_opt, log_temperature, temperature_opt = moving
        state = state._replace(
            actor=actor, actor_opt=actor_opt, log_temperature=log_temperature, temperature_opt=temperature_opt
        )
        return state, (info, actor_info)

    def target_value(
        self, state: AgentState, reward: Array, discount: Array, next_x: Array, noise: Noise,
        next_images: Mapping[str, Array] = NO_IMAGES,
    ) -> Array:  # fmt: skip
        """Return the (B,) values that the critics regress to.

        Args:
            state: Its actor, target critics and temperatures are read.
            reward: (B,).
            discount: (B,), 0 where the task ended the episode.
            next_x: (B, S) normalised next states.
            noise: Its `next_action` (B, C) and `drawn` (M,) are read.
            next_images: (B, height, width, channels) features by camera.
        """
        out = self.actor(state.actor, next_x, next_images)
        u = out.mean + jnp.exp(out.log_std) * noise.next_action
        drawn = networks.take(without_eyes(state.target), noise.drawn)
        seen = self.eyes.join(next_x, state.target, next_images)
        q = self._values(drawn, jnp.concatenate([seen, jnp.tanh(u)], axis=1)).min(axis=0)
        probability = jnp.exp(out.log_choice)
        value = (probability * q).sum(axis=-1)
        if self.config.entropy_backup:
            alpha = jnp.exp(state.log_temperature)
            log_prob = networks.squashed_log_prob(u, out.mean, out.log_std)
            value = value - alpha[0] * log_prob - alpha[1] * (probability * out.log_choice).sum(axis=-1)
        return jax.lax.stop_gradient(reward + discount * value)

    def _values(self, params: Mapping[str, Array], x_a: Array) -> Array:
        """Return the (N, B, K) values of normalised states beside continuous actions."""
        out = self.critic(params, x_a)
        if self.config.critic_loss == "hl_gauss":
            return networks.histogram_mean(out.reshape(*out.shape[:2], self._k, self._bins), self._edges)
        return out

    def _critic_loss(self, params: Params, x_a: Array, choice: Array, y: Array) -> tuple[Array, Info]:
        out = self.critic(params, x_a)
        out = out.reshape(*out.shape[:2], self._k, self._bins)
        taken = jnp.take_along_axis(out, choice[None, :, None, None], axis=2)[:, :, 0]
        if self.config.critic_loss == "hl_gauss":
            q = networks.histogram_mean(taken, self._edges)
            wanted = networks.histogram_target(y, self._edges)
            loss = -(wanted * jax.nn.log_softmax(taken, axis=-1)).sum(axis=-1).mean(axis=1).sum()
        else:
            q = taken[..., 0]
            loss = jnp.square(q - y).mean(axis=1).sum()
        info = {
            # The sum over critics is what is descended, so that each learns as if alone; the mean is what is shown.
            "critic_loss": loss / self.config.critics,
            "q_mean": q.mean(),
            "q_std": q.std(axis=0).mean(),
            "target_mean": y.mean(),
            "target_max": y.max(),
        }
        return loss, info

    def _actor_step(self, moving: tuple, schedule: dict[str, Array], *, critic: Params, x: Array, batch: dict, noise):
        actor, actor_opt, log_temperature, temperature_opt = moving
        alpha, images = jnp.exp(log_temperature), self.eyes.of(batch)
        seen = self.eyes.join(x, critic, images)  # as the critics see it: the actor has eyes of its own
        critic = without_eyes(critic)
        if self.config.actor_subset is not None:
            critic = networks.take(critic, noise.actor_drawn)

        def loss_of(params: Params) -> tuple[Array, tuple[Info, Array]]:
            out = self.actor(params, x, images)
            u = out.mean + jnp.exp(out.log_std) * noise.action
            log_prob = networks.squashed_log_prob(u, out.mean, out.log_std)
            q = self._values(critic, jnp.concatenate([seen, jnp.tanh(u)], axis=1))
            q = q.min(axis=0) if self.config.actor_q == "min" else q.mean(axis=0)
            probability = jnp.exp(out.log_choice)
            choice_entropy = -(probability * out.log_choice).sum(axis=-1).mean()
            value, choice = self._climb(q, out.log_choice, probability, alpha[1], schedule["q_weight"])
            clone = self.actor.clone_loss(out, batch["action"], batch["demo"])
            loss = choice + alpha[0] * log_prob.mean() + schedule["bc_weight"] * clone
            entropy = jnp.stack([-log_prob.mean(), choice_entropy])
            info = {
                "actor_loss": loss,
                "actor_q": value,
                "entropy": entropy[0],
                "choice_entropy": choice_entropy,
                "action_std": jnp.exp(out.log_std).sum() / max(out.log_std.size, 1),
                "bc_loss": clone,
                "temperature": alpha[0],
                "choice_temperature": alpha[1],
                "actor_updates": jnp.ones(()),
            }
            return loss, (info, entropy)

        grads, (info, entropy) = jax.grad(loss_of, has_aux=True)(actor)
        scale = schedule["actor_scale"]
        updates, actor_opt = self._actor_opt.update(grads, actor_opt)
        rate = -self.config.actor_lr * scale
        actor = jax.tree.map(lambda p, u: p + rate * u, actor, updates)
        # d/dlog(alpha) of alpha * (entropy - wanted)
        updates, temperature_opt = self._temperature_opt.update(alpha * (entropy - self._entropy), temperature_opt)
        log_temperature = log_temperature - self.config.temperature_lr * scale * jnp.asarray(updates)
        return (actor, actor_opt, log_temperature, temperature_opt), info

    def _climb(self, q: Array, log_choice: Array, probability: Array, alpha: Array, weight: Array):
        """Return the expected value and the loss that climbs it, with the entropy of the choice.

        Args:
            q: (B, K) values of the sampled continuous actions.
            log_choice: (B, K).
            probability: (B, K), its exponential.
            alpha: Temperature of the choice.
            weight: Of the value.
        """
        cfg, stop = self.config, jax.lax.stop_gradient
        value = (probability * q).sum(axis=-1).mean()
        size = jnp.maximum(jnp.abs(stop((probability * q).sum(axis=-1))).mean(), 1e-3) if cfg.normalise_q else 1.0
        if cfg.choice_loss == "gradient" or self._k == 1:
            return value, -weight * value / size + alpha * (probability * log_choice).sum(axis=-1).mean()
        wanted = jax.nn.softmax(stop(q) * weight / (size * alpha), axis=-1)
        projection = -(wanted * log_choice).sum(axis=-1).mean()
        return value, -weight * (stop(probability) * q).sum(axis=-1).mean() / size + cfg.choice_weight * projection

    def _clone_group(self, state: AgentState, batches: dict[str, Array]) -> tuple[AgentState, Info]:
        actor, opt, info = clone_steps(self.actor, self._clone_opt, state.actor, state.clone_opt, batches)
        return state._replace(actor=actor, clone_opt=opt), info
