"""The control process's half of the view: what it tells, whom it believes, and that nobody can make it wait."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import console_rig as rig
import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_rl.assisted import PAUSED
from robot_rl.console import STALE_S, ConsoleWriter
from robot_rl.console_file import CONSOLE_FILE, find_session
from robot_rl.console_messages import ConsolePictures, ConsolePress, ConsoleStep
from robot_rl.errors import CheckpointError, ConfigError, StorageError, WireError
from robot_rl.jsonl import read_json, write_json_atomic
from robot_rl.wire import WIRE_VERSION, decode, encode, encode_one


class Clock:
    """Seconds that pass by one in each call, so that no message is left out for having come too soon."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def paused() -> list[bool]:
    return [False]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def console(tmp_path: Path, paused: list[bool], clock: Clock) -> Iterator[ConsoleWriter]:
    made = rig.writer(tmp_path, paused=lambda: paused[0], clock=clock)
    yield made
    made.close()


@pytest.fixture
def viewer(console: ConsoleWriter) -> Iterator[rig.Viewer]:
    made = rig.Viewer(console.address)
    rig.wait(lambda: console.buttons() or made.steps.poll(0))  # it is told where the session stands as it comes
    assert made.step().step == 0
    yield made
    made.close()


def pressed(console: ConsoleWriter, n: int = 1) -> list[str]:
    """Return the next buttons, or what was refused meanwhile as ""."""
    found: list[str] = []
    refused = console.refused
    rig.wait(lambda: found.extend(console.buttons()) or len(found) + console.refused - refused >= n)
    return found + [""] * (console.refused - refused)


def test_a_step_is_told_with_all_that_a_person_needs(console: ConsoleWriter, viewer: rig.Viewer, clock: Clock) -> None:
    console.reset(rig.observation(), {"episode": 7})
    begun = viewer.step()
    assert (begun.episode, begun.step, begun.running, begun.max_steps, begun.period_s) == (7, 0, True, 10, 0.1)
    clock.step = 1.0
    console.step(rig.seen(reward=0.5, guard_events=("workspace", "rate"), scalars={"classifier": 0.25}, value=1.5))
    console.step(
        rig.seen(
            reward=0.25, source="human", policy_version=40, guard_events=("rate",), operator_note="the battery is low"
        )
    )
    first, second = viewer.step(), viewer.step()
    assert first.scalars == {"classifier": 0.25, "value": 1.5}
    assert list(first.events) == ["workspace", "rate"]
    assert (second.source, second.policy_version, second.note) == ("human", 40, "the battery is low")
    assert (second.reward, second.returned) == (0.25, 0.75)
    assert list(second.events) == ["rate"]
    assert second.guard == {"workspace": 1, "rate": 2}


@pytest.mark.parametrize(
    ("info", "letter"),
    [
        ({"success": True}, "s"),
        ({"success": False, "reason": "time limit"}, "f"),
        ({"success": True, "verdict": "success"}, "s"),
        ({"success": False, "verdict": "failure"}, "f"),
        ({"success": True, "verdict": "discard"}, "d"),
        ({"success": False, "reason": PAUSED}, "d"),
        ({"success": True, "reason": ""}, "s"),
    ],
)
def test_an_ended_episode_counts_as_what_it_was(
    console: ConsoleWriter, viewer: rig.Viewer, info: dict[str, Any], letter: str
) -> None:
    console.reset(rig.observation(), {})
    console.step(rig.seen(ended=True, **info))
    console.reset(rig.observation(), {})
    _, ended, next_one = viewer.step(), viewer.step(), viewer.step()
    assert (ended.running, ended.verdicts) == (False, letter)
    assert (ended.episodes, ended.successes) == (int(letter != "d"), int(letter == "s"))
    assert (next_one.running, next_one.episode, next_one.verdicts) == (True, 1, letter)


def test_pictures_are_told_exactly_and_only_while_somebody_looks(
    console: ConsoleWriter, viewer: rig.Viewer, clock: Clock
) -> None:
    clock.step = 1.0
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    console.reset({"state": np.zeros(1, np.float32), "front": image, "wrist": image[::-1]}, {})
    pictures = viewer.picture().images
    np.testing.assert_array_equal(pictures["front"], image)
    np.testing.assert_array_equal(pictures["wrist"], image[::-1])
    console.reset(np.zeros(1, np.float32), {})  # a task without cameras
    assert not viewer.pictures.poll(100)


