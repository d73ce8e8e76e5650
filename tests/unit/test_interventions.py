"""A person's steps reach both replays with their true neighbours, discarded episodes leave them, and all is counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.actor import Actor, ActorConfig, Episode
from robot_rl.assisted import AssistedEnv
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.link_local import LocalLearner, local_link
from robot_rl.messages import LearnerStatus, Policy, StepBlock
from robot_rl.operator import NOBODY, OperatorInput
from robot_rl.replay import Mixed, Replay
from robot_rl.robot import RobotState
from robot_rl.specs import ActionSpec, ContinuousGroup, ImageField, ObservationSpec, StateField

OBSERVATION = ObservationSpec(
    state={"place": StateField(size=2, unit="1")}, images={"eye": ImageField(height=2, width=3)}
)
ACTION = ActionSpec(continuous={"x": ContinuousGroup(size=1, unit="m", scale=1.0)})
GAMMA = 0.9


def observation(episode: int, step: int) -> dict[str, Any]:
    """Return an observation that says of itself which one it is, in its state and in its picture."""
    picture = np.full((2, 3, 3), step, np.uint8)
    picture[0] = episode
    return {"state": np.array([episode, step], np.float32), "eye": picture}


def blocks(number: int, human: list[bool], block_steps: int, verdict: str = "") -> list[StepBlock]:
    """Return an episode as an actor sends it: one step for each entry of `human`."""
    episode = Episode(number, block_steps)
    out: list[StepBlock] = []
    for step, helped in enumerate(human):
        action = np.array([0.01 * step], np.float32)
        episode.add(observation(number, step), action, 0.0, "human" if helped else "policy", 1)
        if step + 1 < len(human) and (full := episode.full_block()) is not None:
            out.append(full)
    info = {"success": False, "reason": "time limit", "verdict": verdict}
    return [*out, episode.finish(observation(number, len(human)), False, info)]


def mixed(n_step: int = 1, weight: float = 1.0) -> Mixed:
    make = lambda: Replay(500, OBSERVATION, ACTION, GAMMA, n_step, human_weight=weight)  # noqa: E731
    return Mixed(make(), make(), 0.5)


@settings(deadline=None, max_examples=60)
@given(
    episodes=st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=5),
    block_steps=st.integers(1, 5),
    apart=st.booleans(),
)
def test_what_follows_a_persons_step_is_what_it_led_to(
    episodes: list[list[bool]], block_steps: int, apart: bool
) -> None:
    replay = mixed()
    streams = [(f"a{i if apart else 0}", blocks(i, human, block_steps)) for i, human in enumerate(episodes)]
    if apart:  # several actors at once: their blocks interleave
        for turn in range(max(len(made) for _, made in streams)):
            for stream, made in streams:
                if turn < len(made):
                    replay.add(stream, made[turn])
    else:
        for stream, made in streams:
            for block in made:
                replay.add(stream, block)
    helped = {(i, step) for i, human in enumerate(episodes) for step, h in enumerate(human) if h}
    everything = {(i, step) for i, human in enumerate(episodes) for step in range(len(human))}
    for side, expected in ((replay.demos, helped), (replay.online, everything)):
        assert len(side) == len(expected)
        if not expected:
            continue
        batch = side.sample(np.random.default_rng(0), 200)
        found = {(int(e), int(s)) for e, s in batch["state"]}
        assert found <= expected
        np.testing.assert_array_equal(batch["next_state"], batch["state"] + [0.0, 1.0])
        for prefix, state in (("image/eye", batch["state"]), ("next_image/eye", batch["next_state"])):
            np.testing.assert_array_equal(batch[prefix][:, 0, 0, 0], state[:, 0])
            np.testing.assert_array_equal(batch[prefix][:, 1, 0, 0], state[:, 1])
        np.testing.assert_allclose(batch["action"][:, 0], 0.01 * batch["state"][:, 1], atol=1e-6)
        assert ((batch["demo"] > 0.0) == [(int(e), int(s)) in helped for e, s in batch["state"]]).all()


@settings(deadline=None, max_examples=40)
@given(human=st.lists(st.booleans(), min_size=1, max_size=12), block_steps=st.integers(1, 5), n_step=st.integers(1, 3))
def test_a_discarded_episode_leaves_both_replays_and_nothing_else_does(
    human: list[bool], block_steps: int, n_step: int
) -> None:
    replay, alone = mixed(n_step), mixed(n_step)
    for number, verdict in ((0, ""), (1, "discard"), (2, "")):
        for block in blocks(number, human, block_steps, verdict):
            replay.add("a", block)
            if number != 1:
                alone.add("a", block)
    for side, other in ((replay.online, alone.online), (replay.demos, alone.demos)):
        assert len(side) == len(other)
        if len(side):
            batch = side.sample(np.random.default_rng(0), 200)
            assert set(batch["state"][:, 0]) <= {0.0, 2.0}
            assert set(batch["next_state"][:, 0]) <= {0.0, 2.0}


def test_a_discarded_episode_that_the_ring_has_overwritten_takes_nobody_elses_steps() -> None:
    replay = Replay(8, OBSERVATION, ACTION, GAMMA)
    first, last = blocks(0, [False] * 6, 3, "discard")
    replay.add("a", first)
    for block in blocks(1, [False] * 7, 7):  # evicts the first block of the other
        replay.add("b", block)
    replay.add("a", last)
    batch = replay.sample(np.random.default_rng(0), 100)
    assert set(batch["state"][:, 0]) == {1.0}


def test_a_persons_steps_weigh_what_they_shall_in_the_clone_loss() -> None:
    replay = mixed(weight=2.5)
    for block in blocks(0, [False, True, True, False], 4):
        replay.add("a", block)
    weights = replay.online.sample(np.random.default_rng(0), 200)["demo"]
    assert set(weights.tolist()) == {0.0, 2.5}
    assert set(replay.demos.sample(np.random.default_rng(0), 50)["demo"].tolist()) == {2.5}


def test_interventions_are_counted_by_segments() -> None:
    block = blocks(0, [False, False, True, True, False, True], 50)[-1]
    facts = block.info
    assert facts["intervened"] is True
    assert (facts["human_steps"], facts["interventions"], facts["first_intervention"]) == (3, 2, 2)
    assert "human_steps" not in blocks(0, [False, False], 50)[-1].info


class Takes:
    """A person who takes over in set steps, and discards episodes of set numbers."""

    def __init__(self, steps: set[int], action: np.ndarray, discards: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.steps, self.action, self.discards = steps, action, discards
        self.step = self.episode = -1

    def connect(self) -> None: ...

    def begin(self, seed: int) -> None:
        self.episode, self.step = self.episode + 1, -1

    def read(self, state: RobotState) -> OperatorInput:
        self.step += 1
        if self.episode in self.discards and self.step == 4:
            return OperatorInput(buttons=("discard",))
        return OperatorInput(action=self.action) if self.step in self.steps else NOBODY

    def close(self) -> None: ...


@pytest.fixture
def env() -> Iterator[RobotEnv]:
    made = make_env(compose(["task=reach", "task.max_steps=6"]).settings())
    yield made
    made.close()


def practise(env: RobotEnv, operator: Takes, episodes: int) -> tuple[LocalLearner, list[StepBlock]]:
    """Let a policy that does nothing practise with a person beside it, and return what arrives at the learner."""
    from robot_rl.agents.config import AgentConfig
    from robot_rl.agents.rlpd import Agent

    actor_end, learner_end = local_link(session="s")
    agent = Agent(env.observation_spec, env.task.action_spec, AgentConfig(hidden=(8,), critics=2))
    learner_end.publish(Policy(version=3, weights=agent.policy(agent.init(0))))
    learner_end.set_status(LearnerStatus(env_steps=0, updates=0, steps_allowed=10_000))
    actor = Actor(AssistedEnv(env, operator), actor_end, ActorConfig(block_steps=3), seed=1)
    while actor.completed < episodes:
        assert actor.tick()
    return learner_end, [block for _, _, block in learner_end.poll(0.0)]


def test_the_executed_action_of_a_person_is_what_is_sent(env: RobotEnv) -> None:
    action = np.zeros(env.task.action_spec.size, np.float32)
    action[2] = -0.5
    _, sent = practise(env, Takes({1, 2}, action), 1)
    sources = np.concatenate([block.sources for block in sent])
    actions = np.concatenate([block.actions for block in sent])
    assert sources.tolist() == [0, 1, 1, 0, 0, 0]
    np.testing.assert_array_equal(actions[1:3], [action, action])
    assert np.abs(actions[[0, 3, 4, 5]] - action).max(axis=1).min() > 0.0
    assert (sent[-1].info["human_steps"], sent[-1].info["interventions"]) == (2, 1)


def test_a_discarded_episode_says_so_to_the_learner(env: RobotEnv) -> None:
    _, sent = practise(env, Takes(set(), np.zeros(6, np.float32), discards={0}), 2)
    ends = [block for block in sent if block.ended]
    assert [block.info.get("verdict", "") for block in ends] == ["discard", ""]
    assert ends[0].info["reason"] == "discarded by the operator"
    assert not ends[0].terminated
