"""From settings to a camera that needs no ROS."""

from __future__ import annotations

from robot_rl.errors import ConfigError
from robot_rl_hardware.cameras.protocol import Camera
from robot_rl_hardware.cameras.settings import CameraSettings


def make_camera(settings: CameraSettings) -> Camera:
    """Return the camera that the settings describe, not yet started.

    Raises:
        ConfigError: The kind reads ROS topics, so it lives in a node.
    """
    if settings.kind == "opencv":
        from robot_rl_hardware.cameras.opencv import OpenCVCamera

        return OpenCVCamera(settings)
    if settings.kind == "realsense":
        from robot_rl_hardware.cameras.realsense import RealSenseCamera

        return RealSenseCamera(settings)
    raise ConfigError(
        f"a camera of kind '{settings.kind}' reads ROS topics and is made by the camera node; "
        "without ROS there are realsense and opencv"
    )
