"""Practice of a graph of tasks without resets by a person or the simulator: one actor, and a learner for each node.

Everything takes turns in one process, as in `train_single`. Each node is a run in a folder of its own below the run's,
with its demonstrations, replay, checkpoints and metrics, so that `robot-rl eval RUN/NODE` and whatever else takes a run
takes a node. The run's own `episodes.jsonl` has the episodes of all nodes, in the order in which they were practised.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.actor import Actor
from robot_rl.assisted import AssistedEnv
from robot_rl.build import make_env
from robot_rl.config import Composed
from robot_rl.console import show_session
from robot_rl.env import RobotEnv
from robot_rl.episodes.practice import run_log
from robot_rl.errors import CheckpointError, ConfigError, RobotError, StorageError
from robot_rl.jsonl import read_json, write_json_atomic
from robot_rl.link_local import LocalActor, LocalLearner, local_link
from robot_rl.metrics import MetricsWriter
from robot_rl.practice.ask import Asker, Browser, Channel, Scripted, Terminal, Webhook
from robot_rl.practice.graph import Graph
from robot_rl.practice.ladder import Hand, Ladder, NoHand, TwinHand
from robot_rl.practice.node import Node, as_env, check_shared
from robot_rl.practice.primitives import Primitives
from robot_rl.practice.record import ResetLog
from robot_rl.practice.runner import PracticeActor, Practised
from robot_rl.robot import Robot
from robot_rl.runs import create_run
from robot_rl.settings import Settings
from robot_rl.train_actor import actor_seed
from robot_rl.train_learner import LearnerRun
from robot_rl.typed import Target

log = logging.getLogger(__name__)

SCENE_FILE = "scene.json"  # of a twin: what a real cell keeps by itself while nothing runs


def node_settings(composed: Composed) -> dict[str, Composed]:
    """Return the configuration of each node as of a run of its own.

    A node may take as many steps as the whole run: how they fall to the nodes is known only in the end.
    """
    settings = composed.settings()
    steps = len(settings.practice.nodes) * settings.learner.total_env_steps
    found: dict[str, Composed] = {}
    for name, node in settings.practice.nodes.items():
        task = {**composed.values["task"], **node.task}
        learner = {**composed.values["learner"], "total_env_steps": steps}
        off = {**composed.values["practice"], "nodes": {}}
        changed = composed.changed({"task": task, "learner": learner, "practice": off})
        choices = {group: choice for group, choice in composed.choices.items() if group != "practice"}
        found[name] = dataclasses.replace(changed, choices=choices)
    return found


@dataclass(frozen=True, kw_only=True)
class Shared(Target):
    """The robot of a configuration that is made once, for all nodes.

    Attributes:
        robot: What `make` returns.
    """

    robot: Any = None

    def make(self, *args: Any) -> Any:
        """Return the robot."""
        return self.robot


class PracticeRun:
    """A run with automatic resets, from its settings to its nodes' learners.

    Args:
        folder: The run.
        composed: Its configuration.
        stopping: Asked often whether to stop.
    """

    def __init__(self, folder: Path, composed: Composed, stopping: Callable[[], bool] = lambda: False) -> None:
        self.folder, self.settings, self._stopping = folder, composed.settings(), stopping
        self.composed = node_settings(composed)
        self._settings = {name: found.settings() for name, found in self.composed.items()}
        config, settings = self.settings.practice, self.settings
        self._first = Graph(config).first
        self.robot: Robot = settings.robot.make(self._settings[self._first].task.make())
        shared = Shared(path=settings.robot.path, settings=settings.robot.settings, where="robot", robot=self.robot)
        self.nodes = [
            Node(name, config.nodes[name], config.lost, make_env(dataclasses.replace(found, robot=shared)))
            for name, found in self._settings.items()
        ]
        check_shared(self.nodes)
        if getattr(self.robot, "real_time", False):
            raise ConfigError(
                "practice takes turns in one process, and a robot in real time does not wait while the learners "
                "compute: robot=twin"
            )
        for name, found in self.composed.items():
            self._make_folder(name, found)

    def node_folder(self, name: str) -> Path:
        """Return where a node's run lies."""
        return self.folder / name

    def placing_env(self, name: str) -> RobotEnv:
        """Return a node's environment in which each episode begins from a drawn scene; for all but practice."""
        env = next(node.env.inner for node in self.nodes if node.name == name)
        env.keep_scene = False
        return env

    def node_run(self, name: str) -> Settings:
        """Return a node's settings."""
        return self._settings[name]

    def _make_folder(self, name: str, composed: Composed) -> None:
        if (self.folder / name / "run.json").is_file():
            return
        settings = self._settings[name]
        create_run(
            self.folder, name, task=composed.task, seed=settings.seed, config_yaml=composed.text(), node=name,
            updates_per_step=settings.learner.updates_per_step, group=settings.group or settings.algorithm,
            mode="single", actors=1,
        )  # fmt: skip

    def practise(self) -> bool:
        """Practise until all steps are taken and learnt from, or until asked to stop; return whether it is complete."""
        with contextlib.ExitStack() as stack:
            return self._practise(stack)

    def _practise(self, stack: contextlib.ExitStack) -> bool:
        settings, config = self.settings, self.settings.practice
        told: dict[tuple[str, int], Practised] = {}
        record = ResetLog(self.folder)
        stack.callback(record.close)
        writer = stack.enter_context(MetricsWriter(self.folder, ("jsonl",)))
        first = self.nodes[0]
        assisted = AssistedEnv(as_env(first), settings.operator.make(first.task))
        stack.callback(assisted.operator.close)
        runs: dict[str, LearnerRun] = {}
        links: dict[str, tuple[LocalActor, LocalLearner]] = {}

        def finished_row(name: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
            found = told.pop((name, int(row["episode"])), None)
            facts = found.facts() if found is not None else {"node": name}
            try:
                writer.episode(sum(run.learner.env_steps for run in runs.values()), {**row, **facts})
            except StorageError as e:
                log.warning("%s", e)
            return facts

        for node in self.nodes:
            run, link = self._learner(node, finished_row, stack)
            runs[node.name], links[node.name] = run, link
            if not run.prepare(self._stopping):
                return False
        show_session(assisted, self.folder, "train")
        for watcher in assisted.watchers:
            stack.callback(watcher.close)
        actors = {
            node.name: self._actor(i, node, runs[node.name], links[node.name][0], assisted, stack)
            for i, node in enumerate(self.nodes)
        }
        sessions = len(runs[first.name].last_seq)
        rng = np.random.default_rng([settings.seed, sessions, 3])
        primitives = Primitives(self.robot, first.task, first.env.period_s, config.motion)
        asker = Asker(self._channels(assisted), config.ask, self._stopping)
        ladder = Ladder(config, primitives, asker, self._hand(), record, self.folder.name, rng)

        def ended(practised: Practised) -> None:
            told[practised.node, practised.episode] = practised

        actor = PracticeActor(config, self.nodes, actors, assisted, primitives, ladder, record, ended)
        at = self._set_scene(rng)
        total = len(self.nodes) * settings.learner.total_env_steps
        placed = getattr(self.robot, "scene_resets", 0)
        complete = actor.begin(at) and self._turns(actor, runs, writer, total)
        if (more := getattr(self.robot, "scene_resets", 0) - placed) > 0:
            log.warning("the simulator set up the scene %d times during practice, each after a call for a person", more)
        for one in actors.values():
            one.flush()
        for run in runs.values():
            if complete:
                run.finish()
            else:
                run.receive(0.0)
                run.checkpoint(required=True)
        return complete

    def _turns(self, actor: PracticeActor, runs: Mapping[str, LearnerRun], writer: MetricsWriter, total: int) -> bool:
        """Take turns until the run is complete; False when it is to stop before, or nobody can help."""
        measured_s = 0.0
        while not self._stopping() and not actor.helpless:
            steps = sum(run.learner.env_steps for run in runs.values())
            done = steps >= total
            if done and not any(run.learner.due for run in runs.values()):
                return True
            if not done:
                finished = actor.finished
                actor.tick()
                if actor.finished > finished:
                    self._keep_scene(actor.node.name)
            for run in runs.values():
                run.turn()
            if writer.elapsed_s - measured_s > self.settings.metrics.every_s:
                measured_s = writer.elapsed_s
                with contextlib.suppress(StorageError):
                    updates = sum(run.learner.updates for run in runs.values())
                    writer.write(steps, updates, {"practice/robot_min": actor.robot_s / 60.0})
        return False

    def _learner(
        self, node: Node, more: Callable[[str, Mapping[str, Any]], Mapping[str, Any]], stack: contextlib.ExitStack
    ) -> tuple[LearnerRun, tuple[LocalActor, LocalLearner]]:
        ends: list[tuple[LocalActor, LocalLearner]] = []

        def open_link(last_seq: Mapping[str, int]) -> LocalLearner:
            ends.append(local_link(session=f"session{len(last_seq)}"))
            return ends[0][1]

        specs = (node.env.observation_spec, node.task.action_spec)
        run = LearnerRun(
            self.folder / node.name, self._settings[node.name], specs, node.env.period_s, open_link,
            more=lambda row: more(node.name, row),
        )  # fmt: skip
        stack.callback(run.close)
        return run, ends[0]

    def _actor(
        self, index: int, node: Node, run: LearnerRun, link: LocalActor, assisted: AssistedEnv,
        stack: contextlib.ExitStack,
    ) -> Actor:  # fmt: skip
        settings = self._settings[node.name]
        sink = run_log(self.folder / node.name, as_env(node), settings)
        if sink is not None:
            stack.callback(sink.close)
        # Its period is that of the environment that is inside when it is made.
        assisted.env = as_env(node)
        return Actor(assisted, link, settings.actor, actor_seed(settings.seed, index, len(run.last_seq)), sink=sink)

    def _hand(self) -> Hand:
        return TwinHand(self.robot) if hasattr(self.robot, "place") else NoHand()

    def _channels(self, assisted: AssistedEnv) -> list[Channel]:
        config = self.settings.practice.ask
        channels: list[Channel] = [Webhook(config.webhook, config.webhook_timeout_s)] if config.webhook else []
        if config.helper == "scripted" or (config.helper == "auto" and hasattr(self.robot, "place")):
            return [*channels, Scripted()]
        typed = sys.stdin if sys.stdin is not None and sys.stdin.isatty() else None
        return [*channels, Terminal(sys.stderr, typed), Browser(assisted)]

    def _set_scene(self, rng: np.random.Generator) -> str:
        """Bring a twin's scene to where practice left it, or set it up for the first time; return the node."""
        found: dict[str, Any] = {}
        with contextlib.suppress(CheckpointError):
            found = read_json(self.folder / SCENE_FILE)
        restore = getattr(self.robot, "restore", None)
        if found and restore is not None:
            try:
                restore(found["snapshot"])
                return str(found.get("node", ""))
            except (RobotError, KeyError) as e:
                log.warning("the scene is set up anew: %s", e)
        if hasattr(self.robot, "place"):
            first = next(node for node in self.nodes if node.name == self._first)
            self.robot.reset(first.task.sample_reset(rng))
        return ""

    def _keep_scene(self, node: str) -> None:
        snapshot = getattr(self.robot, "snapshot", None)
        if snapshot is None:
            return
        try:
            write_json_atomic(self.folder / SCENE_FILE, {"node": node, "snapshot": snapshot()})
        except StorageError as e:
            log.warning("%s", e)
