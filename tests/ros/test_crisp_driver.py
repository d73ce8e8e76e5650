"""The driver of arms that CRISP's controllers move, against a node in another process that has CRISP's topics."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from ros_rig import Program, arm_node, own_domain, wait_for

pytest.importorskip("rclpy")

from robot_rl.cell import Box, Cell
from robot_rl.config import compose
from robot_rl.errors import ConfigError, RobotError
from robot_rl.robot import ArmCommand
from robot_rl_controllers.drive.interface import Mode
from robot_rl_hardware.ros.arm_calls import ArmCalls
from robot_rl_hardware.ros.crisp import CrispDriver, make_driver
from robot_rl_hardware.ros.crisp_link import CrispConfig

pytestmark = pytest.mark.ros
TASK = compose(["task=reach"]).settings().task.make()
# A busy machine reads late; what is tried here is the order of things.
TASK.limits = dataclasses.replace(TASK.limits, command_age_s=1.0)
CELL = Cell(name="lab", address="127.0.0.1", bounds=Box(min_m=(0.2, -0.4, 0.0), max_m=(0.7, 0.4, 0.6)))
UP = np.array([0.0, 0.0, 0.02])


@pytest.fixture(scope="module")
def peer() -> Iterator[Program]:
    with arm_node("point", "reach", namespace="/crisp") as node:
        yield node


@pytest.fixture
def driver(peer: Program) -> Iterator[CrispDriver]:
    made = make_driver(
        TASK, CELL, namespace="/crisp", domain=peer.domain, gripper_command="", gripper_open=0.08, joint_moves="goal",
        wrench_topic="wrench", state_age_s=2.0,
    )  # fmt: skip
    made.start()
    # Unlike CRISP's controllers this peer holds when nobody commands it, as between two tests.
    with ArmCalls("/crisp", peer.domain, 60.0) as calls:
        assert calls.trigger("acknowledge")[0]
    yield made
    made.close()


def send(driver: CrispDriver, p: np.ndarray, number: int) -> None:
    driver.send(ArmCommand(p, np.array([0.0, 1.0, 0.0, 0.0]), False), number, time.monotonic())
    wait_for(lambda: driver.read().sequence == number, "an answer")


def follow(driver: CrispDriver, goal: np.ndarray, until: Callable[[], bool]) -> None:
    """Command a pose again and again, as an actor does, until something holds."""
    number = driver.read().sequence

    def there() -> bool:
        nonlocal number
        number += 1
        send(driver, goal, number)
        return until()

    wait_for(there, "the arm to follow")


def at(driver: CrispDriver, p: np.ndarray) -> bool:
    return bool(np.linalg.norm(driver.read().state.p_BE - p) < 2e-3)


def test_it_reads_the_arm_and_follows_commands(driver: CrispDriver) -> None:
    state = driver.read().state
    assert driver.read().mode is Mode.RUN
    assert state.q.shape == (7,)
    assert state.gripper_width_m == pytest.approx(0.08)
    goal = state.p_BE + UP
    follow(driver, goal, lambda: at(driver, goal))


def test_silence_holds_and_a_recovery_moves_nothing(driver: CrispDriver) -> None:
    p = driver.read().state.p_BE
    send(driver, p + UP, 1)
    wait_for(lambda: driver.read().mode is Mode.HOLD, "the arm to hold")
    before = driver.read().state.p_BE
    driver.recover()
    wait_for(lambda: driver.read().mode is Mode.RUN, "RUN")
    assert np.linalg.norm(driver.read().state.p_BE - before) < 2e-3


def test_a_stop_ends_only_on_a_persons_word(driver: CrispDriver) -> None:
    p = driver.read().state.p_BE
    driver.stop("the operator said so")
    assert driver.read().mode is Mode.STOPPED
    with pytest.raises(RobotError, match="stopped"):
        driver.recover()
    with pytest.raises(RobotError, match="Recover or acknowledge"):
        driver.home()
    send(driver, p + UP, 1)
    assert driver.read().executed.stopped
    assert at(driver, p)
    driver.acknowledge("a person")
    wait_for(lambda: driver.read().mode is Mode.RUN, "RUN")
    assert at(driver, p)


def test_nonsense_holds(driver: CrispDriver) -> None:
    p = driver.read().state.p_BE
    send(driver, np.full(3, np.nan), 1)
    assert driver.read().mode is Mode.HOLD
    assert at(driver, p)


def test_a_reset_goes_up_across_and_down(driver: CrispDriver) -> None:
    request = TASK.sample_reset(np.random.default_rng(4))
    highest = 0.0

    def done() -> bool:
        nonlocal highest
        highest = max(highest, driver.read().state.p_BE[2])
        return driver.read().mode is not Mode.RESETTING

    for _ in range(5):  # on a loaded machine readings may be late, and then it rightly holds
        driver.begin_reset(request)
        assert driver.read().mode is Mode.RESETTING
        wait_for(done, "the reset")
        if "stale_observation" not in driver.read().reason:
            break
        driver.acknowledge("a person")
        wait_for(lambda: driver.read().mode is Mode.RUN, "RUN")
    assert driver.read().mode is Mode.RUN, driver.read().reason
    assert np.linalg.norm(driver.read().state.p_BE - request.p_BE) < 0.01
    assert highest > request.p_BE[2] + 0.05


def test_a_joint_goal_is_told_where_it_is_followed(driver: CrispDriver) -> None:
    goal = driver.read().state.q + 0.05
    driver.move_joints(goal)
    wait_for(lambda: driver.read().mode is not Mode.RESETTING, "the move")
    assert driver.read().mode is Mode.RUN, driver.read().reason
    assert np.abs(driver.read().state.q - goal).max() < 0.05


def test_a_peer_that_freezes_holds_the_arm(peer: Program, driver: CrispDriver) -> None:
    peer.send(signal.SIGSTOP)
    try:
        wait_for(lambda: driver.read().mode is Mode.HOLD, "the arm to hold")
        assert "old" in driver.read().reason
    finally:
        peer.send(signal.SIGCONT)


def test_a_cell_that_nobody_measured_is_refused() -> None:
    with pytest.raises(ConfigError, match="no measured bounds"):
        make_driver(TASK, Cell())


def test_a_cell_that_nobody_signed_is_refused() -> None:
    with pytest.raises(RobotError, match="nobody has signed"):
        make_driver(TASK, dataclasses.replace(CELL, name="never-signed", address="192.0.2.1"))


def test_without_crisp_the_sentence_says_which_topics_are_silent() -> None:
    with own_domain() as domain:
        lonely = make_driver(TASK, CELL, domain=domain, readings_s=0.5)
        with pytest.raises(RobotError, match="current_pose, joint_states said nothing"):
            lonely.start()
        lonely.close()


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"joints": ("a",)}, {"joint_moves": "jump"}, {"gripper_open": 0.0}, {"state_age_s": 0.0}):
        with pytest.raises(ConfigError, match=r"driver\."):
            CrispConfig(**wrong)
