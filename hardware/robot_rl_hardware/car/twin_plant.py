"""`TwinPlant`: a twin as a VESC sees its car: told electrical speeds and servo positions, and asked for them.

The commands of the wire are turned into the twin's own by the numbers of the car that the twin really is, and its
answers back. So a car file that is wrong drives the twin as wrongly as it would drive the car. It owns no clock:
time passes in `step`.
"""

from __future__ import annotations

import math
from typing import Any

from robot_rl.car import Car, CarCommand, CarReset, CarState
from robot_rl.errors import RobotError
from robot_rl_hardware.car import vesc_messages as vm
from robot_rl_hardware.car.settings import CarSettings

_TAPER_M_S = 0.5
"""Below this speed the brake fades with it: a motor that hardly turns brakes hardly, and never drives the other way."""
_STANDING_M_S = 0.01
_VOLTAGE_V, _TEMPERATURE_C = 11.1, 25.0


class TwinPlant:
    """The twin behind the motor controller.

    Attributes:
        state: What the twin's sensors told last; None before the first reset.

    Args:
        twin: In lock-step; its control period is the one of `step`.
        really: What the twin is.
    """

    def __init__(self, twin: Car, really: CarSettings) -> None:
        self.state: CarState | None = None
        self._twin, self._really = twin, really
        self._command = CarCommand(0.0, current_a=0.0)

    def reset(self, request: CarReset) -> vm.MotorValues:
        """Put the car somewhere, and let go of the motor."""
        self._command = CarCommand(0.0, current_a=0.0)
        self.state = self._twin.reset(request)
        return self.values()

    def obey(self, command: vm.Command) -> None:
        """Take a command of the wire; it holds until the next one for the same motor."""
        really = self._really
        if isinstance(command, vm.SetServo):
            right, left = really.steering_range_rad
            self._command.steering_rad = min(max(really.steering_of(command.position), right), left)
        elif isinstance(command, vm.SetRpm):
            self._command.speed_m_s, self._command.current_a = really.speed_of(float(command.erpm)), None
        elif isinstance(command, vm.SetCurrent):
            self._command.current_a = math.copysign(1.0, really.speed_to_erpm_gain) * command.current_a
        elif isinstance(command, vm.SetCurrentBrake):
            speed = self.state.speed_m_s if self.state else 0.0
            self._command.current_a = -min(max(speed / _TAPER_M_S, -1.0), 1.0) * command.current_a
        else:
            raise RobotError(f"the car's twin does not know the command {type(command).__name__}")

    def step(self, periods: int = 1) -> vm.MotorValues:
        """Let control periods go by, and return what the motor controller would answer."""
        for _ in range(periods):
            self._twin.command(self._command)
        self.state = self._twin.observe()
        return self.values()

    def values(self) -> vm.MotorValues:
        """Return what the motor controller would answer now."""
        assert self.state is not None  # nothing is asked before a reset
        speed, gain = self.state.speed_m_s, self._really.speed_to_erpm_gain
        erpm = 0.0 if abs(speed) < _STANDING_M_S else gain * speed + self._really.speed_to_erpm_offset
        return vm.MotorValues(
            temp_fet_c=_TEMPERATURE_C, temp_motor_c=_TEMPERATURE_C, erpm=erpm, voltage_v=_VOLTAGE_V,
            current_motor_a=math.copysign(1.0, gain) * self.state.current_a,
        )  # fmt: skip

    def true_pose(self) -> tuple[float, float, float]:
        """Return where the twin really is: x, y [m], yaw [rad]; what its sensors say where it keeps no truth."""
        assert self.state is not None  # nothing is asked before a reset
        truth: Any = getattr(self._twin, "truth", None)
        at = truth() if truth else self.state
        return float(at.p_WC[0]), float(at.p_WC[1]), float(at.yaw_rad)

    def close(self) -> None:
        """End the twin."""
        self._twin.close()
