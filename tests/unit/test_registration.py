from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError
from robot_rl.registration import ENVIRONMENTS, register_envs


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_after_gymnasium_registers_every_task() -> None:
    names = run("import gymnasium, robot_rl; print(*[n for n in gymnasium.registry if n.startswith('robot_rl/')])")
    assert set(names.split()) == set(ENVIRONMENTS)


def test_a_name_with_its_module_works_in_any_order() -> None:
    code = "import robot_rl, gymnasium; e = gymnasium.make('robot_rl.registration:robot_rl/Reach-v0'); print(e.spec.id)"
    assert run(code) == "robot_rl/Reach-v0"


def test_registering_twice_changes_nothing() -> None:
    register_envs()
    before = dict(gymnasium.registry)
    register_envs()
    assert dict(gymnasium.registry) == before


def test_keyword_arguments_are_settings() -> None:
    made = gymnasium.make("robot_rl/Reach-v0", max_steps=7, robot={"control_hz": 20.0})
    env = made.unwrapped
    assert isinstance(env, RobotEnv)
    assert env.task.max_steps == 7
    assert env.robot.period_s == pytest.approx(0.05)
    made.reset(seed=0)
    steps, over = 0, False
    while not over:
        _, _, terminated, truncated, _ = made.step(np.zeros(6, np.float32))
        steps, over = steps + 1, terminated or truncated
    assert steps == 7


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'task\.max_steps'"):
        gymnasium.make("robot_rl/PickCube-v0", max_step=3)
