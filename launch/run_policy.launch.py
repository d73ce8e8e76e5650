"""A trained policy on the robot over ROS 2: the arm, its cameras, and `robot-rl eval` of a run.

Started in this order and ended in the reverse: whoever moves the arm ends first, and the arm's node, which holds, last.
The end of any of them ends all.
"""

import shlex
import sys

from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir

from launch import LaunchDescription

HOLDS = "namespace"  # the argument whose value no second launch may hold in the same ROS domain


def policy(context):
    """Return the evaluation, which takes the arm for itself."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    command = [value("python"), "-m", "robot_rl", "eval", value("run"), "-n", value("episodes"), "--video", "0"]
    robot = ["robot=ros", f"robot.namespace={value('namespace')}", f"cell={value('cell')}"]
    robot.append("robot.acknowledge_s=5")  # then it says what it waits for, and asks again
    return [
        ExecuteProcess(
            cmd=[*command, "--label", value("label"), *robot, *shlex.split(value("settings"))],
            name="policy",
            output="screen",
            sigterm_timeout="20",
            on_exit=[Shutdown(reason="the policy has ended")],
        )
    ]


def part(name, **given):
    """Return another launch file of this folder."""
    path = PathJoinSubstitution([ThisLaunchFileDir(), f"{name}.launch.py"])
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=given.items())


def generate_launch_description():
    """Return the session."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("run", description="the run whose policy acts: its folder or name."),
            DeclareLaunchArgument("driver", default_value="twin", description="what moves the arm: twin, fci, crisp."),
            DeclareLaunchArgument("camera", default_value="twin", description="kind of the cameras, or none."),
            DeclareLaunchArgument("episodes", default_value="20", description="how many episodes."),
            DeclareLaunchArgument("label", default_value="ros", description="name of the evaluation in the report."),
            DeclareLaunchArgument("settings", default_value="", description="more words for robot-rl eval."),
            DeclareLaunchArgument("python", default_value=sys.executable, description="the Python with robot_rl."),
            part("arm", driver=LaunchConfiguration("driver")),
            part("cameras", camera=LaunchConfiguration("camera")),
            OpaqueFunction(function=policy),
        ]
    )
