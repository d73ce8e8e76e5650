"""Who holds a ROS domain on this machine: two sessions with an arm in one domain would both move it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from robot_rl.errors import LaunchError


def lock_path(domain: str, what: str) -> Path:
    """Return the file whose lock stands for holding something in a domain."""
    return Path(tempfile.gettempdir()) / f"robot_rl-domain-{domain}-{what}.lock"


@contextlib.contextmanager
def held(domain: str, what: str, holder: str) -> Iterator[None]:
    """Hold something in a domain; the kernel lets go of it when this process dies, however it dies.

    Args:
        domain: ROS domain.
        what: Such as "arm".
        holder: Who we are, for the sentence that another launch gets.

    Raises:
        LaunchError: Another launch holds it.
    """
    path = lock_path(domain, what)
    fd = _open(path)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            other = os.pread(fd, 500, 0).decode("utf-8", "replace").strip() or "another launch"
            raise LaunchError(
                f"ROS domain {domain} is taken: {other} holds the {what} there. Stop it, or give this session a domain "
                "of its own: domain:=N with N from 1 to 101"
            ) from e
        with contextlib.suppress(OSError):  # opened for reading only: another user's file
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{holder} (process {os.getpid()})\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as e:
        raise LaunchError(f"could not open {path}: {e.strerror or e}; set TMPDIR to a folder you may write to") from e
    with contextlib.suppress(OSError):
        os.fchmod(fd, 0o666)
    return fd
