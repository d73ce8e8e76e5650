"""Where a running session can be seen: `console.json` in its run's folder, and the private folder of its sockets.

The sockets lie in a folder that only their owner may enter, so no password is needed between a session and its view. A
view in turn connects only to a folder of its own user: whoever may write into a shared folder of runs could otherwise
show it a session that does not exist.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from robot_rl.errors import CheckpointError, ConfigError, StorageError
from robot_rl.jsonl import read_json, write_json_atomic

CONSOLE_FILE = "console.json"
_PREFIX = "robot_rl-console-"


@dataclass(frozen=True, kw_only=True)
class ConsoleAddress:
    """A session that can be seen.

    Attributes:
        pid, born: Its process, and when that began in ticks of the system: a number may be given to another process.
        session: What it does: "train", "record", "eval".
        sockets: The private folder.
    """

    pid: int
    born: int
    session: str
    sockets: Path

    def address(self, which: str) -> str:
        """Return the ZMQ address of "steps", "pictures" or "presses"."""
        return f"ipc://{self.sockets}/{which}"

    @property
    def alive(self) -> bool:
        """Whether its process still runs."""
        return born(self.pid) == self.born != 0


def born(pid: int) -> int:
    """Return when a process began, in ticks since the system did; 0 if there is none, or only its remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return 0 if len(fields) < 20 or fields[0] in "ZX" else int(fields[19])


def publish_address(folder: Path, session: str) -> ConsoleAddress:
    """Make the private folder and say in the run's folder where it is.

    Raises:
        StorageError: Another session of this run can be seen already, or the disk does not take it.
    """
    with contextlib.suppress(CheckpointError, ConfigError):
        other = _read(folder)
        if other is not None and other.alive:
            raise StorageError(f"process {other.pid} ({other.session}) is already shown as the session of {folder}")
        if other is not None and not _complaint(other.sockets):
            shutil.rmtree(other.sockets, ignore_errors=True)  # left by a process that was killed
    try:
        sockets = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as e:
        raise StorageError(f"could not make a folder for sockets in {tempfile.gettempdir()}: {e.strerror or e}") from e
    pid = os.getpid()
    made = ConsoleAddress(pid=pid, born=born(pid), session=session, sockets=sockets)
    try:
        host = platform.node()
        write_json_atomic(
            folder / CONSOLE_FILE,
            {"pid": pid, "born": made.born, "session": session, "host": host, "sockets": str(sockets)},
        )
    except StorageError:
        shutil.rmtree(sockets, ignore_errors=True)
        raise
    return made


def withdraw_address(folder: Path, made: ConsoleAddress) -> None:
    """Remove what `publish_address` made, unless another session has taken its place. Safe to call twice."""
    shutil.rmtree(made.sockets, ignore_errors=True)
    with contextlib.suppress(OSError, CheckpointError, ConfigError):
        if _read(folder) == made:
            (folder / CONSOLE_FILE).unlink()


def find_session(folder: Path) -> ConsoleAddress | None:
    """Return the session that runs in a run's folder on this machine, or None.

    Raises:
        ConfigError: There is one that this user cannot see from here; the sentence says why.
        CheckpointError: The file is damaged.
    """
    found = _read(folder)
    if found is None or not found.alive:
        return None
    complaint = _complaint(found.sockets)
    if complaint:
        raise ConfigError(f"the session of {folder} (process {found.pid}) cannot be seen: {complaint}")
    return found


def _read(folder: Path) -> ConsoleAddress | None:
    values = read_json(folder / CONSOLE_FILE)
    if not values:
        return None
    pid, began, session = values.get("pid"), values.get("born"), values.get("session")
    sockets, host = values.get("sockets"), values.get("host")
    if host != platform.node():
        raise ConfigError(
            f"the session of {folder} runs on the machine '{str(host)[:80]}' and this is '{platform.node()}'; look at "
            "it there, and forward the page: ssh -L 8020:127.0.0.1:8020 THAT_MACHINE"
        )
    if type(pid) is not int or type(began) is not int or type(session) is not str or type(sockets) is not str:
        raise CheckpointError(
            f"{folder / CONSOLE_FILE} does not say where the session is; delete it and start it again"
        )
    return ConsoleAddress(pid=pid, born=began, session=session, sockets=Path(sockets))


def _complaint(sockets: Path) -> str:
    """Return why a folder of sockets must not be used; empty if it may."""
    try:
        status = sockets.lstat()
    except OSError as e:
        return f"the folder of its sockets, {sockets}, is not there ({e.strerror or e}); start the session again"
    if not sockets.name.startswith(_PREFIX) or not stat.S_ISDIR(status.st_mode):
        return f"{sockets} is no folder of a session; delete {CONSOLE_FILE} and start the session again"
    if status.st_uid != os.geteuid():
        return f"it belongs to {_user(status.st_uid)}, and only they can look at it; ask them to start the view"
    if status.st_mode & 0o077:
        return f"others may enter {sockets}, so what it shows is not to be trusted; start the session again"
    return ""


def _user(uid: int) -> str:
    with contextlib.suppress(KeyError, ImportError):
        import pwd

        return f"the user {pwd.getpwuid(uid).pw_name}"
    return f"the user with number {uid}"
