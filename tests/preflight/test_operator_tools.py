"""`robot-rl watch` and `jog` in real terminals, against a real arm node on the twin in real time."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'robot-rl[ros]'")

from robot_rl_hardware.ros.operator_client import ArmClient, open_client, wait_for_arm
from robot_rl_hardware.ros.operator_jog import STOPPED_BY_US

PATIENCE_S = 60.0
# ROS imports an old parser, which imports modules that Python has renamed.
pytestmark = [pytest.mark.ros, pytest.mark.filterwarnings("ignore:module 'sre_.*:DeprecationWarning")]


@pytest.fixture(scope="module")
def arm(arm_domain: int) -> Iterator[ArmClient]:
    """Return an observer of the arm that commands nothing."""
    with open_client("observer", "/arm", arm_domain) as client:
        wait_for_arm(client, PATIENCE_S)
        yield client


@pytest.fixture(autouse=True)
def running(arm: ArmClient) -> None:
    """Begin each test with an arm that runs."""
    if arm.view().mode in ("STOPPED", "HOLD"):
        arm.ask("acknowledge")
    wait_for(lambda: arm.view().mode == "RUN", "RUN")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    from robot_rl_hardware.ros.node import wait_until

    wait_until(condition, PATIENCE_S, what)


def where(arm: ArmClient) -> Any:
    return arm.view().p_BE


def test_a_watch_stops_on_space_and_lets_go_on_a_persons_word(terminal: Any, arm: ArmClient, arm_domain: int) -> None:
    watch = terminal(["watch", "--domain", str(arm_domain)])
    watch.expect("RUN")
    watch.type("x ")
    wait_for(lambda: arm.view().mode == "STOPPED", "the stop")
    assert "operator's key" in arm.view().reason
    watch.expect("STOPPED: operator's key")
    watch.type("R")
    watch.expect("refused")
    assert arm.view().mode == "STOPPED"
    watch.type("A")
    wait_for(lambda: arm.view().mode == "RUN", "RUN")
    watch.type("q")
    assert watch.wait() == 0
    assert arm.view().mode == "RUN"


def test_a_watch_whose_terminal_is_closed_stops_the_arm(terminal: Any, arm: ArmClient, arm_domain: int) -> None:
    watch = terminal(["watch", "--domain", str(arm_domain)])
    watch.expect("RUN")
    watch.hang_up()
    wait_for(lambda: arm.view().mode == "STOPPED", "the stop")
    assert "watch" in arm.view().reason
    assert watch.child.wait(PATIENCE_S) == STOPPED_BY_US


@pytest.mark.parametrize("unplug", [False, True])
def test_a_gamepad_stops_by_its_button_and_by_its_loss(
    terminal: Any, arm: ArmClient, arm_domain: int, tmp_path: Path, unplug: bool
) -> None:
    pad = tmp_path / "js0"
    os.mkfifo(pad)
    writer = os.open(pad, os.O_RDWR)
    try:
        watch = terminal(["watch", "--domain", str(arm_domain), "--gamepad", str(pad), "--button", "1"])
        watch.expect("RUN")
        os.write(writer, struct.pack("=IhBB", 1, 1, 1, 0))  # another button
        if not unplug:
            os.write(writer, struct.pack("=IhBB", 2, 1, 1, 1))
    finally:
        if unplug:
            os.close(writer)
    wait_for(lambda: arm.view().mode == "STOPPED", "the stop")
    assert ("unplugged" if unplug else "button 1") in arm.view().reason
    if not unplug:
        os.close(writer)


def test_jogging_moves_while_a_key_repeats_and_holds_when_it_ends(
    terminal: Any, arm: ArmClient, arm_domain: int
) -> None:
    jog = terminal(["jog", "--domain", str(arm_domain)])
    jog.expect("still: hold a key to move")
    start = where(arm)
    jog.hold("w", lambda: where(arm)[0] > start[0] + 0.01, "a motion along x")
    wait_for(lambda: at_rest(arm), "rest after the key was let go")
    ended = where(arm)
    assert np.abs(ended - start)[1:].max() < 0.005
    jog.type(" ")
    wait_for(lambda: arm.view().mode == "STOPPED", "the stop")
    for _ in range(20):
        jog.type("s")
        jog.look(0.03)
    assert np.abs(where(arm) - ended).max() < 0.003
    jog.type("A")
    wait_for(lambda: arm.view().mode == "RUN", "RUN")
    assert np.abs(where(arm) - ended).max() < 0.003
    jog.hold("s", lambda: where(arm)[0] < ended[0] - 0.005, "a motion back")
    jog.type("q")
    assert jog.wait() == 0
    wait_for(lambda: arm.view().mode == "HOLD", "the hold")
    assert "no command" in arm.view().reason or "old" in arm.view().reason


def at_rest(arm: ArmClient) -> bool:
    """Return whether the tool does not move between two fresh readings."""
    before = where(arm)
    after = before
    for _ in range(10):
        stamp = arm.view().age_s
        wait_for(lambda s=stamp: arm.view().age_s <= s, "a reading")
        after = where(arm)
    return bool(np.abs(after - before).max() < 2e-4)


def test_jogging_refuses_an_arm_that_another_program_commands(terminal: Any, arm: ArmClient, arm_domain: int) -> None:
    with open_client("actor", "/arm", arm_domain, commands=True):
        jog = terminal(["jog", "--domain", str(arm_domain)])
        assert jog.wait() == 2
        assert "two cannot command one arm" in jog.look().replace("\r\n", " ")


def test_without_an_arm_jogging_says_what_to_start(terminal: Any, arm_domain: int) -> None:
    jog = terminal(["jog", "--domain", str(arm_domain), "--namespace", "/nowhere", "--wait", "1"])
    assert jog.wait() == 2
    assert "found no arm node on /nowhere" in jog.look()
