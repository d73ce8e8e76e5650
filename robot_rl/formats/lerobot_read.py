"""Reads a LeRobotDataset v3.0 as episodes of a task.

One that was written by `lerobot_write` comes back with the same steps, as what the format has no place for lies beside
it. Of any other the observation after the last action is not known, nor who acted and when; the episode says so.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.facts import end_of, start_of
from robot_rl.episodes.writer import Picture, decode_picture
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.formats import lerobot_layout as layout
from robot_rl.formats.field_map import FieldMap, Part, action_sizes, needed, state_sizes
from robot_rl.formats.incoming import Goal, Incoming, nominal_stamps, resized
from robot_rl.formats.lerobot_set import DataSet
from robot_rl.link import session_spec, spec_difference

_KEPT = ("kind", "robot", "episode", "seed", "joint_names", "versions", "calibration", "started", "real_time")
UNKNOWN = (
    "the observation after the last action: the one before it stands for it",
    "executed actions: taken to be the stored ones",
    "stamps: nominal, from 0 on at the control period",
    "who acted",
    "readings of the robot",
)


def episodes(paths: Sequence[Path], goal: Goal, fields: FieldMap | None) -> Iterator[Incoming]:
    """Yield the episodes of data sets.

    Args:
        paths: Their folders.
        goal: The task.
        fields: Where its fields come from; None if the data sets name them as the task does.

    Raises:
        CheckpointError: It cannot be read or is incomplete.
        ConfigError: It does not fit the task.
    """
    for path in paths:
        found = DataSet(path)
        goal.check_period(1.0 / found.fps, fields.period_s if fields else None, str(path))
        chosen = fields or _by_name(found, goal)
        for row in found.rows:
            yield _episode(found, row, goal, chosen)


def _by_name(found: DataSet, goal: Goal) -> FieldMap:
    """Return the map of a data set whose names are the task's; raises `ConfigError` for any other."""
    for ours in list(found.ours.values())[:1]:
        difference = spec_difference(session_spec(goal.observation_spec, goal.action_spec), _spec(ours, goal))
        if difference:
            told = difference.replace("learner expects", "the task has").replace("actor sends", "the data set has")
            told = told.replace("actor does not send it", "the data set does not have it").replace(
                "learner", "the task"
            )
            raise ConfigError(f"{found.path} was recorded for another task than {goal.task}: {told}")
    names = {
        layout.STATE: layout.state_names(goal.observation_spec),
        layout.ACTION: layout.action_names(goal.action_spec),
    }
    for key, wanted in names.items():
        have = found.features.get(key, {}).get("names")
        if have != wanted:
            told = ", ".join(map(str, have)) if isinstance(have, list) else f"no names ({have})"
            raise ConfigError(
                f"'{key}' of {found.path} holds {told}; the task {goal.task} has {', '.join(wanted)}. Say in a map "
                f"where the {needed(goal.observation_spec, goal.action_spec)} come from, and give it with --map, see "
                "docs/formats.md"
            )
    return FieldMap(
        state=_slices(layout.STATE, state_sizes(goal.observation_spec)),
        action=_slices(layout.ACTION, action_sizes(goal.action_spec)),
        images={name: layout.IMAGES + name for name in goal.observation_spec.images},
    )


def _spec(ours: Mapping[str, Any], goal: Goal) -> dict[str, Any]:
    """Return what was recorded, without cameras that the task does not look through."""
    spec: dict[str, Any] = {**start_of(json.loads(ours["start"])).spec}
    images = spec.get("observation", {}).get("images", {})
    wanted = {k: v for k, v in images.items() if k in goal.observation_spec.images}
    return {**spec, "observation": {**spec.get("observation", {}), "images": wanted}}


def _slices(key: str, sizes: Mapping[str, int]) -> dict[str, Part]:
    made, begin = {}, 0
    for name, size in sizes.items():
        made[name] = Part(key=key, first=begin, last=begin + size)
        begin += size
    return made


