"""Demonstrations: made by a scripted expert in a twin, kept as a replay log, and read back for a learner.

A folder of demonstrations holds the log's segments, `episodes.jsonl` (one row per demonstration, as in a run) and
`demos.json` with the task's specification, so that those of another task are refused in words. A folder of recorded
episodes (`robot_rl.episodes`) serves as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.actor import Episode
from robot_rl.env import RobotEnv
from robot_rl.episodes.replay_source import demonstrations, holds_episodes
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.jsonl import read_json, read_jsonl, write_json_atomic
from robot_rl.link import session_spec, spec_difference
from robot_rl.messages import StepBlock
from robot_rl.metrics import MetricsWriter
from robot_rl.patience import begin_episode
from robot_rl.replay import check_block
from robot_rl.replay_log import ReplayLog, read
from robot_rl.specs import ActionSpec, ObservationSpec
from robot_rl.task import Expert
from robot_rl.timing import RateCheck

log = logging.getLogger(__name__)

STREAM = "demo/recorded"
FIRST_SEED = 2**40  # beyond the 32 bits of practice, so that no start is seen twice
MOST_TRIES = 5  # episodes tried for each demonstration that is kept


@dataclass(frozen=True, kw_only=True)
class Demos:
    """Recorded demonstrations.

    Attributes:
        blocks: One whole episode each.
        rows: The same as rows of `episodes.jsonl`.
        tried: Episodes that were recorded for them, failures included.
    """

    blocks: Sequence[StepBlock]
    rows: Sequence[dict[str, Any]]
    tried: int

    @property
    def median_s(self) -> float:
        """Median duration in the robot's time, seconds; nan without any."""
        return float(np.median([row["duration_s"] for row in self.rows])) if self.rows else float("nan")


def period_s(env: RobotEnv) -> float:
    """Return the control period of an environment, seconds of the robot's time."""
    return env.period_s


def record_episode(
    env: RobotEnv,
    expert: Expert,
    number: int,
    seed: int,
    stopping: Callable[[], bool] = lambda: False,
    check: RateCheck | None = None,
) -> StepBlock:
    """Let the expert act for one episode and return it whole.

    Args:
        env: The environment.
        expert: Who acts.
        number: Of the episode.
        seed: Of the start and of the expert's own randomness.
        stopping: Asked whether to give up while a robot in real time waits for a person.
        check: Of the rate of a robot in real time.
    """
    observation = begin_episode(env, seed, stopping)
    expert.reset(np.random.default_rng([seed, 1]))
    episode = Episode(number, env.task.max_steps + 1)
    while True:
        action = expert.action(env.robot_state)
        following, reward, terminated, truncated, info = env.step(action)
        episode.guard.update(info["guard_events"])
        timing = info.get("timing", {})
        episode.time(timing)
        if check is not None and "period_ms" in timing:
            check.add(timing["period_ms"])
        episode.add(observation, info["executed_action"], float(reward), "demo", 0)
        observation = following
        if terminated or truncated:
            return episode.finish(observation, terminated, info)


def record(
    env: RobotEnv,
    expert: Expert,
    n: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
    stopping: Callable[[], bool] = lambda: False,
    check: RateCheck | None = None,
) -> Demos:
    """Return n successful demonstrations; failed tries are dropped, as a person would drop them.

    Args:
        env: The environment.
        expert: Who demonstrates.
        n: How many.
        seed: Same seed, same demonstrations.
        progress: Told the number of demonstrations after each.
        stopping: Asked before each episode whether to give up.
        check: Of the rate of a robot in real time.

    Raises:
        ConfigError: The expert fails too often.
        RateError: The loop of a robot in real time misses its rate.
        KeyboardInterrupt: It was given up.
    """
    blocks: list[StepBlock] = []
    rows: list[dict[str, Any]] = []
    tried = 0
    while len(blocks) < n:
        if tried >= MOST_TRIES * n:
            raise ConfigError(
                f"the scripted expert succeeded in {len(blocks)} of {tried} episodes of {env.task.name}; "
                "make it less sloppy (expert.noise, expert.wander) or give it more time (task.max_steps)"
            )
        if stopping():
            raise KeyboardInterrupt
        block = record_episode(env, expert, len(blocks), FIRST_SEED + (seed << 16) + tried, stopping, check)
        tried += 1
        if block.info["success"]:
            blocks.append(block)
            rows.append({**_row(block, period_s(env)), "episode": len(rows)})
            progress(len(blocks))
    return Demos(blocks=blocks, rows=rows, tried=tried)


def _row(block: StepBlock, period: float) -> dict[str, Any]:
    return {**block.info, "actor": "expert", "source": "demo", "duration_s": block.steps * period}


def save(folder: Path, demos: Demos, observation_spec: ObservationSpec, action_spec: ActionSpec, task: str) -> Path:
    """Write demonstrations into a folder that holds none yet.

    Raises:
        ConfigError: There are demonstrations already.
        StorageError: The disk does not take them.
    """
    if (folder / "demos.json").exists():
        raise ConfigError(f"{folder} holds demonstrations already; they are never overwritten, choose another folder")
    with ReplayLog(folder) as blocks, MetricsWriter(folder, sinks=()) as writer:
        steps = 0
        for i, (block, row) in enumerate(zip(demos.blocks, demos.rows, strict=True)):
            blocks.append(STREAM, i + 1, block)
            steps += block.steps
            writer.episode(steps, row)
    facts = {"task": task, "count": len(demos.blocks), "tried": demos.tried, "median_s": demos.median_s}
    write_json_atomic(folder / "demos.json", {**facts, "spec": session_spec(observation_spec, action_spec)})
    return folder


def load(
    folder: Path, observation_spec: ObservationSpec, action_spec: ActionSpec, env: RobotEnv | None = None
) -> Demos:
    """Read demonstrations and check that they are of this task.

    Args:
        folder: Of demonstrations, of a run, or of recorded episodes.
        observation_spec, action_spec: What they must have been made for.
        env: Encodes the pictures of recorded episodes, where a policy reads features of them.

    Raises:
        CheckpointError: There are none, they are damaged, or they were recorded for another task.
    """
    facts = read_json(folder / "demos.json")
    if not facts and (folder / "demos" / "demos.json").is_file():  # a run was given
        folder, facts = folder / "demos", read_json(folder / "demos" / "demos.json")
    if not facts and holds_episodes(folder):
        seen = observation_spec if env is None else env.recorded_spec
        blocks, rows, tried = demonstrations(folder, seen, action_spec)
        blocks = blocks if env is None else [env.encoded(block) for block in blocks]
        return Demos(blocks=blocks, rows=rows, tried=tried)
    if not facts:
        raise CheckpointError(
            f"{folder} holds no demonstrations (demos.json is missing, and so are recorded episodes). "
            "Record some with: robot-rl demos task=... out=FOLDER, or give demos= a number"
        )
    difference = spec_difference(session_spec(observation_spec, action_spec), facts.get("spec", {}))
    if difference:
        told = difference.replace("learner expects", "the task has").replace("actor sends", "the demonstrations have")
        raise CheckpointError(f"the demonstrations in {folder} are of task '{facts.get('task')}', another one: {told}")
    blocks = [block for _, _, block in read(folder)]
    for block in blocks:
        check_block(block, observation_spec, action_spec)
    rows = read_jsonl(folder / "episodes.jsonl")
    return Demos(blocks=blocks, rows=rows, tried=int(facts.get("tried", len(blocks))))
