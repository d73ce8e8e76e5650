"""Writes episodes as one HDF5 file in the layout of robomimic: data/demo_N with actions, rewards and observations.

What robomimic has no place for is beside it under names that its loader does not ask for: `truncated`, and as
attributes of an episode its file, its success and why it ended.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError, MissingDependency
from robot_rl.formats.outgoing import Outgoing, Selection
from robot_rl.formats.target import new_file
from robot_rl.jsonl import plain

TYPE = 2  # robomimic's number for "a gym environment"; ours is not among its own


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written: the file, and how many episodes, samples, and episodes for validation."""

    path: Path
    episodes: int
    samples: int
    valid: int


def export(selection: Selection, path: Path, *, valid: float = 0.1, full: bool = False) -> Exported:
    """Write a file.

    Args:
        selection: The episodes.
        path: The file; it must not exist.
        valid: Share of the episodes that are for validation: evenly spread over them.
        full: Pictures of full size instead of what the policy saw.

    Raises:
        ConfigError: The name is taken, or the share is none.
        CheckpointError: An episode cannot be read or lacks pictures.
        StorageError: The disk does not take it; nothing is left.
    """
    if not 0.0 <= valid < 1.0:
        raise ConfigError(f"--valid is {valid}; it must lie in 0 to 1, such as 0.1 for a tenth of the episodes")
    h5py = _h5py()
    count, samples = len(selection.paths), 0
    chosen = sorted({int((i + 0.5) * count / k) for k in [round(valid * count)] for i in range(k)})
    with new_file(path, "a data set") as part, _Disk(part) as disk, h5py.File(disk, "w") as file:
        data = file.create_group("data")
        for number, episode in enumerate(selection.episodes(full)):
            _write(data.create_group(f"demo_{number}"), episode, selection)
            samples += len(episode)
            disk.check()
        data.attrs["total"] = samples
        data.attrs["env_args"] = json.dumps(_environment(selection))
        names = [f"demo_{i}" for i in range(count)]
        file["mask/train"] = np.array([n for i, n in enumerate(names) if i not in chosen], dtype="S")
        if chosen:
            file["mask/valid"] = np.array([names[i] for i in chosen], dtype="S")
    return Exported(path=path, episodes=count, samples=samples, valid=len(chosen))


class _Disk(io.RawIOBase):
    """The file under HDF5, whose library crashes the process when it closes a file on a full disk.

    So what the disk refuses is remembered, and raised when HDF5 is through; what comes after it is dropped.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 (closed below)
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise what the disk said, if it refused something."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any, /) -> int:
        """Write all of some bytes, or remember why not."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self._error is None:
                left = left[self._file.write(left) :]
        except OSError as e:
            self._error = e
        if left:
            self._file.seek(len(left), os.SEEK_CUR)
        return size

    def readinto(self, buffer: Any, /) -> int:
        """Read as many bytes as asked for; what was never written is zero."""
        view = memoryview(buffer).cast("B")
        found = self._file.readinto(view) or 0
        view[found:] = bytes(len(view) - found)
        return len(view)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a byte."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the byte that comes next."""
        return self._file.tell()

    def truncate(self, size: int | None = None, /) -> int:
        """Change the size."""
        try:
            return self._file.truncate(size)
        except OSError as e:
            self._error = self._error or e
            return size or 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def seekable(self) -> bool:
        """Return that it has places."""
        return True

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._file.close()
        self.close()
        if self._error is not None:  # whatever HDF5 made of it
            raise self._error


def _write(group: Any, episode: Outgoing, selection: Selection) -> None:
    steps, n = episode.steps, len(episode)
    group["actions"] = steps.executed[:n]
    group["rewards"] = steps.reward[:n]
    # robomimic's own files mark the end of the task; that of the clock stands in `truncated`.
    group["dones"] = steps.terminated[:n].astype(np.int64)
    group["truncated"] = episode.truncated.astype(np.int64)
    for name, part in selection.observation_spec.slices.items():
        group[f"obs/{name}"] = episode.states[:n, part]
        group[f"next_obs/{name}"] = episode.states[1:, part]
    for camera, pictures in episode.pictures.items():
        first = pictures.decoded(0)
        options: dict[str, Any] = {
            "shape": (n, *first.shape), "dtype": np.uint8, "chunks": (1, *first.shape), "compression": "gzip",
            "compression_opts": 1,
        }  # fmt: skip
        now = group.create_dataset(f"obs/{camera}_image", **options)
        following = group.create_dataset(f"next_obs/{camera}_image", **options)
        for k in range(n + 1):
            picture = pictures.decoded(k)
            if picture.shape != first.shape:
                raise ConfigError(f"the pictures of camera '{camera}' in {episode.episode.path} change their size")
            if k < n:
                now[k] = picture
            if k:
                following[k - 1] = picture
    end = episode.episode.end
    group.attrs["num_samples"] = n
    group.attrs["file"] = episode.episode.path.name
    group.attrs["success"] = bool(episode.episode.success)
    group.attrs["reason"] = end.reason if end is not None else "the record was cut"


def _environment(selection: Selection) -> dict[str, Any]:
    start = selection.start
    return {
        "env_name": start.task,
        "env_version": str(start.versions.get("robot_rl", "")),
        "type": TYPE,
        "env_kwargs": {"period_s": start.period_s, "robot": start.robot, "spec": plain(start.spec)},
    }


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as e:
        raise MissingDependency("h5py", "a data set of robomimic", "pip install 'robot-rl[export]'") from e
    return h5py
