"""What a verification is made of: stages that are measured one after the other, a bar meanwhile, and a table."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from verify.children import Runner
from verify.rows import Row, table, write

from robot_rl.errors import RobotRLError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A group of rows that are measured together.

    Attributes:
        what: For `--list`.
        seconds: How long it takes on two cores, for the time left.
        measure: Measures it.
        optional: Whether it is measured only when `--only` names it.
    """

    what: str
    seconds: float
    measure: Callable[[Runner], list[Row]]
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A verification.

    Attributes:
        name: Of its folder in runs/ and of its make target.
        title: Of its table.
        about: For `--help`.
        stages: By name, in their order.
        seeded: Whether its stages draw by a seed, which `--seed` then chooses.
    """

    name: str
    title: str
    about: str
    stages: Mapping[str, Stage]
    seeded: bool = False

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Measure, tell and return the exit status."""
        chosen, seed = self.parsed(arguments)
        folder = ROOT / "runs" / self.name
        console = Console()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)  # as Ctrl-C: stop the children, keep the rows
        rows: list[Row] = []
        began_s, complete = time.monotonic(), False
        try:
            rows_of_before(folder)
            with Show(console, chosen, self.stages) as show:
                runner = Runner(root=ROOT, work=folder / "work", tick=show.tick, seed=seed)
                for name in chosen:
                    show.begin(name)
                    rows += self.measured(name, runner)
            complete = True
        except KeyboardInterrupt:
            console.print("stopped; the rows below were measured" if rows else "stopped before anything was measured")
        except RobotRLError as e:
            sys.stderr.write(f"{self.name}: {e}\n")
            return 2
        finally:
            if rows:
                write(folder, rows, self.title, time.monotonic() - began_s, complete)
        if rows:
            console.print(table(rows, self.title))
            console.print(
                f"{folder / 'table.txt'}, rows.json beside it, logs in work/logs", highlight=False, soft_wrap=True
            )
        if not complete:
            return 130
        return 1 if any(row.holds is False for row in rows) else 0

    def choose(self, arguments: Sequence[str] | None) -> list[str]:
        """Return the stages that the command line asks for."""
        return self.parsed(arguments)[0]

    def parsed(self, arguments: Sequence[str] | None) -> tuple[list[str], int]:
        """Return the stages that the command line asks for, and the seed."""
        stages = self.stages
        parser = argparse.ArgumentParser(description=self.about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument(
            "--only", action="append", choices=stages, metavar="NAME", help="measure this alone; repeatable"
        )
        parser.add_argument(
            "--skip", action="append", choices=stages, metavar="NAME", default=[], help="leave this out"
        )
        parser.add_argument("--list", action="store_true", help="list the names and do nothing")
        if self.seeded:
            parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (0)")
        options = parser.parse_args(arguments)
        if options.list:
            for name, stage in stages.items():
                when = "; only if named" if stage.optional else ""
                print(f"{name:<10} {stage.what} (about {stage.seconds / 60:.1f} min{when})")
            sys.exit(0)
        usual = [name for name, stage in stages.items() if not stage.optional]
        chosen = [name for name in stages if name in (options.only or usual) and name not in options.skip]
        if not chosen:
            parser.error("nothing is left to measure")
        seed = options.seed if self.seeded else 0
        if seed < 0:
            parser.error(f"--seed is {seed}; it must be at least 0")
        return chosen, seed

    def measured(self, name: str, runner: Runner) -> list[Row]:
        """Return a stage's rows; what goes wrong in it fails that stage alone."""
        try:
            return self.stages[name].measure(runner)
        except (RobotRLError, OSError) as e:
            what = self.stages[name].what
            return [Row(stage=name, what=what, measured=str(e), bar="could be measured", holds=False)]


class Show:
    """What a person sees meanwhile: a bar on a terminal, a line for each stage elsewhere."""

    def __init__(self, console: Console, chosen: Sequence[str], stages: Mapping[str, Stage]) -> None:
        self._console, self._ahead, self._stages = console, list(chosen), stages
        self._total = sum(stages[name].seconds for name in chosen)
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
            self._console.print(f"{name}: {self._stages[name].what} (about {_told(self._left_s())})", highlight=False)

    def tick(self) -> None:
        """Draw again; called twice a second."""
        left_s = self._left_s()
        self._bar.update(self._task, description=self._stage, completed=self._total - left_s, left=_told(left_s))

    def _left_s(self) -> float:
        now = max(self._stages[self._stage].seconds - (time.monotonic() - self._began_s), 1.0)
        return now + sum(self._stages[name].seconds for name in self._ahead)


def _told(left_s: float) -> str:
    return f"{left_s / 60:.0f} min left" if left_s > 90 else f"{left_s:.0f} s left"


def rows_of_before(folder: Path) -> None:
    """Forget an earlier verification, so that nothing old is taken for new."""
    for name in ("rows.json", "table.txt"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "work", ignore_errors=True)
