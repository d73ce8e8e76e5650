"""A file that grows by whole pieces and gets its name when it is complete."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from pathlib import Path

from robot_rl.errors import StorageError

PART = ".mcap.part"
_NUMBERED = re.compile(r"(\d{6,})\.mcap(\.part)?")


class PartFile:
    """The growing file: `write` collects, `flush` appends all of it or nothing.

    While it is open it is locked, so that nobody takes it for one that a killed process left behind.

    Args:
        path: The name it shall get; until then it is called `path` with ".part". Neither may exist.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.part = path, path.with_name(path.name + ".part")
        self._pending = bytearray()
        self._end = 0
        self._fd = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def pending(self) -> int:
        """Bytes that were collected and not yet appended."""
        return len(self._pending)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Collect bytes."""
        self._pending += data
        return len(data)

    def tell(self) -> int:
        """Return where the next byte will lie."""
        return self._end + len(self._pending)

    def flush(self) -> None:
        """Append what was collected. After this a kill of the process cannot lose it.

        Raises:
            StorageError: The disk does not take it; what was appended before is intact.
        """
        data, written = memoryview(bytes(self._pending)), 0
        try:
            while written < len(data):  # one write unless the disk fills, and then the next says why
                written += os.pwrite(self._fd, data[written:], self._end + written)
        except OSError as e:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._end)
            raise StorageError(f"could not write {self.part}: {e.strerror or e}") from e
        self._end += written
        self._pending.clear()

    def sync(self) -> None:
        """Force what was appended to the disk, against a power cut."""
        try:
            os.fsync(self._fd)
        except OSError as e:
            raise StorageError(f"could not write {self.part}: {e.strerror or e}") from e

    def complete(self) -> None:
        """Append the rest, force it to the disk and give the file its name."""
        self.flush()
        self.sync()
        try:
            os.link(self.part, self.path)  # fails where the name is taken, unlike a rename
            os.unlink(self.part)
        except FileExistsError as e:
            raise StorageError(f"{self.path} exists already; {self.part} keeps its name and is whole") from e
        except OSError:  # a file system without hard links
            try:
                os.rename(self.part, self.path)
            except OSError as e:
                raise StorageError(f"could not name {self.path}: {e.strerror or e}") from e
        sync_folder(self.path.parent)
        self.close()

    def close(self) -> None:
        """Leave the file as it is. Safe to call twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def sync_folder(folder: Path) -> None:
    """Force a folder's names to the disk."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def in_use(path: Path) -> bool:
    """Return whether another process, or another part of this one, is writing a file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def number_of(path: Path) -> int:
    """Return the number of an episode's file, -1 for any other name."""
    found = _NUMBERED.fullmatch(path.name)
    return int(found[1]) if found else -1


def next_file(folder: Path) -> PartFile:
    """Open a file for the next episode of a folder: numbers go on after those that exist, whole or cut.

    Raises:
        StorageError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = max((number_of(p) for p in folder.iterdir()), default=0)
        while True:
            number = max(number, 0) + 1
            try:
                file = PartFile(folder / f"{number:06d}.mcap")
            except FileExistsError:  # another actor of the same run was faster
                continue
            if not file.path.exists():
                return file
            file.close()
            os.unlink(file.part)
    except OSError as e:
        raise StorageError(f"could not begin an episode in {folder}: {e.strerror or e}") from e
