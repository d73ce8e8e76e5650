"""`robot-rl data ls|show|check|repair`: look at recorded episodes and complete them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import say
from robot_rl.cli.data_places import data_parser, files_of, read_options, size_of
from robot_rl.errors import ConfigError, RobotRLError

FOUND = 1  # exit status of a check that found a problem, and of a repair that could not do everything


def ls(arguments: Sequence[str]) -> int:
    """List episodes."""
    made = data_parser(
        "ls",
        "List recorded episodes: who acted, steps, success, reason, duration, size.",
        "  robot-rl data ls                                     all episodes of all runs\n"
        "  robot-rl data ls runs/my_run",
    )
    files = files_of(read_options(made, arguments))
    from robot_rl.episodes.folder import Entry, entry

    def row(e: Entry) -> list[str]:
        end, start = e.end, e.start
        word = "?" if end is None else "discarded" if end.verdict == "discard" else "yes" if end.succeeded else "no"
        acted = "+".join(sorted(end.sources)) if end is not None else ""
        seconds = f"{end.duration_s:.1f} s" if end is not None else ""
        reason = e.trouble or (end.reason if end is not None else "")
        task, kind = (start.task, start.kind) if start is not None else ("?", "")
        return [str(e.path), task, kind, acted, str(e.steps), word, seconds, size_of(e.size), reason]

    head = ["episode", "task", "kind", "acted", "steps", "success", "duration", "size", "reason"]
    entries = [entry(path) for path in files]
    rows = [head, *map(row, entries)]
    width = [max(len(r[i]) for r in rows) for i in range(len(head) - 1)]
    for r in rows:
        say("  ".join([*(f"{cell:<{w}}" for cell, w in zip(r, width, strict=False)), r[-1]]).rstrip())
    whole = [e.end for e in entries if e.end is not None]
    good = sum(end.succeeded for end in whole)
    cut = f", {len(entries) - len(whole)} without an end" if len(whole) < len(entries) else ""
    total = size_of(sum(e.size for e in entries))
    say(f"{len(entries)} episodes, {sum(e.steps for e in entries)} steps, {good} successes{cut}, {total}")
    return 0


def show(arguments: Sequence[str]) -> int:
    """Write a page for each episode."""
    made = data_parser(
        "show",
        "Write one HTML page for each episode: film, actions, observation, the guard's events, timing.",
        "  robot-rl data show runs/my_run/episodes/000012.mcap  writes 000012.html beside it\n"
        "  robot-rl data show runs/my_run --out pages",
    )
    made.add_argument("--out", default="", metavar="DIR", help="folder of the pages; beside each episode by default")
    options = read_options(made, arguments)
    if not options.place:
        raise ConfigError("say which episodes to show, such as: robot-rl data show runs/my_run/episodes/000001.mcap")
    files = files_of(options)
    from robot_rl.episodes.page import write_page

    for path in files:
        folder = Path(options.out) if options.out else path.parent
        if not folder.is_dir():
            raise ConfigError(f"--out {folder} is no folder; make it first")
        say(str(write_page(path, folder / f"{path.name.partition('.')[0]}.html")))
    return 0


def check(arguments: Sequence[str]) -> int:
    """Say what is wrong with episodes."""
    made = data_parser(
        "check",
        "Check episodes, each for itself and against the others. Problems end with status 1, remarks do not.",
        "  robot-rl data check runs/my_run",
    )
    files = files_of(read_options(made, arguments))
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


def repair(arguments: Sequence[str]) -> int:
    """Complete cut episodes."""
    made = data_parser(
        "repair",
        "Complete what a kill, a power cut or a full disk left cut: every whole step is kept, the rest is dropped.",
        "  robot-rl data repair runs/my_run",
    )
    files = files_of(read_options(made, arguments))
    from robot_rl.episodes.repair import repair as complete

    failed = done = 0
    for path in files:
        try:
            outcome = complete(path)
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
