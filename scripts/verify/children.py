"""Running commands: their output goes to a log, they can be watched, and none of them outlives us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.5
GRACE_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a command ended.

    Attributes:
        status: Exit status; negative for a signal.
        seconds: Wall time.
        out, err: What it wrote.
        timed_out: Whether it was stopped for taking too long.
    """

    status: int
    seconds: float
    out: str
    err: str
    timed_out: bool = False

    @property
    def last_line(self) -> str:
        """Return the last line that it wrote, of errors if there are any."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1] if lines else ""

    def how(self) -> str:
        """Return how it ended, in words."""
        if self.timed_out:
            return f"stopped after {self.seconds:.0f} s: too long"
        return (
            f"status {self.status}: {self.last_line[:200]}" if self.status else f"status 0 after {self.seconds:.0f} s"
        )


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs commands for the stages.

    Attributes:
        root: The repository, where commands run.
        work: Folder for what they leave.
        tick: Called twice a second while a command runs.
        seed: Of what a stage draws, for those that draw.
    """

    root: Path
    work: Path
    tick: Callable[[], None]
    seed: int = 0

    def run(
        self,
        name: str,
        command: Sequence[str],
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> Finished:
        """Run a command to its end.

        Args:
            name: Of its log files.
            command: Its words.
            timeout_s: After which it is stopped.
            env: Further environment variables.
            stdin: What it reads, a file descriptor; nothing by default.
        """
        logs = self.work / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        out, err = logs / f"{name}.out", logs / f"{name}.err"
        began_s = time.monotonic()
        timed_out = False
        with open(out, "wb") as out_file, open(err, "wb") as err_file:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                stdin=stdin,
                stdout=out_file,
                stderr=err_file,
                env={**os.environ, "COLUMNS": "200", **(env or {})},
                start_new_session=True,  # Ctrl-C is for us, who stop the others in order
            )
            try:
                while process.poll() is None:
                    if time.monotonic() - began_s > timeout_s:
                        timed_out = True
                        break
                    self.tick()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(POLL_S)
            finally:
                stop(process)
        return Finished(
            status=process.returncode,
            seconds=time.monotonic() - began_s,
            out=self._words(out),
            err=self._words(err),
            timed_out=timed_out,
        )

    def _words(self, path: Path) -> str:
        """Return what a command wrote, with paths below the repository made short."""
        return path.read_text(encoding="utf-8", errors="replace").replace(f"{self.root}/", "")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process and all its descendants to end, then kill what is left."""
    if process.poll() is not None:
        return
    family = [process.pid, *descendants(process.pid)]
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    for pid in {*family, *descendants(process.pid)}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below one, as Linux tells them."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))

    def below(parent: int) -> Iterator[int]:
        for child in children.get(parent, []):
            yield child
            yield from below(child)

    return list(below(pid))
