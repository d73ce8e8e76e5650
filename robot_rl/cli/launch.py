"""`robot-rl launch`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import parse, parser, say

EXAMPLES = """\
  robot-rl launch launch/arm_twin.launch.py
  robot-rl launch launch/train.launch.py task:=reach
  robot-rl launch launch/train.launch.py --show-args
"""


def launch(arguments: Sequence[str]) -> int:
    """Run a launch file."""
    made = parser(
        "launch",
        "Run a ROS 2 launch file on a machine that has only the wheels of ROS; on a system ROS the same file also\n"
        "runs under ros2 launch. Ctrl-C ends its processes in order, the last started first; in a session the end of\n"
        "any of them does the same.\n"
        "The exit status is that of the first process that failed.",
        EXAMPLES,
        takes_settings=False,
    )
    made.add_argument("file", metavar="FILE", help="a launch file; its arguments follow as name:=value")
    made.add_argument("-s", "--show-args", action="store_true", help="list the arguments of the file and do nothing")
    options, words = parse(made, arguments)
    command = importlib.import_module("robot_rl_hardware.launching.command")
    file = Path(options.file)
    if options.show_args:
        for line in command.show(file):
            say(line)
        return 0
    return int(command.run(file, words))
