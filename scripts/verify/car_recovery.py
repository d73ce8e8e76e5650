"""Getting back on the course from random crashes and stuck states, rung by rung, and what tells trouble."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from verify.children import Runner
from verify.rows import Row

STAGE = "recovery"
SECONDS = 60.0
TIMEOUT_S = 600.0
STATES, SEED = 200, 0
BAR = 0.95
KINDS = {
    "recovery, all": "back on the course without help, crashed and stuck, over four places",
    "recovery, crash": "of these, crashed",
    "recovery, stuck": "of these, stuck",
    "precision, crash": "crashes told by the detectors that were some",
    "recall, crash": "hard crashes that the detectors told",
    "precision, stuck": "times told stuck that the car was",
    "recall, stuck": "times stuck that the detectors told",
}


def measure(runner: Runner) -> list[Row]:
    """Run the benchmark of the recovery and judge what has a bar."""
    code = f"import json; from benchmarks.bench_recovery import run; print(json.dumps(run({STATES}, {SEED})))"
    ended = runner.run(STAGE, [sys.executable, "-c", code], TIMEOUT_S)
    if ended.status != 0:
        what = "benchmarks/bench_recovery.py"
        return [Row(stage=STAGE, what=what, measured=ended.how(), bar="status 0", holds=False)]
    return judge(json.loads(ended.out.strip().splitlines()[-1]))


def judge(found: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return a row for each share that has a bar, and one that tells how each rung fared."""
    by_name = {row["name"]: row for row in found}
    rows = [
        Row(
            stage=STAGE, what=what, bar=f">= {BAR:g}", holds=by_name[name]["value"] >= BAR,
            measured=f"{by_name[name]['value']:.3f} of {by_name[name]['n']}; {by_name[name]['note']}",
        )
        for name, what in KINDS.items()
    ]  # fmt: skip
    told = [
        f"{r['name'].removeprefix('rung ')}: of {r['n']}, {r['note']}" for r in found if r["name"].startswith("rung ")
    ]
    return [*rows, Row(stage=STAGE, what="each rung", measured="; ".join(told), bar="is told", holds=bool(told))]
