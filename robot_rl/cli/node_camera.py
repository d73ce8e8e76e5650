"""`robot-rl node camera`: cameras published on ROS 2 topics."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from robot_rl.cli.common import parse, parser, say, stop_on_signals
from robot_rl.cli.node import split_ros

SETTINGS = """\
  camera=opencv             kind: realsense, opencv, topic, twin
  camera.device=0           serial number; index, path or address; topic; camera of the twin's scene
  names=[front,wrist]       cameras to publish; with a cell, those of its cameras
  cell=my_cell.yaml         the cell whose cameras these are, whatever camera= says, but for camera=twin;
                            camera.fps=15 then changes each of them
  task=pick_cube            for the twin: the scene to look at
  node.namespace=/cameras   each camera publishes below it: /cameras/NAME/image
  node.arm=/arm             for the twin: the arm node to follow
"""


def node_camera(arguments: Sequence[str]) -> int:
    """Publish cameras until told to stop."""
    made = parser(
        "node camera",
        "Publish cameras: 128x128 pictures for the policy, whole ones for the log, and how each camera does.\n"
        "What follows --ros-args goes to ROS.",
        "  robot-rl node camera camera=twin names=[front,wrist] task=pick_cube\n"
        "  robot-rl node camera camera=opencv camera.device=/dev/video0 names=[front]\n"
        "  robot-rl node camera cell=my_cell.yaml\n"
        "  robot-rl node camera --car camera=twin scene.course=oval",
        SETTINGS,
    )
    made.add_argument(
        "--car", action="store_true", help="the twin's cameras are those of a car; node.car, scene.course"
    )
    made.add_argument("--domain", type=int, default=None, metavar="N", help="ROS domain (ROS_DOMAIN_ID)")
    ours, ros_arguments = split_ros(arguments)
    options, settings = parse(made, ours)
    with stop_on_signals() as stopping:
        from robot_rl.cli.camera_settings import cameras_of, compose_cameras, hardware
        from robot_rl.typed import build, target_of

        nodes = hardware("ros.camera_node")
        logging.getLogger("robot_rl_hardware").setLevel(logging.INFO)
        composed = compose_cameras(settings, options.config_dir, "car_camera_node" if options.car else "camera_node")
        values = {**composed.values["node"], "domain": options.domain, "ros_arguments": ros_arguments}
        cameras = cameras_of(composed, settings)
        scene = target_of(composed.values["scene"], "scene")
        looked_at = () if options.car else (target_of(composed.values["task"], "task").make(),)
        nodes.run_camera_node(
            cameras, build(nodes.CameraNodeSettings, values, "node"), stopping, lambda: scene.make(*looked_at), say
        )
    return 0
