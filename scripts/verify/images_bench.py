"""What two cameras cost a learner: updates a second beside those from state and those that encode, bytes of a step."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from verify.children import Runner
from verify.rows import Row, at_least, at_most

STAGE = "bench"
SECONDS = 150.0
TIMEOUT_S = 900.0
OF_STATE, OF_ENCODING, STEP_KB = 0.5, 50.0, 40.0
SIZE = "SERL's size"


def measure(runner: Runner) -> list[Row]:
    """Run the benchmark and judge the rows that have a bar."""
    code = "import json; from benchmarks.bench_images import run; print(json.dumps(run(quick=True), default=float))"
    ended = runner.run(STAGE, [sys.executable, "-c", code], TIMEOUT_S)
    if ended.status != 0:
        return [Row(stage=STAGE, what="benchmarks/bench_images.py", measured=ended.how(), bar="status 0", holds=False)]
    return judge(json.loads(ended.out.strip().splitlines()[-1]))


def judge(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of the verification for those of the benchmark that have a bar."""
    found = {row["name"]: row for row in rows}
    cached, encoding = found[f"updates from cached features, {SIZE}"], found[f"the same, against encoding, {SIZE}"]
    step = found["a step in the replay"]
    return [
        at_least(
            STAGE,
            "updates a second from two 128x128 cameras against from state (10 critics 256x256, batch 256)",
            float(cached["ratio"]),
            OF_STATE,
            " times",
            f" ({cached['value']:.1f} against {cached['baseline']:.1f} a second; {cached['note']})",
        ),
        at_least(
            STAGE,
            "the same against a version that encodes in every update",
            float(encoding["ratio"]),
            OF_ENCODING,
            " times",
            f" ({encoding['value']:.1f} against {encoding['baseline']:.3f} a second; {encoding['note']})",
        ),
        at_most(
            STAGE,
            "replay memory of a step with two cameras",
            float(step["value"]) / 1000.0,
            STEP_KB,
            " kB",
            f" ({float(step['baseline']) / 1000.0:.0f} kB as pictures)",
        ),
    ]
