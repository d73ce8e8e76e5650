"""The benchmarks, briefly: speed of learner and twin against their bars.

Each bar is shown beside the floor that was measured in the same run: what the machine's matrix products, or the bare
physics, would allow at that moment. Where the floor itself lies below the bar, no code could reach it here and now, for
instance because the machine is busy; then the row says so, if at least half of the floor was reached.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import Any

from verify.children import Runner
from verify.rows import Row

from robot_rl.jsonl import read_json
from robot_rl.stats import number

STAGE = "bench"
TIMEOUT_S = 400.0
UPDATES_PER_S = 100.0
SERL_UPDATES_PER_S = 26.0  # the fastest that SERL's learner was measured at on a two-core machine of this kind
ENOUGH = 0.5  # of a floor that lies below the bar
LATEST = "benchmarks/latest.json"
_FLOOR = re.compile(r"physics alone ([\d,]+)/s")

Rows = Mapping[str, Mapping[str, Any]]


def measure(runner: Runner) -> list[Row]:
    """Run all benchmarks briefly and judge those that have a bar; a thorough `latest.json` is put back."""
    latest = runner.root / LATEST
    before = latest.read_bytes() if latest.is_file() else None
    thorough = before is not None and read_json(latest).get("quick") is False
    ended = runner.run("bench", [sys.executable, "-m", "benchmarks.run", "--quick"], TIMEOUT_S)
    if ended.status != 0:
        return [Row(stage=STAGE, what="make bench", measured=ended.how(), bar="ends with status 0", holds=False)]
    facts = read_json(latest)
    if before is not None and thorough:
        latest.write_bytes(before)
    found = facts.get("rows")
    rows = {str(row.get("name")): row for row in found if isinstance(row, dict)} if isinstance(found, list) else {}
    return judge(rows)


def judge(rows: Rows) -> list[Row]:
    """Return the rows of the verification for the benchmarks' rows by name."""
    # The parts of an update alone, one after another, are the nearer floor: no large sgemm occurs in it.
    floor = number(rows.get("critic updates, of the parts alone", {}).get("baseline"))
    return [
        _at_least(
            "critic updates a second (10 critics 256x256, batch 256, 8 a call)",
            value(rows, "critic updates"),
            max(UPDATES_PER_S, 4 * SERL_UPDATES_PER_S),
            floor,
            f"best call {value(rows, 'critic updates, best call'):.0f}",
        ),
        _steps(rows, "env steps, 50 Hz, state", "environment steps a second at SERL's timing, from state", 6000.0),
        _steps(rows, "env steps, 50 Hz, 2 cameras", "the same with two 128x128 cameras", 200.0),
    ]


def value(rows: Rows, name: str) -> float:
    """Return the value of a row; nan when there is none."""
    return number(rows.get(name, {}).get("value"))


def _steps(rows: Rows, name: str, what: str, bar: float) -> Row:
    told = _FLOOR.search(str(rows.get(name, {}).get("note", "")))
    floor = float(told[1].replace(",", "")) if told else math.nan
    return _at_least(what, value(rows, name), bar, floor, "")


def _at_least(what: str, rate: float, bar: float, floor: float, note: str) -> Row:
    """Return the row of a rate [1/s] that shall reach a bar, unless the machine's own floor lies below that."""
    measured = f"{rate:,.0f}, {100 * rate / floor:.0f} % of the floor of {floor:,.0f}" if floor > 0 else f"{rate:,.0f}"
    holds: bool | None = rate >= bar
    if not holds and floor < bar and rate >= ENOUGH * floor:
        holds = None
        measured += ", and that is below the bar"
    measured += f"; {note}" if note else ""
    return Row(stage=STAGE, what=what, measured=measured, bar=f">= {bar:,.0f}", holds=holds)
