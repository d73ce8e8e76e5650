"""From episode files to what a learner takes: whole episodes as blocks, with the executed actions.

A folder of a killed training is as good as a finished one: a cut episode gives its complete steps and counts as cut
short by the clock, which claims neither success nor failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.folder import episode_files
from robot_rl.episodes.reader import Episode
from robot_rl.errors import CheckpointError
from robot_rl.link import session_spec, spec_difference
from robot_rl.messages import SOURCES, StepBlock
from robot_rl.replay import check_block
from robot_rl.specs import ActionSpec, ObservationSpec

_BY_NAME = {name: i for i, name in enumerate(SOURCES)}


def holds_episodes(folder: Path) -> bool:
    """Return whether a folder, of a run or of episodes, holds episode files."""
    return bool(episode_files(folder))


def demonstrations(
    folder: Path, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> tuple[list[StepBlock], list[dict[str, Any]], int]:
    """Return the successful episodes of a folder as demonstrations.

    Returns:
        Blocks of one whole episode each, their rows as in `episodes.jsonl`, and how many episodes there were.

    Raises:
        CheckpointError: None succeeded, or one was recorded for another task.
    """
    blocks: list[StepBlock] = []
    rows: list[dict[str, Any]] = []
    tried = 0
    for episode in _episodes(folder, observation_spec, action_spec):
        tried += 1
        if episode.success:
            block = to_block(episode, observation_spec, action_spec, len(blocks))
            blocks.append(block)
            rows.append({**block.info, "actor": "recorded", "source": "demo", "episode": len(rows)})
    if not blocks:
        raise CheckpointError(
            f"none of the {tried} episodes in {folder} is a success, so there is nothing to imitate; "
            "see what there is with: robot-rl data ls"
        )
    return blocks, rows, tried


def replay_blocks(folder: Path, observation_spec: ObservationSpec, action_spec: ActionSpec) -> Iterator[StepBlock]:
    """Yield every episode of a folder but those that the operator discarded, successful or not, to start a replay with.

    Raises:
        CheckpointError: One was recorded for another task.
    """
    number = 0
    for episode in _episodes(folder, observation_spec, action_spec):
        if len(episode):
            yield to_block(episode, observation_spec, action_spec, number)
            number += 1


def to_block(episode: Episode, observation_spec: ObservationSpec, action_spec: ActionSpec, number: int) -> StepBlock:
    """Return an episode as one block.

    Args:
        episode: The episode, whole or cut.
        observation_spec, action_spec: What it must have been recorded for; pictures are those that the policy saw.
        number: That the block shall have.

    Raises:
        CheckpointError: It is of another task, has no step, or lacks pictures.
    """
    _check_spec(episode, observation_spec, action_spec)
    steps = episode.steps
    n = steps.gap  # what follows a damaged part cannot be joined to what lies before it
    if not n:
        raise CheckpointError(f"{episode.path} holds no complete step; leave it out or delete it")
    pictures = _pictures(episode, observation_spec, n)
    if not np.array_equal(steps.next_state[: n - 1], steps.state[1:n]):
        raise CheckpointError(f"the observations of {episode.path} do not follow each other; leave it out")
    whole = episode.end is not None and n == len(steps) == episode.end.steps
    last = n - 1
    facts: dict[str, float | int | str | bool] = {
        "success": bool(episode.success) if whole else False,
        "steps": n,
        "return": float(steps.reward[:n].sum(dtype=np.float64)),
        "reason": steps.reason[last] if whole else "the record was cut",
        "intervened": "human" in steps.source[:n],
        "duration_s": n * episode.start.period_s,
    }
    for events in steps.guard_events[:n]:
        for event in events:
            facts[f"guard/{event}"] = int(facts.get(f"guard/{event}", 0)) + 1
    block = StepBlock(
        episode=number,
        start=0,
        states=steps.state[:n],
        actions=steps.executed[:n],
        rewards=steps.reward[:n],
        sources=np.array([_BY_NAME.get(s, 0) for s in steps.source[:n]], np.uint8),
        policy_versions=steps.policy_version[:n],
        images={name: np.stack(shots[:n]) for name, shots in pictures.items()},
        ended=True,
        terminated=bool(steps.terminated[last]),
        final_state=steps.next_state[last],
        final_images={name: shots[n] for name, shots in pictures.items()},
        info=facts,
    )
    check_block(block, observation_spec, action_spec)
    return block


def _episodes(folder: Path, observation_spec: ObservationSpec, action_spec: ActionSpec) -> Iterator[Episode]:
    for path in episode_files(folder):
        try:
            episode = Episode(path)
        except CheckpointError:
            if path.suffix == ".part":
                continue  # a process was killed as it began
            raise
        if episode.end is not None and episode.end.verdict == "discard":
            continue
        _check_spec(episode, observation_spec, action_spec)
        yield episode


def _check_spec(episode: Episode, observation_spec: ObservationSpec, action_spec: ActionSpec) -> None:
    ours = session_spec(observation_spec, action_spec)
    theirs: dict[str, Any] = {**episode.start.spec}
    observation = theirs.get("observation")
    if isinstance(observation, Mapping) and isinstance(observation.get("images"), Mapping):
        # More cameras than the task looks through do no harm.
        wanted = {k: v for k, v in observation["images"].items() if k in observation_spec.images}
        theirs["observation"] = {**observation, "images": wanted}
    difference = spec_difference(ours, theirs)
    if difference:
        told = difference.replace("learner expects", "the task has").replace("actor sends", "the episode has")
        told = told.replace("actor does not send it", "the episode does not have it").replace("learner", "the task")
        raise CheckpointError(f"{episode.path} was recorded for '{episode.start.task}', another task: {told}")


def _pictures(episode: Episode, spec: ObservationSpec, n: int) -> dict[str, list[NDArray[np.uint8]]]:
    cameras = episode.cameras()
    made: dict[str, list[NDArray[np.uint8]]] = {}
    for name in spec.images:
        frames = cameras.get((name, False))
        at = {int(index): i for i, index in enumerate(frames.observation)} if frames is not None else {}
        missing = [k for k in range(n + 1) if k not in at]
        if frames is None or missing:
            raise CheckpointError(
                f"{episode.path} lacks {len(missing)} of {n + 1} pictures of camera '{name}'; "
                "leave the episode out, or learn without that camera"
            )
        made[name] = [frames[at[k]] for k in range(n + 1)]
    return made
