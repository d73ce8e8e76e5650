"""The Franka Hand, over the robot's own network (port 1338).

Its calls return when the fingers have arrived, and nothing can interrupt them meanwhile: a new wish waits for the one
under way, at most as long as the fingers need (0.8 s for the whole stroke at 0.1 m/s).
"""

from __future__ import annotations

import logging
from typing import Any

from robot_rl.errors import ConfigError, MissingDependency
from robot_rl_hardware.grippers.protocol import GripperError, GripperReading

log = logging.getLogger(__name__)

HOMING = ("if_needed", "always", "never")
GRASP_BELOW_M = 0.002
UNKNOWN_RANGE_M = 0.01  # a hand that was not homed since power-up tells no stroke


class FrankaHand:
    """The maker's parallel gripper.

    Args:
        address: of the robot.
        speed_m_s: of the fingers.
        force_n: of a grasp; the hand holds 70 N continuously.
        homing: whether to find the stroke anew: "if_needed" once after power-up, "always" or "never". It opens and
            closes the fingers.
    """

    def __init__(
        self, address: str, *, speed_m_s: float = 0.1, force_n: float = 40.0, homing: str = "if_needed"
    ) -> None:
        if homing not in HOMING:
            raise ConfigError(f"gripper.homing must be one of {', '.join(HOMING)}, got '{homing}'")
        if not (0.0 < speed_m_s <= 0.2 and 0.0 < force_n <= 70.0):
            raise ConfigError(
                f"gripper.speed_m_s must be in (0, 0.2] and gripper.force_n in (0, 70], got {speed_m_s}, {force_n}"
            )
        self._address, self._speed, self._force, self._homing = address, speed_m_s, force_n, homing
        self._device: Any = None
        self._max_m = 0.08

    def connect(self) -> None:
        """Open it and home it if it does not know its stroke."""
        try:
            import pylibfranka
        except ImportError:
            raise MissingDependency(
                "pylibfranka",
                "the Franka Hand",
                "pip install 'robot-rl[franka]' (Linux on x86-64, Python 3.11 or 3.12)",
            ) from None
        try:
            self._device = pylibfranka.Gripper(self._address)
            lost_stroke = self._device.read_once().max_width < UNKNOWN_RANGE_M
            if self._homing == "always" or (self._homing == "if_needed" and lost_stroke):
                log.info("the hand finds its stroke: keep clear of the fingers")
                self._device.homing()
            self._max_m = float(self._device.read_once().max_width)
        except RuntimeError as e:
            raise GripperError(
                f"the Franka Hand at {self._address} could not be opened: {e}; is it mounted and chosen as end "
                "effector in Desk? Set gripper.kind to none if there is none"
            ) from None

    def go(self, width_m: float) -> None:
        """Open to a width, or grasp whatever is between the fingers if it is zero."""
        try:
            if width_m < GRASP_BELOW_M:
                self._device.grasp(0.0, self._speed, self._force, 0.1, 0.1)  # whatever the width of what it meets
            else:
                self._device.move(min(width_m, self._max_m), self._speed)
        except RuntimeError as e:
            raise GripperError(f"the Franka Hand did not go to {width_m:.3f} m: {e}") from None

    def stop(self) -> None:
        """Stop the fingers."""
        try:
            self._device.stop()
        except RuntimeError as e:
            raise GripperError(f"the Franka Hand did not stop: {e}") from None

    def read(self) -> GripperReading:
        """Return the present opening."""
        try:
            state = self._device.read_once()
        except RuntimeError as e:
            raise GripperError(f"the Franka Hand at {self._address} does not answer: {e}") from None
        return GripperReading(float(state.width), float(state.max_width), bool(state.is_grasped))

    def close(self) -> None:
        """Release the device."""
        self._device = None
