"""The Robotiq 2F-85 (and its kin) over Modbus RTU on a serial port, through pyrobotiqgripper."""

from __future__ import annotations

import logging
import os
from typing import Any

from robot_rl.errors import ConfigError, MissingDependency
from robot_rl_hardware.grippers.protocol import GripperError, GripperReading

log = logging.getLogger(__name__)

COUNTS = 255
HELD = (1, 2)  # stopped by something while opening, while closing


class Robotiq:
    """An adaptive two-finger gripper.

    Args:
        port: serial device, for example /dev/ttyUSB0, or better its stable name below /dev/serial/by-id.
        max_width_m: opening of the open fingers: 0.085 for a 2F-85, 0.140 for a 2F-140.
        closed_counts: position that the gripper tells when closed; about 230 with the usual fingertips.
        open_counts: position that it tells when open.
        speed, force: 0 to 255, as the maker counts them.
        device_id: Modbus address.
    """

    def __init__(
        self,
        port: str,
        *,
        max_width_m: float = 0.085,
        closed_counts: int = 230,
        open_counts: int = 3,
        speed: int = 255,
        force: int = 100,
        device_id: int = 9,
    ) -> None:
        if not 0 <= open_counts < closed_counts <= COUNTS:
            raise ConfigError(
                f"gripper.open_counts and closed_counts must be 0 to 255 in this order, "
                f"got {open_counts}, {closed_counts}"
            )
        if not (0 <= speed <= COUNTS and 0 <= force <= COUNTS and 0.0 < max_width_m < 0.5):
            raise ConfigError(
                f"gripper.speed and force must be 0 to 255 and max_width_m in (0, 0.5), "
                f"got {speed}, {force}, {max_width_m}"
            )
        self._port, self._max_m, self._id = port, max_width_m, device_id
        self._open, self._closed = open_counts, closed_counts
        self._speed, self._force = speed, force
        self._device: Any = None
        self._asked = open_counts

    def connect(self) -> None:
        """Open it and activate it: after power-up it then opens and closes once."""
        try:
            import pyrobotiqgripper
        except ImportError:
            raise MissingDependency(
                "pyrobotiqgripper", "a Robotiq gripper", "pip install 'robot-rl[robotiq]'"
            ) from None
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it tells the same as its exceptions
        if not os.path.exists(self._port):
            raise GripperError(f"there is no serial port {self._port}; {_ports()}")
        try:
            self._device = pyrobotiqgripper.RobotiqGripper(com_port=self._port, device_id=self._id)
            self._device.activate(reset=False)
        except Exception as e:  # the library lets those of pymodbus and pyserial through
            raise GripperError(
                f"the Robotiq gripper on {self._port} does not answer ({e}); check its 24 V, the cable, device_id "
                f"{self._id}, and that you may use the port (group dialout)"
            ) from None

    def go(self, width_m: float) -> None:
        """Start towards an opening and return at once: it stops by itself at what it meets."""
        share = 1.0 - min(max(width_m / self._max_m, 0.0), 1.0)
        # A grasp asks for more than closed, so that the fingers press.
        self._asked = COUNTS if share == 1.0 else round(self._open + share * (self._closed - self._open))
        self._call("move", self._asked, speed=self._speed, force=self._force, wait=False, start=True)

    def stop(self) -> None:
        """Stop the fingers where they are."""
        self._call("stop")

    def read(self) -> GripperReading:
        """Return the present opening."""
        counts = self._call("position")
        share = (counts - self._open) / (self._closed - self._open)
        width_m = (1.0 - min(max(share, 0.0), 1.0)) * self._max_m
        return GripperReading(width_m, self._max_m, int(self._call("objectDetection", refreshStatus=False)) in HELD)

    def _call(self, name: str, *arguments: Any, **named: Any) -> Any:
        if self._device is None:
            raise GripperError(f"the Robotiq gripper on {self._port} is not connected")
        try:
            return getattr(self._device, name)(*arguments, **named)
        except Exception as e:  # the library lets those of pymodbus and pyserial through
            raise GripperError(f"the Robotiq gripper on {self._port} did not {name}: {e}") from None

    def close(self) -> None:
        """Release the port."""
        device, self._device = self._device, None
        if device is not None:
            device.disconnect()


def _ports() -> str:
    folder = "/dev/serial/by-id"
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return f"connected: {', '.join(f'{folder}/{n}' for n in names)}" if names else "no USB serial adapter is connected"
