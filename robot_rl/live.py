"""The live view of a run in the terminal. It reads the run's folder, so it works for any layout of processes.

Three parts: a reader that takes in what was added to the files, a `Snapshot` of plain values, and a pure function that
draws it. Without a terminal (CI, a log file) the view becomes one line every few seconds.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.errors import CheckpointError
from robot_rl.jsonl import JsonlTail, read_json
from robot_rl.patience import ROBOT_FILE
from robot_rl.stats import human_share, number, was_discarded, was_helped

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

UNKNOWN = math.nan
_RATE_WINDOW_S = 30.0
_DISK_WARNING_GIB = 2.0
_SILENT_WARNING_S = 30.0


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """The state of a run at a moment; nan where it is not known yet.

    Attributes:
        name, task: Of the run.
        phase: Kind of the newest metrics row: "train", "clone", ..., or "starting".
        env_steps, total_env_steps: Steps so far, and how many are planned.
        updates, episodes: Critic updates and finished practice episodes so far.
        wall_s, left_s: Wall time so far and estimated time left, seconds.
        success_20, success_50: Autonomous success over the last 20 and 50 episodes.
        autonomous, helped, discarded: Practice episodes by the policy alone, with a person, and not learnt from.
        human_20: Share of the steps of the last 20 episodes in which a person acted.
        mean_return: Mean return of the last 20 autonomous episodes.
        steps_per_s, updates_per_s, updates_per_step: Over the last half minute.
        policy_age_steps: Of the newest episode.
        guard: Events by rule so far.
        silent_s: Seconds since anything was written.
        disk_free_gib: Space left where the run lies.
        processes: Name to state, as the supervisor says.
        robot_waits: What a robot in real time waits for; empty while it does not.
        period_ms: 99th percentile of the control period in the newest episode of such a robot.
    """

    name: str = ""
    task: str = ""
    phase: str = "starting"
    env_steps: int = 0
    total_env_steps: int = 0
    updates: int = 0
    episodes: int = 0
    wall_s: float = 0.0
    left_s: float = UNKNOWN
    success_20: float = UNKNOWN
    success_50: float = UNKNOWN
    autonomous: int = 0
    helped: int = 0
    discarded: int = 0
    human_20: float = UNKNOWN
    mean_return: float = UNKNOWN
    steps_per_s: float = UNKNOWN
    updates_per_s: float = UNKNOWN
    updates_per_step: float = UNKNOWN
    policy_age_steps: float = UNKNOWN
    guard: dict[str, int] = field(default_factory=dict)
    silent_s: float = 0.0
    disk_free_gib: float = UNKNOWN
    processes: dict[str, str] = field(default_factory=dict)
    robot_waits: str = ""
    period_ms: float = UNKNOWN


class RunReader:
    """Follows a run's files; each call reads only what was added since the last."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Follow a run, which may not have written anything yet.

        Args:
            folder: The run.
            clock: Monotonic seconds; tells how long the run has been silent.
        """
        self._folder, self._clock = folder, clock
        self._metrics, self._episodes = JsonlTail(folder / "metrics.jsonl"), JsonlTail(folder / "episodes.jsonl")
        self._recent: deque[tuple[bool, float]] = deque(maxlen=50)  # success and return of autonomous episodes
        self._human: deque[tuple[float, float]] = deque(maxlen=20)  # a person's steps and all steps of an episode
        self._counters: deque[tuple[float, int, int]] = deque()  # t_s, env steps, updates
        self._facts: dict[str, object] = {}
        self._heard_s = clock()
        self._state = Snapshot(name=folder.resolve().name)

    def snapshot(self, processes: Mapping[str, str] | None = None) -> Snapshot:
        """Take in what is new and return the state of the run.

        Args:
            processes: What the supervisor knows about its processes: name to "running", "restarting", ...
        """
        state = self._state
        if not self._facts:
            with contextlib.suppress(CheckpointError):
                self._facts = dict(read_json(self._folder / "run.json"))
            state.task = str(self._facts.get("task", ""))
            state.total_env_steps = int(number(self._facts.get("total_env_steps"), 0.0))
        rows, episodes = self._metrics.read(), self._episodes.read()
        for row in rows:
            self._take_metrics(row)
        for row in episodes:
            self._take_episode(row)
        if rows or episodes:
            self._heard_s = self._clock()
        state.silent_s = self._clock() - self._heard_s
        state.processes = dict(processes or {})
        with contextlib.suppress(CheckpointError):
            state.robot_waits = str(read_json(self._folder / ROBOT_FILE).get("waits") or "")
        with contextlib.suppress(OSError):
            state.disk_free_gib = shutil.disk_usage(self._folder).free / 2**30
        self._derive()
        return replace(state, guard=dict(state.guard))

    def _take_metrics(self, row: Mapping[str, object]) -> None:
        state = self._state
        state.phase = str(row.get("kind", "train"))
        t_s = number(row.get("t_s"))
        if not math.isfinite(t_s):
            return
        state.wall_s = max(state.wall_s, t_s)
        if state.phase != "train":
            return
        state.env_steps = int(number(row.get("env_steps"), state.env_steps))
        updates = int(number(row.get("updates"), state.updates))
        if updates < state.updates or (self._counters and t_s < self._counters[-1][0]):
            self._counters.clear()  # resumed from a checkpoint: rates begin anew
        state.updates = updates
        self._counters.append((t_s, state.env_steps, updates))
        while len(self._counters) > 2 and self._counters[0][0] < t_s - _RATE_WINDOW_S:
            self._counters.popleft()

    def _take_episode(self, row: Mapping[str, object]) -> None:
        state = self._state
        t_s = number(row.get("t_s"), 0.0)
        if math.isfinite(t_s):
            state.wall_s = max(state.wall_s, t_s)
        if row.get("source") == "demo":
            return
        state.episodes += 1
        state.env_steps = max(state.env_steps, int(number(row.get("env_steps"), 0.0)))
        state.policy_age_steps = number(row.get("policy_age_steps"), state.policy_age_steps)
        timing = row.get("timing")
        if isinstance(timing, Mapping):
            state.period_ms = number(timing.get("period_ms_p99"))
        events = row.get("guard")
        if isinstance(events, Mapping):
            for rule, count in events.items():
                state.guard[str(rule)] = state.guard.get(str(rule), 0) + int(number(count, 0.0))
        if was_discarded(row):
            state.discarded += 1
            return
        steps, share = number(row.get("steps"), 0.0), human_share(row)
        if math.isfinite(share):
            self._human.append((steps * share, steps))
        if was_helped(row):
            state.helped += 1
        else:
            state.autonomous += 1
            self._recent.append((bool(row.get("success")), number(row.get("return"))))

    def _derive(self) -> None:
        state = self._state
        last = list(self._recent)
        state.success_50 = _mean([float(ok) for ok, _ in last])
        state.success_20 = _mean([float(ok) for ok, _ in last[-20:]])
        steps = sum(n for _, n in self._human)
        state.human_20 = sum(h for h, _ in self._human) / steps if steps else UNKNOWN
        state.mean_return = _mean([r for _, r in last[-20:] if math.isfinite(r)])
        if len(self._counters) > 1:
            (t0, s0, u0), (t1, s1, u1) = self._counters[0], self._counters[-1]
            if t1 > t0:
                state.steps_per_s, state.updates_per_s = (s1 - s0) / (t1 - t0), (u1 - u0) / (t1 - t0)
            state.updates_per_step = (u1 - u0) / (s1 - s0) if s1 > s0 else UNKNOWN
        left = state.total_env_steps - state.env_steps
        known = state.total_env_steps > 0 and state.steps_per_s > 0
        state.left_s = max(left, 0) / state.steps_per_s if known else UNKNOWN


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else UNKNOWN


def shown(value: float, unit: str = "", digits: int = 1) -> str:
    """Return a number for the screen; a dash when unknown."""
    return f"{value:,.{digits}f}{unit}" if math.isfinite(value) else "–"


def duration(seconds: float) -> str:
    """Return a duration as 1:02:03 or 2:03; a dash when unknown."""
    if not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def warnings(s: Snapshot) -> list[str]:
    """Return what a person at the screen should act on."""
    found = [f"practice waits for the robot: {s.robot_waits}"] if s.robot_waits else []
    found += [f"{name}: {state}" for name, state in s.processes.items() if state not in ("running", "done")]
    if s.silent_s > _SILENT_WARNING_S:
        found.append(f"nothing was written for {duration(s.silent_s)}")
    if s.disk_free_gib < _DISK_WARNING_GIB:
        found.append(f"only {s.disk_free_gib:.1f} GiB of disk left")
    stops = sum(n for rule, n in s.guard.items() if "stop" in rule)
    if stops:
        found.append(f"the guard stopped the robot {stops} times")
    return found


def line(s: Snapshot) -> str:
    """Return the state as one line of plain text."""
    total = f"/{s.total_env_steps}" if s.total_env_steps else ""
    parts = [
        f"{duration(s.wall_s)} {s.phase}",
        f"steps {s.env_steps}{total}",
        f"episodes {s.episodes}",
        f"success {shown(100 * s.success_20, ' %', 0)} of last {min(s.autonomous, 20)}",
        f"return {shown(s.mean_return, digits=2)}",
        *([f"a person acts in {shown(100 * s.human_20, ' %', 0)} of steps"] if s.helped else []),
        *([f"discarded {s.discarded}"] if s.discarded else []),
        f"updates/step {shown(s.updates_per_step)}",
        f"{shown(s.steps_per_s)} steps/s",
        f"{shown(s.updates_per_s, digits=0)} updates/s",
        *([f"period {shown(s.period_ms, ' ms', 0)}"] if math.isfinite(s.period_ms) else []),
        f"left {duration(s.left_s)}",
        *warnings(s),
    ]
    return " | ".join(parts)


def render(s: Snapshot) -> RenderableType:
    """Return the state as a panel for rich; pure."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    columns = (
        {
            "success, last 20": shown(100 * s.success_20, " %", 0),
            "success, last 50": shown(100 * s.success_50, " %", 0),
            "return": shown(s.mean_return, digits=2),
            "episodes alone": f"{s.autonomous:,}",
            "with help": f"{s.helped:,}",
            **({"steps by a person": shown(100 * s.human_20, " %", 0)} if s.helped else {}),
            **({"discarded": f"{s.discarded:,}"} if s.discarded else {}),
        },
        {
            "steps/s": shown(s.steps_per_s),
            "updates/s": shown(s.updates_per_s, digits=0),
            "updates/step": shown(s.updates_per_step, digits=2),
            "policy age": shown(s.policy_age_steps, " steps", 0),
            "updates": f"{s.updates:,}",
        },
        {
            "time": duration(s.wall_s),
            "time left": duration(s.left_s),
            "guard events": f"{sum(s.guard.values()):,}",
            "disk left": shown(s.disk_free_gib, " GiB", 0),
            "phase": s.phase,
            **({"period, 99 %": shown(s.period_ms, " ms", 0)} if math.isfinite(s.period_ms) else {}),
        },
    )
    tables = []
    for column in columns:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        for name, value in column.items():
            table.add_row(name, value)
        tables.append(table)
    total = f"{s.env_steps:,} / {s.total_env_steps:,} steps" if s.total_env_steps else f"{s.env_steps:,} steps"
    bar = ProgressBar(total=max(s.total_env_steps, 1), completed=min(s.env_steps, s.total_env_steps))
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(bar if s.total_env_steps else Text(""), Text(total))
    parts: list[RenderableType] = [head, Columns(tables, padding=(0, 4))]
    if s.processes:
        parts.append(Text("  ".join(f"{name} {state}" for name, state in s.processes.items()), style="dim"))
    parts += [Text(f"! {warning}", style="bold yellow") for warning in warnings(s)]
    title = Text(f"{s.task or s.name}: {s.name}" if s.task else s.name)
    return Panel(Group(*parts), title=title, title_align="left", border_style="dim")


def watch(
    folder: Path,
    stop: threading.Event,
    *,
    processes: Callable[[], Mapping[str, str]] = dict,
    console: Console | None = None,
    refresh_s: float = 0.5,
    plain_s: float = 5.0,
) -> Snapshot:
    """Show a run until `stop` is set, then return its last state.

    Args:
        folder: The run.
        stop: Ends the view.
        processes: Asked at each refresh for the state of the processes.
        console: Where to show it; standard output when None.
        refresh_s: Period on a terminal.
        plain_s: Period of the plain lines without a terminal.
    """
    from rich.console import Console
    from rich.live import Live

    console = console or Console()
    reader = RunReader(folder)
    if not console.is_terminal:
        while not stop.wait(plain_s):
            console.print(line(reader.snapshot(processes())), soft_wrap=True, markup=False, highlight=False)
        state = reader.snapshot(processes())
        console.print(line(state), soft_wrap=True, markup=False, highlight=False)
        return state
    with Live(render(reader.snapshot(processes())), console=console, auto_refresh=False) as view:
        while not stop.wait(refresh_s):
            view.update(render(reader.snapshot(processes())), refresh=True)
        state = reader.snapshot(processes())
        view.update(render(state), refresh=True)
    return state
