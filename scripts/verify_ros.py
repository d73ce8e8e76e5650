"""Measures every claim about driving the real thing that fits into 15 minutes on two processor cores.

    make verify-ros
    make verify-ros ARGS="--only policy --only tracking"
    ROBOT_RL_REPEAT=20 make verify-ros ARGS="--only faults"

Prints a row for each claim (what, measured, bar, holds) and leaves runs/verify-ros/table.txt and rows.json, also when
it is stopped half way. Ends with status 1 if any row fails. What takes longer is in docs/results.md. Timings are those
of this machine at this moment: run it while nothing else runs.
"""

from __future__ import annotations

import sys

from verify import ros_faults, ros_fci, ros_launch, ros_policy, ros_tracking
from verify.program import Stage, Verification

STAGES = {
    ros_policy.STAGE: Stage(
        what="the demo's policy over DDS: success, control period, age of pictures",
        seconds=ros_policy.SECONDS,
        measure=ros_policy.measure,
    ),
    ros_tracking.STAGE: Stage(
        what="one trace through lock-step, real time over ROS 2, and the Franka's protocol",
        seconds=ros_tracking.SECONDS,
        measure=ros_tracking.measure,
    ),
    ros_fci.STAGE: Stage(
        what="the Franka's driver against a simulator of its protocol",
        seconds=ros_fci.SECONDS,
        measure=ros_fci.measure,
    ),
    ros_faults.STAGE: Stage(
        what=f"faults over ROS 2, each {ros_faults.REPEAT} times",
        seconds=ros_faults.SECONDS,
        measure=ros_faults.measure,
    ),
    ros_launch.STAGE: Stage(
        what="launch files, their order and their mistakes; ROS 2 peers, cameras, commands",
        seconds=ros_launch.SECONDS,
        measure=ros_launch.measure,
    ),
}
VERIFICATION = Verification(
    name="verify-ros",
    title="Drive the real thing: what was claimed and what was measured",
    about=__doc__ or "",
    stages=STAGES,
)

if __name__ == "__main__":
    sys.exit(VERIFICATION.main())
