"""Measures every claim about practising in simulation that fits into 15 minutes on two processor cores.

    make verify-practice
    make verify-practice ARGS="--only demo --only bench"
    make verify-practice ARGS="--skip tests"

Prints a row for each claim (what, measured, bar, holds) and leaves runs/verify-practice/table.txt and rows.json, also
when it is stopped half way. Ends with status 1 if any row fails. What takes longer is in docs/results.md.
"""

from __future__ import annotations

import sys

from verify import bad_input, bench, demo, suite
from verify.program import Stage, Verification

STAGES = {
    demo.STAGE: Stage(
        what="the demo, run afresh; whether the cloned start was kept", seconds=240, measure=demo.measure
    ),
    suite.TESTS: Stage(what="all tests, and how long they take", seconds=400, measure=suite.measure),
    suite.SIGKILL: Stage(what="the tests that kill processes, by name", seconds=20, measure=suite.measure_kills),
    bench.STAGE: Stage(what="speed of learner and twin, briefly", seconds=90, measure=bench.measure),
    bad_input.STAGE: Stage(what="mistakes and mishaps, each once", seconds=90, measure=bad_input.measure),
}
VERIFICATION = Verification(
    name="verify-practice",
    title="Practise in simulation: what was claimed and what was measured",
    about=__doc__ or "",
    stages=STAGES,
)
choose = VERIFICATION.choose

if __name__ == "__main__":
    sys.exit(VERIFICATION.main())
