"""Measures every claim about the car that fits into 15 minutes on two processor cores.

    make verify-car
    make verify-car ARGS="--only recovery --only stops"
    ROBOT_RL_REPEAT=20 make verify-car ARGS="--only stops"

Prints a row for each claim (what, measured, bar, holds) and leaves runs/verify-car/table.txt and rows.json, also when
it is stopped half way. Ends with status 1 if any row fails. What takes longer is in docs/results.md. Timings are those
of this machine at this moment: run it while nothing else runs.
"""

from __future__ import annotations

import sys

from verify import car_laps, car_mistakes, car_recovery, car_stops, car_tests
from verify.program import Stage, Verification

STAGES = {
    car_laps.FIRST: Stage(
        what="the first laps, learnt in the twin from state and one slow lap",
        seconds=car_laps.FIRST_SECONDS,
        measure=car_laps.measure_first,
    ),
    car_laps.RESIDUAL: Stage(
        what="20 minutes of driving on top of the classical driver",
        seconds=car_laps.RESIDUAL_SECONDS,
        measure=car_laps.measure_residual,
    ),
    car_recovery.STAGE: Stage(
        what=f"recovery from {car_recovery.STATES} states, and what tells trouble",
        seconds=car_recovery.SECONDS,
        measure=car_recovery.measure,
    ),
    car_stops.STAGE: Stage(
        what=f"stops over ROS 2, each fault {car_stops.REPEAT} times",
        seconds=car_stops.SECONDS,
        measure=car_stops.measure,
    ),
    car_mistakes.STAGE: Stage(
        what="bad input, each mistake once with the real command",
        seconds=car_mistakes.SECONDS,
        measure=car_mistakes.measure,
    ),
    car_tests.STAGE: Stage(
        what="VESC, deadman, twin, courses, calibration, topics",
        seconds=car_tests.SECONDS,
        measure=car_tests.measure,
    ),
}
VERIFICATION = Verification(
    name="verify-car",
    title="The car: what was claimed and what was measured",
    about=__doc__ or "",
    stages=STAGES,
)

if __name__ == "__main__":
    sys.exit(VERIFICATION.main())
