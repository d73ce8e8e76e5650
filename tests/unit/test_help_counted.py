"""Help is told of wherever success is: autonomous episodes alone make a rate, helped and discarded ones stand apart."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from robot_rl.assisted import PAUSED
from robot_rl.live import RunReader, line, render
from robot_rl.metrics import MetricsWriter
from robot_rl.patience import RobotNote
from robot_rl.report import write_report
from robot_rl.run_data import load_run
from robot_rl.runs import create_run
from robot_rl.stats import first_reaching, human_share, success_summary, worst_window

HELPED: dict[str, Any] = {
    "success": True, "intervened": True, "source": "human", "steps": 40, "human_steps": 10, "interventions": 2,
    "first_intervention": 6,
}  # fmt: skip
ALONE: dict[str, Any] = {"success": False, "steps": 20}
DISCARDED: dict[str, Any] = {"success": True, "steps": 30, "verdict": "discard"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run in which a person helped every second episode at first, later hardly ever, and discarded two."""
    folder = create_run(tmp_path, "helped", task="reach", seed=0, total_env_steps=3000)
    with MetricsWriter(folder, sinks=()) as writer:
        for i in range(60):
            row = HELPED if i % 2 == 0 and i < 30 else {**ALONE, "success": i >= 30}
            row = DISCARDED if i in (7, 41) else row
            writer.episode(40 * (i + 1), {**row, "episode": i, "duration_s": 2.0}, t_s=float(i))
    return folder


def test_a_discarded_episode_counts_in_no_rate() -> None:
    rows = [ALONE, {**ALONE, "success": True}, DISCARDED, {**DISCARDED, "intervened": True}, HELPED]
    summary = success_summary(rows)
    assert (summary.n, summary.successes) == (2, 1)
    assert (summary.intervened, summary.intervened_successes) == (1, 1)


def test_a_level_is_reached_and_a_stretch_is_worst_by_autonomous_episodes_alone() -> None:
    good = {"success": True, "steps": 10}
    rows = [dict(row, env_steps=10 * i, t_s=float(i)) for i, row in enumerate([*[HELPED] * 30, *[DISCARDED] * 30])]
    assert first_reaching(rows, 0.9, 10) is None, "a person's successes are no success of the policy"
    assert worst_window(rows, 10) is None
    rows += [dict(good, env_steps=600 + 10 * i, t_s=60.0 + i) for i in range(10)]
    reached = first_reaching(rows, 0.9, 10)
    assert reached is not None
    assert reached.env_steps == 690, "steps count from the beginning, those with help included"
    failures = [dict(HELPED, success=False), dict(DISCARDED, success=False)] * 20
    worst = worst_window([*rows, *failures], 10)
    assert worst is not None
    assert worst.successes == 10, "a failure with help is none of the policy's"


def test_the_share_of_a_persons_steps_is_unknown_where_nobody_counted() -> None:
    assert human_share(ALONE) == 0.0
    assert human_share(HELPED) == pytest.approx(0.25)
    assert math.isnan(human_share({"intervened": True, "steps": 10}))


def test_the_live_view_tells_help_from_success(run: Path) -> None:
    state = RunReader(run).snapshot()
    assert (state.autonomous, state.helped, state.discarded) == (43, 15, 2)
    assert state.success_20 == 1.0
    assert state.human_20 == 0.0, "of the last 20 episodes, in which nobody helped"
    console = Console(file=io.StringIO(), width=110, color_system=None)
    console.print(render(state))
    assert isinstance(console.file, io.StringIO)
    for words in ("steps by a person", "discarded"):
        assert words in console.file.getvalue()
    assert "a person acts in 0 % of steps" in line(state)
    assert "discarded 2" in line(state)


def test_a_run_without_a_person_shows_nothing_of_one(tmp_path: Path) -> None:
    folder = create_run(tmp_path, "alone", task="reach", seed=0, total_env_steps=100)
    with MetricsWriter(folder, sinks=()) as writer:
        writer.episode(20, ALONE, t_s=1.0)
    assert "a person" not in line(RunReader(folder).snapshot())
    assert "Help against" not in write_report(folder).read_text(encoding="utf-8")


def test_the_live_view_says_that_practice_is_paused(run: Path) -> None:
    RobotNote(run)(PAUSED)
    assert "practice waits for the robot: paused by the operator" in line(RunReader(run).snapshot())


def test_the_report_tells_how_often_how_long_and_where(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert "Help against steps" in page
    assert "Help against time" in page
    # The first third: 10 of 20 helped, 20 take-overs of 5 steps, 100 of 580 steps, first in step 6, one discarded.
    first = page.partition("first third")[2].partition("</tr>")[0]
    cells = [cell.partition("</td>")[0].rpartition(">")[2] for cell in first.split("<td")[1:]]
    assert cells == ["10 of 20", "20", "5", "17 %", "6", "10 of 10", "0 of 9", "1"]
    assert "43 autonomous, 15 helped, 2 discarded and 0 demonstration episodes" in page
    assert "autonomous episodes alone" in page


def test_the_page_of_a_run_from_before_help_was_counted_can_be_read(tmp_path: Path) -> None:
    folder = create_run(tmp_path, "old", task="reach", seed=0, total_env_steps=100)
    with MetricsWriter(folder, sinks=()) as writer:
        for i in range(6):
            writer.episode(20 * i, {"success": True, "intervened": True, "steps": 20}, t_s=float(i))
    assert len(load_run(folder).episodes) == 6
    assert "nan" not in write_report(folder).read_text(encoding="utf-8").partition("Interventions")[2][:3000]
