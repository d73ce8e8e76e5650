"""Measures every claim about recording, replaying and sharing that fits into 15 minutes on two processor cores.

    make verify-data
    make verify-data ARGS="--only record --only cost"

Prints a row for each claim (what, measured, bar, holds) and leaves runs/verify-data/table.txt and rows.json, also when
it is stopped half way. Ends with status 1 if any row fails. What takes longer is in docs/results.md. Timings are those
of this machine at this moment: run it while nothing else runs.
"""

from __future__ import annotations

import sys

from verify import data_cost, data_mistakes, data_record, data_tests
from verify.program import Stage, Verification

STAGES = {
    data_record.STAGE: Stage(
        what="twenty demonstrations by one command, a policy learnt from them by another",
        seconds=data_record.SECONDS,
        measure=data_record.measure,
    ),
    data_cost.STAGE: Stage(
        what="what recording costs a control loop",
        seconds=data_cost.SECONDS,
        measure=data_cost.measure,
    ),
    data_mistakes.STAGE: Stage(
        what="mistakes with recorded data, each once",
        seconds=data_mistakes.SECONDS,
        measure=data_mistakes.measure,
    ),
    data_tests.STAGE: Stage(
        what="the log, operators, replay, help, formats and the view",
        seconds=data_tests.SECONDS,
        measure=data_tests.measure,
    ),
}
VERIFICATION = Verification(
    name="verify-data",
    title="Record, replay, intervene: what was claimed and what was measured",
    about=__doc__ or "",
    stages=STAGES,
)

if __name__ == "__main__":
    sys.exit(VERIFICATION.main())