def test_nobody_and_the_dead_cost_no_message(tmp_path: Path) -> None:
    with_viewer = rig.writer(tmp_path)
    sent: list[object] = []
    with_viewer._send = lambda socket, message: sent.append(message)  # type: ignore[method-assign]
    for _ in range(100):
        with_viewer.step(rig.seen())
    assert not sent  # nothing is even encoded
    looks = rig.Viewer(with_viewer.address)
    rig.wait(lambda: with_viewer.buttons() or sent)
    looks.close()
    rig.wait(lambda: with_viewer.buttons() or with_viewer.step(rig.seen()) or with_viewer._step_viewers == 0)
    sent.clear()
    for _ in range(100):
        with_viewer.step(rig.seen())
    assert not sent
    with_viewer.close()


def resident_kb() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if "VmRSS" in line).split()[1])


def test_a_viewer_that_stopped_reading_never_makes_the_session_wait(tmp_path: Path) -> None:
    clock = Clock()
    console = rig.writer(tmp_path, clock=clock)
    stuck = rig.Viewer(console.address, queue=1)  # a page on a machine that hangs: connected, and never reading
    rig.wait(lambda: console.buttons() or console.step(rig.seen()) or console._step_viewers)
    clock.step = 1.0
    before_kb = resident_kb()

    def go() -> None:
        for i in range(2000):
            console.step(rig.seen(i % 250, size=480))  # 1.4 GB in all: what waits in queues would be seen
            console.buttons()

    session = threading.Thread(target=go, daemon=True)
    session.start()
    session.join(120.0)
    assert not session.is_alive(), "the session waits"
    assert resident_kb() - before_kb < 700_000  # other tests' memory in this process is not ours
    stuck.close()
    console.close()


def test_buttons_arrive_in_their_order(console: ConsoleWriter, viewer: rig.Viewer) -> None:
    console.reset(rig.observation(), {"episode": 3})
    for button in ("success", "discard", "pause", "stop"):
        viewer.press(button, episode=3)
    assert pressed(console, 4) == ["success", "discard", "pause", "stop"]
    assert console.buttons() == ()


def test_a_word_on_one_episode_never_falls_on_the_next(console: ConsoleWriter, viewer: rig.Viewer) -> None:
    console.reset(rig.observation(), {"episode": 3})
    console.step(rig.seen(ended=True))
    viewer.press("failure", episode=3)
    assert pressed(console) == ["failure"]  # its end may wait for the word
    console.reset(rig.observation(), {"episode": 4})
    viewer.press("success", episode=3)
    assert pressed(console) == [""]
    viewer.press("success", episode=4)
    assert pressed(console) == ["success"]


def test_of_two_people_who_pause_the_second_does_not_let_the_robot_go_on(
    console: ConsoleWriter, viewer: rig.Viewer, paused: list[bool]
) -> None:
    viewer.press("pause", paused=False)
    assert pressed(console) == ["pause"]
    paused[0] = True
    viewer.press("pause", paused=False)  # who had not yet seen that it was paused
    assert pressed(console) == [""]
    assert rig.wait(lambda: viewer.step().paused)  # told although nothing steps
    viewer.press("pause", paused=True)
    assert pressed(console) == ["pause"]


def test_a_press_that_comes_late_counts_no_more_but_a_stop_always_does(
    console: ConsoleWriter, viewer: rig.Viewer, clock: Clock
) -> None:
    console.reset(rig.observation(), {"episode": 0})
    clock.now += 10 * STALE_S
    for button in ("success", "pause", "stop"):
        viewer.press(button)
    assert pressed(console, 3) == ["stop", "", ""]


def press_like(**changed: object) -> bytes:
    fields = {"button": "stop", "stamp_s": 0.0, "episode": 0, "paused": False, **changed}
    packed = msgpack.packb([WIRE_VERSION, "ConsolePress", fields])
    assert packed is not None
    return packed


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"stop",),
        (b"\xc1",),
        (msgpack.packb([WIRE_VERSION, "ConsolePress", {"button": "stop"}]),),
        (press_like(button="explode"),),
        (press_like(stamp_s="0"),),
        (press_like(episode=-1),),
        (press_like(episode=2**63),),
        (press_like(paused=None),),
        (press_like(more=1),),
        (msgpack.packb([WIRE_VERSION, "Heartbeat", {}]),),
        (encode_one(ConsolePress(button="stop", stamp_s=0.0, episode=0, paused=False)), b"more"),
    ],
)
def test_what_is_no_press_is_ignored_and_counted(
    console: ConsoleWriter, viewer: rig.Viewer, frames: tuple[bytes, ...]
) -> None:
    viewer.send(*frames)
    assert pressed(console) == [""]
    viewer.press("stop")
    assert pressed(console) == ["stop"]


