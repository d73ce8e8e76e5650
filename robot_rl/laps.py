"""The laps of a run, out of its episodes: when each ended in driving time, how long it took, and what went wrong.

Driving time and way count everything that a car does by itself, its recoveries too. The facts of each episode are those
that the task gave (`laps`, `driven_s`, `driven_m`, `recovery`, `rescued`, `reason`).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.jsonl import last_row, read_jsonl, write_text_atomic
from robot_rl.metrics import EPISODES_FILE
from robot_rl.stats import number

LAPS_FILE = "laps.csv"
LAST_S = 120.0  # the laps of so much driving at the end stand for what was reached
_CRASHES = ("crash", "flip", "left the course")


@dataclass(frozen=True, slots=True, kw_only=True)
class LapRow:
    """One lap.

    Attributes:
        lap: Its number in the run.
        lap_s: How long it took.
        driven_s, driven_m: Driving time when it ended, and the way driven by the end of its episode.
        clean: Whether nothing went wrong in it.
        episode, policy_version: In which it ended.
    """

    lap: int
    lap_s: float
    driven_s: float
    driven_m: float
    clean: bool
    episode: int
    policy_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LapSummary:
    """What the practice of a run came to; times are nan where there is none.

    Attributes:
        laps, clean_laps: How many.
        first_clean_s: Driving time until the first lap without trouble was complete.
        best_s, median_s: Over clean laps: of all, and of the last `LAST_S` of driving.
        driven_s, driven_m: In all.
        crashes, stuck: Episodes that ended so.
        recoveries, recovered: How often a car had to get back, and how often it did by itself.
        interventions: How often a person carried the car or took over.
    """

    laps: int
    clean_laps: int
    first_clean_s: float
    best_s: float
    median_s: float
    driven_s: float
    driven_m: float
    crashes: int
    stuck: int
    recoveries: int
    recovered: int
    interventions: int

    def per_km(self, count: int) -> float:
        """Return a count for each kilometre driven; nan before the first metre."""
        return 1000.0 * count / self.driven_m if self.driven_m > 0.0 else math.nan


def laps_of(episodes: Sequence[Mapping[str, Any]]) -> list[LapRow]:
    """Return the laps of episodes in their order; what is damaged is left out."""
    found: list[LapRow] = []
    seconds = metres = 0.0
    for row in episodes:
        metres += number(row.get("driven_m"), 0.0)
        for text in str(row.get("laps") or "").split():
            lap, _, at = text.rstrip("!").partition("@")
            lap_s, at_s = number(_float(lap)), number(_float(at))
            if math.isfinite(lap_s) and math.isfinite(at_s):
                found.append(
                    LapRow(
                        lap=len(found) + 1, lap_s=lap_s, driven_s=round(seconds + at_s, 2), driven_m=round(metres, 2),
                        clean=not text.endswith("!"), episode=int(number(row.get("episode"), 0)),
                        policy_version=int(number(row.get("policy_version"), 0)),
                    )
                )  # fmt: skip
        seconds += number(row.get("driven_s"), 0.0)
    return found


def summarise(episodes: Sequence[Mapping[str, Any]]) -> LapSummary:
    """Return what the practice of a run came to."""
    laps = laps_of(episodes)
    clean = [lap for lap in laps if lap.clean]
    driven_s = sum(number(e.get("driven_s"), 0.0) for e in episodes)
    late = [lap.lap_s for lap in clean if lap.driven_s > driven_s - LAST_S]
    recoveries = [e for e in episodes if e.get("recovery")]
    rescued = sum(bool(e.get("rescued")) for e in episodes)
    return LapSummary(
        laps=len(laps), clean_laps=len(clean), first_clean_s=clean[0].driven_s if clean else math.nan,
        best_s=min((lap.lap_s for lap in clean), default=math.nan),
        median_s=float(np.median(late)) if late else math.nan,
        driven_s=driven_s, driven_m=sum(number(e.get("driven_m"), 0.0) for e in episodes),
        crashes=sum(e.get("reason") in _CRASHES for e in episodes),
        stuck=sum(e.get("reason") == "stuck" for e in episodes), recoveries=len(recoveries),
        recovered=len(recoveries) - rescued,
        interventions=rescued + sum(int(number(e.get("interventions"), 0)) for e in episodes),
    )  # fmt: skip


def write_laps(run: Path) -> Path | None:
    """Write `laps.csv` into a run's folder, if its car has driven, and return its path."""
    episodes = read_jsonl(run / EPISODES_FILE)
    if not any("driven_s" in e for e in episodes):
        return None
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=[f for f in LapRow.__dataclass_fields__], lineterminator="\n")
    writer.writeheader()
    for lap in laps_of(episodes):
        writer.writerow({**asdict(lap), "clean": int(lap.clean)})
    return write_text_atomic(run / LAPS_FILE, buffer.getvalue())


def recall(env: Any, run: Path) -> None:
    """Let a task that changes with practice go on as the run's newest episode left it."""
    take = getattr(env.task, "recall", None)
    row = last_row(run / EPISODES_FILE) if take is not None else {}
    if take is not None and row:
        take(row)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
