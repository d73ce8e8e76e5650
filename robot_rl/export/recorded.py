"""Observations that a run recorded, drawn evenly from its demonstrations and its practice, to compare programs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CheckpointError, ExportError
from robot_rl.messages import StepBlock
from robot_rl.replay_log import read
from robot_rl.specs import ObservationSpec

FOLDERS = ("demos", "replay")


def recorded_states(folder: Path, observation_spec: ObservationSpec, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return (n, S) float32 states in physical units; n is `count`, or all there are if they are fewer.

    Args:
        folder: Of the run.
        observation_spec: What the policy reads.
        count: How many.
        seed: Chooses them.

    Raises:
        CheckpointError: A log is damaged.
        ExportError: Nothing is recorded, or it is of another task.
    """
    rng = np.random.default_rng(seed)
    size = observation_spec.size
    kept: list[NDArray[np.float32]] = []
    seen = 0
    for block in _blocks(folder):
        if block.states.ndim != 2 or block.states.shape[1] != size:
            raise ExportError(
                f"the run {folder} recorded states of shape {block.states.shape[1:]}, its policy reads ({size},); "
                "export it with the task that it was trained with"
            )
        for state in block.states:  # reservoir sampling: one pass, and memory for what is kept alone
            seen += 1
            if len(kept) < count:
                kept.append(state.copy())
            elif (i := int(rng.integers(seen))) < count:
                kept[i] = state.copy()
    if not kept:
        raise ExportError(
            f"the run {folder} recorded no observations (neither {' nor '.join(f'{f}/' for f in FOLDERS)} holds any), "
            "so the export could not be checked; restore these folders"
        )
    return np.stack(kept)


def _blocks(folder: Path) -> Iterator[StepBlock]:
    for name in FOLDERS:
        if any((folder / name).glob("blocks-*.log")):
            try:
                for _, _, block in read(folder / name):
                    yield block
            except OSError as e:
                raise CheckpointError(f"the recorded observations in {folder / name} cannot be read: {e}") from e
