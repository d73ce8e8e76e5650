"""Metrics on disk: JSON lines first, TensorBoard and Weights & Biases as further sinks.

A run has two streams, each one JSON object per line:

* `metrics.jsonl`: {"t_s", "kind", "env_steps", "updates", ...scalars}. Scalars are named `group/name_unit`; the report
  and the live view know `critic/loss`, `critic/q_mean`, `critic/target_mean`, `critic/q_std`, `actor/loss`,
  `actor/entropy`, `actor/bc_nll`, `temperature/value`, `rate/env_steps_per_s`, `rate/updates_per_s`,
  `link/policy_age_steps`, `replay/steps`, and plot whatever else there is in a table of last values.
* `episodes.jsonl`: one line per finished episode, see `EPISODE_DEFAULTS`. Where a person acted there are also
  "human_steps", "interventions" (how often they took over) and "first_intervention" (in which step); where one spoke,
  "verdict"; of a robot in real time "timing", what was measured by name and percentile, such as `period_ms_p99`.

A line is one write and is in the kernel's hands when the call returns, so SIGKILL loses nothing; a line torn by a power
cut or a full disk is skipped by the reader. Reopening appends, and `t_s` goes on from where it stood.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import random
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from robot_rl.errors import ConfigError, MissingDependency, StorageError, nearest
from robot_rl.jsonl import JsonlFile, last_row, plain, read_jsonl, update_json, write_json_atomic, write_text_atomic
from robot_rl.stats import Summary, success_summary

log = logging.getLogger(__name__)

__all__ = ["Latencies", "MetricsWriter", "Sink", "read_jsonl", "write_evaluation"]

METRICS_FILE, EPISODES_FILE, LATENCY_FILE = "metrics.jsonl", "episodes.jsonl", "latency.json"
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SINKS = ("jsonl", "tensorboard", "wandb")

EPISODE_DEFAULTS: dict[str, object] = {
    "episode": 0,  # rising within one actor session
    "actor": "",
    "success": False,
    "steps": 0,
    "return": 0.0,
    "reason": "",  # why it ended
    "source": "policy",  # policy, human or demo
    "intervened": False,  # a person acted in some of its steps
    "policy_version": 0,
    "policy_age_steps": 0.0,  # env steps since the weights that acted were made
    "guard": {},  # rule -> how often it changed or refused a command
    "duration_s": 0.0,
}


class Sink(Protocol):
    """Somewhere that scalars go beside the JSON lines. It may fail; training goes on."""

    def scalars(self, t_s: float, env_steps: int, values: Mapping[str, float]) -> None:
        """Record values at a number of environment steps."""
        ...

    def close(self) -> None:
        """Flush and release."""
        ...


class MetricsWriter:
    """Writes a run's metrics and episodes; one per process that has something to say.

    A full disk raises `StorageError` once; after that rows are dropped and counted until the disk takes them again, so
    a caller may log the error and train on. A failing extra sink is logged once and dropped.
    """

    def __init__(
        self,
        folder: Path,
        sinks: Sequence[str] = ("jsonl", "tensorboard"),
        wandb: Mapping[str, object] | None = None,
    ) -> None:
        """Open the files of a run for appending.

        Args:
            folder: The run.
            sinks: Any of "jsonl" (always on), "tensorboard" (left out with a warning where it is not installed) and
                "wandb".
            wandb: Arguments for `wandb.init`, such as project and mode.
        """
        for name in sinks:
            if name not in SINKS:
                raise ConfigError(
                    f"metrics sink '{name}' is unknown; allowed: {', '.join(SINKS)}.{nearest(name, SINKS)}"
                )
        self.dropped = 0
        self._failing = False
        self._sinks: list[Sink] = []
        before = [last_row(folder / name).get("t_s") for name in (METRICS_FILE, EPISODES_FILE)]
        self._t0_s = time.monotonic() - max((float(t) for t in before if isinstance(t, (int, float))), default=0.0)
        self._metrics = JsonlFile(folder / METRICS_FILE)
        self._episodes = JsonlFile(folder / EPISODES_FILE)
        if "tensorboard" in sinks:
            try:
                self._sinks.append(_TensorBoard(folder / "tensorboard"))
            except MissingDependency as e:  # a default that a robot's or a learner's machine may lack
                log.warning("%s", e)
        if "wandb" in sinks:
            self._sinks.append(_WeightsAndBiases(folder, wandb or {}))

    @property
    def elapsed_s(self) -> float:
        """Wall time of the run so far, over all its restarts, seconds."""
        return time.monotonic() - self._t0_s

    def write(
        self,
        env_steps: int,
        updates: int,
        scalars: Mapping[str, object],
        *,
        kind: str = "train",
        t_s: float | None = None,
    ) -> None:
        """Write one line of scalars.

        Args:
            env_steps: Environment steps received so far, over all actors.
            updates: Critic updates so far.
            scalars: `group/name_unit` to number (numpy and JAX scalars too).
            kind: "train", or another phase such as "clone".
            t_s: Wall time of the run; now when None.
        """
        t_s = self.elapsed_s if t_s is None else t_s
        values = {name: _scalar(value) for name, value in scalars.items()}
        row = {"t_s": round(t_s, 3), "kind": kind, "env_steps": int(env_steps), "updates": int(updates), **values}
        extra = {k if kind == "train" else f"{kind}/{k}": v for k, v in values.items()}
        self._append(self._metrics, row, t_s, env_steps, {**extra, "progress/updates": updates})

    def episode(self, env_steps: int, info: Mapping[str, object], *, t_s: float | None = None) -> None:
        """Write one finished episode.

        Args:
            env_steps: Environment steps received so far, this episode's included.
            info: Any of `EPISODE_DEFAULTS`, and more; "guard/<rule>" entries are gathered under "guard" and
                "timing/<name>" entries under "timing".
            t_s: Wall time of the run; now when None.
        """
        t_s = self.elapsed_s if t_s is None else t_s
        given = plain(info)
        assert isinstance(given, dict)  # plain() keeps mappings
        gathered = {name: _gathered(given, name) for name in ("guard", "timing")}
        rest = {k: _scalar(v) for k, v in given.items() if k.partition("/")[0] not in gathered}
        if not gathered["timing"]:  # a robot in lock-step has none
            del gathered["timing"]
        row = {"t_s": round(t_s, 3), "env_steps": int(env_steps), **EPISODE_DEFAULTS, **rest, **gathered}
        shown = {f"episode/{k}": float(row[k]) for k in ("success", "return", "steps", "duration_s")}
        self._append(self._episodes, row, t_s, env_steps, shown)

    def close(self) -> None:
        """Flush and close everything; safe to call twice."""
        self._metrics.close()
        self._episodes.close()
        for sink in self._sinks:
            with contextlib.suppress(Exception):
                sink.close()
        self._sinks.clear()

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _append(
        self, file: JsonlFile, row: Mapping[str, object], t_s: float, env_steps: int, values: Mapping[str, object]
    ) -> None:
        finite = {k: float(v) for k, v in values.items() if isinstance(v, (int, float)) and math.isfinite(v)}
        for sink in list(self._sinks):
            try:
                sink.scalars(t_s, env_steps, finite)
            except Exception as e:  # a viewer's trouble, of whatever kind, never stops a robot's training
                log.warning("%s gets no more metrics: %s", type(sink).__name__.lstrip("_"), e)
                self._sinks.remove(sink)
        try:
            file.append(row)
            self._failing = False
        except StorageError:
            self.dropped += 1
            if not self._failing:
                self._failing = True
                raise


def _gathered(given: Mapping[str, object], name: str) -> dict[str, object]:
    """Return a mapping together with the entries "name/..." beside it."""
    inner = given.get(name)
    found = dict(inner) if isinstance(inner, dict) else {}
    found |= {k.removeprefix(f"{name}/"): v for k, v in given.items() if k.startswith(f"{name}/")}
    return {k: _scalar(v) for k, v in found.items()}


def _scalar(value: object) -> object:
    """Return a plain value; floats keep six digits, which is more than a plot shows and half the bytes."""
    value = plain(value)
    return float(f"{value:.6g}") if isinstance(value, float) else value


class _TensorBoard:
    """Event files for TensorBoard, written in this thread: nothing is lost when the process is killed."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
            from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as e:
            raise MissingDependency(
                "tensorboard", "a view of the curves in TensorBoard", "pip install robot-rl[report]"
            ) from e
        self._event, self._summary = Event, Summary
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(open(folder / name, "ab", buffering=0))  # noqa: SIM115 closed in close()
        except OSError as e:
            raise StorageError(f"could not write to {folder}: {e.strerror or e}. Free some space") from e
        self._records.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def scalars(self, t_s: float, env_steps: int, values: Mapping[str, float]) -> None:
        entries = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        event = self._event(wall_time=time.time(), step=env_steps, summary=self._summary(value=entries))
        self._records.write(event.SerializeToString())

    def close(self) -> None:
        self._records.close()