@given(data=st.binary(max_size=400))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_decoding_fail_otherwise_than_with_a_sentence(data: bytes) -> None:
    for kind in (ConsoleStep, ConsolePictures, ConsolePress):
        try:
            decode([data], (kind,))
        except WireError:
            continue


def test_what_a_task_gives_that_cannot_be_told_does_not_end_the_session(
    console: ConsoleWriter, viewer: rig.Viewer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.step = 1.0
    console.step(rig.seen(guard_events=(object(),)))
    assert "a viewer is not told of a step" in caplog.text
    console.reset(rig.observation(), {"episode": "first"})
    assert viewer.step().episode == 0


def test_a_message_holds_no_other_pictures_than_those_of_cameras() -> None:
    with pytest.raises(WireError, match=r"images\[front\] has shape \(2, 2, 4\), expected \(H, W, 3\)"):
        encode(ConsolePictures(images={"front": np.zeros((2, 2, 4), np.uint8)}))


def test_the_sockets_are_private_and_leave_nothing_behind(tmp_path: Path) -> None:
    before = rig.open_files()
    console = rig.writer(tmp_path)
    sockets = console.address.sockets
    assert sockets.stat().st_mode & 0o777 == 0o700
    assert find_session(tmp_path) == console.address
    assert {p.name for p in sockets.iterdir()} == {"steps", "pictures", "presses"}
    console.close()
    console.close()
    assert find_session(tmp_path) is None
    assert not sockets.exists()
    assert not (tmp_path / CONSOLE_FILE).exists()
    assert rig.open_files() <= before


def test_what_a_killed_session_left_is_told_from_a_living_one(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from robot_rl.console import ConsoleWriter\n"
        "ConsoleWriter(Path(sys.argv[1]), session='train', period_s=0.1, max_steps=lambda: 1)\n"
        "print('there', flush=True)\n"
        "time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        alive = find_session(tmp_path)
        assert alive is not None
        assert (alive.pid, alive.session) == (process.pid, "train")
        with pytest.raises(StorageError, match=rf"process {process.pid} \(train\) is already shown"):
            rig.writer(tmp_path)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert (tmp_path / CONSOLE_FILE).exists()
    assert find_session(tmp_path) is None
    after = rig.writer(tmp_path)  # takes its place, and clears away its sockets
    assert not alive.sockets.exists()
    assert find_session(tmp_path) == after.address
    after.close()


def test_a_number_that_was_given_to_another_process_is_no_session(tmp_path: Path) -> None:
    console = rig.writer(tmp_path)
    values = read_json(tmp_path / CONSOLE_FILE)
    write_json_atomic(tmp_path / CONSOLE_FILE, {**values, "born": values["born"] - 1})
    assert find_session(tmp_path) is None
    console.close()


def test_a_session_that_may_not_be_seen_says_why(tmp_path: Path) -> None:
    console = rig.writer(tmp_path)
    values, path, sockets = read_json(tmp_path / CONSOLE_FILE), tmp_path / CONSOLE_FILE, console.address.sockets
    sockets.chmod(0o755)
    with pytest.raises(ConfigError, match=r"others may enter .*; start the session again"):
        find_session(tmp_path)
    sockets.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(sockets, 65534, 65534)
        with pytest.raises(ConfigError, match="it belongs to the user nobody, and only they can look at it"):
            find_session(tmp_path)
        os.chown(sockets, 0, 0)
    write_json_atomic(path, {**values, "sockets": str(tmp_path)})
    with pytest.raises(ConfigError, match="is no folder of a session"):
        find_session(tmp_path)
    write_json_atomic(path, {**values, "sockets": "/nowhere/robot_rl-console-x"})
    with pytest.raises(ConfigError, match=r"/nowhere/robot_rl-console-x, is not there .*; start the session again"):
        find_session(tmp_path)
    write_json_atomic(path, {**values, "host": "elsewhere"})
    with pytest.raises(ConfigError, match=r"runs on the machine 'elsewhere' and this is .*; look at it there"):
        find_session(tmp_path)
    write_json_atomic(path, {**values, "pid": "1"})
    with pytest.raises(CheckpointError, match="does not say where the session is"):
        find_session(tmp_path)
    path.write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        find_session(tmp_path)
    console.close()
    assert path.exists()  # what it did not write it does not remove


def test_a_socket_that_cannot_be_made_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 120)  # beyond what an address of a socket can hold
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(StorageError, match="the session cannot be shown: no socket in"):
        rig.writer(tmp_path)
    assert not list(deep.iterdir())
    assert not (tmp_path / CONSOLE_FILE).exists()
