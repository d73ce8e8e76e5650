"""`robot-rl node`: the programs that a robot's computer runs, one for each kind of device."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from robot_rl.cli.common import parser
from robot_rl.errors import ConfigError, nearest

# Kind -> (module in this package, what it does). The function has the name of the module.
KINDS = {
    "arm": ("node_arm", "topics and services around the driver of an arm: twin, fci, crisp"),
    "car": ("node_car", "F1TENTH's topics around the driver of an RC car: twin, vesc"),
    "camera": ("node_camera", "one or several cameras: RealSense, V4L2, topics, the twin's"),
}
EXAMPLES = """\
  robot-rl node arm task=pick_cube driver=twin
  robot-rl node car driver=twin car=my_car.yaml
  robot-rl node arm --help
  robot-rl node camera --help
"""
ROS_ARGUMENTS = "--ros-args"


def node(arguments: Sequence[str]) -> int:
    """Run a node until Ctrl-C."""
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, KINDS))
        listed = "\n".join(f"  {kind:<{width}}  {what}" for kind, (_, what) in KINDS.items())
        what = f"Be a ROS 2 node until Ctrl-C: robot-rl node KIND [options] [setting=value ...]\n\nkinds:\n{listed}"
        parser("node", what, EXAMPLES, takes_settings=False).parse_args(["--help"])
    kind, *rest = arguments
    if kind not in KINDS:
        raise ConfigError(f"there is no node '{kind}'; there are {', '.join(KINDS)}.{nearest(kind, KINDS)}")
    name = KINDS[kind][0]
    return int(getattr(importlib.import_module(f"robot_rl.cli.{name}"), name)(rest))


def split_ros(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return our own arguments, and those between `--ros-args` and `--`, which a ROS launch appends."""
    own: list[str] = []
    ros: list[str] = []
    inside = False
    for word in arguments:
        if word == ROS_ARGUMENTS:
            inside = True
        elif inside and word == "--":
            inside = False
        else:
            (ros if inside else own).append(word)
    return own, tuple(ros)
