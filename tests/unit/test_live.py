"""The live view: what it reads, what it shows, and that it never reads twice."""

from __future__ import annotations

import io
import math
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from robot_rl.live import RunReader, Snapshot, duration, line, render, warnings, watch
from robot_rl.metrics import MetricsWriter
from robot_rl.runs import create_run


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def drawn(snapshot: Snapshot, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render(snapshot))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path, "demo", task="pick_cube", seed=0, total_env_steps=1000)


def test_a_run_that_has_not_begun_is_shown(tmp_path: Path) -> None:
    state = RunReader(tmp_path / "later").snapshot()
    assert state.phase == "starting"
    assert math.isnan(state.success_20)
    assert "later" in drawn(state)
    assert "success –" in line(state)


def test_rates_time_left_and_success_come_from_the_files(run: Path) -> None:
    reader = RunReader(run)
    with MetricsWriter(run, sinks=()) as writer:
        writer.episode(0, {"source": "demo", "success": True}, t_s=0.0)
        writer.write(0, 0, {}, kind="clone", t_s=1.0)
        assert reader.snapshot().phase == "clone"
        for i in range(1, 31):
            writer.write(20 * i, 80 * i, {}, t_s=2.0 + i)
            info = {"success": i > 15, "return": float(i > 15), "policy_age_steps": 7, "guard/box": 1}
            writer.episode(20 * i, info | {"intervened": i <= 5}, t_s=2.0 + i)
    state = reader.snapshot()
    assert (state.env_steps, state.updates, state.episodes) == (600, 2400, 30)
    assert (state.autonomous, state.helped) == (25, 5)
    assert state.success_50 == pytest.approx(15 / 25)
    assert state.success_20 == pytest.approx(15 / 20)
    assert state.steps_per_s == pytest.approx(20.0)
    assert state.updates_per_s == pytest.approx(80.0)
    assert state.updates_per_step == pytest.approx(4.0)
    assert state.left_s == pytest.approx(20.0)
    assert state.policy_age_steps == 7
    assert state.guard == {"box": 30}
    text = drawn(state)
    for words in ("pick_cube", "600 / 1,000 steps", "75 %", "60 %", "0:20", "7 steps", "4.00"):
        assert words in text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(results=st.lists(st.booleans(), max_size=60), looks=st.sets(st.integers(0, 59)))
def test_looking_often_or_once_comes_to_the_same(
    tmp_path_factory: pytest.TempPathFactory, results: list[bool], looks: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    often = RunReader(folder, Clock())
    with MetricsWriter(folder, sinks=()) as writer:
        for i, ok in enumerate(results):
            writer.episode(10 * i, {"success": ok, "guard": {"box": int(ok)}}, t_s=float(i))
            writer.write(10 * i, 40 * i, {}, t_s=float(i))
            if i in looks:
                often.snapshot()
    a, b = often.snapshot(), RunReader(folder, Clock()).snapshot()
    a.disk_free_gib = b.disk_free_gib = 0.0
    assert repr(a) == repr(b)
    assert a.guard.get("box", 0) == sum(results)


def test_a_resume_from_a_checkpoint_starts_the_rates_anew(run: Path) -> None:
    with MetricsWriter(run, sinks=()) as writer:
        for i in range(10):
            writer.write(100 * i, 400 * i, {}, t_s=float(i))
        for i in range(5):
            writer.write(900 + 10 * i, 2000 + 40 * i, {}, t_s=20.0 + i)
    state = RunReader(run).snapshot()
    assert state.steps_per_s == pytest.approx(10.0)
    assert state.updates_per_step == pytest.approx(4.0)
    assert state.updates == 2160


def test_silence_dead_processes_stops_and_a_filling_disk_are_called_out(run: Path) -> None:
    clock = Clock()
    reader = RunReader(run, clock)
    with MetricsWriter(run, sinks=()) as writer:
        writer.episode(1, {"guard": {"stop_force": 2}})
    reader.snapshot()
    clock.now = 95.0
    state = reader.snapshot({"learner": "running", "actor0": "restarting (2)"})
    state.disk_free_gib = 0.4
    found = " / ".join(warnings(state))
    assert "actor0: restarting (2)" in found
    assert "learner" not in found
    assert "nothing was written for 1:35" in found
    assert "only 0.4 GiB" in found
    assert "stopped the robot 2 times" in found
    assert "actor0" in line(state)
    assert "! actor0: restarting (2)" in drawn(state)


def test_brackets_in_names_are_not_markup() -> None:
    assert "[red]x[/]" in drawn(Snapshot(name="[red]x[/]", task="t", processes={"[b]": "running"}))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_view_fits_the_terminal(width: int) -> None:
    state = Snapshot(name="demo", task="pick_cube", env_steps=123456, total_env_steps=200000, success_20=0.5)
    assert all(len(row) <= width for row in drawn(state, width).splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (75.9, "1:15"), (3723, "1:02:03"), (math.nan, "–"), (math.inf, "–")]
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("terminal", [False, True])
def test_watching_ends_when_told_with_the_last_state(run: Path, terminal: bool) -> None:
    stop = threading.Event()
    asked = threading.Event()
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal, color_system=None)
    last: list[Snapshot] = []

    def processes() -> dict[str, str]:
        asked.set()
        return {"learner": "running"}

    def show() -> None:
        last.append(watch(run, stop, processes=processes, console=console, refresh_s=0.01, plain_s=0.01))

    thread = threading.Thread(target=show)
    thread.start()
    assert asked.wait(20)
    with MetricsWriter(run, sinks=()) as writer:
        writer.write(10, 40, {}, t_s=1.0)
    stop.set()
    thread.join(20)
    assert last[0].updates == 40
    assert isinstance(console.file, io.StringIO)
    assert ("steps 10/1000" in console.file.getvalue()) != terminal
