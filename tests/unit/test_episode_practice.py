"""What an actor records of its practice is what the learner is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_rl.actor import Actor, ActorConfig
from robot_rl.agents.config import AgentConfig
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.episodes.practice import PracticeLog, practice_log
from robot_rl.episodes.reader import Episode
from robot_rl.learner import Learner, LearnerConfig
from robot_rl.link_local import local_link
from robot_rl.messages import LearnerStatus, StepBlock


@pytest.fixture(scope="module")
def env() -> Iterator[RobotEnv]:
    made = make_env(compose(["task=reach", "task.max_steps=12"]).settings())
    yield made
    made.close()


@pytest.fixture(scope="module")
def practised(env: RobotEnv, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Episode], list[StepBlock]]:
    """Two whole episodes and one that was given up: as they were recorded, and as they were sent."""
    run = tmp_path_factory.mktemp("run")
    learner = Learner(env.observation_spec, env.task.action_spec, LearnerConfig(), AgentConfig(hidden=(8,)), 0)
    actor_end, learner_end = local_link()
    learner_end.publish(learner.policy())
    learner_end.set_status(LearnerStatus(env_steps=0, updates=0, steps_allowed=10**6))
    log = PracticeLog(run, env, config="task: reach", robot="twin")
    actor = Actor(env, actor_end, ActorConfig(block_steps=5), seed=1, sink=log)
    while actor.completed < 2:
        actor.tick()
    for _ in range(4):
        actor.tick()
    actor.abandon("the arm is gone")
    log.close()
    files = sorted((run / "episodes").glob("*.mcap"))
    return [Episode(path) for path in files], [block for _, _, block in learner_end.poll(0.0)]


def test_each_episode_is_a_file_of_the_steps_that_were_sent(
    practised: tuple[list[Episode], list[StepBlock]],
) -> None:
    episodes, blocks = practised
    assert len(episodes) == 3
    for number, episode in enumerate(episodes):
        sent = [block for block in blocks if block.episode == number]
        np.testing.assert_array_equal(episode.steps.executed, np.concatenate([block.actions for block in sent]))
        np.testing.assert_array_equal(episode.steps.state, np.concatenate([block.states for block in sent]))
        np.testing.assert_array_equal(episode.steps.reward, np.concatenate([block.rewards for block in sent]))
        assert episode.start.episode == number
        assert episode.start.task == "reach"
        assert not episode.cut


def test_an_episode_that_was_given_up_says_why(practised: tuple[list[Episode], list[StepBlock]]) -> None:
    end = practised[0][-1].end
    assert end is not None
    assert end.reason == "the arm is gone"
    assert end.steps == 4


def test_only_what_was_asked_for_is_recorded(env: RobotEnv, tmp_path: Path) -> None:
    assert practice_log(tmp_path, env, "auto") is None
    assert practice_log(tmp_path, env, "never") is None
    kept = practice_log(tmp_path, env, "always")
    assert kept is not None
    kept.close()
