"""Episodes practised in the twin by an actor of chance, recorded as practice is."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robot_rl.assisted import AssistedEnv
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.episodes.practice import PracticeLog
from robot_rl.robot import RobotState
from robot_rl.task import Task


def practise(
    folder: Path,
    settings: Sequence[str],
    seed: int = 0,
    episodes: int = 2,
    env: RobotEnv | None = None,
    reaches: float = 1.0,
    config: bool = True,
) -> list[Path]:
    """Record episodes, of which only the first is seeded, as an actor's are.

    Args:
        folder: Of the run.
        settings: Of `compose`.
        seed: Of the starts and the actions.
        episodes: How many.
        env: Made of the settings, if it is there already.
        reaches: Factor on the size of the actions; at 1 many go beyond their limits.
        config: Whether the files hold the settings.
    """
    composed = compose([*settings])
    acts = env or make_env(composed.settings())
    helped = AssistedEnv(acts)
    rng = np.random.default_rng(seed)
    log = PracticeLog(folder, acts, config=composed.text() if config else "", robot="twin")
    try:
        for number in range(episodes):
            observation, _ = helped.reset(seed=seed if number == 0 else None)
            log.begin(number, observation)
            drift = rng.uniform(-1.0, 1.0, acts.action_space.shape)
            while True:
                action = (reaches * (drift + rng.normal(0.0, 0.4, drift.shape))).astype(np.float32)
                stepped = helped.step(action)
                log.step(stepped, 0)
                if stepped[2] or stepped[3]:
                    break
            log.end()
    finally:
        log.close()
        if env is None:
            acts.close()
    return sorted((folder / "episodes").glob("*.mcap"))


class ClockedTwin:
    """A twin in lock-step that says that time passes by itself, as a robot does that a person must agree to move."""

    real_time, where = True, "the arm on the bench"

    def __init__(self, env: RobotEnv) -> None:
        self._twin = env.robot
        self.period_s = env.period_s
        self.moves = 0

    def connect(self) -> None:
        self._twin.connect()

    def reset(self, request: object) -> RobotState:
        self.moves += 1
        return self._twin.reset(request)  # pyright: ignore[reportArgumentType]

    def command(self, command: object) -> object:
        self.moves += 1
        return self._twin.command(command)  # pyright: ignore[reportArgumentType]

    def observe(self) -> RobotState:
        return self._twin.observe()

    def timing(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self._twin.close()


INTERRUPT_AT = 0  # the period in which Ctrl-C is pressed; 0 for never
CLOSED: list[int] = []  # how often each robot had been commanded when it was closed


def make_clocked(task: Task, cameras: Sequence[str] = (), image_size: int = 128, control_hz: float = 0.0) -> object:
    """Return a robot in real time, for a YAML to name."""
    from robot_rl_sim.twin import make_twin

    return _Interrupted(RobotEnv(make_twin(task, control_hz=control_hz), task))


class _Interrupted(ClockedTwin):
    def command(self, command: object) -> object:
        executed = super().command(command)
        if self.moves - 1 == INTERRUPT_AT:
            signal.raise_signal(signal.SIGINT)
        return executed

    def close(self) -> None:
        CLOSED.append(self.moves - 1)
        super().close()
