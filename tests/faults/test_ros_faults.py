"""Faults over ROS 2 on the twin in real time: the arm holds, the step is truncated, and nothing resumes.

`--repeat 20` tries each of them twenty times. What was measured goes into the results as properties: `hold_s` is how
old the newest command was, in the driver's own clock, when the arm began to hold.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ros_rig import Program, arm_node, program, wait_for
from verify.children import descendants

pytest.importorskip("rclpy")

from robot_rl.config import compose
from robot_rl.errors import RobotError
from robot_rl.robot import ArmCommand, Executed, RobotState
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.arm_calls import ArmCalls
from robot_rl_hardware.ros.node import SpinningNode
from robot_rl_hardware.ros.robot import RosRobot, RosRobotConfig

pytestmark = [pytest.mark.ros, pytest.mark.slow]
TASK = compose(["task=reach"]).settings().task.make()
UP = np.array([0.0, 0.0, 0.02])
STILL_M = 0.004  # how far the compliant arm may still settle after it holds
READINGS = 30
HELD = ("HOLD", "STOPPED")
REFUSALS = ("no fresh readings", "no arm node", "the service", "camera front")  # for what is missing after a kill

# An actor that practises with random actions; it tells of each step. Arguments: seed, then settings.
ACTOR = """
import json, sys, time
import numpy as np
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.errors import RobotError
seed, *settings = sys.argv[1:]
env, rng = make_env(compose(["task=reach", "robot=ros", *settings]).settings()), np.random.default_rng(int(seed))
while True:
    try:
        env.reset(seed=int(seed))
        print(json.dumps({"began": env.robot_state.p_BE.tolist()}), flush=True)
        ended = False
        while not ended:
            *_, terminated, truncated, info = env.step(rng.uniform(-0.3, 0.3, env.task.action_spec.size))
            ended = terminated or truncated
            told = {"truncated": truncated, "ended": ended, "reason": info["reason"]}
            print(json.dumps(told), flush=True)
            while "image" in info["reason"]:  # it does not go on without pictures
                time.sleep(0.1)
    except RobotError as e:
        print(json.dumps({"refused": str(e)}), flush=True)
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.fixturenames.append("repetition")
    metafunc.parametrize("repetition", range(metafunc.config.getoption("--repeat")))


@pytest.fixture(scope="module")
def shared() -> Iterator[Program]:
    """An arm's node for the faults that leave it alive."""
    with arm_node("twin", "reach") as node:
        yield node


@pytest.fixture(scope="module")
def watcher(shared: Program) -> Iterator[RosRobot]:
    """A client of it, with a robot's patience for a loaded machine."""
    config = RosRobotConfig(domain=shared.domain, state_age_s=5.0, answer_s=5.0, acknowledge_s=0.0, connect_s=60.0)
    robot = RosRobot(TASK, config)
    robot.connect()
    yield robot
    robot.close()


@pytest.fixture
def robot(shared: Program, watcher: RosRobot) -> RosRobot:
    """Return the client with the arm running at a start pose, on a person's word."""
    acknowledge(shared.domain)

    def begins() -> bool:
        try:
            watcher.reset(TASK.sample_reset(np.random.default_rng(0)))
        except RobotError:  # on a loaded machine the arm may hold again before the reset begins
            acknowledge(shared.domain)
            return False
        return True

    wait_for(begins, "a start")
    return watcher


def acknowledge(domain: int) -> None:
    with ArmCalls("/arm", domain, 60.0) as arm:
        arm.trigger("acknowledge")


def mode(robot: RosRobot) -> str:
    return str(robot.feed.status()[0].get("mode"))


def to(state: RobotState, delta: np.ndarray) -> ArmCommand:
    return ArmCommand(state.p_BE + delta, state.quat_BE.copy(), False)


def readings(robot: RosRobot, n: int = READINGS) -> np.ndarray:
    """Return (n, 3) the next measured positions."""
    seen: dict[float, np.ndarray] = {}

    def enough() -> bool:
        state = robot.observe()
        seen[state.stamp_s] = state.p_BE
        return len(seen) >= n

    wait_for(enough, "readings")
    return np.array(list(seen.values()))


