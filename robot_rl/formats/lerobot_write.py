"""Writes episodes as a LeRobotDataset v3.0: numbers in parquet, pictures as video or, without loss, in parquet as well.

A row is a step: what was observed before it, the action that was executed, and what came of it. What the format has no
place for (the observation after the last action, the action asked for, who acted, stamps) goes into a parquet file of
our own beside its metadata, so that an import gives back the same steps.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.episodes.facts import to_text
from robot_rl.episodes.writer import Picture
from robot_rl.formats import lerobot_layout as layout
from robot_rl.formats import lerobot_stats as statistics
from robot_rl.formats import video_files
from robot_rl.formats.outgoing import Outgoing, Selection
from robot_rl.formats.target import new_folder


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        path: The folder.
        episodes, frames: How many.
        pictures: How pictures are stored, in words.
    """

    path: Path
    episodes: int
    frames: int
    pictures: str


def export(
    selection: Selection,
    path: Path,
    *,
    task: str = "",
    lossless: bool = False,
    full: bool = False,
    progress: Callable[[Path], None] = lambda path: None,
) -> Exported:
    """Write a data set.

    Args:
        selection: The episodes.
        path: The folder; it must not exist.
        task: What is done, in a sentence, for policies that read; the task's name by default.
        lossless: Pictures as they were recorded, in parquet, instead of video.
        full: Pictures of full size instead of what the policy saw.
        progress: Told each episode's file before it is written.

    Raises:
        ConfigError: The name is taken.
        CheckpointError: An episode cannot be read or lacks pictures.
        StorageError: The disk does not take it; nothing is left.
    """
    with new_folder(path, "a LeRobot data set") as folder:
        writer = _Writer(folder, selection, task or selection.start.task, lossless)
        try:
            for episode in selection.episodes(full):
                progress(episode.episode.path)
                writer.add(episode)
        finally:
            writer.close()
        writer.finish()
    return Exported(path=path, episodes=len(writer.rows), frames=writer.frames, pictures=writer.words)


