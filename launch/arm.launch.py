"""The arm's node alone: a twin in real time, a Franka, or whatever CRISP controllers move."""

import os
import shlex
import sys

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import EnvironmentVariable, LaunchConfiguration

from launch import LaunchDescription

HOLDS = "namespace"  # the argument whose value no second launch may hold in the same ROS domain


def arm(context):
    """Return the arm's node."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    command = [value("python"), "-m", "robot_rl", "node", "arm", "--namespace", value("namespace")]
    settings = [f"task={value('task')}", f"driver={value('driver')}", f"cell={value('cell')}"]
    return [
        ExecuteProcess(
            cmd=[*command, *settings, *shlex.split(value("arm_settings"))],
            name="arm",
            output="screen",
            sigterm_timeout="10",  # it holds, then ends the motion
            on_exit=[Shutdown(reason="the arm's node has ended")],
        )
    ]


def generate_launch_description():
    """Return the arm's node."""
    domain = EnvironmentVariable("ROS_DOMAIN_ID", default_value="0")
    return LaunchDescription(
        [
            DeclareLaunchArgument("driver", choices=["twin", "fci", "crisp"], description="what moves the arm."),
            DeclareLaunchArgument(
                "task", default_value="pick_cube", description="the task: its limits and compliance."
            ),
            DeclareLaunchArgument("cell", default_value="twin", description="a cell by name, or the path of its file."),
            DeclareLaunchArgument("namespace", default_value="/arm", description="ROS namespace of the arm."),
            DeclareLaunchArgument("domain", default_value=domain, description="ROS domain, 0 to 101."),
            DeclareLaunchArgument("arm_settings", default_value="", description="more words for robot-rl node arm."),
            DeclareLaunchArgument("python", default_value=sys.executable, description="the Python with robot_rl."),
            SetEnvironmentVariable("ROS_DOMAIN_ID", LaunchConfiguration("domain")),
            SetEnvironmentVariable("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1")),
            OpaqueFunction(function=arm),
        ]
    )
