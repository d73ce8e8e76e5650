"""The actor: runs episodes with the newest policy and sends every step, without ever waiting inside a control period.

It knows neither JAX nor ROS. `tick` does one control period and returns; a runner calls it in a loop, in the same
process as the learner or in another one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.assisted import PAUSED, AssistedEnv, assisted
from robot_rl.env import RobotEnv
from robot_rl.episodes.facts import Verdict
from robot_rl.errors import ConfigError
from robot_rl.link import ActorSide
from robot_rl.messages import SOURCES, Source, StepBlock
from robot_rl.policy import NumpyPolicy
from robot_rl.timing import Histogram, RateCheck, told


@dataclass(frozen=True, kw_only=True)
class ActorConfig:
    """Settings of the actor.

    Attributes:
        block_steps: Steps sent together; the end of an episode always sends.
        throttle: When to wait for a learner that is behind: before any "step" (lock-step twins) or only between
            episodes ("episode": where a robot must not be left in mid-motion, and always so in real time).
        noise_scale: Multiplies the policy's own standard deviation while practising.
        rate_tolerance: In real time, the largest 95th percentile of the control period, as a multiple of the nominal
            one; practice ends with a sentence when it is exceeded. 0 switches the check off.
        record: Whether episodes are kept as MCAP files too: "auto" (of robots in real time), "always" or "never".
    """

    block_steps: int = 20
    throttle: Literal["step", "episode"] = "step"
    noise_scale: float = 1.0
    rate_tolerance: float = 1.2
    record: Literal["auto", "always", "never"] = "auto"

    def __post_init__(self) -> None:
        if self.block_steps < 1:
            raise ConfigError(f"actor.block_steps is {self.block_steps}; it must be at least 1")
        if self.noise_scale < 0.0:
            raise ConfigError(f"actor.noise_scale is {self.noise_scale}; it must not be negative")
        if self.rate_tolerance and not self.rate_tolerance > 1.0:
            raise ConfigError(f"actor.rate_tolerance is {self.rate_tolerance}; it must be above 1, or 0 for no check")
        if self.throttle not in ("step", "episode"):
            raise ConfigError(f"actor.throttle is '{self.throttle}'; allowed: step, episode")


class EpisodeSink(Protocol):
    """Keeps whole episodes beside the link; see `robot_rl.episodes.practice`."""

    def begin(self, episode: int, observation: Any) -> None:
        """Begin an episode."""
        ...

    def step(self, after: tuple[Any, float, bool, bool, Mapping[str, Any]], policy_version: int) -> None:
        """Keep a step, as `AssistedEnv.step` returned it."""
        ...

    def end(self, reason: str = "", verdict: Verdict = "") -> None:
        """End the episode, with the operator's word on it."""
        ...


