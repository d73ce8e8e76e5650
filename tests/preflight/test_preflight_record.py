from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from robot_rl.cell import Box, Cell
from robot_rl.errors import ConfigError, RobotError
from robot_rl.preflight import STATEMENTS, check_preflight, preflight_path, sign

CELL = Cell(name="bench 1", address="172.16.0.2", bounds=Box(min_m=(0.3, -0.2, 0.0), max_m=(0.6, 0.2, 0.4)))


def signed(folder: Path, **changes: object) -> None:
    """Sign, then change the record as time, people or another machine would."""
    path = sign(CELL, "Ada", STATEMENTS, [{"name": "disk", "status": "ok", "found": "9 GB"}], folder)
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {k: v for k, v in changes.items()}))


def test_a_fresh_record_lets_a_session_begin(tmp_path: Path) -> None:
    signed(tmp_path)
    record = check_preflight(CELL, tmp_path)
    assert record is not None
    assert record.who == "Ada"
    assert record.checks[0]["found"] == "9 GB"


def test_a_simulator_needs_none(tmp_path: Path) -> None:
    assert check_preflight(dataclasses.replace(CELL, address="127.0.0.3", bounds=None), tmp_path) is None


@pytest.mark.parametrize("address", ["172.16.0.2", "robot.local", ""])
def test_hardware_without_a_record_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(RobotError, match=r"nobody has signed.*--sign NAME"):
        check_preflight(dataclasses.replace(CELL, address=address), tmp_path)


def test_bounds_that_were_never_measured_are_refused(tmp_path: Path) -> None:
    unmeasured = dataclasses.replace(CELL, bounds=None)
    with pytest.raises(RobotError, match="calibrate bounds"):
        check_preflight(unmeasured, tmp_path)
    with pytest.raises(RobotError, match="calibrate bounds"):
        sign(unmeasured, "Ada", STATEMENTS, [], tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"signed_unix_s": 0.0}, "h ago, and 12 h are allowed"),
        ({"signed_unix_s": 4e9}, "in the future"),
        ({"signed_unix_s": "today"}, "cannot be used"),
        ({"cell_hash": "0"}, "the cell file of 'bench 1' changed"),
        ({"cell_hash": "0", "bounds_hash": "0"}, "the bounds of 'bench 1' changed"),
        ({"boot": "another"}, "started anew"),
        ({"host": "another"}, "signed on another"),
        ({"statements": {}}, "lacks a statement"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    signed(tmp_path, **changes)
    with pytest.raises(RobotError, match=told):
        check_preflight(CELL, tmp_path)


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    signed(tmp_path)
    preflight_path(CELL, tmp_path).write_text('{"who"')
    with pytest.raises(RobotError, match="damaged"):
        check_preflight(CELL, tmp_path)


def test_nothing_is_signed_with_a_failed_check_a_gap_or_no_name(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="these checks failed: clock"):
        sign(CELL, "Ada", STATEMENTS, [{"name": "clock", "status": "fail", "found": ""}], tmp_path)
    with pytest.raises(ConfigError, match="not ticked"):
        sign(CELL, "Ada", {"watch": STATEMENTS["watch"]}, [], tmp_path)
    with pytest.raises(ConfigError, match="--sign NAME"):
        sign(CELL, " ", STATEMENTS, [], tmp_path)
    assert not preflight_path(CELL, tmp_path).exists()


def test_the_record_lies_in_the_users_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert preflight_path(CELL) == tmp_path / "robot-rl" / "bench-1" / "preflight.json"
