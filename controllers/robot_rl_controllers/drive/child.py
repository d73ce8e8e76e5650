"""The driver's process as its parent holds it: started with a spec, listened to, ended in order."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque

from robot_rl_controllers.drive.spec import DriveSpec

END_S = 3.0
_MODULE = "robot_rl_controllers.drive.process"


class Child:
    """A running driver.

    It stands in a session of its own, so that a Ctrl-C in a terminal reaches the parent alone, which then ends the
    driver in order. Whatever becomes of the parent, the driver notices by itself.
    """

    def __init__(self, spec: DriveSpec) -> None:
        self._log = logging.getLogger(f"{__name__}.{spec.name}")
        self._said: deque[str] = deque(maxlen=20)
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(spec.memory,),
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._listener = threading.Thread(target=self._listen, name=f"{spec.name}-log", daemon=True)
        self._listener.start()
        stdin = self._process.stdin
        if stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it died at once; `exit_code` tells
                stdin.write(spec.to_json().encode() + b"\n")
                stdin.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it lives."""
        return self._process.poll()

    @property
    def last_words(self) -> str:
        """The end of what it logged."""
        self._listener.join(0.5 if self.exit_code is not None else 0.0)
        return " | ".join(self._said)

    def end(self) -> None:
        """Ask it to brake and exit, and see to it that it does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._log.warning("the driver did not end within %.0f s and was killed", END_S)
            self._process.kill()
            self._process.wait()
        self._listener.join(1.0)

    def _listen(self) -> None:
        stderr = self._process.stderr
        if stderr is None:
            return
        with stderr:
            for raw in stderr:
                line = raw.decode(errors="replace").rstrip()
                self._said.append(line)
                level, _, text = line.partition(" ")
                known = logging.getLevelNamesMapping().get(level)
                self._log.log(known or logging.WARNING, "%s", text if known else line)
