"""What recording costs: two cameras of 640x480 at 30 Hz and readings at 100 Hz, beside a control loop at 10 Hz."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from verify.children import Runner
from verify.rows import Row, at_most

STAGE = "cost"
SECONDS = 290.0
TIMEOUT_S = 600.0
CORE_PERCENT, LATE_MS = 50.0, 5.0
ROWS = (
    ("cost of recording, of one core", "two 640x480 cameras at 30 Hz and 100 Hz state, 2 minutes", CORE_PERCENT, " %"),
    ("lateness of a 10 Hz loop while recording, largest", "latest turn of a 10 Hz loop meanwhile", LATE_MS, " ms"),
)


def measure(runner: Runner) -> list[Row]:
    """Run the benchmark of the recorder and judge the rows that have a bar."""
    code = "import json; from benchmarks.bench_episodes import run; print(json.dumps(run()))"
    ended = runner.run("cost", [sys.executable, "-c", code], TIMEOUT_S)
    if ended.status != 0:
        return [
            Row(stage=STAGE, what="benchmarks/bench_episodes.py", measured=ended.how(), bar="status 0", holds=False)
        ]
    return judge(json.loads(ended.out.strip().splitlines()[-1]))


def judge(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of the verification for those of the benchmark that have a bar."""
    found = {row["name"]: row for row in rows}
    return [
        at_most(STAGE, what, float(found[name]["value"]), limit, unit, _note(found[name]))
        for name, what, limit, unit in ROWS
    ]


def _note(row: Mapping[str, Any]) -> str:
    beside = f", {row['baseline']:.2g}{row['unit']} without recording" if row.get("baseline") is not None else ""
    return f" ({row['note']}{beside})"
