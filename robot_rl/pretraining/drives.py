"""Logs of slow driving in a twin, by a scripted driver whose hand is not steady."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.car import CarState
from robot_rl.car_env import CarEnv
from robot_rl.pretraining.logs import averaged, save_log


class Driver(Protocol):
    """Who drives: gives actions as `CarEnv` takes them."""

    def reset(self, rng: np.random.Generator) -> None:
        """Begin, or go on from where the car stands."""
        ...

    def action(self, state: CarState) -> NDArray[np.float32]:
        """Return the (2,) place in the window of settings."""
        ...


NOISE = 0.25
"""Standard deviation of what is added to the driver's setting of steering; it wanders over half a second."""
_WANDER = 0.8  # of the noise that stays from one step to the next
_ASTRAY = (0.02, 12, 0.9)  # how likely in a step, how long [steps] and how much it steers somewhere else


def drive_log(
    path: Path, env: CarEnv, expert: Driver, steps: int, seed: int, camera: str = "front",
    stopping: Callable[[], bool] = lambda: False, told: Callable[[int], None] = lambda done: None,
) -> bool:  # fmt: skip
    """Drive, and keep what was seen as a log.

    The driver's steering is disturbed, and now and then it steers somewhere else for a second, so that the log holds
    how one gets back to the middle and what leads into a wall. After trouble the car gets back by itself, unrecorded.

    Args:
        path: Of the log.
        env: The car, its observations holding pictures.
        expert: Who drives.
        steps: How many.
        seed: Of start and disturbances.
        camera: Whose pictures are kept.
        stopping: Asked whether to give up.
        told: Told the number of steps now and then.

    Returns:
        False when it was given up; then nothing is written.
    """
    rng = np.random.default_rng([seed, 2])
    pictures, stamps, pose_stamps, poses, trouble = [], [], [], [], []
    env.reset(seed=seed)
    expert.reset(np.random.default_rng([seed, 1]))
    wander, astray, towards, met = 0.0, 0, 0.0, False

    def keep() -> None:
        state = env.robot_state
        pictures.append(averaged(state.images[camera][None])[0].copy())
        stamps.append(state.stamp_s)
        pose_stamps.append(state.pose_stamp_s)
        poses.append((*state.p_WC, state.yaw_rad))
        trouble.append(met)

    keep()
    chance, longest, most = _ASTRAY
    scale, offset = env.task.mapping()
    for i in range(steps):
        if i % 50 == 0:
            told(i)
            if stopping():
                return False
        wander = _WANDER * wander + NOISE * float(np.sqrt(1.0 - _WANDER**2)) * float(rng.standard_normal())
        if astray == 0 and rng.random() < chance:
            astray, towards = int(rng.integers(3, longest)), float(rng.uniform(-most, most))
        setting = env.limited(expert.action(env.robot_state))
        setting[0] = towards if astray else np.clip(setting[0] + wander, -1.0, 1.0)
        astray = max(astray - 1, 0)
        steering, speed = (offset + scale * setting).tolist()
        *_, terminated, truncated, _ = env.step(env.action_of(steering, speed))
        met = terminated
        keep()
        met = False
        if terminated or truncated:
            before_s = env.robot_state.stamp_s
            env.reset()
            if env.robot_state.stamp_s < before_s:  # carried to the line: the clock of a twin begins anew
                stamps[:] = [s - before_s - 10.0 for s in stamps]
                pose_stamps[:] = [s - before_s - 10.0 for s in pose_stamps]
            if env.robot_state.stamp_s != before_s:
                expert.reset(rng)
                keep()
    told(steps)
    x, y, yaw = np.array(poses).T
    # A pose is older than the picture beside it: read off where the car was when the picture was taken. Across a gap,
    # where the car got back unrecorded, a step is not learnt from anyway.
    at = [np.interp(stamps, pose_stamps, values) for values in (x, y, np.unwrap(yaw))]
    save_log(
        path, pictures=np.stack(pictures), stamp_s=np.array(stamps), p_W=np.stack(at[:2], axis=1), yaw_rad=at[2],
        trouble=np.array(trouble),
    )  # fmt: skip
    return True
