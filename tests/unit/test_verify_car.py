"""The verification of the car judges what trainings, the benchmark of recovery and fault tests leave."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import verify_car
from verify import car_laps, car_mistakes, car_recovery, car_stops, car_tests
from verify.children import Runner
from verify.ros_faults import Tried, read

ROOT = Path(__file__).resolve().parents[2]
TIMES = {"policy": 5.8, "classical": 6.7, "demonstration": 10.0}


def episode(laps: str, reason: str = "time limit", **more: Any) -> dict[str, Any]:
    """Return an episode of half a minute and 100 m."""
    return {"driven_s": 30.0, "driven_m": 100.0, "laps": laps, "reason": reason, "source": "policy", **more}


def test_every_claim_names_tests_that_are_there() -> None:
    for files in car_tests.CLAIMS.values():
        for name in files:
            assert (ROOT / name).is_file(), name


def test_the_stages_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        verify_car.VERIFICATION.main(["--list"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("laps", "residual", "recovery", "stops", "bad-input", "tests"))
    assert sum(stage.seconds for stage in verify_car.STAGES.values()) <= 15 * 60


def test_a_first_lap_must_come_soon_and_nobody_may_help() -> None:
    good = [episode("9.5@20.0 9.0@29.0"), episode("8.5@8.0", "crash"), episode("8.0@20.0", recovery="brake back join")]
    assert [row.holds for row in car_laps.judge_first(good, TIMES)] == [True, True, True]
    late = [episode("12.0@29.0!"), episode(""), episode("12.0@20.0", recovery="brake", rescued=True)]
    assert [row.holds for row in car_laps.judge_first(late, TIMES)] == [False, False, False]
    assert [row.holds for row in car_laps.judge_first([], TIMES)] == [False, False, False]


def test_a_residual_must_lap_cleanly_at_once_and_end_faster_than_the_driver() -> None:
    start, end = episode("10.0@12.0 9.8@22.0"), [episode("5.8@10.0 5.7@20.0") for _ in range(8)]
    assert [row.holds for row in car_laps.judge_residual([start, *end], TIMES)] == [True] * 4
    crashed = episode("10.0@12.0", "crash")
    assert [row.holds for row in car_laps.judge_residual([crashed, *end], TIMES)] == [True, False, True, True]
    slow = [episode("6.7@10.0") for _ in range(8)]
    assert [row.holds for row in car_laps.judge_residual([start, *slow], TIMES)] == [True, True, False, True]
    none = car_laps.judge_residual([episode("") for _ in range(5)], TIMES)
    assert [row.holds for row in none] == [False, True, False, False]


def recovery_rows(**values: float) -> list[dict[str, Any]]:
    """Return what the benchmark of recovery tells, all at 0.99 but for what is given."""
    names = [*car_recovery.KINDS, "rung brake", "rung join"]
    return [{"name": name, "value": values.get(name, 0.99), "n": 200, "note": "x"} for name in names]


def test_each_share_of_recovery_and_detection_is_judged_alone() -> None:
    rows = car_recovery.judge(recovery_rows(**{"recall, stuck": 0.94, "recovery, crash": math.nan}))
    failed = {row.what for row in rows if row.holds is False}
    assert failed == {car_recovery.KINDS["recall, stuck"], car_recovery.KINDS["recovery, crash"]}
    assert rows[-1].measured == "brake: of 200, x; join: of 200, x"


def test_a_stop_must_come_within_its_time_in_every_repetition(tmp_path: Path) -> None:
    assert car_stops.row("x", Tried(passed=2, seconds=[0.11, 0.19])).holds is True
    assert car_stops.row("x", Tried(passed=2, seconds=[0.11, 0.21])).holds is False
    assert car_stops.row("x", Tried(passed=1, failed=1, seconds=[0.11])).holds is False
    assert car_stops.row("x", Tried()).holds is None
    path = tmp_path / "stops.xml"
    path.write_text(
        '<testsuites><testsuite><testcase name="test_killed[0-link-policy]"><properties>'
        '<property name="stop_s" value="0.12"/></properties></testcase></testsuite></testsuites>'
    )
    assert read(path, "stop_s") == {"killed: link-policy": Tried(passed=1, seconds=[0.12])}


def test_faults_that_were_not_tried_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(car_stops, "FILE", "tests/faults/no_such_file.py")
    rows = car_stops.measure(Runner(root=ROOT, work=tmp_path, tick=lambda: None))
    assert [row.holds for row in rows] == [False]


def test_a_word_to_the_vesc_and_a_trace_of_driving_are_seen(tmp_path: Path) -> None:
    with car_mistakes.listening() as (port, heard):
        assert car_mistakes.spoken(heard) == ""
        with open(port, "wb", buffering=0) as serial:
            serial.write(b"\x02\x05\x08")
            for _ in range(100):
                if heard:
                    break
                time.sleep(0.02)
        assert car_mistakes.spoken(heard) == "the VESC was spoken to"
    (tmp_path / "lap").mkdir()
    (tmp_path / "lap" / "run.json").write_text("{}")
    assert car_mistakes.driven(tmp_path) == ""
    (tmp_path / "lap" / "episodes.jsonl").write_text("")
    assert car_mistakes.driven(tmp_path) == "episodes.jsonl was written"
