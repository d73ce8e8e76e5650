"""Behaviour cloning as an agent of its own, with the interface of `rlpd.Agent` and the same actor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from robot_rl.agents.actor import Actor
from robot_rl.agents.compiling import compile_update
from robot_rl.agents.config import AgentConfig
from robot_rl.agents.networks import Params
from robot_rl.agents.trees import checked, on_device, zeros_of
from robot_rl.specs import ActionSpec, ObservationSpec


class CloningState(NamedTuple):
    """The actor's parameters, its optimiser's state and the updates done."""

    actor: Any
    actor_opt: Any
    step: Any


class CloningAgent:
    """Learns the demonstrated actions and nothing else: the baseline of every table."""

    def __init__(self, observation_spec: ObservationSpec, action_spec: ActionSpec, config: AgentConfig) -> None:
        self.config = config
        self.actor = Actor(observation_spec, action_spec, config)
        self._sizes: dict[str, tuple[int, ...]] = {"state": (observation_spec.size,), "action": (action_spec.size,)}
        self._sizes |= {"demo": (), **self.actor.eyes.sizes("image")}
        self.optimiser = optax.adam(config.clone_lr)
        self._update = compile_update(self._update_group)

    def init(self, seed: int) -> CloningState:
        """Return a fresh state."""
        actor = self.actor.init(np.random.default_rng(seed))
        return on_device(CloningState(actor, zeros_of(self.optimiser, actor), np.zeros((), np.int32)))

    def update(
        self, state: CloningState, batches: Mapping[str, Any], schedule: Mapping[str, float] | None = None
    ) -> tuple[CloningState, dict[str, Array]]:
        """Do G updates.

        Args:
            state: Consumed: its buffers are donated to the result.
            batches: "state" (G, B, S), "action" (G, B, A) and "demo" (G, B), 1 for rows that count, and
                features "image/<camera>"; others are ignored.
            schedule: Taken for the sake of the common interface; cloning has none.
        """
        del schedule
        return self._update(state, checked(batches, self._sizes))

    def policy(self, state: CloningState) -> dict[str, NDArray[np.float32]]:
        """Return the actor's weights as numpy, ready for `Policy` and `NumpyPolicy`."""
        return self.actor.weights(state.actor)

    def _update_group(self, state: CloningState, batches: dict[str, Array]) -> tuple[CloningState, dict[str, Array]]:
        actor, opt, info = clone_steps(self.actor, self.optimiser, state.actor, state.actor_opt, batches)
        return CloningState(actor, opt, state.step + len(batches["demo"])), info


def clone_steps(
    net: Actor, optimiser: optax.GradientTransformation, params: Params, opt_state: Any, batches: dict[str, Array]
) -> tuple[Params, Any, dict[str, Array]]:
    """Scan gradient steps of the clone loss over the leading axis of `batches`."""

    def one(carry: tuple[Any, Any], batch: dict[str, Array]) -> tuple[tuple[Any, Any], Array]:
        params, opt_state = carry

        def loss_of(params: Params) -> Array:
            out = net(params, net.normalise(batch["state"]), net.eyes.of(batch))
            return net.clone_loss(out, batch["action"], batch["demo"])

        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, opt_state = optimiser.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state), loss

    (params, opt_state), loss = jax.lax.scan(one, (params, opt_state), batches)
    return params, opt_state, {"bc_loss": loss.mean()}
