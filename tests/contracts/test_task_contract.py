from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.build import make_env
from robot_rl.config import compose, options
from robot_rl.demos import record_episode
from robot_rl.env import RobotEnv
from robot_rl.geometry import quat_to_matrix
from robot_rl.task import Task
from robot_rl_tasks.experts import Sloppiness

TASKS = [task for task in options()["task"] if task != "lap"]  # of arms; a car's: tests/car
EPISODES = 40


@pytest.fixture(scope="module", params=TASKS)
def env(request: pytest.FixtureRequest) -> RobotEnv:
    return make_env(compose([f"task={request.param}"]).settings())


def check_start(task: Task, seed: int) -> None:
    request = task.sample_reset(np.random.default_rng(seed))
    low, high = np.array(task.limits.box_min_m), np.array(task.limits.box_max_m)
    assert (request.p_BE >= low).all()
    assert (request.p_BE <= high).all()
    axis = quat_to_matrix(request.quat_BE)[:, 2]
    assert np.arccos(np.clip(axis @ np.array(task.limits.cone_axis), -1.0, 1.0)) < task.limits.cone_rad
    free = {name for name, thing in task.scene.items() if thing.motion != "held"}
    assert set(request.objects) <= free
    for pose in request.objects.values():
        assert np.linalg.norm(pose[3:]) == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_every_start_lies_within_the_limits(env: RobotEnv, seed: int) -> None:
    check_start(env.task, seed)


def test_a_start_is_where_it_was_asked_for_and_no_success(env: RobotEnv) -> None:
    for seed in range(10):
        request = env.task.sample_reset(np.random.default_rng(seed))
        state = env.robot.reset(request)
        assert np.abs(state.p_BE - request.p_BE).max() < 1e-3
        assert abs(abs(state.quat_BE @ request.quat_BE) - 1.0) < 1e-4
        outcome = env.task.outcome(state)
        assert not outcome.terminated
        assert not outcome.success
        assert outcome.reward == 0.0


def test_a_state_vector_is_fresh_finite_and_of_its_specification(env: RobotEnv) -> None:
    task = env.task
    state = env.robot.reset(task.sample_reset(np.random.default_rng(0)))
    first = task.state_vector(state)
    kept = first.copy()
    second = task.state_vector(env.robot.reset(task.sample_reset(np.random.default_rng(1))))
    assert first.shape == (task.observation_spec.size,)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.array_equal(first, kept), "an earlier observation was changed by a later one"
    assert not np.array_equal(first, second)


def test_what_is_left_to_cameras_needs_no_poses_of_objects(env: RobotEnv) -> None:
    name, whole = env.task.name, env.task
    if name == "reach":
        pytest.skip("this task always says where its objects are")
    task = compose([f"task={name}", "+task.object_state=false"]).settings().task.make()
    state = env.robot.reset(task.sample_reset(np.random.default_rng(0)))
    own, shown = task.state_vector(dataclasses.replace(state, objects={})), whole.state_vector(state)
    fields, places = task.observation_spec.state, {}
    for field, spec in whole.observation_spec.state.items():
        places[field] = range(sum(map(len, places.values())), sum(map(len, places.values())) + spec.size)
    assert set(fields) < set(places)
    np.testing.assert_array_equal(own, np.concatenate([shown[places[field]] for field in fields]))
    assert task.outcome(state) == whole.outcome(state)


def test_typical_magnitudes_are_typical(env: RobotEnv) -> None:
    task = env.task
    rows = [task.state_vector(env.robot.reset(task.sample_reset(np.random.default_rng(seed)))) for seed in range(50)]
    shown = (np.stack(rows) - task.observation_spec.offset) / task.observation_spec.scale
    assert np.abs(shown).max() < 20.0


def success_share(env: RobotEnv, sloppiness: Sloppiness, episodes: int) -> float:
    expert = env.task.expert(sloppiness)
    return sum(bool(record_episode(env, expert, i, 10_000 + i).info["success"]) for i in range(episodes)) / episodes


def test_the_expert_solves_the_task_from_random_starts(env: RobotEnv) -> None:
    steady = Sloppiness(noise=0.1)  # a hand trembles a little, and a peg does not find its hole without that
    assert success_share(env, steady, EPISODES) >= 0.95


def test_sloppy_demonstrations_are_slow_but_mostly_succeed(env: RobotEnv) -> None:
    task = next(name for name in TASKS if env.task.name == name)
    sloppy = compose([f"task={task}"]).settings().expert.make()
    assert sloppy.speed < 1.0
    assert success_share(env, sloppy, 20) >= 0.7


def test_a_success_terminates_with_its_reward(env: RobotEnv) -> None:
    block = record_episode(env, env.task.expert(Sloppiness(noise=0.1)), 0, 10_000)
    assert block.info["success"]
    assert block.terminated
    assert block.rewards[-1] == 1.0
    assert (block.rewards[:-1] == 0.0).all()
