"""The verification of recorded data judges what commands leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import verify_data
from episode_maker import make_file
from verify import data_cost, data_record, data_tests
from verify.children import Finished

ROOT = Path(__file__).resolve().parents[2]
ENDED = Finished(status=0, seconds=12.0, out="", err="")


def test_every_claim_names_tests_that_are_there() -> None:
    for files in data_tests.CLAIMS.values():
        for name in files:
            assert (ROOT / name).is_file(), name


def test_the_stages_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        verify_data.VERIFICATION.main(["--list"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.split("\n")[0].startswith("record")


def test_a_policy_is_judged_by_its_own_evaluation(tmp_path: Path) -> None:
    facts = {"n": 50, "successes": 49, "low": 0.9, "high": 1.0, "env_steps": 5000}
    (tmp_path / "summary.json").write_text(json.dumps(facts))
    assert data_record.learnt(ENDED, tmp_path).holds
    (tmp_path / "summary.json").write_text(json.dumps(facts | {"successes": 48}))
    assert not data_record.learnt(ENDED, tmp_path).holds
    (tmp_path / "summary.json").write_text(json.dumps(facts | {"n": 20, "successes": 20}))
    assert not data_record.learnt(ENDED, tmp_path).holds


def test_a_recording_counts_by_its_successes(tmp_path: Path) -> None:
    assert not data_record.recorded(ENDED, tmp_path).holds
    for _ in range(data_record.DEMOS):
        make_file(tmp_path / "episodes", n=3, success=True)
    assert data_record.recorded(ENDED, tmp_path).holds
    assert not data_record.recorded(Finished(status=2, seconds=1.0, out="", err=""), tmp_path).holds


def test_the_cost_of_recording_is_judged_by_its_two_bars() -> None:
    rows = [
        {"name": data_cost.ROWS[0][0], "value": 31.0, "unit": "%", "baseline": None, "note": "0 pictures left out"},
        {"name": data_cost.ROWS[1][0], "value": 7.0, "unit": "ms", "baseline": 1.0, "note": "120 s"},
    ]
    assert [row.holds for row in data_cost.judge(rows)] == [True, False]
