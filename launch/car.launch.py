"""The car's node alone: a VESC, or the twin in real time."""

import os
import shlex
import sys

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import EnvironmentVariable, LaunchConfiguration

from launch import LaunchDescription

HOLDS = "namespace"  # the argument whose value no second launch may hold in the same ROS domain


def car(context):
    """Return the car's node."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    command = [value("python"), "-m", "robot_rl", "node", "car"]
    if value("namespace") not in ("", "/"):
        command += ["--namespace", value("namespace")]
    settings = [f"car={value('car')}", f"driver={value('driver')}"]
    if value("port"):
        settings.append(f"driver.port={value('port')}")
    return [
        ExecuteProcess(
            cmd=[*command, *settings, *shlex.split(value("car_settings"))],
            name="car",
            output="screen",
            sigterm_timeout="10",  # it brakes until the car stands
            on_exit=[Shutdown(reason="the car's node has ended")],
        )
    ]


def generate_launch_description():
    """Return the car's node."""
    domain = EnvironmentVariable("ROS_DOMAIN_ID", default_value="0")
    return LaunchDescription(
        [
            DeclareLaunchArgument("car", description="the car's file, such as my_car.yaml."),
            DeclareLaunchArgument("driver", choices=["twin", "vesc"], description="what is driven."),
            DeclareLaunchArgument("port", default_value="", description="serial port of the VESC."),
            DeclareLaunchArgument("namespace", default_value="/", description="ROS namespace; / as F1TENTH has it."),
            DeclareLaunchArgument("domain", default_value=domain, description="ROS domain, 0 to 101."),
            DeclareLaunchArgument("car_settings", default_value="", description="more words for robot-rl node car."),
            DeclareLaunchArgument("python", default_value=sys.executable, description="the Python with robot_rl."),
            SetEnvironmentVariable("ROS_DOMAIN_ID", LaunchConfiguration("domain")),
            SetEnvironmentVariable("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1")),
            OpaqueFunction(function=car),
        ]
    )
