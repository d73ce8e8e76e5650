"""A run as processes of this machine: one learner and some actors under one supervisor."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from robot_rl.settings import PRIVATE_IPC, Settings
from robot_rl.supervisor import Supervisor

log = logging.getLogger(__name__)

LEARNER = "learner"
POLL_S = 0.05
# An actor computes vectors of a few hundred numbers: threads for that would only take time from the learner.
ACTOR_ENV: dict[str, str] = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


def actor_names(settings: Settings) -> list[str]:
    """Return the names of the run's actors."""
    return [f"actor{i}" for i in range(settings.actors)]


@contextlib.contextmanager
def processes(
    folder: Path, settings: Settings, session: int = 0, options: Sequence[str] = (), real_time: bool = False
) -> Iterator[tuple[Supervisor, Callable[[], None]]]:
    """Start the learner; yield the supervisor and a function that starts the actors.

    Args:
        folder: The run.
        settings: All settings; a link address of "ipc://" becomes a private socket.
        session: How often this run was resumed: actors draw other starts each time.
        options: Further command-line options of every process.
        real_time: The robot does not wait: the learner gives way to the actor and to the robot's own processes.
    """
    private = tempfile.mkdtemp(prefix="robot_rl-")
    address = settings.link.address
    address = f"ipc://{private}/link" if address == PRIVATE_IPC else address
    base = [sys.executable, "-m", "robot_rl"]
    common = ["--run", str(folder), *options, f"link.address={address}"]
    names = actor_names(settings)
    supervisor = Supervisor(folder / "logs", settings.supervisor, dict.fromkeys(names, ACTOR_ENV))
    supervisor.yielding = (LEARNER,) if real_time else ()

    def start_actors() -> None:
        for i, name in enumerate(names):
            supervisor.add(
                name,
                lambda start, i=i: [
                    *base,
                    "actor",
                    "--index",
                    str(i),
                    "--attempt",
                    str(1000 * session + start),
                    *common,
                ],
            )

    try:
        supervisor.add(LEARNER, lambda _: [*base, "learner", *common])
        yield supervisor, start_actors
    finally:
        supervisor.close()
        shutil.rmtree(private, ignore_errors=True)


def train_processes(
    supervisor: Supervisor, settings: Settings, stopping: Callable[[], bool], idle_s: float = POLL_S
) -> bool:
    """Watch a run until it is complete or is to stop, then end its processes: the actors first.

    Args:
        supervisor: With learner and actors started.
        settings: All settings.
        stopping: Asked in every turn whether to stop.
        idle_s: How often to look.

    Returns:
        Whether the run is complete.

    Raises:
        ProcessFailed: A process cannot go on; what was learnt until then is saved.
    """
    names = actor_names(settings)
    try:
        while not supervisor.done(LEARNER) and not stopping():
            supervisor.poll()
            time.sleep(idle_s)
        return supervisor.done(LEARNER)
    finally:
        supervisor.stop(names)  # they hand over what they have
        supervisor.stop([LEARNER])  # and then it saves
