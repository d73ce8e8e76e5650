"""The layout of a LeRobotDataset v3.0: its files, its features, and what the metadata say of them.

The facts are those of the package `lerobot` 0.6.1, whose own loader reads what is written by them
(`make verify-lerobot`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from robot_rl.errors import MissingDependency
from robot_rl.specs import ActionSpec, ObservationSpec

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
# What the format has no place for lies beside it, where its readers do not look.
OURS = "meta/robot_rl/episodes.parquet"
CHUNK_FILES, DATA_MB, VIDEO_MB = 1000, 100, 200

STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
REWARD, DONE, TRUNCATED, SUCCESS = "next.reward", "next.done", "next.truncated", "next.success"
COUNTERS = {
    "timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64",
}  # fmt: skip
NUMBERS = {REWARD: "float32", DONE: "bool", TRUNCATED: "bool", SUCCESS: "bool", **COUNTERS}


def state_names(spec: ObservationSpec) -> list[str]:
    """Return a name for each entry of the flat state, such as `cube_position_0`."""
    return _names({name: f.size for name, f in spec.state.items()})


def action_names(spec: ActionSpec) -> list[str]:
    """Return a name for each entry of the flat action."""
    return _names({**{name: g.size for name, g in spec.continuous.items()}, **dict.fromkeys(spec.discrete, 1)})


def _names(sizes: Mapping[str, int]) -> list[str]:
    return [name if size == 1 else f"{name}_{i}" for name, size in sizes.items() for i in range(size)]


def features(
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    pictures: Mapping[str, tuple[int, int, int]],
    video: Mapping[str, Any] | None,
) -> dict[str, dict[str, Any]]:
    """Return the features of `info.json`.

    Args:
        observation_spec, action_spec: Of the task.
        pictures: (H, W, 3) by camera.
        video: What is known of the videos; None for pictures within the parquet files.
    """
    made: dict[str, dict[str, Any]] = {
        STATE: {"dtype": "float32", "shape": [observation_spec.size], "names": state_names(observation_spec)},
        ACTION: {"dtype": "float32", "shape": [action_spec.size], "names": action_names(action_spec)},
    }
    for camera, (height, width, channels) in pictures.items():
        made[IMAGES + camera] = {
            "dtype": "image" if video is None else "video",
            "shape": [height, width, channels],
            "names": ["height", "width", "channels"],
        }
        if video is not None:
            size = {"video.height": height, "video.width": width, "video.channels": channels}
            made[IMAGES + camera]["info"] = {**size, **video, "video.is_depth_map": False, "has_audio": False}
    for name, kind in NUMBERS.items():
        made[name] = {"dtype": kind, "shape": [1], "names": None}
    return made


def rate(period_s: float) -> int | float:
    """Return the frames per second of a control period: a whole number where it is one."""
    hz = 1.0 / period_s
    return round(hz) if abs(hz - round(hz)) < 1e-6 * hz else hz


def place(number: int) -> dict[str, int]:
    """Return which chunk and file the file of a number is."""
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}


def arrow() -> tuple[Any, Any]:
    """Return `pyarrow` and `pyarrow.parquet`."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as e:
        raise MissingDependency("pyarrow", "a LeRobot data set", "pip install 'robot-rl[export]'") from e
    return pyarrow, pyarrow.parquet


def data_schema(made: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the schema of the data files for features: what is a video has no column."""
    pa, _ = arrow()
    kinds = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}
    columns = []
    for name, feature in made.items():
        if feature["dtype"] == "image":
            columns.append(pa.field(name, pa.struct([("bytes", pa.binary()), ("path", pa.string())])))
        elif feature["dtype"] != "video":
            kind = kinds[feature["dtype"]]
            size = feature["shape"][0]
            vector = name in (STATE, ACTION) and size > 1  # a single number is a plain column, as the loader expects
            columns.append(pa.field(name, pa.list_(kind, size) if vector else kind))
    return pa.schema(columns)


def tasks_table(tasks: Sequence[str]) -> Any:
    """Return `meta/tasks.parquet`, whose reader wants the tasks' words to be the index of a data frame."""
    pa, _ = arrow()
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})

    def column(name: str, pandas_type: str, numpy_type: str) -> dict[str, Any]:
        told = {"name": name, "field_name": name, "metadata": None}
        return {**told, "pandas_type": pandas_type, "numpy_type": numpy_type}

    facts = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(facts)})
