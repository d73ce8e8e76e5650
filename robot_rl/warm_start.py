"""Practice of earlier runs of the same task as a beginning for another: it fills the replay beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.checkpoint import Checkpoints
from robot_rl.episodes.folder import episode_files
from robot_rl.errors import CheckpointError
from robot_rl.jsonl import read_json
from robot_rl.link import session_spec, spec_difference
from robot_rl.replay_log import read
from robot_rl.specs import ActionSpec, ObservationSpec

if TYPE_CHECKING:
    from robot_rl.learner import Learner


def warm_up(learner: Learner, run: Path, observation_spec: ObservationSpec, action_spec: ActionSpec) -> int:
    """Fill a learner's replay with what an earlier run practised, and return how many steps that were.

    Its log is read if it has one, else its recorded episodes. Steps keep who acted in them, so a person's go to the
    demonstrations too, as they did then.

    Args:
        learner: Whose replay.
        run: The earlier run.
        observation_spec, action_spec: The task's.

    Raises:
        CheckpointError: It practised nothing, or another task.
    """
    steps = 0
    if (run / "replay").is_dir() and any((run / "replay").iterdir()):
        _check_spec(run, observation_spec, action_spec)
        for stream, _, block in read(run / "replay"):
            learner.warm_up(f"{run}/{stream}", block)
            steps += block.steps
    elif episode_files(run):
        from robot_rl.episodes.replay_source import replay_blocks

        for block in replay_blocks(run, observation_spec, action_spec):
            learner.warm_up(str(run), block)
            steps += block.steps
    if not steps:
        raise CheckpointError(
            f"the run {run} holds no practice to begin with (neither replay/ nor episodes/ has a step); "
            "name another in warm_start, or leave it out"
        )
    return steps


def check(run: Path, task: str) -> None:
    """Raise `CheckpointError` unless a run practised a task of this name; called before anything is started."""
    found = str(read_json(run / "run.json").get("task") or "")
    if found and found != task:
        raise CheckpointError(
            f"the run {run} of warm_start practised the task '{found}', this run '{task}'; only practice of the same "
            "task can fill the replay. Leave it out"
        )


def _check_spec(run: Path, observation_spec: ObservationSpec, action_spec: ActionSpec) -> None:
    found = Checkpoints(run / "checkpoints", 1).newest()
    if found is None:
        raise CheckpointError(
            f"the run {run} has no checkpoint, so it is unknown which observations and actions it practised with; "
            "leave it out of warm_start"
        )
    difference = spec_difference(session_spec(observation_spec, action_spec), found.meta.get("spec", {}))
    if difference:
        told = difference.replace("learner expects", "the task has").replace("actor sends", "it has")
        raise CheckpointError(f"the run {run} of warm_start practised another task: {told}")
