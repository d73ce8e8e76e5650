"""A Franka behind an arm's node: the environment reaches its goals over ROS 2 and cannot tell it from a twin."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from fci_sim_process import Simulator
from ros_rig import Program, own_domain, program, wait_for

pytest.importorskip("rclpy")

from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl_hardware.ros.arm_calls import ArmCalls
from robot_rl_tasks.experts import Sloppiness

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def node(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    cell = tmp_path_factory.mktemp("cell") / "cell.yaml"
    cell.write_text(f"name: simulated\naddress: {simulator.host}\ngripper: {{kind: franka_hand}}\n")
    words = ["node", "arm", "task=reach", "driver=fci", f"cell={cell}"]
    with own_domain() as domain, program([sys.executable, "-m", "robot_rl", *words], domain) as started:
        started.wait_for_words("is ready")
        yield started


def test_reach_is_solved_by_its_expert(node: Program) -> None:
    patient = ["robot.state_age_s=5", "robot.answer_s=5"]  # this machine may be busy
    settings = compose(["robot=ros", "task=reach", f"robot.domain={node.domain}", *patient]).settings()
    env = make_env(settings)
    expert = settings.task.make().expert(Sloppiness())
    solved = 0
    try:
        for seed in range(2):
            if seed:  # silence between episodes makes the arm hold; resetting it at that very moment is refused
                wait_for(lambda: env.robot.feed.status()[0]["mode"] == "HOLD", "the arm to hold")
            env.reset(seed=seed)
            expert.reset(np.random.default_rng(seed))
            for _ in range(50):
                _, reward, terminated, truncated, _ = env.step(expert.action(env.robot_state))
                if terminated or truncated:
                    solved += int(reward > 0.0)
                    break
    finally:
        env.close()
    assert solved >= 1  # a hold of a starved machine may truncate one


def test_a_user_stop_is_told_on_status_and_ended_by_a_service(node: Program, simulator: Simulator) -> None:
    from robot_rl_hardware.ros.robot import RosRobot, RosRobotConfig

    task = compose(["task=reach"]).settings().task.make()
    robot = RosRobot(task, RosRobotConfig(domain=node.domain, state_age_s=5.0))
    robot.connect()
    try:
        simulator.say("user-stop")
        wait_for(lambda: robot.feed.status()[0]["mode"] == "STOPPED", "the stop to be told")
        assert "user stop" in robot.feed.status()[0]["reason"]
        simulator.say("release")
        with ArmCalls("/arm", node.domain, 60.0) as calls:
            calls.trigger("acknowledge")
        wait_for(lambda: robot.feed.status()[0]["mode"] == "RUN", "the arm to run again")
    finally:
        robot.close()