class _WeightsAndBiases:
    """Weights & Biases; the run's name is its id, so that a resumed run goes on in the same curve."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as e:
            raise MissingDependency("wandb", "the metrics sink 'wandb'", "pip install robot-rl[wandb]") from e
        arguments = {"project": "robot_rl", "name": folder.name, "id": folder.name, "resume": "allow", **settings}
        self._run = wandb.init(dir=str(folder), **arguments)
        self._run.define_metric("env_steps")
        self._run.define_metric("*", step_metric="env_steps")

    def scalars(self, t_s: float, env_steps: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "env_steps": env_steps, "t_s": t_s})

    def close(self) -> None:
        self._run.finish()


def write_evaluation(
    folder: Path,
    label: str,
    episodes: Sequence[Mapping[str, object]],
    time_limit_s: float | None = None,
    **facts: object,
) -> Summary:
    """Record an evaluation in `eval-<label>.jsonl` and its summary under its label in `eval.json`.

    Args:
        folder: The run.
        label: Such as "final" or "clone"; an older evaluation of that label is replaced.
        episodes: Rows as in `episodes.jsonl`; what they lack is filled in from `EPISODE_DEFAULTS`.
        time_limit_s: Length of an episode, for the restricted mean time; the longest one's when None.
        **facts: More for `eval.json`, such as the policy's version and the seed.

    Returns:
        The summary.
    """
    if not LABEL.fullmatch(label):
        raise ConfigError(f"'{label}' cannot be the label of an evaluation: use letters, digits, _ and -")
    rows = [{**EPISODE_DEFAULTS, **row} for row in episodes]
    summary = success_summary(rows, time_limit_s)
    write_text_atomic(folder / f"eval-{label}.jsonl", "".join(json.dumps(plain(row)) + "\n" for row in rows))
    update_json(folder / "eval.json", **{label: {**summary.to_dict(), **facts}})
    return summary


class Latencies:
    """Gathers timing samples for the report: a uniform sample of bounded size for each name."""

    def __init__(self, limit: int = 4096, prefix: str = "") -> None:
        self._limit, self._prefix = limit, prefix
        self._samples: dict[str, list[float]] = {}
        self._seen: dict[str, int] = {}
        self._random = random.Random(0)

    def add(self, name: str, value_ms: float) -> None:
        """Add one sample in milliseconds under a name such as "act_ms" or "period_ms"."""
        samples, seen = self._samples.setdefault(name, []), self._seen.get(name, 0)
        self._seen[name] = seen + 1
        if len(samples) < self._limit:
            samples.append(value_ms)
        elif (slot := self._random.randrange(seen + 1)) < self._limit:
            samples[slot] = value_ms

    def save(self, folder: Path, actor: str = "") -> Path:
        """Write `latency.json` (or `latency-<actor>.json`) into the run folder."""
        path = folder / (f"latency-{actor}.json" if actor else LATENCY_FILE)
        samples = {f"latency/{self._prefix}{k}": [round(x, 4) for x in v] for k, v in self._samples.items()}
        return write_json_atomic(path, samples)

    def __bool__(self) -> bool:
        """Return whether there is any sample."""
        return bool(self._samples)
