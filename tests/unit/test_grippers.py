"""Grippers in a process of their own; a Robotiq is played by a Modbus peer on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import struct
import threading
import time
import tty
from collections.abc import Callable, Iterator

import pytest
from patience import wait_until

from robot_rl.errors import ConfigError, RobotError
from robot_rl_hardware.grippers.client import GripperClient, open_gripper
from robot_rl_hardware.grippers.link import make_gripper
from robot_rl_hardware.grippers.protocol import GripperError
from robot_rl_hardware.grippers.robotiq import Robotiq

COMMAND, STATUS = 0x3E8, 0x7D0


def checksum(frame: bytes) -> bytes:
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


class Peer(threading.Thread):
    """A 2F-85 at Modbus address 9: its fingers move 500 counts a second until `obstacle`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._master, self._slave = pty.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self.obstacle = 255.0
        self.mute = False
        self._command = bytearray(6)
        self._position, self._moved_s = 3.0, time.monotonic()
        self._ending = threading.Event()

    def run(self) -> None:
        buffer = b""
        while not self._ending.is_set():
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            buffer += os.read(self._master, 256)
            while (size := self._size(buffer)) and len(buffer) >= size:
                frame, buffer = buffer[:size], buffer[size:]
                if checksum(frame[:-2]) == frame[-2:] and frame[0] == 9 and not self.mute:
                    answer = frame[:2] + self._answer(frame)
                    os.write(self._master, answer + checksum(answer))

    @staticmethod
    def _size(buffer: bytes) -> int:
        """Return the length of the request that the buffer begins with, 0 if that cannot be told yet."""
        if len(buffer) < 2:
            return 0
        counted = {16: 6, 23: 10}.get(buffer[1])  # where a count of bytes stands
        if counted is None:
            return 8
        return counted + 1 + buffer[counted] + 2 if len(buffer) > counted else 0

    def _answer(self, frame: bytes) -> bytes:
        code, start, count = frame[1], *struct.unpack(">HH", frame[2:6])
        if code == 16:
            self._write(start, frame[7:-2])
            return frame[2:6]
        if code == 23:
            self._write(struct.unpack(">H", frame[6:8])[0], frame[11:-2])
        registers = self._status() if start >= STATUS else bytes(self._command)
        offset = 2 * (start - (STATUS if start >= STATUS else COMMAND))
        data = (registers + bytes(64))[offset : offset + 2 * count]
        return bytes([len(data)]) + data

    def _write(self, start: int, data: bytes) -> None:
        self._status()
        offset = 2 * (start - COMMAND)
        self._command[offset : offset + len(data)] = data

    def _status(self) -> bytes:
        now = time.monotonic()
        travel, self._moved_s = 500.0 * (now - self._moved_s), now
        active, going, wanted = self._command[0] & 1, self._command[0] >> 3 & 1, self._command[3]
        found = 3
        if active and going:
            goal = min(float(wanted), self.obstacle)
            step = goal - self._position
            self._position += max(-travel, min(travel, step))
            if abs(goal - self._position) > 0.5:
                found = 0
            elif wanted > self.obstacle:
                found = 2
        flags = found << 6 | (3 if active else 0) << 4 | going << 3 | active
        return bytes([flags, 0, 0, wanted, round(self._position), 0])

    def close(self) -> None:
        self._ending.set()
        self.join()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
def peer() -> Iterator[Peer]:
    pytest.importorskip("pyrobotiqgripper")
    made = Peer()
    made.start()
    yield made
    made.close()


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


def test_fingers_go_where_they_are_asked_to(peer: Peer, until: Callable[..., None]) -> None:
    gripper = GripperClient("robotiq", "", {"port": peer.port})
    try:
        gripper.ask(0.040)
        until(lambda: abs(gripper.width_m - 0.040) < 1e-3, "the fingers were 40 mm apart")
        assert not gripper.grasped
        peer.obstacle = 180.0
        gripper.ask(0.0)
        until(lambda: gripper.grasped, "they closed on the object")
        assert 0.01 < gripper.width_m < 0.03
        gripper.ask(0.085)
        until(lambda: gripper.width_m > 0.084, "they opened")
        assert gripper.trouble == ""
        assert gripper.age_s() < 20.0
    finally:
        gripper.close()
        gripper.close()


def test_the_newest_wish_wins(peer: Peer, until: Callable[..., None]) -> None:
    gripper = GripperClient("robotiq", "", {"port": peer.port})
    try:
        for i in range(200):
            gripper.ask(0.085 * (i % 2))
        gripper.ask(0.05)
        until(lambda: abs(gripper.width_m - 0.05) < 1e-3, "the fingers were where the last wish wanted them")
        gripper.ask(0.0)
        gripper.stop()
        widths = []

        def rests() -> bool:
            widths.append(gripper.width_m)
            time.sleep(0.1)
            return len(widths) > 3 and widths[-1] == widths[-2] == widths[-3]

        until(rests, "the fingers rested")
        gripper.ask(0.0)  # asking for what was asked before the stop counts
        until(lambda: gripper.width_m < 0.002, "they closed")
    finally:
        gripper.close()


def test_a_gripper_that_falls_silent_is_told_and_comes_back(peer: Peer, until: Callable[..., None]) -> None:
    gripper = GripperClient("robotiq", "", {"port": peer.port})
    try:
        peer.mute = True
        until(lambda: gripper.trouble != "", "its silence was told")
        assert peer.port in gripper.trouble
        peer.mute = False
        until(lambda: gripper.trouble == "", "it was heard again", 40.0)
        gripper.ask(0.03)
        until(lambda: abs(gripper.width_m - 0.03) < 1e-3, "it moved again")
    finally:
        gripper.close()


def test_its_process_ends_with_its_client(peer: Peer, until: Callable[..., None]) -> None:
    gripper = GripperClient("robotiq", "", {"port": peer.port})
    pid = gripper.pid
    gripper.close()
    assert not os.path.exists(f"/proc/{pid}")


def test_a_port_that_is_not_there_is_told() -> None:
    pytest.importorskip("pyrobotiqgripper")
    with pytest.raises(GripperError, match=r"there is no serial port /dev/ttyNOTHING; "):
        GripperClient("robotiq", "", {"port": "/dev/ttyNOTHING"})


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("robotik", {}, "Did you mean 'robotiq'"),
        ("robotiq", {}, "port"),
        ("robotiq", {"port": "x", "colour": "red"}, "colour"),
        ("robotiq", {"port": "x", "speed": 300}, "gripper.speed"),
        ("franka_hand", {"homing": "maybe"}, "gripper.homing"),
        ("franka_hand", {"force_n": 500.0}, "gripper.force_n"),
    ],
)
def test_wrong_settings_get_a_sentence(kind: str, settings: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make_gripper(kind, "127.0.0.1", settings)


def test_no_gripper_is_none() -> None:
    assert open_gripper("none", "", {}) is None


def test_a_gripper_that_is_not_open_says_so() -> None:
    with pytest.raises(RobotError, match="not connected"):
        Robotiq("/dev/null").read()
