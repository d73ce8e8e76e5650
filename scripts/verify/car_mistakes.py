"""Bad input to a car, each with the real command: a sentence, a status that is not zero, and nothing moves."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pty
import re
import shutil
import sys
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from verify.bad_input import judge
from verify.children import Finished, Runner
from verify.rows import Row

STAGE = "bad-input"
SECONDS = 60.0
TIMEOUT_S = 120.0
BAR = "one sentence, status not 0, no traceback, nothing moves"
AFTER_A_DRIVE = "one sentence, status not 0, no traceback, no course is written"
ROBOT_RL = [sys.executable, "-m", "robot_rl"]
FAR = re.compile(r"\d\d\.\d m driven")
CAR = """\
name: f1tenth
speed_to_erpm_gain: 4614.0
speed_to_erpm_offset: 0.0
steering_to_servo_gain: -1.2135
steering_to_servo_offset: 0.5304
servo_min: 0.15
servo_max: 0.85
wheelbase_m: 0.3302
max_speed_m_s: 2.0
max_reverse_m_s: 1.0
max_steering_rad: 0.4189
max_acceleration_m_s2: 4.0
max_current_a: 40.0
brake_current_a: 20.0
latency_s: 0.05
steering_lag_s: 0.1
friction: 0.8
measured: []
"""


def measure(runner: Runner) -> list[Row]:
    """Make every mistake once."""
    folder = runner.work / STAGE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = _files(folder)
    train = ["train", "task=lap", f"runs={folder / 'runs'}", "live=off"]
    rows = [_never_closes(runner, folder)]
    for what, words, says in (
        ("a course narrower than the car", [*train, f"task.course={files['narrow']}"], "the car is 0.31 m wide"),
        ("a map without walls", [*train, f"task.course={files['empty-map']}"], "has no walls"),
    ):
        rows.append(_row(runner, what, words, says, lambda: driven(folder / "runs")))
    for what, name, says in (
        ("a car file without a wheelbase", "without", "does not give wheelbase_m"),
        ("a car file with an impossible servo", "impossible", "servo_min is 0.95"),
        ("a car file with a number that is none", "nan", "max_speed_m_s"),
    ):
        with listening() as (port, heard):
            node = ["node", "car", "driver=vesc", f"driver.port={port}", f"car={files[name]}"]
            rows.append(_row(runner, what, node, says, functools.partial(spoken, heard)))
    node = ["node", "car", "driver=vesc", "driver.port=/dev/robot_rl_no_vesc", f"car={files['good']}"]
    rows.append(_row(runner, "a VESC that is not plugged in", node, "there is no serial port /dev/robot_rl_no_vesc"))
    camera = ["node", "camera", "camera=opencv", "camera.device=/dev/video99", "names=[front]"]
    rows.append(_row(runner, "a camera that is not plugged in", camera, "/dev/video99"))
    return rows


def _row(runner: Runner, what: str, words: Sequence[str], says: str, lost: Callable[[], str] = lambda: "") -> Row:
    """Return the row of one mistake; `lost` says what moved or was written that should not."""
    ended = runner.run(f"{STAGE}-{what.replace(' ', '-')}", [*ROBOT_RL, *words], TIMEOUT_S)
    return _judged(what, ended, says, lost())


def _judged(what: str, ended: Finished, says: str, lost: str, bar: str = BAR) -> Row:
    return dataclasses.replace(judge(what, ended, says, lost), stage=STAGE, bar=bar)


def _never_closes(runner: Runner, folder: Path) -> Row:
    """Drive straight on over a meadow by the keyboard, and end the drive far from where it began."""
    what, name, out = "a drive that never closes the course", f"{STAGE}-never", folder / "never.yaml"
    words = ["course", "record", "--out", str(out), "--by", "keyboard", "--no-lidar", "--speed", "2"]
    with _terminal() as (keys, terminal):
        over = threading.Event()
        typing = threading.Thread(target=_type, args=(keys, over, runner.work / "logs" / f"{name}.out"))
        typing.start()
        try:
            command = [
                sys.executable,
                "-u",
                *ROBOT_RL[1:],
                *words,
                "task.course=meadow",
            ]  # -u: its lines are waited for
            ended = runner.run(name, command, TIMEOUT_S, stdin=terminal)
        finally:
            over.set()
            typing.join()
    return _judged(what, ended, "never closes", f"{out} was written" if out.exists() else "", AFTER_A_DRIVE)


def _type(keys: int, over: threading.Event, told: Path) -> None:
    """Ask for more speed until the program has told of enough metres, then end the drive."""
    while not over.wait(0.3):
        far = told.is_file() and FAR.search(told.read_text(errors="replace"))
        os.write(keys, b"q" if far else b"w")


def spoken(heard: bytearray) -> str:
    """Return what a serial port heard, in words; empty if it heard nothing."""
    return "the VESC was spoken to" if heard else ""


def driven(runs: Path) -> str:
    """Return what runs hold that comes from driving, in words; their settings alone do not."""
    found = [path.name for path in runs.rglob("*") if path.is_file() and path.name not in ("config.yaml", "run.json")]
    return f"{', '.join(found)} was written" if found else ""


@contextlib.contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    """Yield the two ends of a pseudo-terminal: who types, and what a program takes for its terminal."""
    keys, terminal = pty.openpty()
    try:
        yield keys, terminal
    finally:
        os.close(keys)
        os.close(terminal)


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, bytearray]]:
    """Yield the name of a serial port, and what was ever written to it."""
    heard = bytearray()
    with _terminal() as (ours, theirs):
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        over = threading.Event()

        def listen() -> None:
            while not over.wait(0.05):
                with contextlib.suppress(BlockingIOError):
                    heard.extend(os.read(ours, 4096))

        listening = threading.Thread(target=listen)
        listening.start()
        try:
            yield os.ttyname(theirs), heard
        finally:
            over.set()
            listening.join()


def _files(folder: Path) -> dict[str, Path]:
    """Write the files that the mistakes are about."""
    from robot_rl_tasks.car.course_file import save_course
    from robot_rl_tasks.car.places import place

    course = place("oval").course
    half = np.full(len(course.points), 0.1)
    save_course(folder / "narrow.yaml", dataclasses.replace(course, name="narrow", left_m=half, right_m=half))
    Image.fromarray(np.full((100, 100), 254, np.uint8)).save(folder / "empty.png")
    (folder / "empty-map.yaml").write_text(
        "image: empty.png\nresolution: 0.05\norigin: [0.0, 0.0, 0.0]\nnegate: 0\noccupied_thresh: 0.65\n"
        "free_thresh: 0.196\n"
    )
    for name, old, new in (
        ("good", "", ""),
        ("without", "wheelbase_m: 0.3302\n", ""),
        ("impossible", "servo_min: 0.15", "servo_min: 0.95"),
        ("nan", "max_speed_m_s: 2.0", "max_speed_m_s: .nan"),
    ):
        (folder / f"{name}.yaml").write_text(CAR.replace(old, new) if old else CAR)
    return {path.stem: path for path in folder.glob("*.yaml")}