def _episode(found: DataSet, row: Mapping[str, Any], goal: Goal, fields: FieldMap) -> Incoming:
    table = found.columns(row)
    n, number = len(table), int(row["episode_index"])
    if not n or n != row["length"]:
        raise CheckpointError(f"episode {number} of {found.path} has {n} rows, its metadata say {row['length']}")

    def column(key: str) -> NDArray[np.float64]:
        if key not in table.column_names:
            raise ConfigError(f"{found.path} has no column '{key}'; it has {', '.join(table.column_names)}")
        values = np.array(table[key].to_pylist())
        if values.dtype.kind not in "biuf" or values.ndim > 2:
            raise ConfigError(f"the column '{key}' of {found.path} does not hold numbers")
        return values.astype(np.float64).reshape(n, -1)

    for key in fields.images.values():
        if key not in found.camera_keys():
            have = ", ".join(found.camera_keys()) or "none"
            raise ConfigError(f"{found.path} has no pictures '{key}'; it has {have}")
    ours = found.ours.get(number)
    states, actions = fields.states(goal.observation_spec, column, n), fields.actions(goal.action_spec, column, n)
    final = np.array(ours["final_state"], np.float32) if ours else states[-1]
    if final.shape != states[-1].shape:
        raise CheckpointError(f"episode {number} of {found.path} ends with a state of {len(final)} numbers")
    flags = _outcome(table, column, n, fields)
    period_s = fields.period_s or 1.0 / found.fps
    origin = {"format": "LeRobot", "data_set": found.path.name, "episode": number, "unknown": list(UNKNOWN)}
    made = Incoming(
        start=goal.start(origin, period_s=period_s),
        states=np.concatenate([states, final[None]]),
        actions=actions,
        executed=actions,
        rewards=flags["reward"].astype(np.float32),
        terminated=flags["terminated"],
        truncated=flags["truncated"],
        success=flags["success"],
        sources=["demo"] * n,
        reasons=[*[""] * (n - 1), "success" if flags["success"][-1] else "the end of the recorded episode"],
        images={
            name: _images(found, key, row, table, ours, goal, name, fields.resize)
            for name, key in fields.images.items()
        },
        stamps_ns=nominal_stamps(n, period_s),
    )
    return _restored(made, ours, n) if ours else made


def _outcome(table: Any, column: Any, n: int, fields: FieldMap) -> dict[str, NDArray[Any]]:
    """Return reward, terminated, truncated and success of each step, as far as the columns say them."""
    last = np.arange(n) == n - 1
    have = table.column_names

    def flag(name: str) -> NDArray[np.bool_]:
        return column(name)[:, 0] > 0.5 if name in have else np.zeros(n, bool)

    success = flag(layout.SUCCESS)
    if fields.success is not None:
        success = last & fields.success
    if fields.reward is not None:
        reward = fields.reward.values(column, n)[:, 0]
    elif layout.REWARD in have:
        reward = column(layout.REWARD)[:, 0]
    else:
        reward = success.astype(np.float64)
    if layout.SUCCESS not in have and fields.success is None:
        success = last & (reward > 0.0)
    # Without a word on truncation, what ends without success may as well be a time limit: it claims nothing then.
    truncated = flag(layout.TRUNCATED) if layout.TRUNCATED in have else last & ~success
    terminated = flag(layout.DONE) & ~truncated if layout.TRUNCATED in have else last & success
    truncated = truncated | (last & ~terminated)
    return {"reward": reward, "terminated": terminated, "truncated": truncated, "success": success}


def _images(
    found: DataSet, key: str, row: Mapping[str, Any], table: Any, ours: Mapping[str, Any] | None, goal: Goal, name: str,
    resize: bool,
) -> Iterator[Picture]:  # fmt: skip
    """Yield the pictures of an episode, and the one after its last action: the last again where it is not known."""
    field = goal.observation_spec.images[name]
    picture: Picture | None = None
    for picture in found.pictures(key, row, table):
        yield resized(picture, field.height, field.width) if resize else picture
    if ours and ours.get(f"final_picture/{name}") is not None:
        picture = decode_picture(ours[f"final_picture/{name}"])
    if picture is not None:
        yield resized(picture, field.height, field.width) if resize else picture


def _restored(made: Incoming, ours: Mapping[str, Any], n: int) -> Incoming:
    """Return an episode with what was written beside the data set."""
    try:
        start, end = start_of(json.loads(ours["start"])), end_of(json.loads(ours["end"])) if ours["end"] else None
        timing: Mapping[str, Sequence[float | None]] = json.loads(ours["timing"])
        told = {
            name: getattr(start, name)
            for name in (
                "kind",
                "robot",
                "episode",
                "seed",
                "joint_names",
                "versions",
                "calibration",
                "started",
                "real_time",
            )
        }
        origin = {k: v for k, v in made.start.origin.items() if k != "unknown"} | {
            "file": ours["file"], "unknown": ["readings of the robot, which are in the file that was exported"],
        }  # fmt: skip
        return dataclasses.replace(
            made,
            start=dataclasses.replace(made.start, **told, origin=origin),
            actions=np.array(ours["requested"], np.float32).reshape(made.actions.shape),
            sources=_n(ours["source"], n),
            reasons=_n(ours["reason"], n),
            policy_versions=np.array(_n(ours["policy_version"], n), np.int64),
            guard_events=_n(ours["guard_events"], n),
            stamps_ns=np.array(_n(ours["stamp_ns"], n + 1), np.int64),
            log_ns=np.array(_n(ours["log_ns"], n), np.int64),
            timing=[{k: np.nan if v[i] is None else float(v[i] or 0.0) for k, v in timing.items()} for i in range(n)],
            verdict=end.verdict if end is not None else "",
            reason=end.reason if end is not None else "the record was cut",
        )
    except (KeyError, TypeError, ValueError, IndexError) as e:
        raise CheckpointError(f"{layout.OURS} of the data set is damaged ({e!r}); remove it to import without") from e


def _n(values: Sequence[Any], n: int) -> Sequence[Any]:
    if len(values) != n:
        raise ValueError(f"{len(values)} values for {n} steps")
    return values