def rests(robot: RosRobot) -> np.ndarray:
    """Wait until the arm rests and return where."""

    def at_rest() -> bool:
        return bool(np.ptp(readings(robot, 20), axis=0).max() < 0.001)

    wait_for(at_rest, "the arm at rest")
    return robot.observe().p_BE


def nothing_resumes(robot: RosRobot, domain: int) -> None:
    """Check that neither commands nor a person's word move a holding arm, and the command after that word does."""
    wait_for(lambda: mode(robot) in HELD, "a hold")
    rest = rests(robot)
    for _ in range(3):
        executed = robot.command(to(robot.observe(), UP))
        assert executed.stopped
    assert np.abs(readings(robot) - rest).max() < STILL_M
    assert mode(robot) in HELD
    acknowledge(domain)
    assert np.abs(readings(robot) - rest).max() < STILL_M

    def follows() -> bool:
        if mode(robot) in HELD:  # on a loaded machine commands come late, and it holds again
            acknowledge(domain)
        robot.command(to(robot.observe(), UP))
        return bool(np.abs(robot.observe().p_BE - rest).max() > 2 * STILL_M)

    wait_for(follows, "a motion by new commands")


def age_when_held(robot: RosRobot) -> float:
    found = re.search(r"the command is ([\d.]+) s old", str(robot.feed.status()[0].get("reason")))
    return float(found[1]) if found else float("nan")


def late(robot: RosRobot, seconds: float) -> None:
    """Publish a request whose stamp lies in the past, or with a negative number in the future."""
    state = robot.observe()
    stamp_ns = robot._clock.now().nanoseconds - int(1e9 * seconds)
    robot._pose.publish(messages.to_pose(stamp_ns, state.p_BE + UP, state.quat_BE))


def spoilt(robot: RosRobot) -> None:
    robot.command(to(robot.observe(), np.full(3, np.nan)))


