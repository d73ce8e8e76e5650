"""What can be set for a camera, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from robot_rl.errors import ConfigError, nearest
from robot_rl.typed import build

Kind = Literal["realsense", "opencv", "topic", "twin"]
TURNS_DEG = (0, 90, 180, 270)
# What differs from the defaults below. A drawn scene stands as still as it likes, and a topic is silent until its
# node comes; the twin draws what the policy sees, since a larger drawing costs more.
OF_KIND: Mapping[str, Mapping[str, Any]] = {
    "realsense": {},
    "opencv": {},
    "topic": {"reconnect_s": 0.0},
    "twin": {"width": 128, "height": 128, "frozen_s": 0.0, "reconnect_s": 0.0},
}


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """Settings of one camera.

    Attributes:
        kind: "realsense", "opencv" (a V4L2 device, a video file, a stream's address), "topic" (images that another
            ROS 2 node publishes) or "twin".
        device: Which one: a serial number; an index, a path or an address; a topic; a camera of the twin's scene.
            Empty takes the only RealSense, /dev/video0, or the twin's camera with this camera's name.
        width, height, fps: Mode to ask the device for.
        format: Four letters of the pixel format to ask a V4L2 device for, such as MJPG; empty leaves it.
        turn_deg: By how much the picture is turned anticlockwise, for cameras that hang upside down.
        crop: x, y, width and height of the square that the policy sees, in pixels of the turned picture; None takes
            the largest square in the middle.
        size: Side of the policy's picture in pixels.
        depth: Also read depth, aligned to the colours (RealSense).
        lock: Freeze exposure, gain and white balance once they have settled. A policy that learnt at one brightness
            fails at another, so automatic control is off while it acts.
        settle_s: How long automatic control may settle before it is locked.
        exposure, gain, white_balance: Fixed values in the device's own units instead of settled ones.
        late_s: A picture older than this is late, and the camera is not well.
        frozen_s: Pictures identical to the last byte for this long mean a frozen camera, since light is never that
            still; 0 switches it off, for a scene that is drawn.
        reconnect_s: Silence after which the device is closed and opened again; 0 waits for ever.
        loop: Begin a video file anew at its end.
        calibration: What `robot-rl calibrate` measured, kept with the camera; nothing here reads it.
    """

    kind: Kind
    device: str | int = ""
    width: int = 640
    height: int = 480
    fps: int = 30
    format: str = ""
    turn_deg: int = 0
    crop: tuple[int, int, int, int] | None = None
    size: int = 128
    depth: bool = False
    lock: bool = True
    settle_s: float = 1.0
    exposure: float | None = None
    gain: float | None = None
    white_balance: float | None = None
    late_s: float = 0.2
    frozen_s: float = 0.5
    reconnect_s: float = 2.0
    loop: bool = False
    calibration: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            kinds = list(get_args(Kind))
            raise ConfigError(f"a camera's kind must be one of {kinds}, got '{self.kind}'.{nearest(self.kind, kinds)}")
        for name, low, high in (("width", 8, 7680), ("height", 8, 4320), ("fps", 1, 1000), ("size", 8, 1024)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"a camera's {name} must be from {low} to {high}, got {value}")
        if self.turn_deg not in TURNS_DEG:
            raise ConfigError(f"a camera's turn_deg must be one of {list(TURNS_DEG)}, got {self.turn_deg}")
        if self.format and len(self.format) != 4:
            raise ConfigError(f"a camera's format has four letters, such as MJPG or YUYV, got '{self.format}'")
        if not 0.0 < self.late_s < math.inf:
            raise ConfigError(f"a camera's late_s must be positive, got {self.late_s}")
        for name in ("frozen_s", "settle_s", "reconnect_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"a camera's {name} must not be negative, got {getattr(self, name)}")
        if self.crop is not None:
            check_crop(self.crop)


def check_crop(crop: tuple[int, int, int, int]) -> None:
    """Raise `ConfigError` unless a crop is a square that can lie in some picture."""
    x, y, width, height = crop
    if min(x, y) < 0 or width != height or width < 8:
        raise ConfigError(
            f"a camera's crop is x, y, width, height in pixels, of a square of at least 8, got {list(crop)}; "
            "draw it with: robot-rl camera NAME"
        )


def camera_settings(values: Mapping[str, Any], where: str = "camera") -> CameraSettings:
    """Return the settings in plain values, such as a cell's; what they leave out is as usual for their kind.

    Args:
        values: By name; `serial` is another word for `device`.
        where: What to call them in messages.

    Raises:
        ConfigError: A name, type or value is wrong.
    """
    given = dict(values)
    if "serial" in given:
        if "device" in given:
            raise ConfigError(f"{where} has a serial and a device, which are the same; keep one")
        given["device"] = given.pop("serial")
    usual = OF_KIND.get(str(given.get("kind")), {})
    try:
        return build(CameraSettings, {**usual, **given}, where)
    except ConfigError as error:
        raise error if where in str(error) else ConfigError(f"{where}: {error}") from error
