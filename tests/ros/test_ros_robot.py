"""`RosRobot` against the smallest arm in another process: episodes, faults, and what becomes of them."""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ros_rig import Program, arm_node, own_domain, wait_for

pytest.importorskip("rclpy")

from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.errors import ConfigError, RobotError
from robot_rl.robot import ArmCommand, RobotState
from robot_rl_hardware.ros.arm_calls import ArmCalls
from robot_rl_hardware.ros.robot import NO_ANSWER, RosRobot, RosRobotConfig

pytestmark = pytest.mark.ros
UP = np.array([0.0, 0.0, 0.01])
TASK = compose(["task=reach"]).settings().task.make()


@pytest.fixture(scope="module")
def arm() -> Iterator[Program]:
    with arm_node("point", "reach") as node:
        yield node


def make(domain: int, **more: Any) -> RosRobot:
    config = {"state_age_s": 5.0, "answer_s": 10.0, "acknowledge_s": 0.0, **more}
    return RosRobot(TASK, RosRobotConfig(domain=domain, **config))


@pytest.fixture
def robot(arm: Program) -> Iterator[RosRobot]:
    with ArmCalls("/arm", arm.domain, 60.0) as calls:
        calls.trigger("acknowledge")
    made = make(arm.domain)
    yield made
    made.close()


def begin(robot: RosRobot, seed: int = 0) -> RobotState:
    return robot.reset(TASK.sample_reset(np.random.default_rng(seed)))


def stay(state: RobotState, close: bool = False) -> ArmCommand:
    return ArmCommand(state.p_BE.copy(), state.quat_BE.copy(), close)


def test_a_reset_places_tool_and_objects(robot: RosRobot) -> None:
    request = TASK.sample_reset(np.random.default_rng(3))
    state = robot.reset(request)
    assert np.allclose(state.p_BE, request.p_BE, atol=1e-6)
    assert np.allclose(state.objects["goal"], request.objects["goal"])


def test_commands_keep_the_rate_and_are_answered(robot: RosRobot) -> None:
    state = begin(robot)
    for i in range(15):
        executed = robot.command(ArmCommand(state.p_BE + (i % 3) * UP, state.quat_BE, i % 2 == 0))
        assert executed.close_gripper is (i % 2 == 0)
    names = set(robot.timing())
    assert {"period_ms", "slack_ms", "lateness_ms", "action_latency_ms", "state_age_ms"} <= names
    assert robot.timer.summary()["period_ms"]["p50"] == pytest.approx(100.0, abs=20.0)
    assert robot.observe().stamp_s > state.stamp_s


def test_the_environment_runs_episodes_on_it(arm: Program) -> None:
    env = make_env(compose(["robot=ros", "task=reach", f"robot.domain={arm.domain}", "robot.state_age_s=5"]).settings())
    assert env.real_time
    env.reset(seed=0)
    for _ in range(3):
        _, _, _, _, info = env.step(np.zeros(TASK.action_spec.size, np.float32))
        assert info["timing"]["state_age_ms"] >= 0.0
    env.close()


def test_a_hold_between_episodes_is_ended_by_the_reset(robot: RosRobot) -> None:
    for seed in range(5):  # more often than the budget: silence costs none
        state = begin(robot, seed)
        robot.command(stay(state))
        wait_for(lambda: robot.feed.status()[0]["mode"] == "HOLD", "the arm to hold", 20.0)


def test_a_stop_ends_the_episode_and_waits_for_a_person(robot: RosRobot, arm: Program, caplog) -> None:
    state = begin(robot)
    with ArmCalls("/arm", arm.domain, 60.0) as calls:
        assert calls.stop("a test")[0]
        executed = robot.command(stay(state))
        assert executed.stopped
        assert "a test" in executed.reason
        with pytest.raises(RobotError, match="nobody acknowledged"):
            begin(robot)
        robot.config = dataclasses.replace(robot.config, acknowledge_s=60.0)
        with caplog.at_level(logging.WARNING):
            person = threading.Thread(
                target=lambda: (wait_for(lambda: told(caplog), "a call"), calls.trigger("acknowledge"))
            )
            person.start()
            begin(robot)
            person.join()
    assert robot.feed.status()[0]["mode"] == "RUN"


def told(caplog) -> bool:
    return any("robot-rl acknowledge" in record.getMessage() for record in caplog.records)


def test_nonsense_is_refused_and_the_next_reset_works(robot: RosRobot) -> None:
    state = begin(robot)
    assert robot.command(ArmCommand(np.full(3, np.nan), state.quat_BE, False)).events
    begin(robot, 1)


def test_an_impossible_start_is_refused_in_words(robot: RosRobot) -> None:
    with pytest.raises(RobotError, match="workspace"):
        robot.reset(dataclasses.replace(TASK.sample_reset(np.random.default_rng(0)), p_BE=np.array([3.0, 0.0, 0.2])))


def test_another_task_is_refused(arm: Program) -> None:
    other = RosRobot(
        compose(["task=pick_cube"]).settings().task.make(), RosRobotConfig(domain=arm.domain, objects=False)
    )
    with pytest.raises(RobotError, match="serves the task 'reach'"):
        other.connect()
    other.close()


def test_a_camera_that_is_missing_is_named(arm: Program) -> None:
    with pytest.raises(RobotError, match=r"nobody sent image:front.*robot-rl node camera"):
        make(arm.domain, cameras=("front",), connect_s=10.0).connect()


def test_without_an_arm_node_the_sentence_says_what_to_start() -> None:
    with (
        own_domain() as domain,
        pytest.raises(RobotError, match=r"no arm node is ready .* robot-rl node arm task=reach"),
    ):
        make(domain, connect_s=1.0).connect()


def test_a_frozen_node_ends_the_episode_and_a_thawed_one_goes_on() -> None:
    with arm_node("point", "reach") as node:
        robot = make(node.domain, state_age_s=1.0, answer_s=1.5)
        state = begin(robot)
        node.send(signal.SIGSTOP)
        executed = robot.command(stay(state))
        node.send(signal.SIGCONT)
        assert executed.stopped
        assert executed.reason.startswith(NO_ANSWER)
        assert any(event.startswith("stale_observation:") for event in executed.events)
        assert robot.observe().p_BE.shape == (3,)
        begin(robot)
        robot.close()


def test_a_killed_node_ends_the_episode_and_its_successor_is_found() -> None:
    with own_domain() as domain:
        robot = make(domain, state_age_s=1.0, answer_s=1.5, connect_s=60.0)
        with arm_node("point", "reach", domain) as node:
            state = begin(robot)
            node.send(signal.SIGKILL)
            node.wait()
            assert robot.command(stay(state)).stopped
        with arm_node("point", "reach", domain):
            state = begin(robot)
            assert not robot.command(stay(state)).stopped
        robot.close()


@pytest.mark.parametrize(
    "settings",
    [{"state_age_s": 0.0}, {"answer_s": -1.0}, {"control_hz": 1e3}, {"camera_topic": "/x"}, {"acknowledge_s": -1.0}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"robot\."):
        RosRobotConfig(**settings)
