from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.env import RobotEnv
from robot_rl.errors import SpecError
from robot_rl.registration import ENVIRONMENTS

NAMES = sorted(ENVIRONMENTS)


@pytest.fixture(scope="module", params=NAMES)
def env(request: pytest.FixtureRequest) -> RobotEnv:
    env = gymnasium.make(request.param).unwrapped
    assert isinstance(env, RobotEnv)
    return env


def rollout(env: RobotEnv, seed: int, steps: int = 25) -> str:
    """Return a hash of everything that a random episode gives."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    digest = hashlib.sha256(observation.tobytes())
    for _ in range(steps):
        action = rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        digest.update(observation.tobytes() + info["executed_action"].tobytes() + np.float64(reward).tobytes())
        digest.update(env.robot_state.q.tobytes() + env.robot_state.F_BE.tobytes())
        if terminated or truncated:
            break
    return digest.hexdigest()


def test_gymnasium_accepts_it(env: RobotEnv) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # physical units have no bounds
        check_env(env, skip_render_check=True)


def test_a_seed_repeats_bit_for_bit(env: RobotEnv) -> None:
    first = rollout(env, 7)
    rollout(env, 8)
    assert rollout(env, 7) == first
    assert rollout(env, 9) != first


ELSEWHERE = """
import importlib.util, sys, gymnasium, robot_rl
spec = importlib.util.spec_from_file_location("contract", sys.argv[1])
contract = importlib.util.module_from_spec(spec)
spec.loader.exec_module(contract)
print(*[contract.rollout(gymnasium.make(name).unwrapped, 7) for name in contract.NAMES])
"""


def test_a_seed_repeats_bit_for_bit_in_another_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, __file__], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == [rollout(gymnasium.make(name).unwrapped, 7) for name in NAMES]


def test_a_time_limit_truncates_and_does_not_terminate(env: RobotEnv) -> None:
    env.reset(seed=0)
    still = np.zeros(env.task.action_spec.size, np.float32)
    info: dict[str, object] = {}
    for step in range(1, env.task.max_steps + 1):
        _, reward, terminated, truncated, info = env.step(still)
        assert not terminated
        assert reward == 0.0
        assert truncated == (step == env.task.max_steps)
    assert info["reason"] == "time limit"
    assert not info["success"]


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_what_was_executed_is_always_an_action(env: RobotEnv, data: st.DataObject) -> None:
    env.reset(seed=data.draw(st.integers(0, 10**6)))
    entries = st.floats(-3.0, 3.0, width=32)
    for _ in range(6):
        action = np.array([data.draw(entries) for _ in range(env.task.action_spec.size)], np.float32)
        observation, _, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        assert env.action_space.contains(info["executed_action"])
        if not info["guard_events"]:
            assert np.array_equal(info["executed_action"], np.clip(action, -1.0, 1.0))
        if terminated or truncated:
            return


def test_misuse_is_a_sentence(env: RobotEnv) -> None:
    fresh = RobotEnv(env.robot, env.task)
    with pytest.raises(SpecError, match="before its first reset"):
        fresh.step(np.zeros(env.task.action_spec.size, np.float32))
    env.reset(seed=0)
    with pytest.raises(SpecError, match="an action has shape"):
        env.step(np.zeros(3, np.float32))
