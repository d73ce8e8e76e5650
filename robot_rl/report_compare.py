"""Several runs on one page: seeds and settings side by side, with the spread between seeds and the worst of them.

Runs of one group (`group` in `run.json`, else the task) differ in their seed only; groups are what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl import report_plots as plots
from robot_rl.errors import ConfigError, StorageError
from robot_rl.jsonl import write_json_atomic, write_text_atomic
from robot_rl.report_html import amount, page, panels, percent, section, table, text
from robot_rl.run_data import RunData, load_run
from robot_rl.stats import (
    Reached,
    Summary,
    Window,
    autonomous,
    first_reaching,
    rolling_rate,
    success_summary,
    worst_window,
)

LEVEL, WINDOW, WORST = 0.95, 20, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one run came to.

    Attributes:
        run: Its data.
        final: Its evaluation; no episodes when there was none.
        clone: The evaluation of its cloned start ("clone" or "bc"), if there is one.
        reached: When practice first held `LEVEL` over `WINDOW` episodes.
        worst: Its worst `WORST` consecutive practice episodes.
    """

    run: RunData
    final: Summary
    clone: Summary | None
    reached: Reached | None
    worst: Window | None

    @property
    def steps(self) -> float:
        """Environment steps to the level; infinite when it was not reached."""
        return float(self.reached.env_steps) if self.reached else math.inf

    @property
    def minutes(self) -> float:
        """Wall minutes to the level; infinite when it was not reached."""
        return self.reached.t_s / 60 if self.reached else math.inf

    @property
    def worst_against_clone(self) -> float:
        """Success of the worst stretch as a share of the clone's; nan when either is unknown."""
        if self.worst is None or self.clone is None or not self.clone.rate > 0:
            return math.nan
        return self.worst.rate / self.clone.rate

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON; null where something is unknown or was not reached."""
        return {
            "run": self.run.name,
            "seed": self.run.facts.get("seed"),
            "evaluation": self.final.to_dict(),
            "clone": self.clone.to_dict() if self.clone else None,
            "env_steps_to_level": self.steps,
            "minutes_to_level": self.minutes,
            "worst_window_rate": self.worst.rate if self.worst else None,
            "worst_window_against_clone": self.worst_against_clone,
            "env_steps": self.run.env_steps,
            "wall_s": self.run.wall_s,
            "commit": self.run.facts.get("commit"),
        }


def result(run: RunData) -> Result:
    """Return what one run came to."""
    return Result(
        run=run,
        final=success_summary(run.final.episodes if run.final else []),
        clone=success_summary(run.clone.episodes) if run.clone else None,
        reached=first_reaching(run.episodes, LEVEL, WINDOW),
        worst=worst_window(run.episodes, WORST),
    )


def write_comparison(run_folders: Sequence[Path], out: Path, title: str = "Comparison") -> Path:
    """Write one page on several runs, and the same numbers as JSON beside it.

    Args:
        run_folders: The runs, in the order in which groups shall appear.
        out: The HTML file; its folder is created.
        title: Heading.

    Returns:
        `out`.

    Raises:
        ConfigError: No runs are given, or one of the folders holds none.
    """
    if not run_folders:
        raise ConfigError("a comparison needs at least one run, got none. Name runs or a sweep's folder")
    groups: dict[str, list[Result]] = {}
    for folder in run_folders:
        found = result(load_run(folder))
        groups.setdefault(str(found.run.facts.get("group") or found.run.task), []).append(found)
    body = [
        f'<h1>{text(title)}</h1><p class="soft">{len(run_folders)} runs in {len(groups)} groups. Lines: one run each, '
        "thin; the median of a group, thick, as far as its shortest run.</p>",
        section("Groups", _group_table(groups)),
        section("Success in practice", _curves(groups)),
        section("Runs", _run_table(groups)),
    ]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(f"could not create {out.parent}: {e.strerror or e}. Choose a folder you may write to") from e
    numbers = {
        "level": LEVEL,
        "window_episodes": WINDOW,
        "worst_window_episodes": WORST,
        "groups": {
            name: group_numbers(results) | {"runs": [r.to_dict() for r in results]} for name, results in groups.items()
        },
    }
    write_json_atomic(out.with_suffix(".json"), numbers)
    return write_text_atomic(out, page(title, body))


def group_numbers(results: Sequence[Result]) -> dict[str, float]:
    """Return median and worst over the seeds of a group; infinite where a seed did not reach the level."""
    rates = [r.final.rate for r in results if r.final.n]
    times = [r.final.median_time_to_success_s for r in results if math.isfinite(r.final.median_time_to_success_s)]
    worst = [r.worst.rate for r in results if r.worst]
    against = [r.worst_against_clone for r in results if math.isfinite(r.worst_against_clone)]
    steps, minutes = [r.steps for r in results], [r.minutes for r in results]
    return {
        "seeds": len(results),
        "rate_median": _median(rates),
        "rate_worst": min(rates, default=math.nan),
        "time_to_success_median_s": _median(times),
        "env_steps_to_level_median": _median(steps),
        "env_steps_to_level_worst": max(steps),
        "minutes_to_level_median": _median(minutes),
        "minutes_to_level_worst": max(minutes),
        "worst_window_rate": min(worst, default=math.nan),
        "worst_window_against_clone": min(against, default=math.nan),
    }


def _median(values: Sequence[float]) -> float:
    """Return the median; infinite values sort last and two of them in the middle stay infinite."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if low == high else (low + high) / 2


