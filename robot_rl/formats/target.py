"""What is being made gets its name when it is complete; until then it lies hidden, and nobody takes it for one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from robot_rl.episodes.part import sync_folder
from robot_rl.errors import ConfigError, StorageError


@contextlib.contextmanager
def new_folder(path: Path, what: str) -> Iterator[Path]:
    """Yield a folder to fill, which takes the name `path` when the block ends well, and is removed when it does not.

    What a killed process left behind is cleared by the next one that makes the same thing.

    Args:
        path: The name; it must not exist.
        what: What is made, for sentences, such as "a LeRobot data set".

    Raises:
        ConfigError: The name is taken, or another process is making the same.
        StorageError: The disk does not take it.
    """
    with _hidden(path.absolute(), what) as part:
        yield part
        _name(part, path.absolute())


@contextlib.contextmanager
def new_file(path: Path, what: str) -> Iterator[Path]:
    """Yield the path of a file to write, which takes the name `path` as a folder of `new_folder` does."""
    with _hidden(path.absolute(), what) as part:
        yield part / path.name
        _name(part / path.name, path.absolute())
        part.rmdir()


@contextlib.contextmanager
def _hidden(path: Path, what: str) -> Iterator[Path]:
    """Yield an empty folder beside `path` that this process alone fills; it is removed if the block fails."""
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} exists; {what} is never written over another, give another --out or move it away")
    part = path.with_name(f".{path.name}.part")
    with _storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(exist_ok=True)
        fd = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise ConfigError(f"{path} is being written by another process; wait for it, or give another --out") from e
        except OSError:  # a file system without locks
            pass
        try:
            with _storage(path):
                for old in part.iterdir():
                    shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
                yield part
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    finally:
        os.close(fd)


def _name(part: Path, path: Path) -> None:
    """Force what was made to the disk and give it its name."""
    _sync(part)
    if path.exists():
        raise ConfigError(f"{path} has come to exist meanwhile; move it away and do this again")
    os.rename(part, path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Turn what the system says of a disk into a sentence."""
    try:
        yield
    except OSError as e:
        raise StorageError(f"could not write {path}: {e.strerror or e}; nothing of it is left") from e


def _sync(made: Path) -> None:
    """Force a file, or a folder and all in it, to the disk."""
    for path in [made, *made.rglob("*")]:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
