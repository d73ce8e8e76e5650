"""Practice with a robot for which time passes by itself: its timing is kept, and its refusals wait for a person."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from robot_rl import train
from robot_rl.actor import Actor, ActorConfig
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.demos import record
from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError, RateError, RobotError
from robot_rl.evaluate import evaluate
from robot_rl.link_local import local_link
from robot_rl.live import RunReader, warnings
from robot_rl.messages import LearnerStatus, Policy
from robot_rl.metrics import Latencies, MetricsWriter
from robot_rl.patience import RobotNote, begin_episode
from robot_rl.policy import NumpyPolicy
from robot_rl.replay import check_block
from robot_rl.robot import ArmCommand, Executed, ResetRequest, RobotState
from robot_rl.train_actor import act


class Paced:
    """The twin in lock-step, which claims to be one in real time and refuses now and then."""

    def __init__(self, env: RobotEnv, period_ms: float = 100.0) -> None:
        self.inner, self.period_s, self.period_ms = env.robot, env.period_s, period_ms
        self.refusals, self.fails_at, self.connects = 0, -1, 0
        self._commands = 0

    def timing(self) -> Mapping[str, float]:
        return {"period_ms": self.period_ms, "image_age_ms/front": 20.0}

    def connect(self) -> None:
        self.connects += 1
        self.inner.connect()

    def reset(self, request: ResetRequest) -> RobotState:
        if self.refusals:
            self.refusals -= 1
            raise RobotError("the arm is stopped; look at the cell, then: robot-rl acknowledge")
        return self.inner.reset(request)

    def command(self, command: ArmCommand) -> Executed:
        self._commands += 1
        if self._commands == self.fails_at:
            raise RobotError("the arm's node does not answer")
        return self.inner.command(command)

    def observe(self) -> RobotState:
        return self.inner.observe()

    def close(self) -> None:
        self.inner.close()


@pytest.fixture(scope="module")
def lock_step() -> Iterator[RobotEnv]:
    env = make_env(compose(["task=reach", "task.max_steps=30"]).settings())
    yield env
    env.close()


@pytest.fixture
def env(lock_step: RobotEnv) -> RobotEnv:
    return RobotEnv(Paced(lock_step), lock_step.task)


def random_policy(env: RobotEnv) -> Policy:
    from robot_rl.agents.config import AgentConfig
    from robot_rl.learner import Learner, LearnerConfig

    return Learner(env.observation_spec, env.task.action_spec, LearnerConfig(), AgentConfig(hidden=(8,)), 0).policy()


@pytest.fixture(scope="module")
def policy(lock_step: RobotEnv) -> Policy:
    return random_policy(lock_step)


def test_only_a_robot_in_real_time_has_its_timing_told(lock_step: RobotEnv, env: RobotEnv) -> None:
    for each in (lock_step, env):
        each.reset(seed=0)
    assert "timing" not in lock_step.step(np.zeros(lock_step.task.action_spec.size))[4]
    assert env.step(np.zeros(env.task.action_spec.size))[4]["timing"]["period_ms"] == 100.0


def practice(env: RobotEnv, policy: Policy, steps: int, **config: object) -> tuple[list, list[str]]:
    """Act until `steps` were done; return the blocks, and what the robot waited for."""
    actor_end, learner_end = local_link()
    learner_end.publish(policy)
    learner_end.set_status(LearnerStatus(env_steps=0, updates=0, steps_allowed=10**6, finished=False))
    actor = Actor(env, actor_end, ActorConfig(block_steps=10, **config), seed=0)
    blocks, waited = [], []

    def stopping() -> bool:
        blocks.extend(block for _, _, block in learner_end.poll(0.0))
        return actor.steps >= steps

    try:
        act(actor, stopping, waits=waited.append)
    finally:
        blocks.extend(block for _, _, block in learner_end.poll(0.0))
    return blocks, waited


@pytest.mark.parametrize("fails_at", [7, 11])  # in a block, and just after one was sent
def test_a_robot_that_fails_ends_its_episode_truncated_and_practice_goes_on(
    env: RobotEnv, policy: Policy, fails_at: int
) -> None:
    env.robot.fails_at = fails_at
    blocks, waited = practice(env, policy, 40)
    for block in blocks:
        check_block(block, env.observation_spec, env.task.action_spec)
    ended = next(block for block in blocks if block.ended)
    assert not ended.terminated
    assert ended.info["reason"] == "the arm's node does not answer"
    assert ended.info["steps"] == fails_at - 1 == sum(b.steps for b in blocks if b.episode == ended.episode)
    assert ended.info["timing/period_ms_p99"] == pytest.approx(100.0, rel=0.02)
    assert max(b.episode for b in blocks) > ended.episode
    assert "the arm's node does not answer" in waited


def test_a_stop_pauses_practice_however_often_it_is_asked(env: RobotEnv, policy: Policy) -> None:
    env.robot.refusals = 4
    blocks, waited = practice(env, policy, 5)
    assert waited[:4] == ["the arm is stopped; look at the cell, then: robot-rl acknowledge"] * 4
    assert waited[4:] == [""] * 5
    assert sum(b.steps for b in blocks) == 5


def test_a_loop_that_misses_its_rate_ends_practice(env: RobotEnv, policy: Policy) -> None:
    env.robot.period_ms = 140.0
    with pytest.raises(RateError, match=r"is 140 ms, nominal is 100 ms, allowed 120 ms"):
        practice(env, policy, 1000)
    blocks, _ = practice(env, policy, 100, rate_tolerance=1.5)
    assert sum(b.steps for b in blocks) >= 100


def test_beginning_waits_in_real_time_and_fails_in_lock_step(lock_step: RobotEnv, env: RobotEnv) -> None:
    env.robot.refusals = 2
    assert np.shape(begin_episode(env, 3)) == (env.observation_spec.size,)
    env.robot.refusals = 10**6
    with pytest.raises(KeyboardInterrupt):
        begin_episode(env, 3, stopping=lambda: env.robot.refusals < 10**6 - 1)
    twin = RobotEnv(Paced(lock_step), lock_step.task)
    twin.real_time, twin.robot.refusals = False, 1
    with pytest.raises(RobotError, match="acknowledge"):
        begin_episode(twin, 3)


def test_closing_lets_the_robot_be_taken_again(env: RobotEnv) -> None:
    env.reset(seed=0)
    env.close()
    env.reset(seed=0)
    assert env.robot.connects == 2


def test_demonstrations_and_evaluations_keep_timing_and_refuse_a_wrong_rate(
    env: RobotEnv, policy: Policy, tmp_path: Path
) -> None:
    from robot_rl.timing import RateCheck

    expert = env.task.expert(compose(["task=reach"]).settings().expert.make())
    demos = record(env, expert, 2, 0, check=RateCheck(env.period_s, 1.2))
    assert demos.rows[0]["timing/image_age_ms/front_p50"] == pytest.approx(20.0, rel=0.02)
    with MetricsWriter(tmp_path, sinks=()) as writer:
        writer.episode(1, demos.rows[0])
    row = json.loads((tmp_path / "episodes.jsonl").read_text())
    assert row["timing"]["period_ms_p99"] == pytest.approx(100.0, rel=0.02)
    env.robot.period_ms = 200.0
    with pytest.raises(RateError, match="misses its rate"):
        record(env, expert, 20, 0, check=RateCheck(env.period_s, 1.2))
    acting = NumpyPolicy(env.observation_spec, env.task.action_spec, policy.weights)
    acting.load(policy)
    latencies = Latencies(prefix="ros/")
    rows = evaluate(env, acting, 2, latencies=latencies)
    assert all(row["timing"]["period_ms_p50"] == pytest.approx(200.0, rel=0.02) for row in rows)
    saved = json.loads(latencies.save(tmp_path, "eval-ros").read_text())
    assert len(saved["latency/ros/period_ms"]) == sum(row["steps"] for row in rows)


def test_one_robot_is_one_actor_beside_its_learner() -> None:
    settings = compose(["task=reach"]).settings()
    train.refuse_for_one_robot(settings)
    with pytest.raises(ConfigError, match="actors is 2; a robot in real time is one"):
        train.refuse_for_one_robot(dataclasses.replace(settings, actors=2))
    with pytest.raises(ConfigError, match="mode is single"):
        train.refuse_for_one_robot(dataclasses.replace(settings, mode="single"))


def test_what_the_robot_waits_for_is_shown_to_people(tmp_path: Path) -> None:
    note = RobotNote(tmp_path)
    note("")
    assert list(tmp_path.iterdir()) == []
    note("look at the cell")
    reader = RunReader(tmp_path)
    assert "practice waits for the robot: look at the cell" in warnings(reader.snapshot())
    note("")
    assert not any("waits" in w for w in warnings(reader.snapshot()))
