"""`robot-rl node arm`, `status`, `stop`, `acknowledge`, `recover` as a person types them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from ros_rig import Program, arm_node, own_domain, program, ros_environ

pytest.importorskip("rclpy")

pytestmark = pytest.mark.ros


def robot_rl(domain: int, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "robot_rl", *words], env=ros_environ(domain), capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def arm() -> Iterator[Program]:
    with arm_node("point", "reach") as node:
        yield node


def test_stop_status_and_acknowledge(arm: Program) -> None:
    told = json.loads(robot_rl(arm.domain, "status", "--json", "--wait", "60").stdout)
    assert (told["task"], told["driver"]) == ("reach", "point")
    stopped = robot_rl(arm.domain, "stop", "--reason", "smoke", "--wait", "60")
    assert stopped.returncode == 0, stopped.stderr
    assert "STOPPED (smoke" in stopped.stdout
    assert robot_rl(arm.domain, "status", "--wait", "60").returncode == 1
    refused = robot_rl(arm.domain, "recover", "--wait", "60")
    assert refused.returncode == 1
    assert "A stop ends only on a person's word" in refused.stdout
    assert robot_rl(arm.domain, "acknowledge", "--wait", "60").returncode == 0
    assert robot_rl(arm.domain, "status", "--wait", "60").returncode == 0


def test_without_an_arm_node_a_stop_says_that_nobody_heard_it() -> None:
    with own_domain() as domain:
        done = robot_rl(domain, "stop", "--wait", "1")
        assert done.returncode == 2
        assert "no arm node answers at /arm" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status", "--domain", "500"], "0 to 101"),
        (["status", "--namespace", "arm 1"], "cannot be a ROS namespace"),
        (["stop", "--wait", "0"], "--wait is 0"),
        (["node", "arn"], "Did you mean 'arm'?"),
        (["node", "arm", "driver=twim"], "Did you mean 'twin'?"),
        (["node", "arm", "driver=fci"], "address"),
        (["node", "arm", "node.publish_hz=0"], "node.publish_hz is 0"),
        (["node", "arm", "driver.dt=1"], "there is no setting"),
        (["node", "arm", "driver=crisp", "cell=twin"], "no measured bounds"),
    ],
)
def test_mistakes_end_with_a_sentence(words: list[str], told: str) -> None:
    with own_domain() as domain:
        done = robot_rl(domain, *words)
        assert done.returncode == 2
        assert told in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_arm_node_with_the_twin_ends_in_order(number: signal.Signals) -> None:
    with own_domain() as domain:
        words = ["-m", "robot_rl", "node", "arm", "task=reach", "driver=twin", "--ros-args", "-r", "__node:=left"]
        with program([sys.executable, *words], domain) as node:
            node.wait_for_words("/arm/left is ready: task reach, driver twin")
            node.send(number)
            assert node.wait() == 0, node.said()
            assert "Traceback" not in node.said()
