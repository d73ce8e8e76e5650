"""Pickled demonstrations of SERL and HIL-SERL as episodes: a list of transitions, read without running anything in it.

What those files do not say is not made up. They have no stamps. Their time limit is stored as a failure (`masks` is 0
wherever an episode ends), so an end without reward counts as cut short by the clock here, which claims neither. Where a
transition does not begin as the one before ended, as in buffers of interventions, a new episode begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.writer import Picture
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.formats.field_map import FieldMap, needed
from robot_rl.formats.incoming import Goal, Incoming, nominal_stamps, resized
from robot_rl.formats.unpickle import load

KEYS = ("observations", "next_observations", "actions", "rewards", "dones")
UNKNOWN = (
    "stamps: nominal, from 0 on at the control period",
    "executed actions: taken to be the stored ones, which SERL keeps before its own limits",
    "ends without reward: SERL does not tell a time limit from a failure; taken as cut short by the clock",
    "readings of the robot",
)
CUT = "the next transition does not follow this one"
UNTOLD = "an end without reward: a time limit or a failure, which is not told apart"


def episodes(paths: Sequence[Path], goal: Goal, fields: FieldMap | None) -> Iterator[Incoming]:
    """Yield the episodes of pickles.

    Args:
        paths: Their files, each a list of transitions.
        goal: The task.
        fields: Where its fields come from.

    Raises:
        CheckpointError: A file is damaged, holds something else than arrays, or no transitions.
        ConfigError: The map is missing or does not fit.
    """
    for path in paths:
        transitions = _transitions(path)
        if fields is None:
            raise ConfigError(
                f"{path} holds {_described(transitions[0])}, and nothing says which of the numbers are the fields of "
                f"task {goal.task}: {needed(goal.observation_spec, goal.action_spec)}. Write a map and give it with "
                "--map, see docs/formats.md"
            )
        for number, rows in enumerate(_runs(transitions)):
            yield _episode(path, number, rows, goal, fields)


def _transitions(path: Path) -> list[Mapping[str, Any]]:
    found = load(path)
    if not isinstance(found, list) or not found:
        raise CheckpointError(f"{path} holds {_kind(found)}; expected is a list of transitions, as SERL records them")
    for i, row in enumerate(found):
        missing = [key for key in KEYS if not isinstance(row, dict) or key not in row]
        if missing:
            raise CheckpointError(
                f"transition {i} of {path} lacks {', '.join(missing)}; a transition of SERL has {', '.join(KEYS)}"
            )
        for key in KEYS[:2]:
            if not isinstance(row[key], dict):
                raise CheckpointError(f"{key} of transition {i} of {path} is {_kind(row[key])}, not a dictionary")
    return found


def _kind(value: Any) -> str:
    return "an empty list" if value == [] else f"a {type(value).__name__}"


def _described(row: Mapping[str, Any]) -> str:
    shapes = [f"{name} {np.shape(value)}" for name, value in row["observations"].items()]
    return f"observations {', '.join(shapes)} and actions {np.shape(row['actions'])}"


def _runs(transitions: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Yield stretches of transitions that follow each other."""
    run: list[Mapping[str, Any]] = []
    for row in transitions:
        if run and (_flag(run[-1]["dones"]) or not _same(run[-1]["next_observations"], row["observations"])):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(np.asarray(a[k]), np.asarray(b[k])) for k in a)


def _episode(path: Path, number: int, rows: list[Mapping[str, Any]], goal: Goal, fields: FieldMap) -> Incoming:
    n = len(rows)
    seen = [*(row["observations"] for row in rows), rows[-1]["next_observations"]]
    period_s = fields.period_s or goal.period_s

    def observed(key: str) -> NDArray[np.float64]:
        return _column(path, key, seen)

    def stepped(key: str) -> NDArray[np.float64]:
        return _column(path, key, rows)

    actions = fields.actions(goal.action_spec, stepped, n)
    reward = fields.reward.values(stepped, n)[:, 0] if fields.reward else stepped("rewards")[:, 0]
    infos = [row["infos"] if isinstance(row.get("infos"), dict) else {} for row in rows]
    done = _flag(rows[-1]["dones"])
    good = bool(reward[-1] > 0.0 or _flag(infos[-1].get("succeed", False)))
    if fields.success is not None:
        good = fields.success
    ended = np.arange(n) == n - 1
    reason = ("success" if good else UNTOLD) if done else CUT
    unknown = [*UNKNOWN, *([] if fields.period_s else ["control period: taken to be the task's"])]
    origin = {"format": "SERL pickle", "file": path.name, "part": number, "unknown": unknown}
    return Incoming(
        start=goal.start(origin, period_s=period_s),
        states=fields.states(goal.observation_spec, observed, n + 1),
        actions=actions,
        executed=actions,
        rewards=reward.astype(np.float32),
        terminated=ended & (done and good),
        truncated=ended & (not (done and good)),
        success=ended & (done and good),
        sources=["human" if "intervene_action" in info else "demo" for info in infos],
        reasons=[*[""] * (n - 1), reason],
        images={name: _pictures(path, key, seen, goal, name, fields.resize) for name, key in fields.images.items()},
        stamps_ns=nominal_stamps(n, period_s),
    )


def _flag(value: Any) -> bool:
    return bool(np.any(np.asarray(value)))


def _column(path: Path, key: str, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Return the (n, k) numbers under a key; of frames that are stacked, the newest."""
    have = {name for row in rows for name in row}
    values = []
    for row in rows:
        found: Any = row
        for word in (key,) if key in row else key.split("."):
            found = found.get(word) if isinstance(found, Mapping) else None
        array = np.asarray(found) if found is not None else None
        if array is None or array.dtype.kind not in "biuf" or array.ndim > 2:
            raise ConfigError(f"{path} has no numbers '{key}'; it has {', '.join(sorted(have))}")
        values.append((array[-1] if array.ndim == 2 else array).astype(np.float64).ravel())
    if len({v.shape for v in values}) > 1:
        raise CheckpointError(f"'{key}' of {path} changes its size between transitions")
    return np.stack(values)


def _pictures(
    path: Path, key: str, seen: Sequence[Mapping[str, Any]], goal: Goal, camera: str, resize: bool
) -> Iterator[Picture]:
    field = goal.observation_spec.images[camera]
    for row in seen:
        picture = np.asarray(row.get(key))
        picture = picture[-1] if picture.ndim == 4 else picture
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ConfigError(
                f"{path} has no pictures '{key}' (uint8, three colours); its observations are {', '.join(sorted(row))}"
            )
        yield resized(picture, field.height, field.width) if resize else picture
