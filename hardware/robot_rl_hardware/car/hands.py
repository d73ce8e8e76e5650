"""A person who drives a car by keys or a gamepad, for the slow lap that a course is recorded from."""

from __future__ import annotations

import time
from collections.abc import Callable

from robot_rl.car import CarCommand, CarState
from robot_rl.errors import RobotError
from robot_rl_hardware.operator.gamepad_source import GamepadSource
from robot_rl_hardware.operator.keyboard import Keyboard

KEYS = "w/s or up/down: faster, slower; a/d or left/right: steer; space: stop; q: the lap is complete"
PAD = "hold the left shoulder button; left stick: speed and steering; A: the lap is complete"
_STEER_STEP, _SPEED_STEP_M_S = 0.25, 0.2
_HELD_S = 0.35  # a key repeats after about so long; then the wheels straighten
_DEAD_MAN, _DONE, _FORWARD_AXIS, _SIDE_AXIS = 4, 0, 1, 0


class KeyHand:
    """Drives by keys. The speed stays as set; the steering straightens when its keys are let go.

    Args:
        keyboard: The open terminal.
        most_steering_rad, most_speed_m_s: Limits.
        now_s: Clock.
    """

    def __init__(
        self, keyboard: Keyboard, most_steering_rad: float, most_speed_m_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._keyboard, self._most, self._fastest, self._now_s = keyboard, most_steering_rad, most_speed_m_s, now_s
        self._speed = self._steer = 0.0
        self._pressed_s = -1.0

    def read(self, state: CarState) -> CarCommand | None:
        """Return what the keys say; None after q."""
        for key in self._keyboard.read():
            if key in ("q", "escape"):
                return None
            if key == "space":
                self._speed = self._steer = 0.0
            elif key in ("w", "up", "s", "down"):
                step = _SPEED_STEP_M_S if key in ("w", "up") else -_SPEED_STEP_M_S
                self._speed = min(max(self._speed + step, 0.0), self._fastest)
            elif key in ("a", "left", "d", "right"):
                step = _STEER_STEP if key in ("a", "left") else -_STEER_STEP
                self._steer = min(max(self._steer + step, -1.0), 1.0)
                self._pressed_s = self._now_s()
        if self._now_s() - self._pressed_s > _HELD_S:
            self._steer *= 0.5
        return CarCommand(self._steer * self._most, self._speed)


class PadHand:
    """Drives by a gamepad's left stick, only while its dead-man button is held.

    Args:
        source: The open gamepad.
        most_steering_rad, most_speed_m_s: At full deflection.
    """

    def __init__(self, source: GamepadSource, most_steering_rad: float, most_speed_m_s: float) -> None:
        self._source, self._most, self._fastest = source, most_steering_rad, most_speed_m_s

    def read(self, state: CarState) -> CarCommand | None:
        """Return what the stick says; None after A."""
        sample = self._source.poll()
        if self._source.gone:
            raise RobotError(f"{self._source.gone}; nothing was saved, so plug it in and drive again")
        if _DONE in sample.pressed:
            return None
        if sample.suspect or _DEAD_MAN not in sample.held:
            return CarCommand(0.0, 0.0)
        forward, side = -sample.axes.get(_FORWARD_AXIS, 0.0), -sample.axes.get(_SIDE_AXIS, 0.0)
        return CarCommand(side * self._most, max(forward, 0.0) * self._fastest)
