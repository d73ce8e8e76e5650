"""Exposure, gain and white balance of a RealSense: settled once, then locked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from robot_rl.errors import CameraError
from robot_rl_hardware.cameras.settings import CameraSettings

log = logging.getLogger(__name__)


def lock_controls(
    rs: Any, sensor: Any, settings: CameraSettings, serial: str, look: Callable[[], None]
) -> dict[str, float]:
    """Bring the controls of a sensor to where the settings want them, and return their values.

    Automatic control settles while frames flow; then what it found is written as fixed values.

    Args:
        rs: pyrealsense2.
        sensor: The colour sensor, streaming.
        settings: Of the camera.
        serial: For messages.
        look: Waits for a frame.

    Raises:
        CameraError: A value is outside of what the sensor allows, or no frame comes.
    """
    option = rs.option
    automatic = (option.enable_auto_exposure, option.enable_auto_white_balance)
    fixed = {option.exposure: settings.exposure, option.gain: settings.gain}
    fixed[option.white_balance] = settings.white_balance
    have = {one: sensor.supports(one) for one in (*automatic, *fixed)}
    if settings.lock and None in fixed.values() and any(have[one] for one in automatic):
        for one in filter(have.__getitem__, automatic):
            sensor.set_option(one, 1.0)
        until = time.monotonic() + settings.settle_s
        look()
        while time.monotonic() < until:
            look()
    settled = {one: sensor.get_option(one) for one in fixed if have[one]}
    for one, values in zip(automatic, ((option.exposure, option.gain), (option.white_balance,)), strict=True):
        if have[one] and (settings.lock or any(fixed[value] is not None for value in values)):
            sensor.set_option(one, 0.0)
    for one, value in fixed.items():
        if value is None and not (settings.lock and have[one]):
            continue
        _set(sensor, one, settled[one] if value is None else value, have[one], serial)
    if settings.lock and not have[option.exposure]:
        log.warning("RealSense %s has no exposure to lock; its brightness may drift", serial)
    return {one.name: sensor.get_option(one) for one in fixed if have[one]}


def _set(sensor: Any, option: Any, value: float, supported: bool, serial: str) -> None:
    if not supported:
        raise CameraError(f"RealSense {serial} has no {option.name} to set; remove it from the camera's settings")
    allowed = sensor.get_option_range(option)
    if not allowed.min <= value <= allowed.max:
        raise CameraError(
            f"RealSense {serial} refuses {option.name} {value:g}; allowed: {allowed.min:g} to {allowed.max:g} in "
            f"steps of {allowed.step:g}"
        )
    try:
        sensor.set_option(option, value)
    except RuntimeError as error:
        raise CameraError(f"RealSense {serial} refuses {option.name} {value:g}: {error}") from error
