"""The section of a report on a car's laps: how they got faster, what it cost, and who is fastest on this course."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from robot_rl import report_plots as plots
from robot_rl.jsonl import read_json
from robot_rl.laps import LAST_S, laps_of, summarise
from robot_rl.report_html import amount, cards, panels, share, table, text
from robot_rl.run_data import RunData
from robot_rl.stats import number

LEADERBOARD_FILE, LINES_FILE = "leaderboard.json", "lines.png"


def laps(run: RunData) -> str:
    """Return the section's content; empty for a run of no car."""
    if not any("driven_s" in e for e in run.episodes):
        return ""
    s = summarise(run.episodes)
    demo_s = number(run.summary.get("demos_median_s"))
    minutes = s.driven_s / 60.0
    items = [
        ("first clean lap", amount(s.first_clean_s / 60.0, unit=" min"), f"of {amount(minutes)} min of driving"),
        ("best lap", amount(s.best_s, unit=" s"), "without trouble"),
        ("median lap", amount(s.median_s, unit=" s"), f"clean laps of the last {LAST_S / 60:g} min of driving"),
        ("clean laps", amount(s.clean_laps), f"of {s.laps}"),
        ("crashes per km", amount(s.per_km(s.crashes)), f"{s.crashes} in {amount(s.driven_m / 1000.0)} km"),
        ("interventions per km", amount(s.per_km(s.interventions)), f"{s.interventions}; stuck {s.stuck} times"),
    ]
    curve = plots.panel("laps", "Lap time against driving time", lambda axes: _curve(axes, run, demo_s))
    recovered = (
        f"<p>Back on the course by itself: {text(share(s.recovered, s.recoveries))}.</p>" if s.recoveries else ""
    )
    return cards(items) + panels([curve, _kilometres(run)], large=True) + recovered + _leaderboard(run) + _lines(run)


def _curve(axes: Any, run: RunData, demo_s: float) -> bool:
    found = laps_of(run.episodes)
    if not found:
        return False
    at = np.array([lap.driven_s for lap in found]) / 60.0
    seconds, clean = np.array([lap.lap_s for lap in found]), np.array([lap.clean for lap in found])
    axes.plot(at[clean], seconds[clean], ".", color=plots.BLUE, label="clean", ms=4)
    if not clean.all():
        axes.plot(at[~clean], seconds[~clean], "x", color=plots.RED, label="with trouble", ms=4)
    if math.isfinite(demo_s):
        axes.axhline(demo_s, color=plots.GREY, ls="--", lw=1, label="demonstration")
    for row in _rows(run):
        if row.get("kind") == "classical" and math.isfinite(number(row.get("median_s"))):
            axes.axhline(number(row["median_s"]), color=plots.GREEN, ls="--", lw=1, label="classical driver")
    axes.set_xlabel("driving time [min]")
    axes.set_ylabel("lap [s]")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.15 * max(float(np.median(seconds)), demo_s if math.isfinite(demo_s) else 0.0))
    axes.legend()
    return True


def _kilometres(run: RunData) -> str:
    """Return a table with a row for each kilometre: how fast, and what went wrong."""
    rows: list[list[str]] = []
    part: list[dict[str, Any]] = []
    way = 0.0
    for i, e in enumerate(run.episodes):
        part.append(e)
        way += number(e.get("driven_m"), 0.0)
        if way >= 1000.0 or i + 1 == len(run.episodes):
            s = summarise(part)
            speed = s.driven_m / s.driven_s if s.driven_s > 0 else math.nan
            clean = [lap.lap_s for lap in laps_of(part) if lap.clean]
            rows.append(
                [
                    f"{len(rows) + 1} ({amount(s.driven_m)} m)", amount(speed),
                    amount(float(np.median(clean)) if clean else None), str(s.crashes), str(s.stuck),
                    str(s.interventions), amount(number(part[-1].get("speed_cap_m_s"))),
                ]
            )  # fmt: skip
            part, way = [], 0.0
    head = ["km", "mean speed [m/s]", "median clean lap [s]", "crashes", "stuck", "interventions", "speed cap [m/s]"]
    return table(head, rows)


def _rows(run: RunData) -> list[dict[str, Any]]:
    rows = read_json(run.folder / LEADERBOARD_FILE).get("rows", [])
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _leaderboard(run: RunData) -> str:
    rows = sorted(_rows(run), key=lambda r: (not math.isfinite(number(r.get("median_s"))), number(r.get("median_s"))))
    if not rows:
        return ""
    cells = [
        [
            str(i + 1), str(r.get("who")), amount(r.get("median_s")), amount(r.get("best_s")),
            f"{r.get('clean_laps')} of {r.get('laps')}", amount(r.get("mean_speed_m_s")), amount(r.get("crashes")),
        ]
        for i, r in enumerate(rows)
    ]  # fmt: skip
    head = ["place", "who", "median lap [s]", "best lap [s]", "clean laps", "mean speed [m/s]", "crashes"]
    return "<h3>Leaderboard</h3>" + table(head, cells)


def _lines(run: RunData) -> str:
    path = run.folder / LINES_FILE
    try:
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError:
        return ""
    return f'<figure><img alt="lines driven, coloured by speed" src="data:image/png;base64,{data}"></figure>'
