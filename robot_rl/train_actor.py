"""An actor as a process: it acts whenever it may, and leaves nothing unsent when it is asked to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from robot_rl.actor import Actor
from robot_rl.errors import RateError, RobotError, StorageError
from robot_rl.metrics import Latencies
from robot_rl.patience import pause

log = logging.getLogger(__name__)

IDLE_S = 0.002
MOST_FAILURES = 5  # episodes in a row that a robot in lock-step may fail


def actor_seed(seed: int, index: int, attempt: int) -> int:
    """Return a seed of its own for each actor of a run (below 65,536) and each of its starts."""
    return seed + (index << 24) + (attempt << 40)


def act(
    actor: Actor,
    stopping: Callable[[], bool],
    drain_s: float = 5.0,
    waits: Callable[[str], None] = lambda reason: None,
) -> Latencies:
    """Run episodes until the learner says that the run is complete, or until asked to stop, and close the link.

    Args:
        actor: The actor.
        stopping: Asked in every turn whether to stop.
        drain_s: How long to wait at the end for the learner to store what was sent.
        waits: Told what a robot in real time waits for, and an empty text after each step that it does.

    Returns:
        How long the control periods took; in real time everything that the robot measures.

    Raises:
        RateError: The loop of a robot in real time misses its rate.
        RobotError: A robot in lock-step failed in several episodes in a row.
    """
    latencies = Latencies()
    try:
        failures, completed = 0, 0
        while not actor.finished and not stopping():
            began_s = time.perf_counter()
            try:
                acted = actor.tick()
            except RateError as e:
                actor.abandon(str(e))
                raise
            except RobotError as e:
                actor.abandon(str(e))
                failures = failures + 1 if actor.completed == completed else 1
                completed = actor.completed
                if actor.env.real_time:
                    waits(str(e))
                    pause(str(e), failures, stopping)
                    continue
                if failures >= MOST_FAILURES:
                    raise
                log.warning("the episode is given up: %s", e)
                continue
            if acted:
                waits("")
                for name, value in (actor.timing or {"period_ms": 1e3 * (time.perf_counter() - began_s)}).items():
                    latencies.add(name, value)
            else:
                if actor.waits:
                    waits(actor.waits)
                time.sleep(IDLE_S)
        actor.flush()
    finally:
        left = actor.link.close(drain_s)
        if left:
            log.warning("%d blocks were not confirmed by the learner and are lost", left)
    return latencies


def save_latencies(latencies: Latencies, folder: Path, name: str) -> None:
    """Keep an actor's timing for the report; a disk that does not take it is only told of."""
    try:
        latencies.save(folder, name)
    except StorageError as e:
        log.warning("%s", e)
