"""Who has an arm in a ROS domain on this machine: two sessions with an arm of the same name would both move it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from robot_rl.errors import LaunchError
from robot_rl_hardware.ros import environment


def number(text: str) -> int:
    """Return a ROS domain as a number; raises `ConfigError` if it is none that may be used."""
    environment.check_domain(text)
    return int(text)


def lock_path(domain: int, namespace: str) -> Path:
    """Return the file whose lock stands for a namespace in a domain."""
    name = re.sub(r"\W", "_", namespace.strip("/"))
    return Path(tempfile.gettempdir()) / f"robot_rl-domain-{domain}-{name}.lock"


@contextlib.contextmanager
def held(domain: int, namespace: str, holder: str) -> Iterator[None]:
    """Hold a namespace in a domain; the kernel lets go of it when this process dies, however it dies.

    Args:
        domain: ROS domain.
        namespace: Of the arm, such as "/arm".
        holder: Who we are, for the sentence that another launch gets.

    Raises:
        LaunchError: Another launch holds it, or an arm's node that nobody launched here answers.
    """
    fd = _open(lock_path(domain, namespace))
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            other = os.pread(fd, 500, 0).decode("utf-8", "replace").strip() or "another launch"
            raise _taken(domain, namespace, other) from e
        with contextlib.suppress(OSError):  # opened for reading only: another user's file
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{holder} (process {os.getpid()})\n".encode(), 0)
        if _answers(domain, namespace):
            raise _taken(domain, namespace, "an arm's node that was started otherwise")
        yield
    finally:
        os.close(fd)


def _taken(domain: int, namespace: str, other: str) -> LaunchError:
    return LaunchError(
        f"ROS domain {domain} is taken: {other} has {namespace} there. Stop it, or give this session a domain of its "
        f"own: domain:=N with N from 1 to {environment.LARGEST_DOMAIN}"
    )


def _answers(domain: int, namespace: str) -> bool:
    if not environment.participants_on(domain):  # costs nothing; joining the domain would take seconds
        return False
    from robot_rl_hardware.ros.node import arm_is_there

    return arm_is_there(namespace, domain)


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
