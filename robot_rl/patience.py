"""Beginning an episode on a robot that may have to wait for a person: a stop that only they end, a door, an object."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_rl.assisted import AssistedEnv
from robot_rl.env import RobotEnv
from robot_rl.errors import RobotError, StorageError
from robot_rl.jsonl import write_json_atomic

log = logging.getLogger(__name__)

ROBOT_FILE = "robot.json"  # in a run: what its robot waits for; empty when it does not
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
POLL_S = 0.05


def begin_episode(env: RobotEnv | AssistedEnv, seed: int, stopping: Callable[[], bool] = lambda: False) -> Any:
    """Reset and return the first observation.

    In real time a robot that refuses is asked again until it agrees: it says what a person has to do. One in lock-step
    has no person beside it, and its refusal is an error.

    Args:
        env: The environment.
        seed: Of the start.
        stopping: Asked often whether to give up.

    Raises:
        RobotError: There is no robot to begin with, or one in lock-step refuses.
        KeyboardInterrupt: It was given up.
    """
    env.connect()
    failures = 0
    while True:
        try:
            return env.reset(seed=seed)[0]
        except RobotError as e:
            if not env.real_time:
                raise
            failures += 1
            pause(str(e), failures, stopping)
            if stopping():
                raise KeyboardInterrupt from e


@dataclass(slots=True)
class RobotNote:
    """Keeps in a run's folder what its robot waits for, where the live view finds it."""

    folder: Path
    _last: str = ""

    def __call__(self, reason: str) -> None:
        """Note what the robot waits for; an empty text when it does not. Costs nothing while that stays."""
        if reason == self._last:
            return
        self._last = reason
        try:
            write_json_atomic(self.folder / ROBOT_FILE, {"waits": reason})
        except StorageError as e:
            log.warning("%s", e)


def pause(reason: str, failures: int, stopping: Callable[[], bool]) -> None:
    """Wait a little before a robot is asked again.

    Args:
        reason: What it said; logged now and then.
        failures: How often in a row it was asked in vain; the wait grows with it.
        stopping: Asked often whether to give up.
    """
    if failures == 1 or failures % 10 == 0:
        log.warning("waiting for the robot: %s", reason)
    until_s = time.monotonic() + min(FIRST_PAUSE_S * failures, LONGEST_PAUSE_S)
    while time.monotonic() < until_s and not stopping():
        time.sleep(POLL_S)
