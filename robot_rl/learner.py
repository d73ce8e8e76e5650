"""The learner: replay in, gradient steps, policy out, with exact accounting of updates per environment step.

It never waits and owns no socket, file or thread: a runner feeds it blocks, calls `step` whenever there is time, and
carries its policy and status to the actors. The single-process and the two-process run share all of it.

A cloned start is not thrown away. While the actor practises with the clone, only the critics learn (`hold_steps`); then
the actor is released with the clone loss still in its objective, whose weight halves every `bc_half_life_steps`.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.messages import LearnerStatus, Policy, StepBlock
from robot_rl.replay import Mixed, Replay
from robot_rl.specs import ActionSpec, ObservationSpec

if TYPE_CHECKING:
    from robot_rl.agents.config import AgentConfig


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """Settings of the training loop.

    Attributes:
        total_env_steps: The run is finished after this many steps of practice and their updates.
        updates_per_step: Critic updates per environment step, kept exactly in the long run.
        updates_per_call: Critic updates in one compiled call.
        demo_fraction: Share of every batch from demonstrations and interventions.
        gamma: Discount per control period.
        n_step: Steps that a sampled reward sums over.
        capacity: Frames of practice to keep; as many again for demonstrations.
        clone_updates: Updates of behaviour cloning before practice; 0 starts from a random policy.
        hold_steps: Steps of practice during which the actor stays as cloned while the critics learn.
        bc_weight: Weight of the clone loss when the actor is released.
        bc_half_life_steps: Steps of practice in which that weight halves.
        bc_floor: Weight below which it does not fall.
        publish_every_updates: How often weights go to the actors.
        lead_steps: How far actors may run ahead of the updates that are due, before they must wait; at least the steps
            of one call.
        intervention_weight: What a step in which a person took over weighs in the clone loss, against 1 for a
            demonstrated one.
        success_weight: What a step of the policy weighs there once its episode has succeeded without a person's help:
            the clone loss then holds the actor to what has worked so far, and not to slow demonstrations alone.
    """

    total_env_steps: int = 6000
    updates_per_step: float = 4.0
    updates_per_call: int = 8
    demo_fraction: float = 0.5
    gamma: float = 0.97
    n_step: int = 3
    capacity: int = 200_000
    clone_updates: int = 2000
    hold_steps: int = 800
    bc_weight: float = 1.0
    bc_half_life_steps: float = 500.0
    bc_floor: float = 0.0
    publish_every_updates: int = 80
    lead_steps: int = 100
    intervention_weight: float = 1.0
    success_weight: float = 0.0

    def __post_init__(self) -> None:
        positive = ("total_env_steps", "updates_per_step", "updates_per_call", "n_step", "capacity", "lead_steps")
        for name in (*positive, "bc_half_life_steps", "publish_every_updates"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"learner.{name} is {getattr(self, name)}; it must be positive")
        for name in ("clone_updates", "hold_steps", "bc_weight", "bc_floor", "intervention_weight", "success_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"learner.{name} is {getattr(self, name)}; it must not be negative")
        if not 0.0 < self.gamma <= 1.0:
            raise ConfigError(f"learner.gamma is {self.gamma}; it must lie in (0, 1]")
        if not 0.0 <= self.demo_fraction <= 1.0:
            raise ConfigError(f"learner.demo_fraction is {self.demo_fraction}; it must lie in [0, 1]")


class Learner:
    """Replay, agent and counters of one run.

    Args:
        observation_spec, action_spec: The task's.
        config: The loop.
        agent_config: The agent.
        seed: Of everything random in here.
        practise: What an update does: "rlpd" learns values and climbs them; "hgdagger" clones demonstrations and what
            people did when they took over, and nothing else; "iql" learns from demonstrations and earlier practice
            alone, in the place of cloning (`clone`), and does no update in practice.
    """

    def __init__(
        self,
        observation_spec: ObservationSpec,
        action_spec: ActionSpec,
        config: LearnerConfig,
        agent_config: AgentConfig,
        seed: int,
        practise: Literal["rlpd", "hgdagger", "iql"] = "rlpd",
    ) -> None:
        from robot_rl.agents.iql import IqlAgent  # JAX: only where something is learnt
        from robot_rl.agents.rlpd import Agent

        self.config = config
        self._batch = agent_config.batch_size
        self._clones, self._offline = practise == "hgdagger", practise == "iql"
        make = functools.partial(
            Replay, config.capacity, observation_spec, action_spec, config.gamma, config.n_step,
            human_weight=config.intervention_weight,
        )  # fmt: skip
        self.replay = Mixed(make(success_weight=config.success_weight), make(), config.demo_fraction)
        self.agent: Any = (IqlAgent if practise == "iql" else Agent)(observation_spec, action_spec, agent_config)
        self.state = self.agent.init(seed)
        self._rng = np.random.default_rng([seed, 1])
        self.env_steps = 0
        self.updates = 0
        self._info: Mapping[str, Any] = {}

    def add_demos(self, blocks: Iterable[StepBlock]) -> None:
        """Store demonstrations; they count as no practice."""
        for block in blocks:
            self.replay.add("demo", block)

    def warm_up(self, stream: str, block: StepBlock) -> None:
        """Store a block of an earlier run; it counts as no practice."""
        self.replay.add(stream, block)

    def clone(self, group: int = 50) -> Iterable[float]:
        """Clone the demonstrations into the actor, yielding the share done after every group of updates.

        Offline it is the values of all that is recorded, and the actor that follows from them, that are learnt here.
        """
        config = self.config
        source, learn = (self.replay, self.agent.update) if self._offline else (self.replay.demos, self.agent.clone)
        groups = -(-config.clone_updates // group) if len(source) else 0
        for i in range(groups):
            batches = source.sample_groups(self._rng, group, self._batch)
            self.state, self._info = learn(self.state, batches)
            yield (i + 1) / groups
        if groups and not self._offline:
            self.state = self.agent.share_eyes(self.state)

    def ingest(self, stream: str, block: StepBlock) -> None:
        """Store a block of practice."""
        self.replay.add(stream, block)
        self.env_steps += block.steps

    @property
    def due(self) -> bool:
        """Whether a group of updates is due for the steps received."""
        ready = self.env_steps > 0 and len(self.replay.demos if self._clones else self.replay) > 0
        target = self.config.updates_per_step * min(self.env_steps, self.config.total_env_steps)
        return ready and self.updates + self.config.updates_per_call <= target

    @property
    def finished(self) -> bool:
        """Whether all practice is in and all its updates are done."""
        return self.env_steps >= self.config.total_env_steps and not self.due

    def step(self) -> bool:
        """Do one group of updates if one is due, and return whether it was."""
        if not self.due:
            return False
        if self._clones:
            batches = self.replay.demos.sample_groups(self._rng, self.config.updates_per_call, self._batch)
            self.state, self._info = self.agent.clone(self.state, batches)
        else:
            batches = self.replay.sample_groups(self._rng, self.config.updates_per_call, self._batch)
            self.state, self._info = self.agent.update(self.state, batches, self.schedule())
        self.updates += self.config.updates_per_call
        return True

    def schedule(self) -> dict[str, float]:
        """Return how far the actor is trusted now; it depends on updates alone, so that it resumes exactly."""
        config = self.config
        steps = self.updates / config.updates_per_step - (config.hold_steps if config.clone_updates else 0)
        if steps < 0.0:
            return {"actor_scale": 0.0, "bc_weight": 0.0}
        weight = max(config.bc_floor, config.bc_weight * 0.5 ** (steps / config.bc_half_life_steps))
        return {"actor_scale": 1.0, "bc_weight": weight if len(self.replay.demos) else 0.0}

    def status(self) -> LearnerStatus:
        """Return what the actors need to know."""
        # A whole call must become due before anyone waits for it.
        lead = max(self.config.lead_steps, math.ceil(self.config.updates_per_call / self.config.updates_per_step) + 1)
        allowed = int(self.updates / self.config.updates_per_step) + lead
        return LearnerStatus(
            env_steps=self.env_steps,
            updates=self.updates,
            steps_allowed=min(allowed, self.config.total_env_steps),
            finished=self.finished,
            policy_version=self.updates,
        )

    def policy(self) -> Policy:
        """Return the acting policy with its version."""
        return Policy(version=self.updates, weights=self.agent.policy(self.state))

    def policy_age_steps(self, version: int) -> float:
        """Return how many environment steps ago a version was made."""
        return max(0.0, self.env_steps - version / self.config.updates_per_step)

    def metrics(self) -> dict[str, float]:
        """Return the newest scalars of the agent; waits for the device."""
        return {k: float(v) for k, v in self._info.items()}

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return everything that changes, but for the replay, as named arrays and plain values."""
        import jax

        leaves = jax.tree_util.tree_flatten_with_path(self.state)[0]
        arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
        meta = {
            "env_steps": self.env_steps,
            "updates": self.updates,
            "rng": json.dumps(self._rng.bit_generator.state),
        }
        return arrays, meta

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Restore what `to_arrays` gave. The replay is refilled by `ingest`, which also sets the count of steps.

        Raises:
            CheckpointError: The arrays belong to another agent or task.
        """
        import jax
        import jax.numpy as jnp

        leaves, tree = jax.tree_util.tree_flatten_with_path(self.state)
        names = [jax.tree_util.keystr(path) for path, _ in leaves]
        if set(names) != set(arrays):
            odd = sorted(set(names) ^ set(arrays))
            more = f" and {len(odd) - 1} more do" if len(odd) > 1 else " does"
            raise CheckpointError(f"the checkpoint is of another agent: '{odd[0]}'{more} not match")
        restored = []
        for name, (_, leaf) in zip(names, leaves, strict=True):
            if arrays[name].shape != leaf.shape:
                raise CheckpointError(
                    f"the checkpoint's '{name}' has shape {arrays[name].shape}, this agent's {leaf.shape}; "
                    "resume with the settings and the task that the run was started with"
                )
            restored.append(jnp.array(arrays[name], leaf.dtype))  # a copy: the state is donated to every update
        self.state = jax.tree_util.tree_unflatten(tree, restored)
        self.updates = int(meta["updates"])
        self._rng.bit_generator.state = json.loads(meta["rng"])
