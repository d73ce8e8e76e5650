"""From the settings of `conf/operator/` to an operator's device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robot_rl.task import Task
from robot_rl_hardware.operator.device import DeviceOperator
from robot_rl_hardware.operator.gamepad import Format
from robot_rl_hardware.operator.gamepad_source import GamepadSource
from robot_rl_hardware.operator.hand import Hand, HandConfig
from robot_rl_hardware.operator.keys import KeyboardOperator
from robot_rl_hardware.operator.mapping import control_map
from robot_rl_hardware.operator.spacemouse import SpaceMouseSource
from robot_rl_hardware.operator.watchdog import Watchdog, WatchdogConfig


def make_keyboard(
    task: Task, speed: float = 0.25, turn: float = 0.25, facing_deg: float = 0.0, level: bool = True, tty: str = "",
    grant_s: float = 0.08, unchanged_s: float = 20.0,
) -> KeyboardOperator:  # fmt: skip
    """Return an operator who presses keys in a terminal.

    Args:
        task: What the actions are for.
        speed, turn, facing_deg, level: Of `HandConfig`.
        tty: Device file of the terminal; that of the process when empty.
        grant_s: How long a press moves after the period that saw it.
        unchanged_s: How long a key may repeat before it counts as let go.
    """
    hand = Hand(task.action_spec, HandConfig(speed=speed, turn=turn, facing_deg=facing_deg, level=level))
    return KeyboardOperator(hand, Watchdog(WatchdogConfig(unchanged_s=unchanged_s)), tty, grant_s)


def make_gamepad(
    task: Task, motions: Mapping[str, Any], buttons: Mapping[str, Any], device: str = "auto",
    format: Format = "auto",
    ranges: Mapping[Any, Any] | None = None, speed: float = 0.5, turn: float = 0.5, deadband: float = 0.12,
    facing_deg: float = 0.0, level: bool = True, unchanged_s: float = 5.0, still_s: float = 60.0,
) -> DeviceOperator:  # fmt: skip
    """Return an operator with a gamepad.

    Args:
        task: What the actions are for.
        motions, buttons: See `control_map`.
        device: Device file; "auto" takes the only gamepad that is plugged in.
        format: Of its bytes: "js", "evdev", or "auto" by its name.
        ranges: Smallest and largest value of evdev's axes by code, where the device does not tell them.
        speed, turn, deadband, facing_deg, level: Of `HandConfig`.
        unchanged_s, still_s: Of `WatchdogConfig`.
    """
    controls = control_map(motions, buttons)
    given = {int(code): (int(low), int(high)) for code, (low, high) in (ranges or {}).items()}
    source = GamepadSource(device, format, given, sorted(controls.axes))
    hand = Hand(
        task.action_spec, HandConfig(speed=speed, turn=turn, deadband=deadband, facing_deg=facing_deg, level=level)
    )
    return DeviceOperator(source, controls, hand, Watchdog(WatchdogConfig(unchanged_s=unchanged_s, still_s=still_s)))


def make_spacemouse(
    task: Task, motions: Mapping[str, Any], buttons: Mapping[str, Any], device: str = "auto", speed: float = 0.5,
    turn: float = 0.4, deadband: float = 0.12, facing_deg: float = 0.0, level: bool = True, silent_s: float = 0.35,
    unchanged_s: float = 3.0,
) -> DeviceOperator:  # fmt: skip
    """Return an operator with a SpaceMouse.

    Args:
        task: What the actions are for.
        motions, buttons: See `control_map`.
        device: Device file; "auto" takes the only SpaceMouse that is plugged in.
        speed, turn, deadband, facing_deg, level: Of `HandConfig`.
        silent_s, unchanged_s: Of `WatchdogConfig`.
    """
    hand = Hand(
        task.action_spec, HandConfig(speed=speed, turn=turn, deadband=deadband, facing_deg=facing_deg, level=level)
    )
    watchdog = Watchdog(WatchdogConfig(silent_s=silent_s, unchanged_s=unchanged_s))
    return DeviceOperator(SpaceMouseSource(device), control_map(motions, buttons), hand, watchdog)
