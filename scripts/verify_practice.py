"""Measures every claim about practising in simulation that fits into 15 minutes on two processor cores.

    make verify-practice
    make verify-practice ARGS="--only demo --only bench"
    make verify-practice ARGS="--skip tests"

Prints a row for each claim (what, measured, bar, holds) and leaves runs/verify-practice/table.txt and rows.json, also
when it is stopped half way. Ends with status 1 if any row fails. What takes longer is in docs/results.md.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from verify import bad_input, bench, demo, suite
from verify.children import Runner
from verify.rows import Row, table, write

from robot_rl.errors import RobotRLError

ROOT = Path(__file__).resolve().parents[1]
TITLE = "Practise in simulation: what was claimed and what was measured"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A group of rows that are measured together.

    Attributes:
        what: For `--list`.
        seconds: How long it takes on two cores, for the time left.
        measure: Measures it.
    """

    what: str
    seconds: float
    measure: Callable[[Runner], list[Row]]


STAGES = {
    demo.STAGE: Stage(
        what="the demo, run afresh; whether the cloned start was kept", seconds=240, measure=demo.measure
    ),
    suite.TESTS: Stage(what="all tests, and how long they take", seconds=400, measure=suite.measure),
    suite.SIGKILL: Stage(what="the tests that kill processes, by name", seconds=20, measure=suite.measure_kills),
    bench.STAGE: Stage(what="speed of learner and twin, briefly", seconds=90, measure=bench.measure),
    bad_input.STAGE: Stage(what="mistakes and mishaps, each once", seconds=90, measure=bad_input.measure),
}


class Show:
    """What a person sees meanwhile: a bar on a terminal, a line for each stage elsewhere."""

    def __init__(self, console: Console, chosen: Sequence[str]) -> None:
        self._console, self._ahead = console, list(chosen)
        self._total = sum(STAGES[name].seconds for name in chosen)
        self._stage, self._began_s = chosen[0], time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("about {task.fields[left]}"))
        self._bar = Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=self._total, left="")

    def __enter__(self) -> Show:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def begin(self, name: str) -> None:
        """Say that a stage begins."""
        self._ahead.remove(name)
        self._stage, self._began_s = name, time.monotonic()
        if not self._console.is_terminal:
            self._console.print(f"{name}: {STAGES[name].what} (about {_told(self._left_s())})", highlight=False)

    def tick(self) -> None:
        """Draw again; called twice a second."""
        left_s = self._left_s()
        self._bar.update(self._task, description=self._stage, completed=self._total - left_s, left=_told(left_s))

    def _left_s(self) -> float:
        now = max(STAGES[self._stage].seconds - (time.monotonic() - self._began_s), 1.0)
        return now + sum(STAGES[name].seconds for name in self._ahead)


def _told(left_s: float) -> str:
    return f"{left_s / 60:.0f} min left" if left_s > 90 else f"{left_s:.0f} s left"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, tell and return the exit status."""
    chosen = choose(arguments)
    folder = ROOT / "runs" / "verify-practice"
    console = Console()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C: stop the children, keep the rows
    rows: list[Row] = []
    began_s, complete = time.monotonic(), False
    try:
        rows_of_before(folder)
        with Show(console, chosen) as show:
            runner = Runner(root=ROOT, work=folder / "work", tick=show.tick)
            for name in chosen:
                show.begin(name)
                rows += measured(name, runner)
        complete = True
    except KeyboardInterrupt:
        console.print("stopped; the rows below were measured" if rows else "stopped before anything was measured")
    except RobotRLError as e:
        sys.stderr.write(f"verify-practice: {e}\n")
        return 2
    finally:
        if rows:
            write(folder, rows, TITLE, time.monotonic() - began_s, complete)
    if rows:
        console.print(table(rows, TITLE))
        console.print(
            f"{folder / 'table.txt'}, rows.json beside it, logs in work/logs", highlight=False, soft_wrap=True
        )
    if not complete:
        return 130
    return 1 if any(row.holds is False for row in rows) else 0


def choose(arguments: Sequence[str] | None) -> list[str]:
    """Return the stages that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", choices=STAGES, metavar="NAME", help="measure this alone; repeatable"
    )
    parser.add_argument("--skip", action="append", choices=STAGES, metavar="NAME", default=[], help="leave this out")
    parser.add_argument("--list", action="store_true", help="list the names and do nothing")
    options = parser.parse_args(arguments)
    if options.list:
        for name, stage in STAGES.items():
            print(f"{name:<10} {stage.what} (about {stage.seconds / 60:.1f} min)")
        sys.exit(0)
    chosen = [name for name in STAGES if name in (options.only or STAGES) and name not in options.skip]
    if not chosen:
        parser.error("nothing is left to measure")
    return chosen


def measured(name: str, runner: Runner) -> list[Row]:
    """Return a stage's rows; what goes wrong in it fails that stage alone."""
    try:
        return STAGES[name].measure(runner)
    except (RobotRLError, OSError) as e:
        return [Row(stage=name, what=STAGES[name].what, measured=str(e), bar="could be measured", holds=False)]


def rows_of_before(folder: Path) -> None:
    """Forget an earlier verification, so that nothing old is taken for new."""
    for name in ("rows.json", "table.txt"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "work", ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
