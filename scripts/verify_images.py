"""Measures every claim about learning from pictures that fits into 15 minutes on two processor cores.

    make verify-images
    make verify-images ARGS="--only bench --only convert"
    make verify-images ARGS="--only train --seed 3"

Prints a row for each claim (what, measured, bar, holds) and leaves runs/verify-images/table.txt and rows.json, also
when it is stopped half way. Ends with status 1 if any row fails. The whole training of a policy from pictures, with
the reward of a classifier alone, takes half an hour and is measured when it is asked for (--only train). Timings are
those of this machine at this moment: run it while nothing else runs.
"""

from __future__ import annotations

import sys

from verify import images_bench, images_convert, images_labels, images_run, images_tests, images_train
from verify.program import Stage, Verification

STAGES = {
    images_bench.STAGE: Stage(
        what="what two cameras cost a learner",
        seconds=images_bench.SECONDS,
        measure=images_bench.measure,
    ),
    images_labels.STAGE: Stage(
        what="a labelled set, a classifier of it, and an audit that finds wrong labels",
        seconds=images_labels.SECONDS,
        measure=images_labels.measure,
    ),
    images_run.STAGE: Stage(
        what="a short run judged by a classifier, exported to ONNX and torch",
        seconds=images_run.SECONDS,
        measure=images_run.measure,
    ),
    images_convert.STAGE: Stage(
        what="weights that fit, and weights that do not",
        seconds=images_convert.SECONDS,
        measure=images_convert.measure,
    ),
    images_tests.STAGE: Stage(
        what="what tests show about encoders, features, classifiers and exports",
        seconds=images_tests.SECONDS,
        measure=images_tests.measure,
    ),
    images_train.STAGE: Stage(
        what="pick_cube from two cameras and 20 demonstrations, judged by a classifier alone",
        seconds=images_train.SECONDS,
        measure=images_train.measure,
        optional=True,
    ),
}
VERIFICATION = Verification(
    name="verify-images",
    title="Learning from pictures: what was claimed and what was measured",
    about=__doc__ or "",
    stages=STAGES,
    seeded=True,
)

if __name__ == "__main__":
    sys.exit(VERIFICATION.main())
