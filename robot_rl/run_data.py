"""Everything a run folder holds, read once and tolerantly: reports and comparisons start from here."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CheckpointError, ConfigError, nearest
from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.practice.record import RESETS_FILE
from robot_rl.runs import is_run, list_runs
from robot_rl.stats import number

Row = dict[str, Any]
_BASELINES = ("clone", "bc", "demos", "expert", "random")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation: its label ("final", "bc", ...) and its episodes."""

    label: str
    episodes: list[Row]


@dataclass(slots=True, kw_only=True)
class RunData:
    """What a run folder holds; parts that are not there yet are empty.

    Attributes:
        folder: Where it lies.
        facts: `run.json`.
        summary: `summary.json`.
        config: Text of `config.yaml`.
        train: Rows of `metrics.jsonl` of kind "train"; after a resume, what it rolled back is left out.
        other: Rows of other kinds, such as "clone".
        episodes: Practice episodes in order.
        resets: Tries of automatic resets, in order; see `robot_rl.practice.record`.
        demos: Demonstration episodes.
        evaluations: Newest last; baselines such as "bc" first.
        latencies: Samples in ms under "latency/<name>", all actors together.
        video: A video, if there is one.
        damaged: What could not be read, as sentences.
    """

    folder: Path
    facts: Row = field(default_factory=dict)
    summary: Row = field(default_factory=dict)
    config: str = ""
    train: list[Row] = field(default_factory=list)
    other: list[Row] = field(default_factory=list)
    episodes: list[Row] = field(default_factory=list)
    resets: list[Row] = field(default_factory=list)
    demos: list[Row] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    latencies: dict[str, list[float]] = field(default_factory=dict)
    video: Path | None = None
    damaged: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.resolve().name

    @property
    def task(self) -> str:
        """Name of the task, or of the run when unknown."""
        return str(self.facts.get("task") or self.name)

    @property
    def final(self) -> Evaluation | None:
        """The evaluation that stands for the run: the newest that is no baseline."""
        own = [e for e in self.evaluations if e.label not in _BASELINES]
        return own[-1] if own else None

    @property
    def clone(self) -> Evaluation | None:
        """The evaluation of the cloned start, before practice."""
        cloned = [e for e in self.evaluations if e.label in ("clone", "bc")]
        return cloned[-1] if cloned else None

    @property
    def env_steps(self) -> int:
        """Environment steps so far."""
        rows = [r for r in (*self.train[-1:], *self.episodes[-1:])]
        return int(max((number(r.get("env_steps"), 0.0) for r in rows), default=0))

    @property
    def wall_s(self) -> float:
        """Wall time so far, seconds, restarts included and pauses left out."""
        rows = [r for r in (*self.train[-1:], *self.other[-1:], *self.episodes[-1:])]
        return max((number(r.get("t_s"), 0.0) for r in rows), default=0.0)

    def demos_as_policy(self) -> list[Row]:
        """Return the demonstrations as if a policy had acted, so that they can be summed up beside one."""
        return [{**row, "source": "policy", "intervened": False} for row in self.demos]


def load_run(folder: Path) -> RunData:
    """Read a run folder.

    Raises:
        ConfigError: There is no run; the message lists those that exist beside it.
    """
    if not is_run(folder):
        names = [entry.name for entry in list_runs(folder.parent)] if folder.parent.is_dir() else []
        beside = (
            f" Runs in {folder.parent}: {', '.join(names[:12])}" if names else f" No runs in {folder.parent} either"
        )
        what = "holds no run" if folder.is_dir() else "does not exist"
        raise ConfigError(f"the run folder {folder} {what}.{nearest(folder.name, names)}{beside}")
    run = RunData(folder=folder)
    run.facts = _json(run, folder / "run.json")
    run.summary = _json(run, folder / "summary.json")
    with contextlib.suppress(OSError):
        run.config = (folder / "config.yaml").read_text(encoding="utf-8", errors="replace")
    rows = read_jsonl(folder / "metrics.jsonl")
    run.train = without_rolled_back([r for r in rows if r.get("kind", "train") == "train"], "updates")
    run.other = [r for r in rows if r.get("kind", "train") != "train"]
    everything = read_jsonl(folder / "episodes.jsonl")
    run.episodes = [r for r in everything if r.get("source") != "demo"]
    run.resets = read_jsonl(folder / RESETS_FILE)
    run.demos = [r for r in everything if r.get("source") == "demo"] or read_jsonl(folder / "demos" / "episodes.jsonl")
    run.evaluations = _evaluations(run)
    for path in sorted(folder.glob("latency*.json")):
        for name, samples in _json(run, path).items():
            if isinstance(samples, list):
                values = [number(x) for x in samples]
                run.latencies.setdefault(name, []).extend(x for x in values if math.isfinite(x))
    videos = sorted(folder.glob("*.mp4"), key=lambda p: (p.name == "video.mp4", p.stat().st_mtime))
    run.video = videos[-1] if videos else None
    return run


def without_rolled_back(rows: Sequence[Row], key: str) -> list[Row]:
    """Return the rows that a later row has not overtaken: a resume repeats what came after its checkpoint."""
    kept: list[Row] = []
    limit = np.inf
    for row in reversed(rows):
        value = number(row.get(key), -np.inf)
        if value <= limit:
            kept.append(row)
            limit = value
    return kept[::-1]


def column(rows: Sequence[Mapping[str, object]], key: str) -> NDArray[np.float64]:
    """Return (n,) the values of one key; nan where it is missing or no number."""
    return np.array([number(row.get(key)) for row in rows], float)


def mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the finite values; nan without any."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def guard_counts(episode: Mapping[str, object]) -> dict[str, float]:
    """Return how often each of the guard's rules acted in an episode."""
    events = episode.get("guard")
    return {str(k): number(v, 0.0) for k, v in events.items()} if isinstance(events, Mapping) else {}


def _json(run: RunData, path: Path) -> Row:
    try:
        return read_json(path)
    except CheckpointError as e:
        run.damaged.append(str(e))
        return {}


def _evaluations(run: RunData) -> list[Evaluation]:
    paths = sorted(run.folder.glob("eval-*.jsonl"), key=lambda p: (p.stat().st_mtime, p.name))
    found = [Evaluation(p.stem.removeprefix("eval-"), read_jsonl(p)) for p in paths]
    if not found:
        rows = _json(run, run.folder / "eval.json").get("episodes")
        if isinstance(rows, list):
            found = [Evaluation("final", [r for r in rows if isinstance(r, dict)])]
    found = [e for e in found if e.episodes]
    return sorted(found, key=lambda e: e.label not in _BASELINES)
