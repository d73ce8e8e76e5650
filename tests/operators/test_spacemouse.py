from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from operator_rig import Clock, operator_of, reading

from robot_rl.errors import RobotError
from robot_rl.operator import NOBODY
from robot_rl_hardware.operator.spacemouse import SpaceMouseReports, SpaceMouseSource, find_spacemice, udev_rule

# Reports as the devices send them: a SpaceNavigator's two, and one of a newer model with all six axes.
PUSH_FORWARD = bytes.fromhex("01000064ff0000")  # y -156
TWIST = bytes.fromhex("0200000000a2fe")  # rz -350
ZERO = [bytes.fromhex("01000000000000"), bytes.fromhex("02000000000000")]
COMBINED = bytes.fromhex("010000a2fe0000000000000000")  # y -350


def report(kind: int, *values: int) -> bytes:
    return struct.pack(f"<B{len(values)}h", kind, *values)


class Hidraw:
    """A socket that keeps the bounds of reports, as a hidraw device does, behind the path of a device file."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def write(self, *reports: bytes) -> None:
        for one in reports:
            self.ours.send(one)

    def unplug(self) -> None:
        self.ours.close()

    def open_into(self, source: SpaceMouseSource) -> None:
        """Put the socket where the opened device file was: a socket has no path that can be opened."""
        self.theirs.setblocking(False)
        os.dup2(self.theirs.fileno(), source._fd)


@pytest.fixture
def mouse() -> Iterator[Hidraw]:
    made = Hidraw()
    yield made
    made.ours.close()
    made.theirs.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def person(mouse: Hidraw, tmp_path: Path, clock: Clock) -> Iterator[Any]:
    file = tmp_path / "hidraw0"
    file.touch()
    operator = operator_of("spacemouse", device=str(file))
    operator._clock = clock
    operator.source.open()
    mouse.open_into(operator.source)
    operator.begin(0)
    yield operator
    operator.close()


def test_recorded_reports_are_understood() -> None:
    reports = SpaceMouseReports()
    reports.take(PUSH_FORWARD)
    assert reports.axes[1] == pytest.approx(-156 / 350)
    reports.take(TWIST)
    assert reports.axes[5] == -1.0
    assert reports.axes[1] == pytest.approx(-156 / 350)  # the rotation leaves the translation as it was
    reports.take(COMBINED)
    assert [reports.axes[i] for i in range(6)] == [0, -1, 0, 0, 0, 0]
    for zero in ZERO:
        reports.take(zero)
    assert not any(reports.axes.values())


def test_buttons_are_bits() -> None:
    reports = SpaceMouseReports()
    assert reports.take(b"\x03\x01\x00") == [0]
    assert reports.take(b"\x03\x03\x00") == [1]
    assert reports.take(b"\x03\x02\x00") == []
    assert reports.held == {1}


@pytest.mark.parametrize("noise", [b"", b"\x01", b"\x01\x00\x00", b"\x03", b"\x17\x64\x00", b"\xff" * 64])
def test_reports_of_another_kind_say_nothing(noise: bytes) -> None:
    reports = SpaceMouseReports()
    assert reports.take(noise) == []
    assert not any(reports.axes.values())


def test_the_cap_moves_what_a_person_sees(mouse: Hidraw, person: Any) -> None:
    assert person.read(reading()).action is None
    mouse.write(report(1, 0, -350, 0), report(2, 0, 0, 0))
    np.testing.assert_allclose(person.read(reading()).action, [0.5, 0, 0, 0, 0, 0, -1], atol=1e-6)  # forward
    mouse.write(report(1, 0, 0, -350))
    np.testing.assert_allclose(person.read(reading()).action[:3], [0, 0, -0.5], atol=1e-6)  # lifted
    mouse.write(report(1, 0, 0, 0), report(2, 0, 0, 350))  # turned clockwise, as seen from above
    np.testing.assert_allclose(person.read(reading()).action[3:6], [0, 0, 0.4], atol=1e-6)
    mouse.write(*ZERO)
    told = person.read(reading())
    assert told.action is None
    assert told.note == ""


def test_small_unmeant_motions_are_rest(mouse: Hidraw, person: Any) -> None:
    mouse.write(report(1, 30, -30, 12))
    assert person.read(reading()).action is None


def test_buttons_and_gripper(mouse: Hidraw, person: Any) -> None:
    mouse.write(b"\x03\x03\x00")
    told = person.read(reading())
    assert told.buttons == ("success",)
    assert told.action[6] == 1.0
    assert not told.action[:6].any()
    mouse.write(b"\x03\x00\x00")
    assert person.read(reading(closing=True)).action is None


def test_a_link_that_dies_while_deflected_counts_as_let_go(mouse: Hidraw, person: Any, clock: Clock) -> None:
    mouse.write(report(1, 0, -350, 0))
    assert person.read(reading()).action is not None
    clock.now_s += 0.3
    assert person.read(reading()).action is not None
    clock.now_s += 0.3
    told = person.read(reading())
    assert told.action is None
    assert "silent" in told.note
    mouse.write(report(1, 0, -340, 0))
    assert person.read(reading()).action is None
    mouse.write(*ZERO)
    person.read(reading())
    mouse.write(report(1, 0, -340, 0))
    assert person.read(reading()).action is not None


def test_a_link_that_hangs_and_repeats_itself_counts_as_let_go(mouse: Hidraw, person: Any, clock: Clock) -> None:
    acted, told = [], NOBODY
    for _ in range(40):
        mouse.write(report(1, 0, -200, 0))
        told = person.read(reading())
        acted.append(told.action is not None)
        clock.now_s += 0.1
    assert all(acted[:30])
    assert not any(acted[32:])
    assert "the same deflection" in told.note


def test_a_mouse_that_is_unplugged_counts_as_let_go(mouse: Hidraw, person: Any) -> None:
    mouse.write(report(1, 0, -350, 0))
    person.read(reading())
    mouse.unplug()
    told = person.read(reading())
    assert told.action is None
    assert "unplugged" in told.note
    assert "unplugged" in person.gone


def system(folder: Path, name: str, ids: str, descriptor: bytes = b"\x05\x01\x09\x08\xa1\x01") -> None:
    device = folder / name / "device"
    device.mkdir(parents=True)
    (device / "uevent").write_text(f"DRIVER=hid-generic\nHID_ID={ids}\nHID_NAME=3Dconnexion\n")
    (device / "report_descriptor").write_bytes(descriptor)


def test_what_is_plugged_in_is_found_through_sys(tmp_path: Path) -> None:
    system(tmp_path, "hidraw0", "0003:0000046D:0000C534")  # a mouse
    system(tmp_path, "hidraw1", "0003:0000256F:0000C635")
    system(tmp_path, "hidraw2", "0003:0000046D:0000C626")
    system(tmp_path, "hidraw3", "0003:0000256F:0000C652", b"\x05\x01\x09\x06")  # a receiver's keyboard
    (tmp_path / "hidraw4").mkdir()
    found = find_spacemice(tmp_path, Path("/dev"))
    assert [(f.path, f.name) for f in found] == [
        ("/dev/hidraw1", "SpaceMouse Compact"),
        ("/dev/hidraw2", "SpaceNavigator"),
    ]


@pytest.mark.skipif(bool(find_spacemice()), reason="a SpaceMouse is plugged in here")
def test_none_at_all_says_what_to_do() -> None:
    with pytest.raises(RobotError, match="no SpaceMouse is plugged in"):
        operator_of("spacemouse").connect()


def test_one_that_may_not_be_read_comes_with_the_udev_rule(tmp_path: Path) -> None:
    from robot_rl_hardware.operator.spacemouse import _cannot_open

    path = tmp_path / "hidraw0"
    path.touch()
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything
        sentence = _cannot_open("the SpaceMouse", str(path), PermissionError(13, "Permission denied"))
    else:
        with pytest.raises(RobotError) as caught:
            SpaceMouseSource(str(path)).open()
        sentence = str(caught.value)
    assert udev_rule() in sentence
    assert 'ATTRS{idVendor}=="256f"' in sentence
    assert "/etc/udev/rules.d/70-" in sentence
