"""What an RLPD agent carries from update to update, and the random numbers of one update."""

from __future__ import annotations

from typing import Any, NamedTuple

from jax import Array


class AgentState(NamedTuple):
    """Everything that training changes: a pytree of arrays.

    Attributes:
        actor, critic, target: Parameters by name.
        log_temperature: (2,) of the continuous action's entropy and of the discrete choice's.
        actor_opt, critic_opt, temperature_opt: Optimiser states.
        clone_opt: The actor's optimiser while it is cloned, so that training starts with a fresh one.
        key: (2,) uint32 random state.
        step: Critic updates done.
    """

    actor: Any
    critic: Any
    target: Any
    log_temperature: Any
    actor_opt: Any
    critic_opt: Any
    temperature_opt: Any
    clone_opt: Any
    key: Any
    step: Any


class Noise(NamedTuple):
    """The random numbers of one critic update.

    Attributes:
        next_action, action: (B, C) standard normal.
        drawn: (target_subset,) critics of the target, each once.
        actor_drawn: (actor_subset,) critics of the actor's value, each once.
    """

    next_action: Array
    action: Array
    drawn: Array
    actor_drawn: Array
