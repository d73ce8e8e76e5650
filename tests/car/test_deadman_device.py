from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from robot_rl.errors import RobotError
from robot_rl_hardware.car.deadman import Deadman
from robot_rl_hardware.car.deadman_device import DeadmanDevice

BUTTON = 311


def event(kind: int, code: int, value: int) -> bytes:
    """Return an event as linux/input.h lays it out."""
    return struct.pack("@llHHi", 1, 2, kind, code, value)


@dataclass
class Pad:
    """Two named pipes in the place of a pad's buttons and its motion sensors, on a clock of their own."""

    buttons: Path
    motion: Path
    ends: dict[Path, int]
    now_s: float = 20.0
    moved: int = 0

    def shake(self, device: DeadmanDevice, times: int = 1) -> None:
        for _ in range(times):
            self.now_s += 0.02
            self.moved += 1
            os.write(self.ends[self.motion], event(3, 0, self.moved))
            device.poll(self.now_s)

    def press(self, device: DeadmanDevice, *values: int, code: int = BUTTON) -> None:
        os.write(self.ends[self.buttons], b"".join(event(1, code, value) for value in values))
        self.shake(device)


@pytest.fixture
def pad(tmp_path: Path) -> Iterator[Pad]:
    made = Pad(tmp_path / "buttons", tmp_path / "motion", {})
    for path in (made.buttons, made.motion):
        os.mkfifo(path)
        made.ends[path] = os.open(path, os.O_RDWR)
    yield made
    for fd in made.ends.values():
        if fd >= 0:
            os.close(fd)


@pytest.fixture
def deadman() -> Deadman:
    return Deadman()


@pytest.fixture
def device(pad: Pad, deadman: Deadman) -> Iterator[DeadmanDevice]:
    with DeadmanDevice(str(pad.buttons), BUTTON, deadman, life=str(pad.motion)) as made:
        yield made


def test_a_button_is_held_as_long_as_the_pad_lives(pad: Pad, deadman: Deadman, device: DeadmanDevice) -> None:
    assert deadman.problem(pad.now_s)
    pad.shake(device, 3)
    assert deadman.problem(pad.now_s) == "the deadman is not held"
    pad.press(device, 1)
    pad.shake(device, 50)
    assert (deadman.problem(pad.now_s), deadman.presses) == ("", 1)
    pad.press(device, 0)
    assert deadman.problem(pad.now_s) == "the deadman is not held"


def test_a_pad_that_dies_with_its_button_down_counts_as_let_go(
    pad: Pad, deadman: Deadman, device: DeadmanDevice
) -> None:
    pad.shake(device)
    pad.press(device, 1)
    assert not deadman.problem(pad.now_s)
    device.poll(pad.now_s + 0.15)  # nothing came, and the kernel says nothing of a button that stays down
    assert "s old, allowed are 0.100 s" in deadman.problem(pad.now_s + 0.15)


def test_keys_that_the_kernel_repeats_prove_nothing(pad: Pad, deadman: Deadman, device: DeadmanDevice) -> None:
    pad.shake(device)
    pad.press(device, 1)
    for i in range(10):
        os.write(pad.ends[pad.buttons], event(1, BUTTON, 2) + event(0, 0, 0))
        device.poll(pad.now_s + 0.02 * i)
    assert deadman.problem(pad.now_s + 0.2)


def test_other_buttons_are_none(pad: Pad, deadman: Deadman, device: DeadmanDevice) -> None:
    pad.shake(device)
    pad.press(device, 1, code=BUTTON - 1)
    assert deadman.problem(pad.now_s) == "the deadman is not held"


def test_letting_go_and_pressing_within_one_read_is_a_new_press(
    pad: Pad, deadman: Deadman, device: DeadmanDevice
) -> None:
    pad.shake(device)
    pad.press(device, 1)
    pad.press(device, 0, 1)
    assert (deadman.problem(pad.now_s), deadman.presses) == ("", 2)


def test_a_button_that_is_down_when_it_is_opened_is_no_press(pad: Pad, deadman: Deadman, device: DeadmanDevice) -> None:
    pad.press(device, 2)
    pad.shake(device, 5)
    assert (deadman.problem(pad.now_s), deadman.presses) == ("the deadman is not held", 0)


def test_events_that_the_kernel_lost_count_as_let_go(pad: Pad, deadman: Deadman, device: DeadmanDevice) -> None:
    pad.shake(device)
    pad.press(device, 1)
    os.write(pad.ends[pad.buttons], event(0, 3, 0))
    pad.shake(device)
    assert deadman.problem(pad.now_s) == "the deadman is not held"


def test_events_may_arrive_in_pieces(pad: Pad, deadman: Deadman, device: DeadmanDevice) -> None:
    pad.shake(device)
    for byte in event(1, BUTTON, 1):
        os.write(pad.ends[pad.buttons], bytes([byte]))
        device.poll(pad.now_s)
    assert not deadman.problem(pad.now_s)


@pytest.mark.parametrize("which", ["buttons", "motion"])
def test_a_pad_that_is_unplugged_is_lost(pad: Pad, deadman: Deadman, device: DeadmanDevice, which: str) -> None:
    pad.shake(device)
    pad.press(device, 1)
    path = getattr(pad, which)
    os.close(pad.ends[path])
    pad.ends[path] = -1
    device.poll(pad.now_s)
    assert deadman.problem(pad.now_s) == f"the deadman's device {path} was unplugged"
    device.poll(pad.now_s)
    assert "unplugged" in deadman.problem(pad.now_s)


def test_a_closed_device_lets_nothing_drive(pad: Pad, deadman: Deadman, device: DeadmanDevice) -> None:
    pad.shake(device)
    pad.press(device, 1)
    device.close()
    device.close()
    assert deadman.problem(pad.now_s) == "the deadman's device was closed"


def test_a_device_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match=r"event7 cannot be opened: No such file or directory; devices here: "):
        DeadmanDevice(str(tmp_path / "event7"), BUTTON, Deadman())