FAULTS: dict[str, Callable[[RosRobot], object]] = {
    "silence": lambda robot: None,
    "delayed by 500 ms": lambda robot: late(robot, 0.5),
    "clock jumped forward": lambda robot: late(robot, -3600.0),
    "clock jumped back": lambda robot: late(robot, 3600.0),
    "not a number": spoilt,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_request_is_not_executed_and_nothing_resumes(
    robot: RosRobot, shared: Program, fault: str, record_property: Callable[[str, object], None]
) -> None:
    robot.command(to(robot.observe(), 0.0 * UP))  # an arm that nobody has commanded yet has nothing to miss
    before = robot.observe().p_BE
    FAULTS[fault](robot)
    wait_for(lambda: mode(robot) in HELD, "a hold")
    if fault == "silence":
        record_property("hold_s", age_when_held(robot))
    assert np.abs(rests(robot) - before).max() < STILL_M
    nothing_resumes(robot, shared.domain)


def test_an_action_out_of_range_is_cut_to_the_limits(robot: RosRobot, shared: Program) -> None:
    limits, state = TASK.limits, robot.observe()
    for direction in np.vstack([np.eye(3), -np.eye(3)]) * 5.0:
        executed: Executed = robot.command(to(robot.observe(), direction))
        assert executed.events
        if not executed.stopped:
            assert np.linalg.norm(executed.p_BE - state.p_BE) < 7 * limits.step_m
    seen = readings(robot)
    assert (seen > np.array(limits.box_min_m) - 0.02).all()
    assert (seen < np.array(limits.box_max_m) + 0.02).all()
    nothing_resumes(robot, shared.domain)


def steps(actor: Program) -> list[dict]:
    """Return what an actor told of its steps; what others write into its log is left out."""
    lines = [line for line in actor.said().splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def practises(actor: Program, n: int = 5) -> int:
    """Wait until an actor has done some steps and is amid an episode; return how many rows it has told."""

    def amid() -> bool:
        told = steps(actor)
        return sum("truncated" in s for s in told) >= n and told[-1].get("ended") is False

    wait_for(amid, "practice")
    return len(steps(actor))


def start_actor(domain: int, *settings: str) -> Program:
    return Program([sys.executable, "-c", ACTOR, "1", "robot.acknowledge_s=1", *settings], domain)


def test_a_killed_actor_leaves_an_arm_that_holds(
    robot: RosRobot, shared: Program, record_property: Callable[[str, object], None]
) -> None:
    actor = start_actor(shared.domain)
    try:
        practises(actor)
        actor.send(signal.SIGKILL)
        actor.wait()
    finally:
        actor.end()
    wait_for(lambda: mode(robot) in HELD, "a hold")
    record_property("hold_s", age_when_held(robot))
    nothing_resumes(robot, shared.domain)


def ends_for(actor: Program, since: int, *words: str) -> None:
    """Wait until the episode of row `since` is truncated for one of the reasons.

    It may have ended for another one with the step that was on its way just then, as on a loaded machine, whose arm
    holds now and then; in that case the next episode must be refused for one of them.
    """

    def fits(row: dict) -> bool:
        return any(word in row["reason"] for word in words)

    def told() -> bool:
        after = steps(actor)[since:]
        ended = next((i for i, row in enumerate(after) if row.get("ended")), None)
        if ended is None:
            assert not any("refused" in row for row in after), f"an episode was left without an end: {after}"
            return False
        if after[ended]["truncated"] and fits(after[ended]):
            return True
        assert ended == 0, f"the episode went on, and ended for another reason: {after}"
        return any(word in row.get("refused", "") for row in after[1:] for word in REFUSALS)

    wait_for(told, f"the end of an episode: {' or '.join(words)}")


def test_a_killed_arm_node_takes_its_driver_along_and_the_step_is_truncated() -> None:
    with arm_node("twin", "reach") as node:
        actor = start_actor(node.domain, "robot.connect_s=3")
        try:
            practises(actor)
            drivers = descendants(node.pid)
            assert drivers
            since = practises(actor)
            node.send(signal.SIGKILL)
            node.wait()
            wait_for(lambda: not any(lives(pid) for pid in drivers), "the end of the driver, which holds first")
            wait_for(lambda: any("refused" in s for s in steps(actor)), "a refusal")
            ends_for(actor, since, "no answer from the arm node", "stale_observation")
        finally:
            actor.end()


def test_a_killed_camera_node_truncates_the_step_and_the_arm_holds(robot: RosRobot, shared: Program) -> None:
    command = [sys.executable, "-m", "robot_rl", "node", "camera", "camera=twin", "names=[front]", "task=reach"]
    with program(command, shared.domain) as camera:
        camera.wait_for_words("/cameras/front/image")
        actor = start_actor(shared.domain, "robot.cameras=[front]", "robot.connect_s=60")
        try:
            since = practises(actor)
            camera.send(signal.SIGKILL)
            ends_for(actor, since, "stale_observation:image:front")
            wait_for(lambda: mode(robot) in HELD, "a hold")
        finally:
            actor.end()
    nothing_resumes(robot, shared.domain)


def test_a_frozen_camera_truncates_the_step_and_the_arm_holds(robot: RosRobot, shared: Program) -> None:
    with pictures(shared.domain) as frozen:
        actor = start_actor(shared.domain, "robot.cameras=[front]", "robot.connect_s=60")
        try:
            since = practises(actor)
            frozen.set()
            ends_for(actor, since, "stale_observation:image:front")
            wait_for(lambda: mode(robot) in HELD, "a hold")
        finally:
            actor.end()
    nothing_resumes(robot, shared.domain)


@contextlib.contextmanager
def pictures(domain: int) -> Iterator[threading.Event]:
    """Publish pictures at 30 Hz; once the event is set, the same picture with the same stamp again and again."""
    from sensor_msgs.msg import Image

    frozen, over = threading.Event(), threading.Event()
    spinning = SpinningNode("pictures", "/cameras/front", domain)
    publisher = spinning.node.create_publisher(Image, "image", qos.newest())
    rng = np.random.default_rng(0)

    def publish() -> None:
        message = None
        while not over.wait(1 / 30):
            if message is None or not frozen.is_set():
                picture = rng.integers(0, 255, (128, 128, 3), np.uint8)
                message = messages.to_image(spinning.node.get_clock().now().nanoseconds, picture, "front")
            publisher.publish(message)

    thread = threading.Thread(target=publish)
    spinning.start()
    thread.start()
    try:
        yield frozen
    finally:
        over.set()
        thread.join()
        spinning.close()


def lives(pid: int) -> bool:
    """Return whether a process runs; a dead one that nobody has collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
