"""The folder of a recording: what it is of, what is in it, and what of that counts, all read from the files."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from robot_rl.demos import FIRST_SEED
from robot_rl.env import RobotEnv
from robot_rl.episodes.folder import Entry, entry, episode_files
from robot_rl.episodes.repair import repair
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.link import session_spec, spec_difference
from robot_rl.runs import create_run, read_json


def open_recording(root: Path, name: str, env: RobotEnv, *, task: str, seed: int, config_yaml: str = "") -> Path:
    """Return the folder of a recording, made if need be.

    Raises:
        ConfigError: There is something else under that name, or a recording of another task or with other cameras.
        StorageError: The folder cannot be written.
    """
    folder = root / name
    ours = {
        "task": task,
        "period_s": env.period_s,
        "spec": session_spec(env.observation_spec, env.task.action_spec),
    }
    with contextlib.suppress(OSError):
        folder.rmdir()  # an empty one is what a kill at the wrong moment leaves
    if not folder.exists():
        return create_run(root, name, task=task, seed=seed, config_yaml=config_yaml, recording=ours)
    theirs = read_json(folder / "run.json").get("recording")
    if not isinstance(theirs, Mapping):
        raise ConfigError(f"{folder} exists and is no recording of demonstrations; choose another name=")
    if theirs.get("task") != task:
        raise ConfigError(
            f"the recording {folder} is of the task '{theirs.get('task')}', and this command is of '{task}'; go on "
            f"with task={theirs.get('task')}, or choose another name="
        )
    difference = spec_difference(ours["spec"], theirs.get("spec", {})) or ""
    if not difference and abs(float(theirs.get("period_s", 0.0)) - env.period_s) > 1e-9:
        difference = f"learner expects a control period of {env.period_s} s, actor sends {theirs.get('period_s')} s"
    if difference:
        told = difference.replace("learner expects", "this command has").replace("actor sends", "the recording has")
        told = told.replace("actor does not send it", "the recording does not have it")
        told = told.replace("learner does not know it", "this command does not have it")
        raise ConfigError(
            f"the recording {folder} cannot go on: {told}. Use the settings that it was begun with "
            f"({folder / 'config.yaml'}), or choose another name="
        )
    return folder


def start_seed(seed: int, number: int, skipped: int = 0) -> int:
    """Return the seed of an episode's start, apart from those of `robot-rl demos`.

    Args:
        seed: Of the recording.
        number: Episodes that were recorded before, in this session or another.
        skipped: Episodes of this session that ended before anybody acted.
    """
    return FIRST_SEED + (seed << 16) + 2**15 + number % 4096 + 4096 * (skipped % 8)


def complete_cut(folder: Path) -> list[str]:
    """Complete the episodes that a kill left cut, and return what was done, in sentences; they do not count."""
    said = []
    for path in episode_files(folder):
        if path.suffix == ".part":
            try:
                done = repair(path)
            except CheckpointError as e:
                said.append(str(e))
            else:
                said.append(f"{done.path}: {done.what or 'only its name was missing'}")
    return said


def recorded(folder: Path) -> list[Entry]:
    """Return the episodes of a recording, by number."""
    return [entry(path) for path in episode_files(folder)]


def counts(episode: Entry) -> bool:
    """Return whether an episode is a demonstration: whole, successful, and not discarded."""
    return episode.end is not None and episode.end.succeeded


def table(episodes: Sequence[Entry]) -> list[str]:
    """Return a table of what was recorded, in lines."""
    rows = [("file", "steps", "time", "ended by", "verdict", "counts")]
    for e in episodes:
        if e.end is None:
            rows.append((e.path.name, str(e.steps), "", e.trouble or "cut", "", ""))
            continue
        rows.append((
            e.path.name, str(e.end.steps), f"{e.end.duration_s:.1f} s", e.end.reason, e.end.verdict,
            "yes" if counts(e) else "no",
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
