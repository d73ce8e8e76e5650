"""Checkpoints: named arrays and plain values in one file that is either whole or refused.

Layout, all numbers little endian:

    magic (8), version (4), header length (4), header, arrays one after the other, SHA-256 over everything before (32)

The header is msgpack: {"meta": plain values, "arrays": [[name, dtype, shape], ...]}. Nothing in it is ever executed. A
file is written beside its place, forced to the disk and renamed, so a kill or a full disk leaves the one before intact.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CheckpointError, ConfigError, StorageError

log = logging.getLogger(__name__)

VERSION = 1
_MAGIC = b"RRLCKPT\n"
_HEAD = struct.Struct("<8sII")
_DIGEST = hashlib.sha256().digest_size
_NAME = re.compile(r"checkpoint-(\d{12})\.ckpt")
_DTYPES = {np.dtype(name).str for name in ("f4", "f8", "i4", "i8", "u4", "u8", "u1", "i2", "u2", "i1", "?", "f2")}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file holds: arrays by name, plain values, and where it lies."""

    arrays: Mapping[str, NDArray[Any]]
    meta: Mapping[str, Any]
    path: Path


def save(path: Path, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Path:
    """Write a file, all or nothing.

    Args:
        path: Where it shall lie; an older file is replaced.
        arrays: Numbers of any shape.
        meta: What msgpack can hold: numbers, text, truth values, lists and maps of them.

    Raises:
        StorageError: The disk does not take it; an older file at `path` is intact.
    """
    ordered = {name: np.ascontiguousarray(np.asarray(a)).reshape(np.shape(a)) for name, a in arrays.items()}
    for name, array in ordered.items():
        if array.dtype.str not in _DTYPES:
            raise ConfigError(
                f"array '{name}' has dtype {array.dtype}, a checkpoint holds {', '.join(sorted(_DTYPES))}"
            )
    entries = [[name, a.dtype.str, list(a.shape)] for name, a in ordered.items()]
    header: bytes = msgpack.packb({"meta": dict(meta), "arrays": entries}, use_bin_type=True)  # pyright: ignore[reportAssignmentType]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            for part in (_HEAD.pack(_MAGIC, VERSION, len(header)), header, *_bytes(ordered)):
                digest.update(part)
                file.write(part)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as e:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError(
            f"could not save {path}: {e.strerror or e}. What was saved before is intact; free some space"
        ) from e
    return path


def load(path: Path) -> Checkpoint:
    """Read a file and verify every byte of it.

    Raises:
        CheckpointError: It is missing, damaged, or of another version; says which and what to do.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as e:
        beside = sorted(p.name for p in path.parent.glob("*.ckpt")) if path.parent.is_dir() else []
        listed = f"; {path.parent} holds {', '.join(beside)}" if beside else ""
        raise CheckpointError(f"there is no checkpoint {path}{listed}. Check the run's name, or train it first") from e
    except OSError as e:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {e.strerror or e}") from e
    if len(data) < _HEAD.size or data[:8] != _MAGIC:
        raise _damaged(path, "it does not begin as a checkpoint")
    _, version, header_bytes = _HEAD.unpack_from(data)
    if version != VERSION:
        raise CheckpointError(
            f"the checkpoint {path} has version {version}, this release reads version {VERSION}; "
            "use the release that wrote it (run.json beside it says which)"
        )
    body, digest = memoryview(data)[:-_DIGEST], data[-_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        raise _damaged(path, "its checksum does not match")
    try:
        header = msgpack.unpackb(body[_HEAD.size : _HEAD.size + header_bytes], raw=False)
        arrays = _read_arrays(body[_HEAD.size + header_bytes :], header["arrays"])
        meta = dict(header["meta"])
    except (ValueError, KeyError, TypeError) as e:
        raise _damaged(path, f"its header does not fit its contents ({e})") from e
    return Checkpoint(arrays=arrays, meta=meta, path=path)


class Checkpoints:
    """The checkpoints of one run: the newest few of a rising number.

    Args:
        folder: Where they lie.
        keep: How many.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """Return the files, newest first."""
        found = [p for p in self.folder.glob("checkpoint-*.ckpt") if _NAME.fullmatch(p.name)]
        return sorted(found, reverse=True)

    def save(self, number: int, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Path:
        """Save as the newest and forget those beyond `keep`."""
        path = save(self.folder / f"checkpoint-{number:012d}.ckpt", arrays, meta)
        for old in self.paths()[self.keep :]:
            with contextlib.suppress(OSError):
                old.unlink()
        return path

    def newest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint, or None when there is none at all.

        A damaged one is passed over with a warning, for the one before.

        Raises:
            CheckpointError: There are some, and every one is damaged.
        """
        failures: list[CheckpointError] = []
        for path in self.paths():
            try:
                found = load(path)
            except CheckpointError as e:
                log.warning("%s", e)
                failures.append(e)
                continue
            if failures:
                log.warning("going on from the checkpoint before, %s", path)
            return found
        if failures:
            raise failures[0]
        return None


def _bytes(arrays: Mapping[str, NDArray[Any]]) -> list[memoryview]:
    return [a.reshape(-1).view(np.uint8).data for a in arrays.values()]


def _read_arrays(data: memoryview, entries: Any) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for name, dtype, shape in entries:
        if dtype not in _DTYPES:
            raise ValueError(f"array {name!r} has dtype {dtype!r}")
        size = math.prod(shape) * np.dtype(dtype).itemsize
        arrays[name] = np.frombuffer(data[start : start + size], dtype).reshape(shape)
        start += size
    if start != len(data):
        raise ValueError(f"{len(data) - start} bytes are left over")
    return arrays


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} is damaged: {what}. Restore it from a copy, or delete it to go on from the one before"
    )


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