class _Writer:
    """A data set that grows by episodes."""

    def __init__(self, folder: Path, selection: Selection, task: str, lossless: bool) -> None:
        self._pa, self._pq = layout.arrow()
        self.folder, self._selection, self._task, self._lossless = folder, selection, task, lossless
        self.fps = layout.rate(selection.start.period_s)
        self.rows: list[dict[str, Any]] = []
        self.frames = 0
        self._ours: list[dict[str, Any]] = []
        self._stats: list[dict[str, statistics.Stats]] = []
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._features: dict[str, dict[str, Any]] = {}
        self._data: Any = None
        self._data_files = self._data_bytes = 0
        self._videos: dict[str, tuple[int, video_files.VideoFile]] = {}

    @property
    def words(self) -> str:
        """How pictures are stored."""
        if not self._shapes:
            return "no pictures"
        if self._lossless:
            return "pictures as they were recorded"
        made = {}
        for shape in self._shapes.values():
            name = video_files.coder(shape)
            made[name] = " ".join(f"{k} {v}" for k, v in video_files.SETTINGS[name].items())
        return " and ".join(f"video by {name} ({settings})" for name, settings in made.items())

    def add(self, episode: Outgoing) -> None:
        """Append an episode."""
        number, n = len(self.rows), len(episode)
        if not number:
            self._begin(episode)
        columns = self._columns(episode, number)
        stats = {name: statistics.of_numbers(values) for name, values in columns.items()}
        row: dict[str, Any] = {
            "episode_index": number, "tasks": [self._task], "length": n,
            "dataset_from_index": self.frames, "dataset_to_index": self.frames + n,
        }  # fmt: skip
        images: dict[str, Any] = {}
        for camera, pictures in episode.pictures.items():
            key = layout.IMAGES + camera
            looked_at = set(statistics.sample(n))
            sampled: list[Picture] = []
            if not self._lossless:
                row |= self._open_video(key, camera, n)
            for k in range(n):
                if not self._lossless or k in looked_at:
                    picture = pictures.decoded(k)
                    _check_shape(episode, camera, picture.shape, self._shapes[camera])
                    sampled += [picture] if k in looked_at else []
                    if not self._lossless:
                        self._videos[key][1].add(picture)
            if self._lossless:
                images[key] = [{"bytes": pictures[k], "path": f"{number:06d}-{k:06d}"} for k in range(n)]
            stats[key] = statistics.of_pictures(sampled)
        row |= self._write_data({**columns, **images})
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        row |= {f"stats/{name}/{k}": v for name, s in statistics.plain(stats).items() for k, v in s.items()}
        self.rows.append(row)
        self._stats.append(stats)
        self._ours.append(_ours(episode, number))
        self.frames += n

    def finish(self) -> None:
        """Write the metadata, after `close`."""
        pa, pq = self._pa, self._pq
        path = self.folder / layout.EPISODES.format(**layout.place(0))
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self.rows), path, compression="snappy")
        pq.write_table(layout.tasks_table([self._task]), self.folder / layout.TASKS)
        (self.folder / layout.OURS).parent.mkdir()
        pq.write_table(pa.Table.from_pylist(self._ours), self.folder / layout.OURS, compression="zstd")
        together = {name: statistics.combined([s[name] for s in self._stats]) for name in self._stats[0]}
        _write_json(self.folder / layout.STATS, statistics.plain(together))
        info = {
            "codebase_version": layout.VERSION,
            "robot_type": self._selection.start.robot or None,
            "total_episodes": len(self.rows),
            "total_frames": self.frames,
            "total_tasks": 1,
            "chunks_size": layout.CHUNK_FILES,
            "data_files_size_in_mb": layout.DATA_MB,
            "video_files_size_in_mb": layout.VIDEO_MB,
            "fps": self.fps,
            "splits": {"train": f"0:{len(self.rows)}"},
            "data_path": layout.DATA,
            "video_path": layout.VIDEO if self._shapes and not self._lossless else None,
            "features": self._features,
        }
        _write_json(self.folder / layout.INFO, info)

    def close(self) -> None:
        """Close the open files. Safe to call twice."""
        data, self._data = self._data, None
        if data is not None:
            data.close()
        videos, self._videos = self._videos, {}
        for _, video in videos.values():
            video.close()

    def _begin(self, first: Outgoing) -> None:
        self._shapes = {camera: pictures.decoded(0).shape for camera, pictures in first.pictures.items()}
        sizes: Any = self._shapes
        selection = self._selection
        self._features = layout.features(selection.observation_spec, selection.action_spec, sizes, None)
        for camera, shape in self._shapes.items() if not self._lossless else ():
            video = video_files.facts(shape, self.fps)
            made = layout.features(selection.observation_spec, selection.action_spec, {camera: sizes[camera]}, video)
            self._features[layout.IMAGES + camera] = made[layout.IMAGES + camera]

    def _columns(self, episode: Outgoing, number: int) -> dict[str, Any]:
        """Return the numbers of an episode, by feature."""
        steps, n = episode.steps, len(episode)
        return {
            layout.STATE: steps.state[:n],
            layout.ACTION: steps.executed[:n],
            layout.REWARD: steps.reward[:n],
            layout.DONE: steps.terminated[:n] | episode.truncated,
            layout.TRUNCATED: episode.truncated,
            layout.SUCCESS: steps.success[:n],
            "timestamp": (np.arange(n) / self.fps).astype(np.float32),
            "frame_index": np.arange(n),
            "episode_index": np.full(n, number),
            "index": np.arange(self.frames, self.frames + n),
            "task_index": np.zeros(n, np.int64),
        }

    def _write_data(self, columns: dict[str, Any]) -> dict[str, int]:
        """Append the rows of an episode as a row group, and return where they are."""
        if self._data is None or self._data_bytes >= layout.DATA_MB * 1_000_000:
            if self._data is not None:
                self._data.close()
            self._data_files, self._data_bytes = self._data_files + 1, 0
            path = self.folder / layout.DATA.format(**layout.place(self._data_files - 1))
            path.parent.mkdir(parents=True, exist_ok=True)
            schema = layout.data_schema(self._features)
            self._data = self._pq.ParquetWriter(path, schema, compression="snappy")
        schema = self._data.schema
        arrays = [self._array(columns[name], schema.field(name).type) for name in schema.names]
        table = self._pa.Table.from_arrays(arrays, schema=schema)
        self._data.write_table(table)
        self._data_bytes += table.nbytes
        return {f"data/{k}": v for k, v in layout.place(self._data_files - 1).items()}

    def _array(self, values: Any, kind: Any) -> Any:
        if self._pa.types.is_fixed_size_list(kind):
            flat = self._pa.array(np.ascontiguousarray(values).ravel(), kind.value_type)
            return self._pa.FixedSizeListArray.from_arrays(flat, kind.list_size)
        return self._pa.array(values.ravel() if isinstance(values, np.ndarray) else values, kind)

    def _open_video(self, key: str, camera: str, n: int) -> dict[str, Any]:
        """Return where the n frames of the next episode will lie; a file that is large enough is closed."""
        number, video = self._videos.get(key, (-1, None))
        if video is None or video.size >= layout.VIDEO_MB * 1_000_000:
            if video is not None:
                video.close()
            number += 1
            path = self.folder / layout.VIDEO.format(video_key=key, **layout.place(number))
            video = video_files.VideoFile(path, self._shapes[camera], self.fps)
            self._videos[key] = (number, video)
        begin = video.frames / self.fps
        where = {**layout.place(number), "from_timestamp": begin, "to_timestamp": (video.frames + n) / self.fps}
        return {f"videos/{key}/{k}": v for k, v in where.items()}


def _check_shape(episode: Outgoing, camera: str, shape: Sequence[int], expected: Sequence[int]) -> None:
    if tuple(shape) != tuple(expected):
        from robot_rl.errors import ConfigError

        raise ConfigError(
            f"the pictures of camera '{camera}' in {episode.episode.path} are {shape[1]}x{shape[0]}, those of the "
            f"first episode {expected[1]}x{expected[0]}; export them into another set"
        )


def _ours(episode: Outgoing, number: int) -> dict[str, Any]:
    """Return the row of what the format has no place for."""
    steps, n, end = episode.steps, len(episode), episode.episode.end
    final = {camera: pictures[n] for camera, pictures in episode.pictures.items()}
    return {
        "episode_index": number,
        "file": episode.episode.path.name,
        "start": json.dumps(to_text(dataclasses.replace(episode.episode.start, config="", reset={}))),
        "end": json.dumps(to_text(end)) if end is not None else "",
        "final_state": episode.states[n].tolist(),
        **{f"final_picture/{camera}": data for camera, data in final.items()},
        "requested": steps.action[:n].ravel().tolist(),
        "source": list(steps.source[:n]),
        "reason": list(steps.reason[:n]),
        "policy_version": steps.policy_version[:n].tolist(),
        "guard_events": [list(events) for events in steps.guard_events[:n]],
        "stamp_ns": [*steps.stamp_ns[:n].tolist(), int(steps.after_ns[n - 1])],
        "log_ns": steps.log_ns[:n].tolist(),
        "timing": json.dumps({k: _no_nan(v[:n].tolist()) for k, v in steps.timing.items()}),
    }


def _no_nan(values: list[float]) -> list[float | None]:
    return [v if v == v else None for v in values]


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
