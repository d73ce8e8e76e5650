"""`robot-rl report`, `robot-rl compare` and `robot-rl runs`: what is there, and pages on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import no_settings, parse, parser, say


def report(arguments: Sequence[str]) -> int:
    """Write a run's report."""
    made = parser(
        "report",
        "Write a run's report: one HTML page with curves, evaluation, video, timing, settings and versions.\n"
        "It works on a run that is still going.",
        "  robot-rl report latest\n  robot-rl report runs/my_run",
        takes_settings=False,
    )
    made.add_argument("run", metavar="RUN", help="folder or name of the run, the beginning of a name, or 'latest'")
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    from robot_rl.report import write_report
    from robot_rl.runs import resolve_run

    say(str(write_report(resolve_run(options.run, Path(options.runs)))))
    return 0


def compare(arguments: Sequence[str]) -> int:
    """Compare runs."""
    made = parser(
        "compare",
        "Compare runs on one HTML page: curves with their spread, and the median and worst of steps and time to 95 %.\n"
        "Runs of one group (setting group=) are put together.",
        "  robot-rl compare seeds/*\n  robot-rl compare runs/a runs/b --out comparison.html",
        takes_settings=False,
    )
    made.add_argument("run", nargs="+", metavar="RUN", help="folders or names of runs, or of sweeps")
    made.add_argument("--out", default="", metavar="FILE", help="the page; comparison.html in the folder of runs")
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    from robot_rl.report import write_comparison
    from robot_rl.runs import is_run, list_runs, resolve_run

    root = Path(options.runs)
    folders: list[Path] = []
    for text in options.run:
        sweep = next((f for f in (Path(text), root / text) if f.is_dir() and not is_run(f) and list_runs(f)), None)
        folders += sorted(e.path for e in list_runs(sweep)) if sweep else [resolve_run(text, root)]
    say(str(write_comparison(folders, Path(options.out or root / "comparison.html"))))
    return 0


def runs(arguments: Sequence[str]) -> int:
    """List the runs."""
    made = parser(
        "runs",
        "List the runs, newest first.",
        "  robot-rl runs\n  robot-rl runs --runs elsewhere",
        takes_settings=False,
    )
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    from robot_rl.runs import list_runs

    entries = list_runs(Path(options.runs))
    if not entries:
        say(f"no runs in {options.runs} yet; start one with: robot-rl train")
    width = max((len(e.name) for e in entries), default=0)
    for entry in entries:
        done = "finished" if entry.finished else ""
        say(f"{entry.name:<{width}}  {entry.task:<12} {entry.started:<26} {done}".rstrip())
    return 0
