"""The verification judges what commands and tests leave, and none of its commands outlives it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import verify_practice
from verify import bad_input, bench, demo, suite
from verify.children import Finished, Runner
from verify.rows import Row, at_least, at_most, write

ROOT = Path(__file__).resolve().parents[2]


def finished(status: int, err: str, timed_out: bool = False) -> Finished:
    return Finished(status=status, seconds=1.0, out="", err=err, timed_out=timed_out)


@pytest.mark.parametrize(
    ("ended", "holds"),
    [
        (finished(2, "robot-rl: there is no task 'pick_cub'. Did you mean 'pick_cube'?\n"), True),
        (finished(0, "robot-rl: there is no task 'pick_cub'. Did you mean 'pick_cube'?\n"), False),
        (finished(2, "robot-rl: something else\n"), False),
        (finished(1, "Traceback (most recent call last):\nrobot-rl: pick_cube\n"), False),
        (finished(-15, "robot-rl: pick_cube\n"), False),
        (finished(2, "robot-rl: pick_cube\n", timed_out=True), False),
    ],
)
def test_a_mistake_is_answered_only_by_a_sentence_and_a_status(ended: Finished, holds: bool) -> None:
    assert bad_input.judge("misspelt task", ended, "pick_cube").holds is holds
    assert bad_input.judge("misspelt task", ended, "pick_cube", "the run is gone").holds is False


def test_a_number_that_was_not_found_fails() -> None:
    assert at_most("demo", "x", float("nan"), 1.0, "").holds is False
    assert at_least("demo", "x", float("nan"), 1.0, "").holds is False


def test_tests_are_read_with_their_file_and_result(tmp_path: Path) -> None:
    path = tmp_path / "tests.xml"
    path.write_text(
        '<testsuites><testsuite><testcase classname="tests.faults.test_kill" name="a"/>'
        '<testcase classname="tests.faults.test_kill" name="b"><failure/></testcase>'
        '<testcase classname="tests.unit.test_x" name="c"><skipped/></testcase></testsuite></testsuites>'
    )
    cases = suite.read_cases(path)
    assert [(c.file, c.result) for c in cases] == [
        ("tests/faults/test_kill.py", "passed"),
        ("tests/faults/test_kill.py", "failed"),
        ("tests/unit/test_x.py", "skipped"),
    ]
    path.write_text("<testsuites><test")
    assert suite.read_cases(path) == []


@pytest.mark.parametrize(
    ("rate", "floor", "holds"), [(120.0, 300.0, True), (90.0, 300.0, False), (40.0, 60.0, None), (20.0, 60.0, False)]
)
def test_a_speed_below_its_bar_is_excused_only_by_a_floor_that_was_measured(
    rate: float, floor: float, holds: bool | None
) -> None:
    rows = {"critic updates": {"value": rate}, "critic updates, of the parts alone": {"baseline": floor}}
    assert bench.judge(rows)[0].holds is holds


def test_a_speed_that_is_missing_fails() -> None:
    assert [row.holds for row in bench.judge({})] == [False, False, False]


def test_what_is_red_is_found_at_its_height() -> None:
    picture = np.full((100, 80, 3), 180, np.uint8)
    assert np.isnan(demo.red_height(picture))
    picture[30:40, 10:20] = (200, 60, 50)
    assert demo.red_height(picture) == pytest.approx(100 - 34.5)


def test_a_stopped_command_leaves_no_process_behind(tmp_path: Path) -> None:
    child = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, sys.argv[1]])"
    told = tmp_path / "pid"

    def interrupt_once_it_runs() -> None:
        if told.is_file() and told.read_text():
            raise KeyboardInterrupt

    runner = Runner(root=ROOT, work=tmp_path / "work", tick=interrupt_once_it_runs)
    with pytest.raises(KeyboardInterrupt):
        runner.run("sleeper", [sys.executable, "-c", parent, str(told)], 60.0)
    gone(int(told.read_text()))


def gone(pid: int) -> None:
    """Wait until a process is no more: its new parent may still have to collect it."""
    deadline_s = time.monotonic() + 10.0
    while time.monotonic() < deadline_s:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return
        os.sched_yield()
    raise AssertionError(f"process {pid} still runs")


def test_a_command_that_takes_too_long_is_stopped_and_said_so(tmp_path: Path) -> None:
    runner = Runner(root=ROOT, work=tmp_path, tick=lambda: None)
    ended = runner.run("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], 0.2)
    assert ended.timed_out
    assert "too long" in ended.how()


def test_rows_are_kept_as_table_and_json(tmp_path: Path) -> None:
    rows = [
        at_most("demo", "training", 100.0, 150.0, " s"),
        Row(stage="x", what="y", measured="z", bar="w", holds=None),
    ]
    write(tmp_path, rows, "title", 1.0, complete=False)
    facts = json.loads((tmp_path / "rows.json").read_text())
    assert [r["holds"] for r in facts["rows"]] == [True, None]
    assert not facts["complete"]
    text = (tmp_path / "table.txt").read_text()
    assert "demo: training" in text
    assert "cannot here" in text


def test_stages_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_practice.choose(["--only", "bench", "--only", "demo"]) == ["demo", "bench"]
    assert "demo" not in verify_practice.choose(["--skip", "demo"])
    with pytest.raises(SystemExit, match="0"):
        verify_practice.choose(["--list"])
    assert all(name in capsys.readouterr().out for name in ["tests"])
    with pytest.raises(SystemExit, match="2"):
        verify_practice.choose(["--only", "demo", "--skip", "demo"])
