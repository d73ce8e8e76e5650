"""What tests show about ROS 2: launch files, sessions, cameras, peers and commands, a row for each claim."""

from __future__ import annotations

from collections.abc import Sequence

from verify.children import Runner
from verify.claims import claim
from verify.rows import Row

STAGE = "launch"
SECONDS = 300.0

# What is claimed -> the files of the tests that show it.
CLAIMS: dict[str, Sequence[str]] = {
    "launch files run under a small runner: order, any child's death, mistakes, a taken domain": (
        "tests/launching/test_runner.py",
        "tests/launching/test_launch_files.py",
    ),
    "one command trains over ROS 2; a killed learner comes back, a full disk ends it in order": (
        "tests/launching/test_session.py",
    ),
    "CRISP's own client moves our arm; a node of another distribution reads it": ("tests/ros/test_peers.py",),
    "two RealSense software devices, starvation, wrong modes; films and dead devices": (
        "tests/cameras/test_realsense_camera.py",
        "tests/cameras/test_opencv_camera.py",
    ),
    "stop, acknowledge, recover and status from another terminal": ("tests/ros/test_arm_commands.py",),
}


def measure(runner: Runner) -> list[Row]:
    """Run the tests of each claim and return a row for it."""
    return [claim(runner, STAGE, what, files) for what, files in CLAIMS.items()]
