from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from robot_rl.errors import RobotError
from robot_rl_hardware.operator.gamepad import Format, StopButton


def js(number: int, value: int, kind: int = 1) -> bytes:
    """Return an event as linux/joystick.h lays it out."""
    return struct.pack("=IhBB", 1234, value, kind, number)


def evdev(code: int, value: int, kind: int = 1) -> bytes:
    """Return an event as linux/input.h lays it out."""
    return struct.pack("@llHHi", 1, 2, kind, code, value)


@dataclass
class Device:
    """A named pipe in the place of a device file, and the end that the kernel would write to."""

    path: Path
    writer: int

    def write(self, data: bytes) -> None:
        os.write(self.writer, data)


@pytest.fixture(params=["js", "evdev"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    path = tmp_path / "pad"
    os.mkfifo(path)
    made = Device(path, os.open(path, os.O_RDWR))
    yield made
    if made.writer >= 0:
        os.close(made.writer)


def press(kind: str, number: int, value: int = 1) -> bytes:
    return js(number, value) if kind == "js" else evdev(number, value)


def test_a_press_stops_and_what_is_no_press_does_not(device: Device, kind: Format) -> None:
    with StopButton(str(device.path), kind=kind) as button:
        assert button.pressed() == ""
        device.write(press(kind, 3, 0))  # let go
        device.write(js(0, 20000, 2) if kind == "js" else evdev(0, 128, 3))  # a stick
        assert button.pressed() == ""
        device.write(press(kind, 3))
        assert "button 3" in button.pressed()
        assert button.pressed() == ""


def test_only_the_chosen_button_stops(device: Device, kind: Format) -> None:
    with StopButton(str(device.path), button=7, kind=kind) as button:
        device.write(press(kind, 3))
        assert button.pressed() == ""
        device.write(press(kind, 3) + press(kind, 7) + press(kind, 3))
        assert "button 7" in button.pressed()


def test_events_may_arrive_in_pieces(device: Device, kind: Format) -> None:
    with StopButton(str(device.path), kind=kind) as button:
        data = press(kind, 1)
        for byte in data[:-1]:
            device.write(bytes([byte]))
            assert button.pressed() == ""
        device.write(data[-1:])
        assert "button 1" in button.pressed()


def test_a_button_that_is_down_at_the_start_is_pressed(device: Device) -> None:
    with StopButton(str(device.path), kind="js") as button:
        device.write(js(0, 0, 0x81) + js(1, 5000, 0x82))
        assert button.pressed() == ""
        device.write(js(2, 1, 0x81))
        assert "button 2" in button.pressed()


def test_a_device_that_vanishes_counts_as_pressed(device: Device, kind: Format) -> None:
    with StopButton(str(device.path), kind=kind) as button:
        os.close(device.writer)
        device.writer = -1
        assert "unplugged" in button.pressed()
        assert "unplugged" in button.pressed()


def test_a_device_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="gamepads here"):
        StopButton(str(tmp_path / "js9"))
