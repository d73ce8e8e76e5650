"""Nodes in turn on one twin, with the scripted demonstrator in the place of a learner: nothing resets the scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from practice_rig import ladder

from robot_rl.assisted import AssistedEnv
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError, RobotError
from robot_rl.jsonl import read_jsonl
from robot_rl.practice.ask import Scripted
from robot_rl.practice.graph import NodeConfig, PracticeConfig
from robot_rl.practice.node import Node, as_env, check_shared
from robot_rl.practice.predicates import Seen, predicate
from robot_rl.practice.record import ResetLog
from robot_rl.practice.runner import PracticeActor, Practised
from robot_rl.robot import ArmCommand
from robot_rl_sim.twin import ArmTwin
from robot_rl_tasks.bin_relocate import BinRelocate
from robot_rl_tasks.bins import in_left, in_right
from robot_rl_tasks.experts import Sloppiness
from robot_rl_tasks.pick_cube import PickCube

CONFIG = compose(["task=bin_relocate", "practice=forward_backward"]).settings().practice


class ExpertActor:
    """Has of `Actor` what practice uses; the demonstrator acts, or the arm idles for a few steps."""

    def __init__(self, assisted: AssistedEnv, node: Node, idles: bool = False) -> None:
        self._assisted, self._node = assisted, node
        self._expert, self._rng = node.task.expert(Sloppiness()), np.random.default_rng(0)
        self._idle_steps = 5 if idles else 0
        self.completed, self.steps, self.episode, self._begun = 0, 0, -1, 0
        self.abandoned: list[str] = []

    def tick(self) -> bool:
        if not self._begun:
            self._assisted.reset(seed=self.episode + 1)
            self._expert.reset(self._rng)
            self.episode += 1
        self._begun += 1
        action = self._expert.action(self._assisted.robot_state)
        if self._idle_steps:
            action = np.zeros_like(action)
        _, _, terminated, truncated, info = self._assisted.step(action)
        self.steps += 1
        if self._idle_steps and self._begun >= self._idle_steps:
            truncated, info["success"] = True, False
        if terminated or truncated:
            self._begun, self.completed = 0, self.completed + 1
        return True

    def abandon(self, reason: str) -> None:
        self._begun = 0
        self.abandoned.append(reason)


class Practice:
    def __init__(self, folder: Path, config: PracticeConfig = CONFIG, idles: bool = False, **lad: Any) -> None:
        directions: dict[str, Literal["forward", "backward"]] = {"forward": "forward", "backward": "backward"}
        tasks = {name: BinRelocate(direction=direction) for name, direction in directions.items()}
        self.twin = ArmTwin(tasks["forward"])
        self.nodes = [Node(n, config.nodes[n], config.lost, RobotEnv(self.twin, t)) for n, t in tasks.items()]
        check_shared(self.nodes)
        self.assisted = AssistedEnv(as_env(self.nodes[0]))
        self.actors = {node.name: ExpertActor(self.assisted, node, idles) for node in self.nodes}
        self.steps = ladder(self.twin, folder, config, **lad)
        self.record: ResetLog = self.steps._record
        self.ended: list[Practised] = []
        self.actor = PracticeActor(
            config, self.nodes, self.actors, self.assisted, self.steps._primitives, self.steps, self.record,
            self.ended.append,
        )  # pyright: ignore[reportArgumentType]  # fmt: skip

    def start(self, seed: int = 0) -> None:
        self.twin.reset(self.nodes[0].task.sample_reset(np.random.default_rng(seed)))
        assert self.actor.begin()

    def run(self, episodes: int) -> None:
        until = self.actor.finished + episodes
        while self.actor.finished < until and not self.actor.helpless:
            self.actor.tick()


def test_two_directions_take_turns_and_the_simulator_resets_nothing(tmp_path: Path) -> None:
    practice = Practice(tmp_path)
    practice.start()
    placed = practice.twin.scene_resets
    practice.run(6)
    assert [e.node for e in practice.ended] == ["forward", "backward"] * 3
    assert practice.twin.scene_resets == placed
    assert not [r for r in read_jsonl(tmp_path / "resets.jsonl") if r["rung"] == "ask"]
    assert practice.record.robot_s == pytest.approx(practice.twin.observe().stamp_s, abs=3.0), "all of it is counted"
    times = [e.robot_s for e in practice.ended]
    assert times == sorted(times)
    assert all(e.reset_s > 0.5 for e in practice.ended), "the arm drove to each start"


def test_the_scene_decides_where_practice_begins(tmp_path: Path) -> None:
    practice = Practice(tmp_path)
    practice.start()
    cube = practice.twin.observe().objects["cube"].copy()
    cube[1] = -0.09
    practice.twin.place({"cube": cube})
    assert practice.actor.begin()
    assert practice.actor.node.name == "backward"


def test_a_node_that_fails_again_and_again_gets_help(tmp_path: Path) -> None:
    practice = Practice(tmp_path, idles=True)
    practice.start(3)
    practice.run(5)
    rungs = [(r["rung"], r["trouble"]) for r in read_jsonl(tmp_path / "resets.jsonl")]
    assert ("regrasp", "stuck") in rungs
    assert practice.twin.scene_resets == 1


def test_an_object_that_is_gone_calls_a_person_once_and_practice_goes_on(tmp_path: Path) -> None:
    person = Scripted()
    practice = Practice(tmp_path, channel=person)
    practice.start()
    gone = np.array([0.8, 0.3, 0.025, 1.0, 0.0, 0.0, 0.0])
    practice.twin.place({"cube": gone})
    practice.run(1)  # the task ends it at once: the cube is lost
    assert len(person.questions) == 1
    assert in_left(practice.twin.observe()) or in_right(practice.twin.observe())
    practice.run(2)
    assert len(person.questions) == 1


def test_a_stop_in_an_episode_calls_a_person_and_practice_goes_on(tmp_path: Path) -> None:
    person = Scripted()
    practice = Practice(tmp_path, channel=person)
    practice.start()
    for _ in range(3):
        practice.actor.tick()
    practice.twin.stop("a person came near")
    practice.run(1)
    assert [q.trouble for q in person.questions] == ["stopped"]
    practice.run(1)
    assert not practice.twin.guard.stopped


def test_practice_is_helpless_when_nobody_comes(tmp_path: Path) -> None:
    practice = Practice(tmp_path, channel=Scripted(answers=0))
    practice.start()
    practice.steps._asker._stopping = lambda: True
    practice.twin.stop("a person came near")
    practice.run(1)
    assert practice.actor.helpless


def test_physics_that_diverges_is_a_call_for_a_person_and_no_end(tmp_path: Path) -> None:
    person = Scripted()
    practice = Practice(tmp_path, channel=person)
    practice.start()
    practice.actor.tick()
    practice.twin.data.qvel[:] = np.nan
    with pytest.raises(RobotError, match="diverged"):
        practice.twin.command(_hold())
    practice.actor.tick()
    assert person.questions
    practice.run(1)


def _hold() -> ArmCommand:
    return ArmCommand(np.array([0.5, 0.09, 0.12]), np.array([0.0, 1.0, 0.0, 0.0]), False)


def test_a_goal_may_judge_in_the_place_of_the_task() -> None:
    task = BinRelocate()
    twin = ArmTwin(task)
    high = NodeConfig(goal="high")
    task.predicates["high"] = lambda state: state.p_BE[2] > 0.13
    node = Node("a", high, "never", RobotEnv(twin, task))
    twin.reset(task.sample_reset(np.random.default_rng(1)))
    node.env.reset(seed=0)
    up = np.zeros(task.action_spec.size, np.float32)
    up[2] = -0.5  # the tool points down
    info: dict[str, Any] = {}
    for _ in range(20):
        _, reward, terminated, _, info = node.env.step(up)
        assert terminated == info["success"] == (node.env.robot_state.p_BE[2] > 0.13)
        assert reward == float(info["success"])
        if terminated:
            break
    assert info["reason"] == "the goal holds"


def test_predicates_and_nodes_that_cannot_be_are_told() -> None:
    task = BinRelocate()
    with pytest.raises(ConfigError, match=r"start is 'in_lft'; the task bin_relocate offers .*Did you mean 'in_left'"):
        predicate("in_lft", task, "practice.nodes.a.start")
    twin = ArmTwin(task)
    env = RobotEnv(twin, task)
    nodes = [Node("a", NodeConfig(), "never", env), Node("b", NodeConfig(), "never", RobotEnv(twin, PickCube()))]
    with pytest.raises(ConfigError, match=r"'a' and 'b' have different compliance, but share one robot"):
        check_shared(nodes)
    target = compose(
        ["task=bin_relocate", "practice=forward_backward",
         "practice.nodes.forward.goal={_target_: robot_rl.practice.ask.SaysPerson, question: Done?}"]
    ).settings().practice.nodes["forward"]  # fmt: skip
    with pytest.raises(ConfigError, match=r"goal asks after each step"):
        Node("forward", target, "never", env)
    asked = predicate(target.goal, task, "x")
    assert callable(asked)
    assert isinstance(Seen(state=twin.reset(task.sample_reset(np.random.default_rng(0)))), Seen)
