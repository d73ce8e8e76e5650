from __future__ import annotations

import glob
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from operator_rig import Clock, DeviceFile, evdev, js_axis, js_button, operator_of, reading

from robot_rl.errors import ConfigError, RobotError

LB, RB, A, B, X, START, BACK = 4, 5, 0, 1, 2, 7, 6


@pytest.fixture
def pad(tmp_path: Path) -> Iterator[DeviceFile]:
    made = DeviceFile(tmp_path / "js0")
    yield made
    made.unplug()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def person(pad: DeviceFile, clock: Clock) -> Iterator[Any]:
    operator = operator_of("gamepad", device=pad.path)
    operator._clock = clock  # the constructor's argument, which YAML does not give
    operator.connect()
    yield operator
    operator.close()


def test_sticks_move_only_while_the_dead_man_is_held(pad: DeviceFile, person: Any) -> None:
    pad.write(js_axis(1, -1.0))
    assert person.read(reading()).action is None
    pad.write(js_axis(1, 0.0))
    assert person.read(reading()).action is None
    pad.write(js_button(LB) + js_axis(1, -1.0))
    forward = person.read(reading())
    np.testing.assert_allclose(forward.action, [0.5, 0, 0, 0, 0, 0, -1], atol=1e-6)
    assert forward.note == ""
    pad.write(js_axis(1, 0.0))
    np.testing.assert_allclose(person.read(reading()).action, [0, 0, 0, 0, 0, 0, -1], atol=1e-6)
    pad.write(js_button(LB, 0))
    assert person.read(reading()).action is None


@pytest.mark.parametrize(
    ("events", "where"),
    [
        (js_axis(0, -1.0), (1, -0.5)),  # left in the base is -y of a tool that points down
        (js_axis(4, -1.0), (2, -0.5)),  # up
        (js_axis(3, -1.0), (5, -0.5)),  # turn left
        (js_axis(5, 1.0), (4, -0.5)),  # right trigger
        (js_axis(5, -1.0) + js_axis(2, 1.0), (4, 0.5)),  # left trigger
        (js_axis(6, 1.0), (3, 0.5)),
    ],
)
def test_every_stick_moves_what_a_person_sees(
    pad: DeviceFile, person: Any, events: bytes, where: tuple[int, float]
) -> None:
    pad.write(js_axis(2, -1.0, init=True) + js_axis(5, -1.0, init=True))
    person.read(reading())
    pad.write(js_button(LB) + events)
    wanted = np.zeros(7)
    wanted[6], wanted[where[0]] = -1.0, where[1]
    np.testing.assert_allclose(person.read(reading()).action, wanted, atol=1e-6)


def test_buttons_are_told_once_and_in_their_order(pad: DeviceFile, person: Any) -> None:
    pad.write(js_button(START) + js_button(START, 0) + js_button(A) + js_button(B) + js_button(X) + js_button(BACK))
    assert person.read(reading()).buttons == ("pause", "success", "failure", "discard", "stop")
    assert person.read(reading()).buttons == ()


def test_what_the_kernel_tells_at_opening_is_no_press(pad: DeviceFile, person: Any) -> None:
    pad.write(js_button(A, init=True) + js_button(LB, init=True))
    assert person.read(reading()).buttons == ()


def test_the_gripper_turns_over_under_the_dead_man_and_stays(pad: DeviceFile, person: Any) -> None:
    pad.write(js_button(RB) + js_button(RB, 0))
    told = person.read(reading())
    assert told.action is None
    assert "hold the dead-man" in told.note
    pad.write(js_button(LB) + js_button(RB) + js_button(RB, 0))
    assert person.read(reading()).action[6] == 1.0
    assert person.read(reading(closing=True)).action[6] == 1.0
    pad.write(js_button(LB, 0))
    assert person.read(reading(closing=True)).action is None
    pad.write(js_button(LB))
    assert person.read(reading(closing=True)).action[6] == 1.0  # it goes on holding the cube
    pad.write(js_button(RB))
    assert person.read(reading(closing=True)).action[6] == -1.0


