"""What is known of an episode beside its messages: facts of its start and of its end, as metadata of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.jsonl import plain

Verdict = Literal["", "success", "failure", "discard"]
VERDICTS: tuple[Verdict, ...] = ("", "success", "failure", "discard")
_WORDS = ("task", "robot", "kind", "started", "config", "reason", "verdict")  # kept as they are, not as JSON


@dataclass(frozen=True, kw_only=True)
class EpisodeStart:
    """What is known when an episode begins.

    Attributes:
        task: Name of the task.
        spec: `robot_rl.link.session_spec` of it: what the arrays of the steps mean.
        period_s: Nominal control period.
        real_time: Whether time passes for the robot by itself; if not, stamps are in the robot's own time.
        kind: "practice", "demo" or "evaluation".
        robot: Which robot it was, in words.
        episode: Number that the actor gave it; -1 if none.
        seed: Of the start, -1 if unknown.
        joint_names: As ROS names them; joint1, joint2, ... when empty.
        config: Resolved configuration, YAML.
        versions: Of packages, and the commit.
        calibration: What was measured of the cell: cameras, bounds.
        started: Local time in ISO form; filled in by the recorder when empty.
        reset: What reproduces its beginning (`episodes.beginning`): the request, and a twin's whole state. Empty in
            files of before that was recorded, and where it no longer holds.
        origin: Of an imported episode: what it was made of, and what is not known of it.
    """

    task: str
    spec: Mapping[str, Any]
    period_s: float
    real_time: bool = False
    kind: str = "practice"
    robot: str = ""
    episode: int = -1
    seed: int = -1
    joint_names: tuple[str, ...] = ()
    config: str = ""
    versions: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    reset: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EpisodeEnd:
    """What is known when an episode has ended.

    Attributes:
        steps: How many steps were recorded.
        success, terminated, truncated, reason: Of the last step.
        total_reward: Sum of the rewards.
        duration_s: In the robot's time.
        verdict: The operator's, which stands above the task's; "discard" keeps the episode from a learner.
        sources: Steps by who acted.
        guard: Events by rule.
        dropped: Pictures that were not recorded because the disk or the processor could not keep up, by camera.
    """

    steps: int
    success: bool = False
    terminated: bool = False
    truncated: bool = False
    reason: str = ""
    total_reward: float = 0.0
    duration_s: float = 0.0
    verdict: Verdict = ""
    sources: Mapping[str, int] = field(default_factory=dict)
    guard: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ConfigError(f"'{self.verdict}' is no verdict on an episode; allowed: success, failure, discard")

    @property
    def succeeded(self) -> bool:
        """Whether it counts as a success: the operator's word, else the task's."""
        return self.verdict == "success" or (self.success and not self.verdict)


def to_text(facts: EpisodeStart | EpisodeEnd) -> dict[str, str]:
    """Return facts as the map from text to text that a metadata record is."""
    made = {f.name: getattr(facts, f.name) for f in fields(facts)}
    return {k: v if k in _WORDS else json.dumps(plain(v), ensure_ascii=False) for k, v in made.items()}


def start_of(text: Mapping[str, str]) -> EpisodeStart:
    """Return the facts of a start from a metadata record; unknown entries are left out."""
    found = _values(text, EpisodeStart)
    return EpisodeStart(**{**found, "joint_names": tuple(found.get("joint_names", ()))})


def end_of(text: Mapping[str, str]) -> EpisodeEnd:
    """Return the facts of an end from a metadata record; unknown entries are left out."""
    return EpisodeEnd(**_values(text, EpisodeEnd))


def _values(text: Mapping[str, str], kind: type) -> dict[str, Any]:
    known = {f.name for f in fields(kind)}
    try:
        return {k: v if k in _WORDS else json.loads(v) for k, v in text.items() if k in known}
    except ValueError as e:
        raise CheckpointError(
            f"the facts of an episode cannot be read ({e}); the file was not written by robot_rl"
        ) from e
