"""A LeRobotDataset v3.0 on this disk: its metadata, the numbers and the pictures of its episodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.episodes.writer import Picture, decode_picture
from robot_rl.errors import CheckpointError
from robot_rl.formats import lerobot_layout as layout
from robot_rl.formats import video_files

_NAMED = 4  # files named in a sentence


class DataSet:
    """A data set on this disk.

    Args:
        path: Its folder.

    Raises:
        CheckpointError: It is none, of another version, or incomplete.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.info: Mapping[str, Any] = json.loads((path / layout.INFO).read_text(encoding="utf-8"))
        except FileNotFoundError as e:
            raise CheckpointError(f"{path} is no LeRobot data set: it has no {layout.INFO}") from e
        except (OSError, ValueError) as e:
            raise CheckpointError(f"{path / layout.INFO} cannot be read: {e}") from e
        version = str(self.info.get("codebase_version", "?"))
        if version.partition(".")[0] != layout.VERSION.partition(".")[0]:
            raise CheckpointError(
                f"{path} is a LeRobot data set of version {version}, and {layout.VERSION} can be read; "
                "bring it there with the package lerobot: python -m lerobot.scripts.convert_dataset_v21_to_v30"
            )
        try:
            self.fps = float(self.info["fps"])
            self.features: Mapping[str, Mapping[str, Any]] = self.info["features"]
            self.data_path, self.video_path = str(self.info["data_path"]), self.info.get("video_path")
        except (KeyError, TypeError, ValueError) as e:
            raise CheckpointError(f"{path / layout.INFO} lacks {e}; the data set is damaged") from e
        _, self._pq = layout.arrow()
        found = sorted((path / "meta/episodes").glob("*/*.parquet"))
        self.rows = [row for file in found for row in self._read(file, keep=lambda name: not name.startswith("stats/"))]
        if not self.rows:
            raise CheckpointError(f"{path} holds no episode (nothing in meta/episodes)")
        if any(not isinstance(row.get(k), int) for row in self.rows for k in ("episode_index", "length")):
            raise CheckpointError(f"the metadata of {path} do not number its episodes; the data set is damaged")
        self.rows.sort(key=lambda row: row["episode_index"])
        ours = path / layout.OURS
        self.ours = {row["episode_index"]: row for row in self._read(ours)} if ours.is_file() else {}
        self._check_files()
        self._table: tuple[Path, Any] = (path, None)

    def camera_keys(self) -> list[str]:
        """Return the keys of everything that is a picture."""
        return [k for k, f in self.features.items() if f.get("dtype") in ("image", "video")]

    def columns(self, row: Mapping[str, Any]) -> Any:
        """Return the rows of an episode as an arrow table."""
        file = self.data_file(row)
        if self._table[0] != file:
            try:
                self._table = (file, self._pq.read_table(file))
            except (OSError, ValueError) as e:  # the errors of pyarrow are among them
                raise CheckpointError(f"{file} cannot be read: {' '.join(str(e).split())}") from e
        table = self._table[1]
        return table.filter(np.asarray(table["episode_index"]) == row["episode_index"])

    def pictures(self, key: str, row: Mapping[str, Any], table: Any) -> Iterator[Picture]:
        """Yield the pictures of an episode."""
        if self.features[key]["dtype"] == "video":
            begin_s = float(row[f"videos/{key}/from_timestamp"])
            yield from video_files.read(self.video_file(key, row), begin_s, len(table), self.fps)
            return
        for cell in table[key]:
            data = cell.as_py().get("bytes")
            if data is None:
                raise CheckpointError(f"{self.data_file(row)} holds no picture of {key}, but the name of a file")
            yield decode_picture(data)

    def data_file(self, row: Mapping[str, Any]) -> Path:
        """Return the file in which the numbers of an episode lie."""
        return self._file(self.data_path, "data", row)

    def video_file(self, key: str, row: Mapping[str, Any]) -> Path:
        """Return the video in which the pictures of an episode lie."""
        return self._file(str(self.video_path or layout.VIDEO), f"videos/{key}", row, video_key=key)

    def _file(self, pattern: str, section: str, row: Mapping[str, Any], **names: str) -> Path:
        try:
            place = {k: int(row[f"{section}/{k}"]) for k in ("chunk_index", "file_index")}
            return self.path / pattern.format(**names, **place)
        except (KeyError, TypeError, ValueError, IndexError) as e:
            raise CheckpointError(
                f"the metadata of {self.path} do not say where the {section} of its episodes are ({e!r})"
            ) from e

    def _check_files(self) -> None:
        wanted = [self.data_file(row) for row in self.rows]
        for key in (k for k in self.camera_keys() if self.features[k]["dtype"] == "video"):
            wanted += [self.video_file(key, row) for row in self.rows]
        missing = [str(p.relative_to(self.path)) for p in dict.fromkeys(wanted) if not p.is_file()]
        if missing:
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise CheckpointError(
                f"{self.path} is incomplete: {', '.join(missing[:_NAMED])}{more} missing; fetch the whole data set, "
                "with its videos"
            )

    def _read(self, file: Path, keep: Any = lambda name: True) -> list[dict[str, Any]]:
        try:
            names = [n for n in self._pq.read_schema(file).names if keep(n)]
            return self._pq.read_table(file, columns=names).to_pylist()
        except (OSError, ValueError) as e:  # the errors of pyarrow are among them
            raise CheckpointError(f"{file} cannot be read: {' '.join(str(e).split())}") from e