def _level(value: float, digits: int = 3) -> str:
    return "not reached" if math.isinf(value) else amount(value, digits)


def _group_table(groups: Mapping[str, Sequence[Result]]) -> str:
    level = f"{100 * LEVEL:.0f} %"
    head = ["group", "seeds", "success: median", "worst seed", "median time [s]"]
    head += [f"steps to {level}: median", "worst", f"minutes to {level}: median", "worst", f"worst {WORST} in practice"]
    rows = []
    for name, results in groups.items():
        n = group_numbers(results)
        steps = [_level(n[f"env_steps_to_level_{k}"]) for k in ("median", "worst")]
        minutes = [_level(n[f"minutes_to_level_{k}"]) for k in ("median", "worst")]
        rates = [percent(n["rate_median"]), percent(n["rate_worst"]), amount(n["time_to_success_median_s"])]
        rows.append([name, str(len(results)), *rates, *steps, *minutes, percent(n["worst_window_rate"])])
    return table(head, rows) + (
        f'<p class="soft">A level is reached when {WINDOW} consecutive autonomous practice episodes first hold it.</p>'
    )


def _run_table(groups: Mapping[str, Sequence[Result]]) -> str:
    head = ["run", "group", "seed", "successes", "rate (95 % interval)", "median time [s]", "steps to 95 %"]
    head += ["min to 95 %", f"worst {WORST}", "of the clone's", "env steps", "wall [min]"]
    rows = []
    for name, results in groups.items():
        for r in results:
            s = r.final
            interval = f"{percent(s.rate)} ({100 * s.low:.0f} to {100 * s.high:.0f})" if s.n else "not evaluated"
            rows.append(
                [
                    r.run.name,
                    name,
                    str(r.run.facts.get("seed", "–")),
                    f"{s.successes} of {s.n}" if s.n else "–",
                    interval,
                    amount(s.median_time_to_success_s),
                    _level(r.steps),
                    _level(r.minutes),
                    percent(r.worst.rate) if r.worst else "–",
                    amount(r.worst_against_clone, 2),
                    amount(r.run.env_steps),
                    amount(r.run.wall_s / 60),
                ]
            )
    return table(head, rows)


def _curves(groups: Mapping[str, Sequence[Result]]) -> str:
    def draw(axis: str) -> plots.Draw:
        def on(axes: Any) -> bool:
            shown = False
            for (name, results), colour in zip(groups.items(), (*plots.COLOURS, *plots.COLOURS), strict=False):
                curves = [c for c in (_success(r.run, axis) for r in results) if len(c[0])]
                for x, y in curves:
                    axes.plot(*plots.binned(x, y), color=colour, alpha=0.3, linewidth=0.8)
                if curves:
                    grid, values = common_grid(curves)
                    middle = np.median(values, axis=0)
                    if len(curves) > 1:
                        axes.fill_between(grid, values.min(0), values.max(0), color=colour, alpha=0.12, linewidth=0)
                    axes.plot(grid, middle, color=colour, linewidth=2, label=f"{name} ({len(curves)})")
                    shown = True
            if not shown:
                return False
            axes.set_ylim(-2, 103)
            return plots.finish(axes, axis, ylabel="success [%]", legend=True)

        return on

    size = (5.6, 3.2)
    return panels(
        [
            plots.panel("steps", "Success against steps", draw("env_steps"), size=size),
            plots.panel("time", "Success against time", draw("t_s"), size=size),
        ],
        large=True,
    )


Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def _success(run: RunData, axis: str) -> Curve:
    """Return where autonomous episodes ended, and the success over the last `WINDOW` of them in percent.

    The first few, which have no full window yet, are left out when there are enough others.
    """
    alone = autonomous(run.episodes)
    x = plots.along(alone, axis)
    y = 100 * rolling_rate([bool(e.get("success")) for e in alone], WINDOW) if alone else np.zeros(0)
    known = np.isfinite(x)
    order = np.argsort(x[known], kind="stable")[WINDOW - 1 if known.sum() >= 2 * WINDOW else 0 :]
    return x[known][order], y[known][order]


def common_grid(curves: Sequence[Curve], points: int = 300) -> Curve:
    """Return (points,) positions up to the end of the shortest curve, and (n, points) values held from each left point.

    Args:
        curves: (x, y) with x rising and not empty.
        points: How many positions.
    """
    start, end = max(float(x[0]) for x, _ in curves), min(float(x[-1]) for x, _ in curves)
    grid = np.linspace(start, max(end, start), points)
    held = [y[np.clip(np.searchsorted(x, grid, side="right") - 1, 0, None)] for x, y in curves]
    return grid, np.array(held)
