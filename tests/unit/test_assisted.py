"""A person and a policy meet in one place: who acted, what was said, and what becomes of the episode."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from robot_rl.assisted import AssistedEnv, StepSeen
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.errors import RobotError
from robot_rl.operator import NOBODY, Button, OperatorInput
from robot_rl.patience import begin_episode
from robot_rl.robot import RobotState

UP = np.array([0.0, 0.0, -0.5, 0.0, 0.0, 0.0], np.float32)  # the tool points down
STILL = np.zeros(6, np.float32)


class Script:
    """An operator that does what a list says, one entry for each period."""

    def __init__(self, *inputs: OperatorInput) -> None:
        self.inputs, self.begun, self.closed = list(inputs), list[int](), 0

    def connect(self) -> None: ...

    def begin(self, seed: int) -> None:
        self.begun.append(seed)

    def read(self, state: RobotState) -> OperatorInput:
        return self.inputs.pop(0) if self.inputs else NOBODY

    def close(self) -> None:
        self.closed += 1


class Eye:
    """A watcher that keeps what it sees, with buttons that can be pressed."""

    def __init__(self) -> None:
        self.facts, self.seen, self.pressed, self.closed = list[Any](), list[StepSeen](), list[Button](), 0

    def reset(self, observation: Any, facts: Mapping[str, Any]) -> None:
        self.facts.append(facts)

    def step(self, seen: StepSeen) -> None:
        self.seen.append(seen)

    def buttons(self) -> tuple[Button, ...]:
        pressed, self.pressed = tuple(self.pressed), []
        return pressed

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(scope="module")
def env() -> Iterator[RobotEnv]:
    made = make_env(compose(["task=reach"]).settings())
    yield made
    made.close()


def press(*buttons: Button, action: np.ndarray | None = None) -> OperatorInput:
    return OperatorInput(action=action, buttons=buttons)


def test_the_persons_action_is_played_in_the_place_of_the_policys(env: RobotEnv) -> None:
    assisted = AssistedEnv(env, Script(NOBODY, OperatorInput(action=UP, note="")))
    assisted.reset(seed=3)
    sources, played = [], []
    for _ in range(3):
        *_, info = assisted.step(STILL)
        sources.append(info["source"])
        played.append(info["executed_action"])
        assert info["verdict"] == ""
        assert info["operator_note"] == ""
    assert sources == ["policy", "human", "policy"]
    np.testing.assert_array_equal(played, [STILL, UP, STILL])


def test_without_a_person_nothing_changes(env: RobotEnv) -> None:
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (10, 6)).astype(np.float32)
    expected, _ = env.reset(seed=5)
    plain = [expected, *(env.step(a)[0] for a in actions)]
    assisted = AssistedEnv(env)
    assert not assisted.attended
    mine = [assisted.reset(seed=5)[0], *(assisted.step(a)[0] for a in actions)]
    np.testing.assert_array_equal(plain, mine)


@pytest.mark.parametrize(
    ("buttons", "terminated", "success", "reward", "verdict", "reason"),
    [
        (("success",), True, True, 1.0, "success", "the operator said success"),
        (("failure",), True, False, 0.0, "failure", "the operator said failure"),
        (("discard",), False, False, 0.0, "discard", "discarded by the operator"),
        (("pause",), False, False, 0.0, "", "paused by the operator"),
        (("success", "failure"), True, False, 0.0, "failure", "the operator said failure"),
        (("success", "discard"), False, False, 0.0, "discard", "discarded by the operator"),
    ],
)
def test_a_button_ends_the_episode(
    env: RobotEnv,
    buttons: tuple[Button, ...],
    terminated: bool,
    success: bool,
    reward: float,
    verdict: str,
    reason: str,
) -> None:
    assisted = AssistedEnv(env, Script(press(*buttons)))
    assisted.reset(seed=1)
    _, got, ended, truncated, info = assisted.step(STILL)
    assert (ended, truncated, got) == (terminated, not terminated, reward)
    assert (info["success"], info["verdict"], info["reason"]) == (success, verdict, reason)
    assert assisted.paused == ("pause" in buttons)


@pytest.mark.parametrize(("button", "reward"), [("success", 1.0), ("failure", 0.0)])
def test_the_persons_word_stands_above_the_tasks(env: RobotEnv, button: Button, reward: float) -> None:
    expert = env.task.expert(compose(["task=reach"]).settings().expert.make())  # pyright: ignore[reportAttributeAccessIssue]
    script = Script()
    assisted = AssistedEnv(env, script)
    assisted.reset(seed=2)
    expert.reset(np.random.default_rng(0))
    for _ in range(env.task.max_steps):
        before = expert.action(assisted.robot_state)
        *_, terminated, truncated, info = assisted.step(before)
        assert not truncated, "the expert did not reach the goal"
        if terminated:
            break
    steps = assisted.env._step  # the step that reached it, once more with a button pressed in it
    assisted.reset(seed=2)
    expert.reset(np.random.default_rng(0))
    for _ in range(steps - 1):
        assisted.step(expert.action(assisted.robot_state))
    script.inputs = [press(button)]
    _, got, terminated, truncated, info = assisted.step(expert.action(assisted.robot_state))
    assert terminated
    assert not truncated
    assert got == reward
    assert info["success"] == (button == "success")
    assert info["verdict"] == button


def test_a_stop_holds_the_arm_in_the_very_period_it_is_pressed_in(env: RobotEnv) -> None:
    assisted = AssistedEnv(env, Script(NOBODY, press("stop", action=UP)))
    assisted.reset(seed=1)
    assisted.step(STILL)
    before = assisted.robot_state.p_BE.copy()
    _, _, terminated, truncated, info = assisted.step(STILL)
    assert truncated
    assert not terminated
    assert "the operator stopped the robot" in info["reason"]
    assert env.robot.guard.stopped  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(assisted.robot_state.p_BE, before, atol=2e-3)
    np.testing.assert_allclose(info["executed_action"][:6], 0.0, atol=0.15)  # not what was asked for
    assisted.reset(seed=1)  # in lock-step a reset stands for a person's look at the cell
    assert not env.robot.guard.stopped  # pyright: ignore[reportAttributeAccessIssue]


def test_a_robot_without_a_stop_is_not_moved_again(env: RobotEnv, caplog: pytest.LogCaptureFixture) -> None:
    class Bare:
        """The five methods of a `Robot` and no more."""

        def __init__(self) -> None:
            robot = env.robot
            self.connect, self.reset, self.command = robot.connect, robot.reset, robot.command
            self.observe, self.close = robot.observe, robot.close

    assisted = AssistedEnv(RobotEnv(Bare(), env.task), Script(press("stop")))
    assisted.reset(seed=1)
    with caplog.at_level(logging.WARNING):
        _, _, terminated, truncated, info = assisted.step(STILL)
    assert truncated
    assert not terminated
    assert info["reason"] == "the operator stopped the robot"
    with pytest.raises(RobotError, match=r"no stop of its own.*look at the cell"):
        assisted.reset(seed=1)


def test_pause_lasts_until_it_is_pressed_again(env: RobotEnv) -> None:
    script = Script(press("pause"))
    assisted = AssistedEnv(env, script)
    assert assisted.poll() is NOBODY  # before there is a reading
    assisted.reset(seed=1)
    assisted.step(STILL)
    assisted.poll()
    assert assisted.paused
    script.inputs = [press("pause")]
    assisted.poll()
    assert not assisted.paused


def test_a_stop_between_episodes_is_heard(env: RobotEnv) -> None:
    assisted = AssistedEnv(env, Script(press("pause"), press("stop")))
    assisted.reset(seed=1)
    assisted.step(STILL)
    assisted.poll()
    assert env.robot.guard.stopped  # pyright: ignore[reportAttributeAccessIssue]


def test_watchers_see_every_step_and_their_buttons_count(env: RobotEnv) -> None:
    eye, script = Eye(), Script(NOBODY, press(action=UP))
    assisted = AssistedEnv(env, script, [eye])
    assert assisted.attended
    assisted.reset(seed=1, facts={"episode": 7})
    assisted.step(STILL, policy_version=4)
    after, *_ = assisted.step(STILL, policy_version=5, value=0.25)
    eye.pressed = ["discard"]
    *_, info = assisted.step(STILL)
    assert eye.facts == [{"seed": 1, "episode": 7}]
    assert [s.source for s in eye.seen] == ["policy", "human", "policy"]
    assert [s.policy_version for s in eye.seen] == [4, 5, 0]
    np.testing.assert_array_equal(eye.seen[1].observation, after)
    np.testing.assert_array_equal(eye.seen[1].requested, UP)
    assert np.isnan(eye.seen[0].value)
    assert eye.seen[1].value == 0.25
    assert info["verdict"] == "discard"
    assert eye.seen[2].truncated


def test_an_action_that_is_no_number_counts_as_let_go(env: RobotEnv) -> None:
    assisted = AssistedEnv(env, Script(press(action=np.full(6, np.nan, np.float32))))
    assisted.reset(seed=1)
    *_, info = assisted.step(STILL)
    assert info["source"] == "policy"
    assert "counts as let go" in info["operator_note"]


def test_each_episode_has_a_seed_of_its_own_for_the_operator(env: RobotEnv) -> None:
    def seeds() -> list[int]:
        script = Script()
        assisted = AssistedEnv(env, script)
        begin_episode(assisted, 9)
        assisted.reset()
        assisted.reset()
        return script.begun

    assert len(set(seeds())) == 3
    assert seeds() == seeds()


def test_closing_lets_go_of_everything() -> None:
    eye, script = Eye(), Script()
    assisted = AssistedEnv(make_env(compose(["task=reach"]).settings()), script, [eye])
    assisted.reset(seed=0)
    assisted.close()
    assert (script.closed, eye.closed) == (1, 1)