class Episode:
    """Collects the steps of one episode into blocks."""

    def __init__(self, number: int, block_steps: int) -> None:
        self.number = number
        self._block_steps = block_steps
        self._start = self._width = 0
        self._rows: list[tuple[Any, NDArray[np.float32], float, int, int]] = []
        self.steps = 0
        self.reward_sum = 0.0
        self.sources: Counter[Source] = Counter()
        self.interventions = 0  # runs of steps in which a person acted
        self.first_intervention = -1
        self.guard: Counter[str] = Counter()
        self.timing: dict[str, Histogram] = {}
        self._helped = False  # whether a person acted in the newest step
        self._t0_s = time.monotonic()

    @property
    def pending(self) -> int:
        """Steps that no block has carried away yet."""
        return len(self._rows)

    def add(self, observation: Any, action: NDArray[np.float32], reward: float, source: Source, version: int) -> None:
        """Add a step."""
        self._width = len(action)
        if source == "human" and not self._helped:
            self.interventions += 1
            self.first_intervention = self.steps if self.first_intervention < 0 else self.first_intervention
        self._helped = source == "human"
        self._rows.append((observation, action, reward, SOURCES.index(source), version))
        self.steps += 1
        self.reward_sum += reward
        self.sources[source] += 1

    def time(self, timing: Mapping[str, float]) -> None:
        """Add what a robot in real time measured in a step, in milliseconds by name."""
        for name, value in timing.items():
            self.timing.setdefault(name, Histogram()).add(value)

    def full_block(self) -> StepBlock | None:
        """Return a block when enough steps have come together."""
        return self._block() if len(self._rows) >= self._block_steps else None

    def block(self) -> StepBlock:
        """Return a block of the pending steps, however few."""
        return self._block()

    def finish(self, observation: Any, terminated: bool, info: dict[str, Any]) -> StepBlock:
        """Return the block that ends the episode.

        Args:
            observation: The last observation.
            terminated: The task ended the episode, not the clock or the guard.
            info: The last step's info: success, reason and the operator's verdict are read. A discarded episode says
                so to the learner, which has seen its first blocks by then: it lets their steps go.
        """
        facts: dict[str, float | int | str | bool] = {
            "success": bool(info["success"]),
            "steps": self.steps,
            "return": self.reward_sum,
            "reason": str(info["reason"]),
            "intervened": self.sources["human"] > 0,
            "duration_s": time.monotonic() - self._t0_s,
        }
        if self.interventions:
            facts |= {
                "human_steps": self.sources["human"],
                "interventions": self.interventions,
                "first_intervention": self.first_intervention,
            }
        if info.get("verdict"):
            facts["verdict"] = str(info["verdict"])
        facts.update({f"guard/{name}": count for name, count in self.guard.items()})
        facts.update({f"timing/{name}": value for name, value in told(self.timing).items()})
        return self._block(observation, terminated, facts)

    def _block(
        self,
        final: Any = None,
        terminated: bool = False,
        info: dict[str, float | int | str | bool] | None = None,
    ) -> StepBlock:
        rows, self._rows = self._rows, []
        start, self._start = self._start, self._start + len(rows)
        observations = [row[0] for row in rows]
        images: dict[str, NDArray[np.uint8]] = {}
        final_images: dict[str, NDArray[np.uint8]] = {}
        if observations and isinstance(observations[0], dict):
            names = [name for name in observations[0] if name != "state"]
            images = {name: np.stack([o[name] for o in observations]) for name in names}
            observations = [o["state"] for o in observations]
        if isinstance(final, dict):
            final_images = {name: image for name, image in final.items() if name != "state"}
            final = final["state"]
        final_state = np.zeros(0, np.float32) if final is None else np.asarray(final, np.float32)
        states = np.array(observations, np.float32)
        actions = np.array([row[1] for row in rows], np.float32)
        if not rows:  # the end alone: its steps are sent already
            states, actions = states.reshape(0, len(final_state)), actions.reshape(0, self._width)
            images = {name: np.zeros((0, *image.shape), np.uint8) for name, image in final_images.items()}
        return StepBlock(
            episode=self.number,
            start=start,
            states=states,
            actions=actions,
            rewards=np.array([row[2] for row in rows], np.float32),
            sources=np.array([row[3] for row in rows], np.uint8),
            policy_versions=np.array([row[4] for row in rows], np.int64),
            images=images,
            ended=info is not None,
            terminated=terminated,
            final_state=final_state,
            final_images=final_images,
            info=info or {},
        )