def test_a_press_of_the_gripper_outlasts_the_dead_man_until_the_reading_agrees(pad: DeviceFile, person: Any) -> None:
    pad.write(js_button(LB) + js_button(RB))
    person.read(reading())
    pad.write(js_button(LB, 0))
    assert person.read(reading()).action[6] == 1.0
    assert person.read(reading(closing=True)).action is None


def test_what_is_held_when_an_episode_begins_counts_no_more(pad: DeviceFile, person: Any) -> None:
    pad.write(js_button(LB) + js_axis(1, -1.0) + js_button(A))
    person.begin(1)
    told = person.read(reading())
    assert told.action is None
    assert told.buttons == ()
    assert "let go of everything once" in told.note
    pad.write(js_button(LB, 0) + js_axis(1, 0.0))
    assert person.read(reading()).note == ""
    pad.write(js_button(LB))
    assert person.read(reading()).action is not None


def test_a_pad_that_is_unplugged_counts_as_let_go_until_it_is_seen_at_rest(
    pad: DeviceFile, person: Any, clock: Clock
) -> None:
    pad.write(js_button(LB) + js_axis(1, -1.0))
    assert person.read(reading()).action is not None
    pad.unplug()
    told = person.read(reading())
    assert told.action is None
    assert "unplugged" in told.note
    assert "unplugged" in person.gone
    pad.plug_in()
    clock.now_s += 2.0
    pad_held = js_button(LB, init=True) + js_axis(1, -1.0, init=True)
    assert person.read(reading()).action is None
    pad.write(pad_held)
    clock.now_s += 2.0
    assert person.read(reading()).action is None
    assert person.gone == ""
    pad.write(js_button(LB, 0) + js_axis(1, 0.0))
    assert person.read(reading()).note == ""
    pad.write(js_button(LB) + js_axis(1, -1.0))
    assert person.read(reading()).action is not None


def test_a_stick_held_still_sends_nothing_and_is_believed_for_a_while(
    pad: DeviceFile, person: Any, clock: Clock
) -> None:
    pad.write(js_button(LB) + js_axis(1, -0.8))
    assert person.read(reading()).action is not None
    clock.now_s += 4.5
    assert person.read(reading()).action is not None
    clock.now_s += 1.0
    told = person.read(reading())
    assert told.action is None
    assert "the same deflection" in told.note
    pad.write(js_axis(1, -0.5))
    assert person.read(reading()).action is None
    pad.write(js_axis(1, 0.0) + js_button(LB, 0))
    person.read(reading())
    pad.write(js_axis(1, -0.5) + js_button(LB))
    assert person.read(reading()).action is not None


def test_events_may_arrive_in_pieces(pad: DeviceFile, person: Any) -> None:
    for byte in js_button(LB)[:-1]:
        pad.write(bytes([byte]))
        assert person.read(reading()).action is None
    pad.write(js_button(LB)[-1:])
    assert person.read(reading()).action is not None


def test_speed_is_changed_by_buttons(pad: DeviceFile, person: Any) -> None:
    pad.write(js_button(9) + js_button(LB) + js_axis(1, -1.0))
    assert person.read(reading()).action[0] == pytest.approx(0.25)
    pad.write(js_button(10))
    assert person.read(reading()).action[0] == pytest.approx(0.5)


def test_a_pad_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="gamepads here"):
        operator_of("gamepad", device=str(tmp_path / "js9")).connect()


@pytest.mark.skipif(bool(glob.glob("/dev/input/js*")), reason="a gamepad is plugged in here")
def test_no_pad_at_all_says_what_to_do() -> None:
    with pytest.raises(RobotError, match="no gamepad is plugged in"):
        operator_of("gamepad").connect()


EVDEV = {"motions": {"x": {"axis": 1, "full": -1}}, "buttons": {"dead_man": 310, "success": 304}}


