"""A whole training session over ROS 2: the arm, its cameras, and learner and actor under `robot-rl train`.

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


def session(context):
    """Return the training, which takes the arm for itself."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    command = [value("python"), "-m", "robot_rl", "train"]
    robot = ["robot=ros", f"robot.namespace={value('namespace')}", f"cell={value('cell')}"]
    robot.append("robot.acknowledge_s=5")  # then it says what it waits for, and asks again
    settings = (
        [f"task={value('task')}", f"name={value('name')}"] if not value("resume") else [f"resume={value('resume')}"]
    )
    return [
        ExecuteProcess(
            cmd=[*command, *settings, *robot, *shlex.split(value("settings"))],
            name="train",
            output="screen",
            sigterm_timeout="60",  # the actor hands over what it has, the learner saves
            sigkill_timeout="20",
            on_exit=[Shutdown(reason="the training has ended")],
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
            DeclareLaunchArgument("driver", default_value="twin", description="what moves the arm: twin, fci, crisp."),
            DeclareLaunchArgument("camera", default_value="none", description="kind of the cameras, or none."),
            DeclareLaunchArgument("name", default_value="", description="of the run; task and time when empty."),
            DeclareLaunchArgument("resume", default_value="", description="a run to go on with instead."),
            DeclareLaunchArgument("settings", default_value="", description="more words for robot-rl train."),
            DeclareLaunchArgument("python", default_value=sys.executable, description="the Python with robot_rl."),
            part("arm", driver=LaunchConfiguration("driver")),
            part("cameras", camera=LaunchConfiguration("camera")),
            OpaqueFunction(function=session),
        ]
    )
