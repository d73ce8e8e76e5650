"""Laps out of a run's episodes: their times, when they ended, what went wrong, and the report's section on them."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from robot_rl.laps import laps_of, recall, summarise, write_laps
from robot_rl.report_laps import laps as section
from robot_rl.run_data import RunData
from robot_rl_tasks.car.lap import Lap
from robot_rl_tasks.car.places import place


def episode(number: int, **facts: Any) -> dict[str, Any]:
    base = {"episode": number, "driven_s": 30.0, "driven_m": 60.0, "laps": "", "recovery": "", "rescued": False,
            "reason": "time limit", "policy_version": 8 * number, "speed_cap_m_s": 2.5}  # fmt: skip
    return {**base, **facts}


EPISODES = [
    episode(0, laps="20.500@22.10"),
    episode(1, laps="12.000@10.00! 11.000@21.00", reason="crash"),
    episode(2, laps="10.000@15.00 9.000@24.00", recovery="brake back join"),
    episode(3, reason="stuck", driven_s=5.0, driven_m=1.0),
    episode(4, recovery="brake back turn person", rescued=True),
]


def test_laps_end_in_driving_time_and_what_is_damaged_is_left_out() -> None:
    found = laps_of([*EPISODES, episode(5, laps="nonsense 8.0@ @3 7.5@12.5")])
    assert [lap.lap_s for lap in found] == [20.5, 12.0, 11.0, 10.0, 9.0, 7.5]
    assert [lap.driven_s for lap in found] == [22.1, 40.0, 51.0, 75.0, 84.0, 137.5]
    assert [lap.clean for lap in found] == [True, False, True, True, True, True]
    assert [lap.lap for lap in found] == [1, 2, 3, 4, 5, 6]


def test_the_summary_counts_what_it_says() -> None:
    s = summarise(EPISODES)
    assert (s.laps, s.clean_laps, s.first_clean_s, s.best_s) == (5, 4, 22.1, 9.0)
    assert s.median_s == 10.5, "of the clean laps of the last two minutes"
    assert (s.crashes, s.stuck, s.recoveries, s.recovered, s.interventions) == (1, 1, 2, 1, 1)
    assert s.per_km(s.crashes) == pytest.approx(1000.0 / 241.0)
    nothing = summarise([])
    assert math.isnan(nothing.first_clean_s)
    assert math.isnan(nothing.per_km(0))


def test_the_table_on_disk_holds_each_lap_and_a_run_of_an_arm_has_none(tmp_path: Path) -> None:
    (tmp_path / "episodes.jsonl").write_text("".join(json.dumps(e) + "\n" for e in EPISODES))
    path = write_laps(tmp_path)
    assert path is not None
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(r["lap_s"]) for r in rows] == [20.5, 12.0, 11.0, 10.0, 9.0]
    assert [r["clean"] for r in rows] == ["1", "0", "1", "1", "1"]
    (tmp_path / "episodes.jsonl").write_text(json.dumps({"episode": 0, "success": True}) + "\n")
    assert write_laps(tmp_path) is None
    assert section(RunData(folder=tmp_path, episodes=[{"episode": 0}])) == ""


def test_the_report_shows_the_curve_the_kilometres_and_the_leaderboard(tmp_path: Path) -> None:
    rows = [
        {"who": "policy", "kind": "policy", "median_s": 9.0, "best_s": 8.9, "laps": 5, "clean_laps": 5, "crashes": 0},
        {"who": "classical driver", "kind": "classical", "median_s": 8.5, "best_s": 8.4, "laps": 5, "clean_laps": 5},
        {"who": "<nobody>", "kind": "policy", "median_s": None, "laps": 0, "clean_laps": 0},
    ]  # fmt: skip
    (tmp_path / "leaderboard.json").write_text(json.dumps({"rows": rows}))
    run = RunData(folder=tmp_path, episodes=EPISODES, summary={"demos_median_s": 20.0})
    shown = section(run)
    assert "first clean lap" in shown
    assert "<svg" in shown
    assert shown.index("classical driver</td>") < shown.index("policy</td>"), "the fastest comes first"
    assert "&lt;nobody&gt;" in shown
    assert "1 of 2 (95 % interval" in shown


def test_a_run_that_goes_on_takes_up_its_cap(tmp_path: Path) -> None:
    task = Lap(course=place("oval").course)
    env = SimpleNamespace(task=task)
    recall(env, tmp_path)
    assert task.speed_cap.now_m_s == task.max_speed_m_s
    (tmp_path / "episodes.jsonl").write_text("".join(json.dumps(e) + "\n" for e in EPISODES))
    recall(env, tmp_path)
    assert task.speed_cap.now_m_s == task.max_speed_m_s, "its start is its most: nothing lower is taken"
    recall(SimpleNamespace(task=object()), tmp_path)
