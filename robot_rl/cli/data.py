"""`robot-rl data`: list, look at, check and complete recorded episodes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import no_settings, parse, parser, say
from robot_rl.errors import ConfigError, RobotRLError, nearest

FOUND = 1  # exit status of a check that found a problem, and of a repair that could not do everything
EXAMPLES = """\
  robot-rl data ls                                     all episodes of all runs
  robot-rl data ls runs/my_run
  robot-rl data show runs/my_run/episodes/000012.mcap  writes 000012.html beside it
  robot-rl data check runs/my_run                      exit status 1 if something is wrong
  robot-rl data repair runs/my_run                     complete what a kill or a full disk left cut
"""


def data(arguments: Sequence[str]) -> int:
    """Look after recorded episodes."""
    made = parser(
        "data",
        "List (ls), show, check and repair recorded episodes: MCAP files, one each, in RUN/episodes.\n"
        "A place is an episode file, a folder of episodes, a run, or a folder of runs.",
        EXAMPLES,
        takes_settings=False,
    )
    made.add_argument("what", metavar="ls|show|check|repair", help="what to do")
    made.add_argument("place", nargs="*", metavar="PLACE", help="files and folders; all runs by default")
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    made.add_argument(
        "--out", default="", metavar="DIR", help="show: folder of the pages; beside each episode by default"
    )
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    actions = {"ls": _ls, "show": _show, "check": _check, "repair": _repair}
    if options.what not in actions:
        raise ConfigError(
            f"'{options.what}' cannot be done to data; allowed: {', '.join(actions)}.{nearest(options.what, actions)}"
        )
    from robot_rl.episodes.folder import find_files

    if options.what == "show" and not options.place:
        raise ConfigError("say which episodes to show, such as: robot-rl data show runs/my_run/episodes/000001.mcap")
    return actions[options.what](find_files(_places(options)), options)


def _places(options: argparse.Namespace) -> list[Path]:
    root = Path(options.runs)
    if not options.place:
        if not root.is_dir():
            raise ConfigError(f"there is no folder {root} of runs here; say where the episodes are")
        return [root]
    named = [Path(text) for text in options.place]
    return [path if path.exists() or not (root / path).exists() else root / path for path in named]


def _ls(files: Sequence[Path], options: argparse.Namespace) -> int:
    from robot_rl.episodes.folder import Entry, entry

    def row(e: Entry) -> list[str]:
        end, start = e.end, e.start
        word = "?" if end is None else "discarded" if end.verdict == "discard" else "yes" if end.succeeded else "no"
        acted = "+".join(sorted(end.sources)) if end is not None else ""
        seconds = f"{end.duration_s:.1f} s" if end is not None else ""
        reason = e.trouble or (end.reason if end is not None else "")
        task, kind = (start.task, start.kind) if start is not None else ("?", "")
        return [str(e.path), task, kind, acted, str(e.steps), word, seconds, _size(e.size), reason]

    head = ["episode", "task", "kind", "acted", "steps", "success", "duration", "size", "reason"]
    entries = [entry(path) for path in files]
    rows = [head, *map(row, entries)]
    width = [max(len(r[i]) for r in rows) for i in range(len(head) - 1)]
    for r in rows:
        say("  ".join([*(f"{cell:<{w}}" for cell, w in zip(r, width, strict=False)), r[-1]]).rstrip())
    whole = [e.end for e in entries if e.end is not None]
    good = sum(end.succeeded for end in whole)
    cut = f", {len(entries) - len(whole)} without an end" if len(whole) < len(entries) else ""
    total = _size(sum(e.size for e in entries))
    say(f"{len(entries)} episodes, {sum(e.steps for e in entries)} steps, {good} successes{cut}, {total}")
    return 0


def _show(files: Sequence[Path], options: argparse.Namespace) -> int:
    from robot_rl.episodes.page import write_page

    for path in files:
        folder = Path(options.out) if options.out else path.parent
        if not folder.is_dir():
            raise ConfigError(f"--out {folder} is no folder; make it first")
        say(str(write_page(path, folder / f"{path.name.partition('.')[0]}.html")))
    return 0


def _check(files: Sequence[Path], options: argparse.Namespace) -> int:
    from robot_rl.episodes.check_set import check_files

    found = check_files(files)
    for finding in sorted(found, key=lambda f: not f.problem):
        say(f"{'problem' if finding.problem else 'remark'}  {finding.path}: {finding.kind}: {finding.sentence}")
    problems = [f for f in found if f.problem]
    unfit = len({f.path for f in problems})
    say(
        f"{len(files)} episodes checked: "
        + (f"{len(problems)} problem(s) in {unfit} of them" if problems else "no problem")
        + f", {len(found) - len(problems)} remark(s)"
    )
    return FOUND if problems else 0


def _repair(files: Sequence[Path], options: argparse.Namespace) -> int:
    from robot_rl.episodes.repair import repair

    failed = done = 0
    for path in files:
        try:
            outcome = repair(path)
        except RobotRLError as e:
            failed += 1
            say(f"not repaired: {e}")
            continue
        if outcome.changed:
            done += 1
            say(f"{outcome.path}: {outcome.what or 'it was whole and has its name now'}")
    say(
        f"{done} of {len(files)} episodes completed, {len(files) - done - failed} were whole, {failed} left as they are"
    )
    return FOUND if failed else 0


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
