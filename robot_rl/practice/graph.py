"""The graph of tasks that an arm practises in turn: where each may begin, what it leads to, and which comes next.

Two tasks whose results are each other's beginnings need nobody to reset the scene: forward-backward practice is the
graph of two nodes. A node is a task with settings of its own; an edge says which node follows its success or failure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from robot_rl.errors import ConfigError, nearest
from robot_rl.practice.predicates import ALWAYS, NEVER, TASK
from robot_rl.typed import Target

Rung = Literal["put_down", "retreat", "regrasp", "ask"]
RUNGS: tuple[Rung, ...] = ("put_down", "retreat", "regrasp", "ask")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """A task of the graph.

    Attributes:
        task: Settings of the run's task that are different here, such as its direction.
        start: Predicate that says whether the scene is one that this node may begin from.
        goal: Predicate that says whether it succeeded; "task" leaves that to the task.
        on_success, on_failure: Which node follows; the node itself when empty.
    """

    task: Mapping[str, Any] = field(default_factory=dict)
    start: str | Target = ALWAYS
    goal: str | Target = TASK
    on_success: str = ""
    on_failure: str = ""


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """How the scripted primitives move.

    Attributes:
        speed_m_s, speed_rad_s: How fast the tool is led.
        tolerance_m, tolerance_rad: A motion has arrived when the measured pose is this near, at rest.
        timeout_s: A motion that has not arrived by then is given up.
        lift_m: How far up a lift goes.
        clearance_m: Height above an object at which the hand comes, and at which it is carried.
        held_m: Closed fingers that stay wider open than this hold something.
    """

    speed_m_s: float = 0.15
    speed_rad_s: float = 1.0
    tolerance_m: float = 0.008
    tolerance_rad: float = 0.08
    timeout_s: float = 6.0
    lift_m: float = 0.05
    clearance_m: float = 0.08
    held_m: float = 0.01

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigError(f"practice.motion.{name} is {getattr(self, name)}; it must be positive")


@dataclass(frozen=True, kw_only=True)
class TroubleConfig:
    """What counts as trouble.

    Attributes:
        stuck_episodes: So many failures in a row at one node, with nothing moved meanwhile, count as stuck.
        stuck_m: An object that moved less than this did not move.
        stall_s: In an episode, a tool that is told to move and does not for this long ends it.
        stall_m: Less than this is no motion.
        tries: How often each rung is tried before the next.
        budget_s: Robot time that may go by until a person is asked.
    """

    stuck_episodes: int = 4
    stuck_m: float = 0.01
    stall_s: float = 5.0
    stall_m: float = 0.003
    tries: int = 2
    budget_s: float = 60.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"practice.trouble.{name} is {getattr(self, name)}; it must be positive")


@dataclass(frozen=True, kw_only=True)
class AskConfig:
    """How a person is asked, when nothing else helped.

    Attributes:
        helper: Who answers: "person", or "scripted", who puts the objects of a twin where the next episode shall begin
            and counts as a person all the same. "auto" is scripted for a twin in lock-step and a person elsewhere.
        webhook: Address that is told of each question, http or https; empty for none.
        webhook_timeout_s: How long it may take.
        patience_s: How long an answer is waited for; then the run stops in order.
        remind_s: How often the question is repeated meanwhile.
    """

    helper: Literal["auto", "person", "scripted"] = "auto"
    webhook: str = ""
    webhook_timeout_s: float = 5.0
    patience_s: float = 3600.0
    remind_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("webhook_timeout_s", "patience_s", "remind_s"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigError(f"practice.ask.{name} is {getattr(self, name)}; it must be positive")
        if self.webhook and not self.webhook.startswith(("http://", "https://")):
            raise ConfigError(
                f"practice.ask.webhook is '{self.webhook}'; it must begin with http:// or https://, or be empty"
            )


@dataclass(frozen=True, kw_only=True)
class PracticeConfig:
    """Settings of practice without resets by a person or a simulator; off without nodes.

    Attributes:
        nodes: The graph, by name.
        first: Where practice begins; the first that is named when empty.
        lost: Predicate that says that no motion of the arm can bring an object back.
        rungs: What is tried in trouble, in this order; "ask" is the last.
        motion, trouble, ask: How.
    """

    nodes: Mapping[str, NodeConfig] = field(default_factory=dict)
    first: str = ""
    lost: str | Target = NEVER
    rungs: tuple[Rung, ...] = RUNGS
    motion: MotionConfig = field(default_factory=MotionConfig)
    trouble: TroubleConfig = field(default_factory=TroubleConfig)
    ask: AskConfig = field(default_factory=AskConfig)

    def __post_init__(self) -> None:
        if self.nodes:
            Graph(self)
        if len(set(self.rungs)) != len(self.rungs) or self.rungs[-1:] != ("ask",):
            raise ConfigError(
                f"practice.rungs is {list(self.rungs)}; each may be there once, and 'ask' must be the last, for only a "
                "person can help with everything"
            )

    @property
    def on(self) -> bool:
        """Whether there is anything to practise in this way."""
        return bool(self.nodes)


class Graph:
    """The edges, checked: they lead to nodes that exist, and from every node to every other one.

    Args:
        config: Names the nodes.

    Raises:
        ConfigError: A name cannot be a folder's, an edge leads nowhere, or some node cannot be left or reached.
    """

    def __init__(self, config: PracticeConfig) -> None:
        self.nodes: tuple[str, ...] = tuple(config.nodes)
        self._success: dict[str, str] = {}
        self._failure: dict[str, str] = {}
        for name, node in config.nodes.items():
            if not _NAME.fullmatch(name):
                raise ConfigError(f"practice.nodes has '{name}'; a node's name is made of letters, digits, _ and -")
            self._success[name] = self._edge(name, "on_success", node.on_success)
            self._failure[name] = self._edge(name, "on_failure", node.on_failure)
        self.first = config.first or self.nodes[0]
        if self.first not in self.nodes:
            raise ConfigError(f"practice.first is '{self.first}'; {self._known(self.first)}")
        for name in self.nodes:
            missed = [other for other in self.nodes if other not in self.reachable(name)]
            if missed:
                raise ConfigError(
                    f"practice: from node '{name}' no edge ever leads to '{missed[0]}', so practice would end up "
                    f"without it; lead on_success or on_failure of some node on that way to '{missed[0]}'"
                )

    def _edge(self, name: str, edge: str, to: str) -> str:
        if to and to not in self.nodes:
            raise ConfigError(f"practice.nodes.{name}.{edge} is '{to}'; {self._known(to)}")
        return to or name

    def _known(self, word: str) -> str:
        return f"there are the nodes {', '.join(self.nodes)}.{nearest(word, self.nodes)}"

    def follows(self, node: str, success: bool) -> str:
        """Return the node that an edge leads to."""
        return (self._success if success else self._failure)[node]

    def reachable(self, node: str) -> tuple[str, ...]:
        """Return every node that edges lead to from a node, itself first, then by the number of edges."""
        found = [node]
        for name in found:  # grows meanwhile
            found.extend(to for to in (self._success[name], self._failure[name]) if to not in found)
        return tuple(dict.fromkeys(found))

    def choose(self, follows: str, may_begin: Callable[[str], bool]) -> str | None:
        """Return the node to practise next: the one that an edge leads to, or else the nearest that may begin.

        Args:
            follows: Where the edge leads.
            may_begin: Whether the scene is one that a node may begin from.

        Returns:
            None when no node may begin: the scene has to be brought back first.
        """
        return next((name for name in self.reachable(follows) if may_begin(name)), None)
