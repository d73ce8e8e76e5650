"""JSON on disk that survives kills and full disks: atomic small files, and files of JSON lines that are appended to."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_rl.errors import CheckpointError, StorageError


def plain(value: object) -> object:
    """Return `value` as JSON can hold it: numpy scalars and arrays unpacked, paths as text, nan and inf as null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # numpy and JAX arrays and scalars
        return plain(value.tolist())  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, (Sequence, set, frozenset)):
        return [plain(v) for v in value]
    return str(value)


def write_text_atomic(path: Path, text: str) -> Path:
    """Replace `path` by `text`, all or nothing, also when the power fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as e:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError(
            f"could not write {path}: {e.strerror or e}. What was there before is intact; free some space or check "
            "the permissions, then try again"
        ) from e
    return path


def write_json_atomic(path: Path, value: Mapping[str, object]) -> Path:
    """Replace `path` by `value` as JSON, all or nothing."""
    return write_text_atomic(path, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or {} when there is no such file.

    Raises:
        CheckpointError: The file is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{path} is damaged or cannot be read ({e}). Restore it or delete it") from e
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, expected a JSON object. Restore it or delete it")
    return value


def update_json(path: Path, **fields: object) -> dict[str, Any]:
    """Set some fields of a JSON file and keep the others; `run.json` and `summary.json` grow this way."""
    value = read_json(path) | fields
    write_json_atomic(path, value)
    return value


class JsonlFile:
    """An append-only file of JSON lines, one write per line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as e:
            raise StorageError(f"could not open {path}: {e.strerror or e}. Choose a folder you may write to") from e
        self._torn = _ends_torn(self._fd)

    def append(self, row: Mapping[str, object]) -> None:
        """Write one line; raises `StorageError` when the disk does not take it."""
        text = json.dumps(plain(row), ensure_ascii=False, separators=(",", ":"))
        # A newline first closes a line that a full disk or a power cut left unfinished.
        data = (("\n" if self._torn else "") + text + "\n").encode()
        try:
            while data:
                written = os.write(self._fd, data)
                data, self._torn = data[written:], True
            self._torn = False
        except OSError as e:
            raise StorageError(
                f"could not write to {self.path}: {e.strerror or e}. Lines written before are intact; free some space"
            ) from e

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _ends_torn(fd: int) -> bool:
    """Return whether the file's last byte is something other than a newline."""
    with contextlib.suppress(OSError):
        size = os.fstat(fd).st_size
        return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    return False


class JsonlTail:
    """Reads the lines that were added to a file since the last call; the file need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped = 0  # lines that were no JSON object
        self._offset = 0
        self._inode = -1

    def read(self, *, unfinished: bool = False) -> list[dict[str, Any]]:
        """Return the new rows.

        Args:
            unfinished: Also return a last line without newline if it is a whole JSON object.
        """
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._offset, self._inode = 0, status.st_ino
                file.seek(self._offset)
                data = file.read(status.st_size - self._offset)
        except FileNotFoundError:
            return []
        except OSError as e:
            raise StorageError(f"could not read {self.path}: {e.strerror or e}. Check its permissions") from e
        whole = len(data) if unfinished else data.rfind(b"\n") + 1
        self._offset += whole
        rows = []
        for line in data[:whole].split(b"\n"):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                rows.append(row)
            else:
                self.skipped += 1
        return rows


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Return all rows of a file of JSON lines; damaged lines are skipped, a missing file is empty."""
    return JsonlTail(path).read(unfinished=True)


def last_row(path: Path) -> dict[str, Any]:
    """Return the last whole row of a file of JSON lines without reading all of it, or {}."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - 65536, 0))
        for line in reversed(file.read(65536).split(b"\n")):
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line)
                if isinstance(row, dict):
                    return row
    return {}
