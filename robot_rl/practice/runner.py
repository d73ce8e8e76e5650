"""`PracticeActor`: one robot that practises the nodes of a graph in turn, and brings the scene back in between.

It is to a run with automatic resets what `Actor` is to others: `tick` does one control period or says that there is
none to do. Between two episodes it does whatever it takes to begin the next one; that may take minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_rl.actor import Actor
from robot_rl.assisted import AssistedEnv
from robot_rl.errors import RobotError
from robot_rl.practice.detect import EpisodeWatch, Trouble
from robot_rl.practice.graph import Graph, PracticeConfig
from robot_rl.practice.ladder import Ladder
from robot_rl.practice.node import Node, as_env
from robot_rl.practice.primitives import Primitives
from robot_rl.practice.record import ResetLog

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Practised:
    """What is known of a finished episode beside what the learner is told."""

    node: str
    episode: int
    robot_s: float
    reset_s: float
    dropped: int = 0

    def facts(self) -> dict[str, Any]:
        """Return plain values for the episode's row."""
        return {
            "node": self.node, "robot_s": round(self.robot_s, 2), "reset_s": round(self.reset_s, 2),
            "dropped": self.dropped,
        }  # fmt: skip


class PracticeActor:
    """Practises.

    Args:
        config: The graph and what counts as trouble.
        nodes: In the order of the graph.
        actors: One for each node, on the same assisted environment.
        assisted: Whose inner environment is that of the present node.
        primitives, ladder, record: See there.
        ended: Told of each finished episode.

    Attributes:
        node: Which is practised now.
        helpless: Whether a person was asked in vain: practice cannot go on.
        finished: Episodes that have ended, however they did.
    """

    def __init__(
        self,
        config: PracticeConfig,
        nodes: Sequence[Node],
        actors: Mapping[str, Actor],
        assisted: AssistedEnv,
        primitives: Primitives,
        ladder: Ladder,
        record: ResetLog,
        ended: Callable[[Practised], None] = lambda practised: None,
    ) -> None:
        self._config, self._graph, self._actors, self._assisted = config, Graph(config), actors, assisted
        self._nodes = {node.name: node for node in nodes}
        self._primitives, self._ladder, self._record, self._ended = primitives, ladder, record, ended
        self._stuck = ladder.stuck
        self._watch: EpisodeWatch | None = None
        self.helpless, self.finished = False, 0
        self.node = self._nodes[self._graph.first]
        self._go(self.node.name)

    @property
    def robot_s(self) -> float:
        """Robot time so far, over all restarts of the run."""
        return self._record.robot_s

    def begin(self, node: str = "") -> bool:
        """See to it that an episode can begin, before the first one; False when nobody came to help.

        Args:
            node: Where practice stood, if it is resumed.
        """
        self._go(node if node in self._nodes else self._graph.first)
        follows = self.node.name
        return self._clear(lambda: self._diagnose(follows), follows)

    def tick(self) -> bool:
        """Do one control period, and whatever follows it; return whether there was one to do."""
        actor = self._actors[self.node.name]
        completed, steps = actor.completed, actor.steps
        try:
            acted = actor.tick()
        except RobotError as e:
            self._failed(actor, str(e))
            return True
        if not acted or actor.steps == steps:
            return acted
        watch = self._watch
        if watch is None:  # the episode has just begun
            watch = self._watch = EpisodeWatch(self._config.trouble, self._config.motion, self.node.env.period_s)
            self._record.robot_s += self.node.env.reset_s
        self._record.robot_s += self.node.env.period_s
        info = self.node.env.info
        watch.step(self.node.env.robot_state, float(np.linalg.norm(info["executed_action"][:3])))
        if actor.completed > completed:
            self._finished(actor, watch, bool(info["success"]))
        elif watch.stalled:
            actor.abandon("stuck: the tool was told to move and did not")
            self._finished(actor, watch, success=False)
        return True

    def _finished(self, actor: Actor, watch: EpisodeWatch, success: bool) -> None:
        """Note an episode, and see to it that the next one can begin."""
        self._note(actor, watch)
        node = self.node.name
        state = self._primitives.robot.observe()
        self._stuck.ended(node, success, state.objects)
        follows = self._graph.follows(node, success)
        if "put_down" in self._config.rungs and not self._primitives.held() and self._primitives.holds(state):
            self._ladder.put_down(node)
        self._clear(lambda: self._diagnose(follows), follows)

    def _failed(self, actor: Actor, reason: str) -> None:
        """Get out of what kept the robot from an episode's beginning or its next step."""
        actor.abandon(reason)
        if self._watch is not None:
            self._note(actor, self._watch)
        node = self.node.name
        log.warning("the episode of '%s' cannot go on: %s", node, reason)

        def diagnose() -> Trouble | None:
            found = self._diagnose(node)
            return self._drive_home() if found is None else found

        held = self._held()
        trouble = held or Trouble(kind="blocked", text=reason)
        if not self._ladder.climb(node, self._nodes[node].task, trouble, diagnose):
            self.helpless = True
        else:
            self._clear(lambda: self._diagnose(node), node)

    def _clear(self, diagnose: Callable[[], Trouble | None], follows: str) -> bool:
        """Get out of all trouble; return whether that worked."""
        while (trouble := diagnose()) is not None:
            if not self._ladder.climb(follows, self._nodes[follows].task, trouble, diagnose):
                self.helpless = True
                return False
        return True

    def _diagnose(self, follows: str) -> Trouble | None:
        """Return what keeps the next episode from beginning, or else go to the node that begins it."""
        held = self._held()
        if held is not None:
            return held
        if any(node.looks for node in self._nodes.values()):
            blocked = self._drive_home()
            if blocked is not None:
                return blocked
        seen = self._nodes[follows].env.look()
        if self.node.lost(seen):
            return Trouble(kind="lost", text="an object lies where the arm cannot bring it back from")
        stuck = self._stuck.trouble(self.node.name)
        if stuck is not None:
            return stuck
        chosen = self._graph.choose(follows, lambda name: self._nodes[name].start(seen))
        if chosen is None:
            text = f"the scene is none that {' or '.join(self._nodes)} may begin from"
            return Trouble(kind="misplaced", text=text)
        self._go(chosen)
        return None

    def _held(self) -> Trouble | None:
        try:
            reason = self._primitives.held()
        except RobotError as e:
            reason = str(e)
        return Trouble(kind="stopped", text=reason) if reason else None

    def _drive_home(self) -> Trouble | None:
        """Drive the arm to a start of the present node, out of the way; return why that did not work."""
        before_s = self._primitives.robot.observe().stamp_s
        try:
            self.node.env.reset()
        except RobotError as e:
            return self._held() or Trouble(kind="blocked", text=str(e))
        finally:
            self._watch = None
        self._record.robot_s += max(self._primitives.robot.observe().stamp_s - before_s, 0.0)
        return None

    def _note(self, actor: Actor, watch: EpisodeWatch) -> None:
        self._watch, self.finished = None, self.finished + 1
        self._ended(
            Practised(
                node=self.node.name,
                episode=actor.episode,
                robot_s=self._record.robot_s,
                reset_s=self.node.env.reset_s,
                dropped=watch.dropped,
            )
        )

    def _go(self, name: str) -> None:
        self.node = self._nodes[name]
        self._assisted.env = as_env(self.node)
        self.node.env.connect()