class Actor:
    """Runs episodes of an environment and streams them to the learner.

    Args:
        env: The environment, with a person beside it or without.
        link: The actor's end of the link.
        config: Settings.
        seed: Of resets and of exploration.
        first_episode: Number of the first episode, when a run is resumed.
        sink: Keeps whole episodes, if they are to be kept here.
    """

    def __init__(
        self,
        env: RobotEnv | AssistedEnv,
        link: ActorSide,
        config: ActorConfig,
        seed: int,
        first_episode: int = 0,
        sink: EpisodeSink | None = None,
    ) -> None:
        self.env, self.link, self.config, self._sink = assisted(env), link, config, sink
        self.timing: Mapping[str, float] = {}  # of the newest step, in real time
        self._rate = RateCheck(self.env.env.period_s, config.rate_tolerance)
        self._seed: int | None = int(np.random.SeedSequence([seed, first_episode]).generate_state(1)[0])
        self._rng = np.random.default_rng([seed, first_episode, 2])
        self._policy: NumpyPolicy | None = None
        self._next_episode = first_episode
        self._episode: Episode | None = None
        self._observation: Any = None
        self.steps = 0
        self.completed = 0  # episodes that ran to their end

    @property
    def finished(self) -> bool:
        """Whether the learner has said that the run is complete."""
        status = self.link.status()
        return status is not None and status.finished

    @property
    def waits(self) -> str:
        """What practice waits for though the robot is ready, in words; empty while it does not."""
        return PAUSED if self.env.paused else ""

    def tick(self) -> bool:
        """Do one control period, and return whether there was one to do.

        False means wait: there is no policy yet, the learner is behind, the link's buffer is full, or the operator
        wants a pause between two episodes.
        """
        self._take_policy()
        if self._episode is None:
            self.env.poll()  # a stop between two episodes is heard: an episode that begins forgets what was pressed
            if self.env.paused:
                return False
        if self._policy is None or not self._may_step():
            self.flush()
            if self._episode is not None and self.env.real_time:
                self.env.poll()
            return False
        if self._episode is None:
            facts = {"kind": "practice", "episode": self._next_episode}
            self._observation, _ = self.env.reset(seed=self._seed, facts=facts)
            self._seed = None
            self._episode = Episode(self._next_episode, self.config.block_steps)
            if self._sink is not None:
                self._sink.begin(self._next_episode, self._observation)
            self._next_episode += 1
        self._step(self._policy, self._episode)
        return True

    def _step(self, policy: NumpyPolicy, episode: Episode) -> None:
        before = self._observation
        action = policy.act(before, self._rng)
        after, reward, terminated, truncated, info = stepped = self.env.step(action, policy_version=policy.version)
        if self._sink is not None:
            self._sink.step(stepped, policy.version)
        episode.guard.update(info["guard_events"])
        self.timing = info.get("timing", {})
        episode.time(self.timing)
        episode.add(before, info["executed_action"], float(reward), info["source"], policy.version)
        self._observation = after
        self.steps += 1
        if terminated or truncated:
            self.link.send(episode.finish(after, terminated, info))
            self._episode = None
            if self._sink is not None:
                self._sink.end(verdict=info["verdict"])
            self.completed += 1
        elif (block := episode.full_block()) is not None:
            self.link.send(block)
        if "period_ms" in self.timing:
            self._rate.add(self.timing["period_ms"])

    def flush(self) -> None:
        """Send what is pending: a learner that is waited for may itself wait for these very steps."""
        if self._episode is not None and self._episode.pending and self.link.wait_room(0.0):
            self.link.send(self._episode.block())

    def abandon(self, reason: str) -> None:
        """End the running episode where the robot failed: it is truncated after its last whole step."""
        episode, self._episode = self._episode, None
        if episode is not None and self._sink is not None:
            self._sink.end(reason)
        if episode is not None and episode.steps and self.link.wait_room(0.0):
            self.link.send(episode.finish(self._observation, False, {"success": False, "reason": reason}))

    def _take_policy(self) -> None:
        newest = self.link.policy()
        if newest is None:
            return
        if self._policy is None:
            self._policy = NumpyPolicy(
                self.env.env.observation_spec,
                self.env.env.task.action_spec,
                newest.weights,
                noise_scale=self.config.noise_scale,
            )
        self._policy.load(newest)

    def _may_step(self) -> bool:
        if self._episode is not None and (self.env.real_time or self.config.throttle == "episode"):
            return self.link.wait_room(0.0)
        status = self.link.status()
        if status is None or status.finished:
            return False
        # What the learner has counted, and at most what is still on the way from here.
        on_the_way = self.link.unacked * self.config.block_steps + (self._episode.pending if self._episode else 0)
        return status.env_steps + on_the_way < status.steps_allowed and self.link.wait_room(0.0)
