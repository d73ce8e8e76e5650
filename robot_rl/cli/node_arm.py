"""`robot-rl node arm`."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from robot_rl.cli.common import parse, parser, say, stop_on_signals
from robot_rl.cli.node import split_ros
from robot_rl.errors import ConfigError

if TYPE_CHECKING:
    from robot_rl.task import Compliance

EXAMPLES = """\
  robot-rl node arm task=pick_cube driver=twin
  robot-rl node arm task=reach driver=fci cell=my_cell.yaml --domain 7
  robot-rl node arm task=reach driver=fci cell=my_cell.yaml --speed 0.1
  robot-rl node arm task=pick_cube driver=twin --ros-args -p start.gripper_width:=0.04
"""
SETTINGS = """\
  task       what the arm is for: its limits, its compliance, its scene
  driver     twin, fci or crisp; each has settings of its own: driver.NAME=...
  cell       a cell by name, or the path of its file
  node       publish_hz, answer_hz, motion_s
"""


def node_arm(arguments: Sequence[str]) -> int:
    """Start a driver and be its node until Ctrl-C."""
    own, ros_arguments = split_ros(arguments)
    made = parser(
        "node arm",
        "Start the driver of an arm and speak for it on ROS topics and services (docs/ros2.md). On Ctrl-C the arm\n"
        "holds, its motion ends, and the node leaves. What follows --ros-args goes to ROS.",
        EXAMPLES,
        SETTINGS,
    )
    made.add_argument("--namespace", default="/arm", metavar="NAME", help="of the topics (/arm)")
    made.add_argument("--domain", type=int, metavar="N", help="ROS domain, 0 to 101 (ROS_DOMAIN_ID)")
    made.add_argument(
        "--speed", type=float, default=1.0, metavar="SHARE", help="of the task's speeds between two commands (1)"
    )
    options, settings = parse(made, own)
    from robot_rl.cell import Cell
    from robot_rl.config import compose
    from robot_rl.typed import build, target_of
    from robot_rl_hardware.ros.arm_node import ArmNodeConfig, run_arm_node
    from robot_rl_hardware.ros.environment import domain_of, prepare

    domain_of(options.domain)
    prepare()
    composed = compose(settings, "node", options.config_dir)
    task = target_of(composed.values["task"], "task").make()
    task.compliance = slowed(task.compliance, options.speed)
    cell = build(Cell, composed.values["cell"], "cell")
    config = build(ArmNodeConfig, composed.values["node"], "node")
    logging.getLogger("robot_rl_hardware").setLevel(logging.INFO)
    target = target_of(composed.values["driver"], "driver")
    with stop_on_signals("the arm holds; the node ends") as stopping:
        run_arm_node(
            target.make(task, cell), task, composed.choices["driver"], stopping, options.namespace, options.domain,
            ros_arguments, config, say,
        )  # fmt: skip
    return 0


def slowed(compliance: Compliance, share: float) -> Compliance:
    """Return a compliance whose reference moves at a share of its speed: for the first motions on hardware.

    Raises:
        ConfigError: The share is not above 0 and at most 1.
    """
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"--speed is {share:g}; it is a share of the task's speeds: above 0, at most 1")
    speeds = {name: share * getattr(compliance, name) for name in ("speed_m_s", "speed_rad_s")}
    return dataclasses.replace(compliance, **speeds)
