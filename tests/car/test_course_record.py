"""`robot-rl course record`: a drive in the twin becomes a course that can be driven, and a bad one a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_rl.car import CarCommand, CarReset, CarState
from robot_rl.cli import main
from robot_rl.errors import ConfigError, RobotError
from robot_rl_hardware.car.hands import KeyHand, PadHand
from robot_rl_hardware.operator.device import Sample
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.course_drive import drive, keep
from robot_rl_tasks.car.course_file import load_course
from robot_rl_tasks.car.lap_build import make_lap, place_of
from robot_rl_tasks.car.places import place


def test_the_classical_driver_records_a_course_that_can_be_driven(tmp_path: Path, capsys) -> None:
    out = tmp_path / "found.yaml"
    assert main(["course", "record", "--out", str(out), "--speed", "2.5"]) == 0
    told = capsys.readouterr().out
    assert "18 gates" in told or " gates, widths measured" in told
    assert (tmp_path / "found.png").stat().st_size > 10_000
    found, drawn = load_course(out), place("oval").course
    assert abs(found.line.length_m / drawn.line.length_m - 1.0) < 0.03
    assert np.median(found.left_at_s) == pytest.approx(0.9, abs=0.1), "the walls were seen where they stand"
    task = make_lap(str(out))
    assert task.place is not None
    assert len(task.place.walls) == 2
    CarTwin(place_of(str(out)))
    assert main(["course", "record", "--out", str(out)]) == 2
    assert "never overwritten" in capsys.readouterr().err


class Straight:
    """Drives on for so many readings, whatever comes."""

    def __init__(self, readings: int) -> None:
        self._left = readings

    def read(self, state: CarState) -> CarCommand | None:
        self._left -= 1
        return None if self._left < 0 else CarCommand(0.0, 1.0)


def test_a_drive_that_never_closes_writes_nothing(tmp_path: Path) -> None:
    task = make_lap("corridor", beams=0)
    assert task.place is not None
    line = task.course.line
    start = CarReset(p_WC=line.point(1.5), yaw_rad=float(line.heading(1.5)))
    driven = drive(CarTwin(task.place), Straight(180), start, paced=False)
    with pytest.raises(ConfigError, match=r"the drive of .* never closes"):
        keep(driven, tmp_path / "no.yaml", task)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["course"], "course needs to know what to do; allowed: record"),
        (["course", "recrod"], "Did you mean 'record'?"),
        (["course", "record", "--out", "course.txt"], "ends in .yaml"),
        (["course", "record", "--speed", "9"], "--speed is 9"),
        (["course", "record", "task=reach"], "a course is recorded with task=lap"),
        (["course", "record", "--by", "keyboard"], "the keys need a terminal"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    arguments: list[str], told: str, capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    complaint = capsys.readouterr().err
    assert told in complaint
    assert "Traceback" not in complaint
    assert list(tmp_path.iterdir()) == []


class Keys:
    """A keyboard whose presses are given."""

    def __init__(self, presses: list[list[str]]) -> None:
        self._presses: Iterator[list[str]] = iter(presses)

    def read(self, timeout_s: float = 0.0) -> list[str]:
        return next(self._presses, [])


def test_keys_set_the_speed_and_let_go_of_the_steering() -> None:
    clock = [0.0]
    hand = KeyHand(Keys([["w", "w"], ["left"], [], ["space"], ["q"]]), 0.4, 1.0, lambda: clock[0])  # type: ignore[arg-type]
    anything: CarState = None  # type: ignore[assignment]
    assert hand.read(anything) == CarCommand(0.0, 0.4)
    assert hand.read(anything) == CarCommand(0.1, 0.4)
    clock[0] = 1.0
    assert hand.read(anything) == CarCommand(0.05, 0.4), "nobody presses it: it straightens"
    assert hand.read(anything) == CarCommand(0.0, 0.0)
    assert hand.read(anything) is None


class Pad:
    """A gamepad whose samples are given."""

    def __init__(self, *samples: Sample) -> None:
        self._samples, self.gone = iter(samples), ""

    def poll(self) -> Sample:
        found = next(self._samples, None)
        if found is None:
            self.gone = "the gamepad was unplugged"
            return Sample(trouble=self.gone)
        return found


def test_a_pad_moves_only_while_its_button_is_held_and_says_when_it_is_gone() -> None:
    pushed = {1: -1.0, 0: -0.5}
    pad = Pad(Sample(axes=pushed), Sample(axes=pushed, held=frozenset({4})), Sample(pressed=(0,)))
    hand = PadHand(pad, 0.4, 1.5)  # type: ignore[arg-type]
    anything: CarState = None  # type: ignore[assignment]
    assert hand.read(anything) == CarCommand(0.0, 0.0)
    assert hand.read(anything) == CarCommand(0.2, 1.5)
    assert hand.read(anything) is None
    with pytest.raises(RobotError, match="unplugged; nothing was saved"):
        hand.read(anything)
