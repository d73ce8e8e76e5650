"""The twin of the car in real time: everything that a VESC, a lidar and a localisation do over ROS 2, on a desk."""

from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import PathJoinSubstitution, ThisLaunchFileDir

from launch import LaunchDescription

HOLDS = "namespace"  # the argument whose value no second launch may hold in the same ROS domain


def generate_launch_description():
    """Return the car's node with the twin as its driver."""
    path = PathJoinSubstitution([ThisLaunchFileDir(), "car.launch.py"])
    return LaunchDescription(
        [IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments={"driver": "twin"}.items())]
    )
