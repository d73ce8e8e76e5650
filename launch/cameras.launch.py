"""The cameras' node: the twin's pictures, a RealSense, a V4L2 device or any ROS 2 image topic."""

import shlex
import sys

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import EnvironmentVariable, LaunchConfiguration

from launch import LaunchDescription


def cameras(context):
    """Return the cameras' node, or nothing for camera:=none."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    if value("camera") == "none":
        return []
    command = [value("python"), "-m", "robot_rl", "node", "camera"]
    settings = [f"camera={value('camera')}", f"task={value('task')}", f"cell={value('cell')}"]
    settings += [f"node.arm={value('namespace')}"]
    if value("cameras"):
        settings.append(f"names=[{value('cameras')}]")
    return [
        ExecuteProcess(
            cmd=[*command, *settings, *shlex.split(value("camera_settings"))],
            name="cameras",
            output="screen",
            on_exit=[Shutdown(reason="the cameras' node has ended")],
        )
    ]


def generate_launch_description():
    """Return the cameras' node."""
    domain = EnvironmentVariable("ROS_DOMAIN_ID", default_value="0")
    return LaunchDescription(
        [
            DeclareLaunchArgument("camera", default_value="twin", description="kind of the cameras, or none."),
            DeclareLaunchArgument("task", default_value="pick_cube", description="the task, for the twin's scene."),
            DeclareLaunchArgument("cell", default_value="twin", description="a cell by name, or the path of its file."),
            DeclareLaunchArgument(
                "cameras", default_value="", description="their names, as front,wrist; all if empty."
            ),
            DeclareLaunchArgument("namespace", default_value="/arm", description="of the arm that a twin shows."),
            DeclareLaunchArgument("domain", default_value=domain, description="ROS domain, 0 to 101."),
            DeclareLaunchArgument(
                "camera_settings", default_value="", description="more words for robot-rl node camera."
            ),
            DeclareLaunchArgument("python", default_value=sys.executable, description="the Python with robot_rl."),
            SetEnvironmentVariable("ROS_DOMAIN_ID", LaunchConfiguration("domain")),
            OpaqueFunction(function=cameras),
        ]
    )
