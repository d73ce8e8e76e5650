"""Evaluation: episodes of a policy as it is, from starts that training never saw, with a film of the first ones."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.assisted import AssistedEnv, assisted
from robot_rl.checkpoint import load, save
from robot_rl.demos import period_s
from robot_rl.env import RobotEnv
from robot_rl.errors import CheckpointError, MissingDependency, RobotError, StorageError
from robot_rl.link import session_spec, spec_difference
from robot_rl.messages import Policy
from robot_rl.metrics import Latencies
from robot_rl.patience import POLL_S, begin_episode
from robot_rl.policy import NumpyPolicy
from robot_rl.rewards.counts import JudgedCounts
from robot_rl.specs import ActionSpec, ObservationSpec
from robot_rl.timing import Histogram, told
from robot_rl.video import VideoWriter, episode_caption

log = logging.getLogger(__name__)

FIRST_SEED = 2**41  # beyond those of practice and of demonstrations
HOLD_FRAMES = 8  # how long the film rests on the outcome
POLICIES = {"final": "policy.ckpt", "clone": "clone.ckpt"}


def save_policy(
    path: Path, policy: Policy, observation_spec: ObservationSpec, action_spec: ActionSpec, sampled: bool = False
) -> Path:
    """Write a policy with what it reads and gives, so that it can act without the learner.

    Args:
        path: Where to.
        policy: The weights.
        observation_spec, action_spec: The task's.
        sampled: Whether it is to be judged by sampling its actions, as a clone is, and not by its mode.
    """
    facts = {"kind": "policy", "version": policy.version, "sampled": sampled}
    return save(path, policy.weights, {**facts, "spec": session_spec(observation_spec, action_spec)})


class ActingPolicy(Protocol):
    """What can be evaluated: a run's own policy, or an exported one."""

    version: int
    sampled: bool

    def act(self, observation: Any, rng: np.random.Generator | None = None, /) -> NDArray[np.float32]:
        """Return the (A,) action in [-1, 1]: drawn if there is an `rng`, else the mode."""
        ...


class SavedPolicy(NamedTuple):
    """What `save_policy` wrote, checked against a task.

    Attributes:
        weights: The acting network's, by name.
        version: Number of critic updates behind them.
        sampled: Whether it is to be judged by sampling its actions.
        observation_spec: What it reads: the task's, without pictures if it learnt without.
    """

    weights: dict[str, NDArray[np.float32]]
    version: int
    sampled: bool
    observation_spec: ObservationSpec


def read_policy(path: Path, observation_spec: ObservationSpec, action_spec: ActionSpec) -> SavedPolicy:
    """Read a policy and check that it is of this task.

    Raises:
        CheckpointError: It is missing, damaged, or of another task.
    """
    found = load(path)
    if found.meta.get("kind") != "policy":
        raise CheckpointError(f"{path} is a checkpoint of another kind ({found.meta.get('kind')}), not a policy")
    spec = found.meta.get("spec", {})
    if not spec.get("observation", {}).get("images"):  # it learnt without pictures and is not bothered by some
        observation_spec = dataclasses.replace(observation_spec, images={})
    difference = spec_difference(session_spec(observation_spec, action_spec), spec)
    if difference:
        told = difference.replace("learner expects", "the task has").replace("actor sends", "the policy has")
        raise CheckpointError(f"the policy {path} is of another task: {told}")
    weights = {name: np.asarray(a, np.float32) for name, a in found.arrays.items()}
    return SavedPolicy(weights, int(found.meta["version"]), bool(found.meta.get("sampled", False)), observation_spec)


def load_policy(path: Path, observation_spec: ObservationSpec, action_spec: ActionSpec) -> NumpyPolicy:
    """Return a policy that can act, of this task; raises as `read_policy` does."""
    saved = read_policy(path, observation_spec, action_spec)
    policy = NumpyPolicy(saved.observation_spec, action_spec, saved.weights)
    policy.load(Policy(version=saved.version, weights=saved.weights))
    policy.sampled = saved.sampled
    return policy


