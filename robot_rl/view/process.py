"""The view as a process beside a session: started with it, ended with it, and never a reason for it to fail."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from robot_rl.errors import ConfigError
from robot_rl.settings import ViewConfig
from robot_rl.supervisor import PARENT, yield_processors
from robot_rl.view.server import listen, load_web

log = logging.getLogger(__name__)

_START_S = 60.0
_STOP_S = 5.0


def check_view(config: ViewConfig) -> None:
    """Before a run begins: raise `ConfigError` or `MissingDependency` if the page asked for could not be served."""
    if config.port is not None:
        load_web()
        listen("127.0.0.1", config.port).close()


@contextlib.contextmanager
def page(folder: Path, config: ViewConfig, say: Callable[[str], None]) -> Iterator[None]:
    """Serve the view of a run meanwhile, if that was asked for, and tell a person its address.

    Args:
        folder: The run.
        config: Whether and where.
        say: Tells a person.

    Raises:
        ConfigError: It cannot be served; the sentence is the server's own.
    """
    if config.port is None:
        yield
        return
    folder.joinpath("logs").mkdir(exist_ok=True)
    with open(folder / "logs" / "view.log", "ab") as file:
        command = [sys.executable, "-m", "robot_rl", "view", str(folder), "--wait", "--port", str(config.port)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            env={**os.environ, PARENT: str(os.getpid())},
            start_new_session=True,  # Ctrl-C is for the session; this page is ended after it
        )
    yield_processors(process.pid)  # whoever drives a robot comes first
    try:
        say(_address(process, folder / "logs" / "view.log"))
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _address(process: subprocess.Popen[bytes], log_file: Path) -> str:
    """Wait for the line that says where to look, and return it."""
    assert process.stdout is not None  # it was asked for
    out, deadline_s, data = process.stdout.fileno(), time.monotonic() + _START_S, b""
    while b"\n" not in data:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0.0:
            raise ConfigError(f"the view did not start within {_START_S:.0f} s; see {log_file}, or leave it out")
        if not select.select([out], [], [], left_s)[0]:
            continue
        more = os.read(out, 4096)
        if not more:  # it has ended
            process.wait()
            raise ConfigError(_last_words(log_file) or f"the view ended with status {process.returncode}")
        data += more
    return data.decode(errors="replace").partition("\n")[0]


def _last_words(path: Path) -> str:
    with contextlib.suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].removeprefix("robot-rl: ") if lines else ""
    return ""