def test_evdev_with_given_ranges(tmp_path: Path) -> None:
    pad = DeviceFile(tmp_path / "event-pad")
    person = operator_of("gamepad", device=pad.path, format="evdev", ranges={1: [0, 255]}, **EVDEV)
    person.connect()
    try:
        pad.write(evdev(1, 310, 1) + evdev(3, 1, 0) + evdev(0, 0, 0) + evdev(1, 304, 1) + evdev(1, 304, 2))
        told = person.read(reading())
        assert told.buttons == ("success",)  # a button that repeats is one press
        assert told.action[0] == pytest.approx(0.5)
        pad.write(evdev(0, 3, 0))  # the kernel dropped events
        assert "dropped" in person.read(reading()).note
        pad.write(evdev(1, 310, 0) + evdev(3, 1, 128))
        assert person.read(reading()).note == ""
    finally:
        person.close()
        pad.unplug()


def test_an_evdev_device_that_tells_no_ranges_needs_them(tmp_path: Path) -> None:
    pad = DeviceFile(tmp_path / "event-pad")
    with pytest.raises(RobotError, match=r"has no axis 1 .* operator.ranges"):
        operator_of("gamepad", device=pad.path, format="evdev", **EVDEV).connect()
    pad.unplug()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"motions": {"sideways": {"axis": 1}}}, "has no 'sideways'; there are x, y, z"),
        ({"motions": {"x": {"axis": 1, "button": 2}}}, "either an axis or a button"),
        ({"motions": {"x": {"axis": 1, "ful": -1}}}, "Did you mean 'operator.motions.x.full'"),
        ({"motions": {"x": 3}}, "operator.motions.x is 3"),
        ({"motions": {"x": {"axis": 1, "rest": 1, "full": 1}}}, "must differ"),
        ({"buttons": {"jump": 1}}, "has no 'jump'"),
        ({"buttons": {"stop": 1, "pause": 1}}, "button 1 would mean stop, pause"),
        ({"buttons": {"stop": -1}}, "operator.buttons.stop is -1"),
        ({"ranges": {1: [5, 5]}}, "operator.ranges of axis 1"),
        ({"deadband": 1.0}, "operator.deadband is 1.0"),
        ({"format": "usb"}, "operator.format is 'usb'; allowed: one of auto, js, evdev"),
    ],
)
def test_a_mistake_in_the_mapping_is_answered_in_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        operator_of("gamepad", **settings)


def test_an_axis_of_uinput_is_read_through_evdev(tmp_path: Path) -> None:
    """The kernel's own device: ranges, values and held buttons come from it."""
    import fcntl
    import time

    try:
        fd = os.open("/dev/uinput", os.O_WRONLY | os.O_NONBLOCK)
    except OSError as e:
        pytest.skip(f"/dev/uinput cannot be opened here: {e.strerror}")
    for request, value in ((0x40045564, 1), (0x40045565, 304), (0x40045565, 310), (0x40045564, 3), (0x40045567, 1)):
        fcntl.ioctl(fd, request, value)  # UI_SET_EVBIT, KEYBIT, ABSBIT
    fcntl.ioctl(fd, 0x401C5504, struct.pack("=HHiiiiii", 1, 0, 128, 0, 255, 0, 0, 0))  # UI_ABS_SETUP
    fcntl.ioctl(fd, 0x405C5503, struct.pack("=HHHH80sI", 3, 1, 1, 1, b"robot_rl test pad", 0))  # UI_DEV_SETUP
    fcntl.ioctl(fd, 0x5501)  # UI_DEV_CREATE
    try:
        until_s, path = time.monotonic() + 10.0, ""
        while not path and time.monotonic() < until_s:
            for name in glob.glob("/sys/class/input/event*/device/name"):
                if Path(name).read_text().strip() == "robot_rl test pad":
                    path = "/dev/input/" + Path(name).parts[4]
        if not os.path.exists(path):
            pytest.skip("no device file is made for a uinput device here")
        person = operator_of("gamepad", device=path, format="evdev", **EVDEV)
        person.connect()
        os.write(fd, evdev(1, 310, 1) + evdev(3, 1, 0) + evdev(0, 0, 0))
        while (told := person.read(reading())).action is None and time.monotonic() < until_s:
            pass
        assert told.action[0] == pytest.approx(0.5)
        person.close()
    finally:
        os.close(fd)
