"""Observations that a run recorded, drawn evenly from all of it, to compare programs on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_rl.env import RobotEnv
from robot_rl.episodes.replay_source import holds_episodes, replay_blocks
from robot_rl.errors import CheckpointError, ExportError
from robot_rl.messages import StepBlock
from robot_rl.replay_log import read
from robot_rl.specs import ActionSpec, ObservationSpec

FOLDERS = ("demos", "replay")


class Observations(NamedTuple):
    """What a policy was shown n times.

    Attributes:
        states: (n, S) float32 in physical units.
        images: By camera (n, H, W, 3) uint8 RGB; empty for a policy that sees nothing.
        source: What they are, for sentences.
    """

    states: NDArray[np.float32]
    images: Mapping[str, NDArray[np.uint8]]
    source: str = "recorded observations"


def recorded_states(folder: Path, observation_spec: ObservationSpec, count: int, seed: int = 0) -> Observations:
    """Return `count` states of a run's demonstrations and practice, or all if they are fewer.

    Args:
        folder: Of the run.
        observation_spec: What the policy reads.
        count: How many.
        seed: Chooses them.

    Raises:
        CheckpointError: A log is damaged.
        ExportError: Nothing is recorded, or it is of another task.
    """
    size = observation_spec.size

    def each() -> Iterator[dict[str, Any]]:
        for block in _blocks(folder):
            if block.states.ndim != 2 or block.states.shape[1] != size:
                raise ExportError(
                    f"the run {folder} recorded states of shape {block.states.shape[1:]}, its policy reads ({size},); "
                    "export it with the task that it was trained with"
                )
            for state in block.states:
                yield {"state": state}

    drawn = _draw(each(), count, seed)
    if not drawn:
        raise ExportError(
            f"the run {folder} recorded no observations (neither {' nor '.join(f'{f}/' for f in FOLDERS)} holds any), "
            "so the export could not be checked; restore these folders"
        )
    return _together(drawn, ())


def recorded_pictures(
    folder: Path, pictures_spec: ObservationSpec, action_spec: ActionSpec, count: int, seed: int = 0
) -> Observations | None:
    """Return `count` observations of a run's recorded episodes, or None if it has recorded none.

    The run's own logs hold features where its policy reads them; the episodes hold the pictures.

    Args:
        folder: Of the run.
        pictures_spec: What was recorded: the state, and each camera's picture.
        action_spec: The task's.
        count: How many.
        seed: Chooses them.
    """
    if not holds_episodes(folder):
        return None

    def each() -> Iterator[dict[str, Any]]:
        for block in replay_blocks(folder, pictures_spec, action_spec):
            for i, state in enumerate(block.states):
                yield {"state": state, **{name: shots[i] for name, shots in block.images.items()}}

    drawn = _draw(each(), count, seed)
    return _together(drawn, tuple(pictures_spec.images)) if drawn else None


def practised_pictures(env: RobotEnv, policy: Any, count: int, seed: int) -> Observations:
    """Return `count` observations of a policy at work in a twin, where no episode was recorded.

    Args:
        env: In which the policy reads what it has learnt from.
        policy: Acts by its mode.
        count: How many.
        seed: Of the starts; they follow each other, at most 25 observations from each.

    Raises:
        ExportError: It is a robot that really moves.
    """
    if env.real_time:
        raise ExportError(
            "the run recorded no episode with pictures, and an export does not move a robot to see some; record one "
            "in the run's folder (robot-rl record, or actor.record=always while training), then export again"
        )
    env.learning = False
    seen: list[dict[str, Any]] = []
    while len(seen) < count:
        observation, _ = env.reset(seed=seed)
        seed += 1
        for _ in range(min(25, count - len(seen))):
            shown: Any = env.shown(observation)
            seen.append(dict(shown))
            observation, _, terminated, truncated, _ = env.step(policy.act(observation))
            if terminated or truncated:
                break
    return _together(seen, env.cameras)._replace(source="observations in the twin")


def _blocks(folder: Path) -> Iterator[StepBlock]:
    for name in FOLDERS:
        if any((folder / name).glob("blocks-*.log")):
            try:
                for _, _, block in read(folder / name):
                    yield block
            except OSError as e:
                raise CheckpointError(f"the recorded observations in {folder / name} cannot be read: {e}") from e


def _draw(rows: Iterator[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    """Draw rows evenly by reservoir sampling: one pass, and memory for what is kept alone."""
    rng = np.random.default_rng(seed)
    kept: list[dict[str, Any]] = []
    for seen, row in enumerate(rows, start=1):
        place = len(kept) if len(kept) < count else int(rng.integers(seen))
        if place < count:
            kept[place : place + 1] = [{name: value.copy() for name, value in row.items()}]
    return kept


def _together(rows: list[dict[str, Any]], cameras: tuple[str, ...]) -> Observations:
    states = np.stack([row["state"] for row in rows]).astype(np.float32)
    return Observations(states, {name: np.stack([row[name] for row in rows]) for name in cameras})