def evaluate(
    env: RobotEnv | AssistedEnv,
    policy: ActingPolicy,
    episodes: int,
    seed: int = 0,
    video: Path | None = None,
    video_episodes: int = 0,
    progress: Callable[[int, int], None] = lambda done, successes: None,
    latencies: Latencies | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Run episodes and return one row for each, as in `episodes.jsonl`.

    Args:
        env: The environment.
        policy: Acts by its mode, without noise; one that is marked as sampled draws its actions, the same for a seed.
        episodes: How many.
        seed: Chooses the starts; the same seed gives the same starts, whatever the policy.
        video: Where to film; without OpenGL or an encoder there is a warning and no film.
        video_episodes: How many of the first episodes are filmed.
        progress: Told the episodes done and the successes after each.
        latencies: Gathers what a robot in real time measures.
        stopping: Asked before each episode whether to give up, with `KeyboardInterrupt`.
    """
    rows: list[dict[str, Any]] = []
    gathered = Latencies() if latencies is None else latencies
    beside = assisted(env)
    with contextlib.ExitStack() as stack:
        stack.callback(setattr, beside.env, "learning", beside.env.learning)
        beside.env.learning = False
        film = Film(beside.env, video) if video is not None and video_episodes > 0 else None
        if film is not None:
            stack.callback(film.close)
        for i in range(episodes):
            filming = film if i < video_episodes else None
            if stopping():
                raise KeyboardInterrupt
            while beside.paused and not stopping():
                beside.poll()
                time.sleep(POLL_S)
            observation = begin_episode(beside, FIRST_SEED + (seed << 20) + i, stopping)
            rows.append(_episode(beside, policy, i, FIRST_SEED + (seed << 20) + i, observation, filming, gathered))
            if film is not None and i + 1 == video_episodes:
                film.close()
            progress(i + 1, sum(row["success"] for row in rows))
    return rows


def _episode(
    env: AssistedEnv,
    policy: ActingPolicy,
    number: int,
    seed: int,
    observation: Any,
    film: Film | None,
    latencies: Latencies,
) -> dict[str, Any]:
    rng = np.random.default_rng(seed) if policy.sampled else None
    period = period_s(env.env)
    steps, reward_sum, guard = 0, 0.0, {}
    timing: dict[str, Histogram] = {}
    judged = JudgedCounts()
    while True:
        if film is not None:
            film.add(number, steps * period)
        observation, reward, terminated, truncated, info = env.step(
            policy.act(observation, rng), policy_version=policy.version
        )
        steps, reward_sum = steps + 1, reward_sum + float(reward)
        judged.add(info)
        for event in info["guard_events"]:
            guard[event] = guard.get(event, 0) + 1
        for name, value in info.get("timing", {}).items():
            timing.setdefault(name, Histogram()).add(value)
            latencies.add(name, value)
        if terminated or truncated:
            break
    success = bool(info["success"])
    if film is not None:
        film.add(number, steps * period, success, HOLD_FRAMES)
    return {
        "episode": number,
        "success": success,
        "steps": steps,
        "return": reward_sum,
        "reason": info["reason"],
        "duration_s": steps * period,
        "policy_version": policy.version,
        "guard": guard,
        "seed": seed,
        **judged.facts(),
        **info.get("facts", {}),
        **({"timing": told(timing)} if timing else {}),
    }


class Film:
    """Films episodes. What is missing for pictures is warned of once, and then there is no film."""

    def __init__(self, env: RobotEnv, path: Path) -> None:
        self._env = env
        self._writer: VideoWriter | None = None
        try:
            self._writer = VideoWriter(path, fps=max(1.0, 1.0 / period_s(env)))
        except MissingDependency as e:
            log.warning("there will be no video: %s", e)

    def add(self, episode: int, t_s: float, success: bool | None = None, times: int = 1) -> None:
        """Append the present scene, `times` frames long, with a caption."""
        writer = self._writer
        if writer is None:
            return
        try:
            picture = self._env.render()
            if picture is None:
                self._writer = None
                return
            frame = episode_caption(picture, episode=episode, t_s=t_s, success=success)
            for _ in range(times):
                writer.write(frame)
        except (MissingDependency, RobotError, StorageError) as e:
            log.warning("there will be no video: %s", e)
            writer.discard()
            self._writer = None

    def close(self) -> None:
        """Finish the file; safe to call twice."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            try:
                writer.close()
            except StorageError as e:
                log.warning("there is no video: %s", e)
