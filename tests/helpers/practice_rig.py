"""What the tests of automatic resets share: twins, ladders, and tasks that are tried without a learner."""

from __future__ import annotations

import robot_rl_sim  # noqa: F401  (chooses OpenGL before MuJoCo is imported)

# isort: split
from pathlib import Path

import numpy as np

from robot_rl.practice.ask import Asker, Channel, Scripted
from robot_rl.practice.graph import AskConfig, MotionConfig, PracticeConfig
from robot_rl.practice.ladder import Ladder, TwinHand
from robot_rl.practice.primitives import Primitives
from robot_rl.practice.record import ResetLog
from robot_rl.robot import ResetRequest
from robot_rl_sim.twin import ArmTwin
from robot_rl_tasks.arm import yaw_quat
from robot_rl_tasks.bin_relocate import BinRelocate

START = np.array([0.5, 0.09, 0.12])
PERIOD_S = 0.1


def bins(cube: tuple[float, float, float] = (0.5, 0.09, 0.029), yaw_rad: float = 0.0) -> ArmTwin:
    """Return a twin with a cube at a place of the bins, the arm above the left one."""
    twin = ArmTwin(BinRelocate())
    pose = np.array([*cube, np.cos(0.5 * yaw_rad), 0.0, 0.0, np.sin(0.5 * yaw_rad)])
    twin.reset(ResetRequest(p_BE=START, quat_BE=yaw_quat(0.0), objects={"cube": pose}))
    return twin


def primitives(twin: ArmTwin, **config: float) -> Primitives:
    return Primitives(twin, twin.task, PERIOD_S, MotionConfig(**config))


def ladder(twin: ArmTwin, folder: Path, config: PracticeConfig | None = None, channel: Channel | None = None) -> Ladder:
    asker = Asker([Scripted() if channel is None else channel], AskConfig())
    return Ladder(
        config or PracticeConfig(), primitives(twin), asker, TwinHand(twin), ResetLog(folder), "run",
        np.random.default_rng(0),
    )  # fmt: skip
