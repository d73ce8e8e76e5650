"""`robot-rl data trim|relabel|merge`: change recorded episodes, and put those of several runs together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from robot_rl.cli.common import say
from robot_rl.cli.data_places import data_parser, files_of, read_options
from robot_rl.errors import ConfigError, RobotRLError

FAILED = 1  # exit status when some of the episodes were left as they are
NONE = "none"


def trim(arguments: Sequence[str]) -> int:
    """Cut steps away."""
    made = data_parser(
        "trim",
        "Keep some steps of an episode, from one to another, both included, counted from 0. An end that is cut away\n"
        "did not happen: the episode counts as cut short by the clock. The file as it was is kept, with .orig added.",
        "  robot-rl data trim runs/my_run/episodes/000012.mcap --from 5 --to 40\n"
        "  robot-rl data trim runs/my_run/episodes/000012.mcap --to 40",
    )
    made.add_argument("--from", dest="first", type=int, default=0, metavar="STEP", help="first step to keep (0)")
    made.add_argument("--to", dest="last", type=int, default=None, metavar="STEP", help="last step to keep (the last)")
    options = read_options(made, arguments)
    if len(options.place) != 1:
        raise ConfigError("name one episode to trim, such as: robot-rl data trim my_run/episodes/000012.mcap --to 40")
    if options.first == 0 and options.last is None:
        raise ConfigError("say which steps to keep with --from or --to; see: robot-rl data trim --help")
    (path, *more) = files_of(options)
    if more:
        raise ConfigError(f"{options.place[0]} holds {1 + len(more)} episodes; name the one to trim")
    from robot_rl.episodes import edit

    done = edit.trim(path, options.first, options.last)
    say(f"{path}: {done.what or 'nothing is cut away by this; left as it is'}")
    if done.original is not None:
        say(f"the episode as it was is {done.original}")
    return 0


def relabel(arguments: Sequence[str]) -> int:
    """Give episodes another verdict."""
    from robot_rl.episodes.facts import VERDICTS

    made = data_parser(
        "relabel",
        "Give episodes the operator's verdict, which stands above the task's; none leaves the word to the task again.\n"
        "A discarded episode is kept but never learnt from.",
        "  robot-rl data relabel runs/my_run/episodes/000012.mcap --verdict failure\n"
        "  robot-rl data relabel runs/my_run --verdict discard",
    )
    words = [*filter(None, VERDICTS), NONE]
    made.add_argument("--verdict", choices=words, required=True, help="the operator's word")
    options = read_options(made, arguments)
    if not options.place:
        raise ConfigError("say which episodes to relabel: files, a folder of episodes, or a run")
    from robot_rl.episodes import edit

    verdict = cast(Any, "" if options.verdict == NONE else options.verdict)
    changed = failed = 0
    files = files_of(options)
    for path in files:
        try:
            done = edit.relabel(path, verdict)
        except RobotRLError as e:
            failed += 1
            say(f"not relabelled: {e}")
            continue
        if done.what:
            changed += 1
            say(f"{path}: {done.what}")
    same = len(files) - changed - failed
    say(f"{changed} of {len(files)} episodes relabelled, {same} had that verdict, {failed} left as they are")
    return FAILED if failed else 0


def merge(arguments: Sequence[str]) -> int:
    """Put episodes together."""
    made = data_parser(
        "merge",
        "Copy the episodes of several runs of one task into a new folder, numbered anew; what is there twice is taken\n"
        "once. Each file says which one it is of. The runs stay as they are.",
        "  robot-rl data merge runs/monday runs/tuesday --out both_days\n"
        "  robot-rl train task=pick_cube demos=runs/both_days/episodes",
    )
    made.add_argument("--out", required=True, metavar="NAME", help="the new folder: a name within --runs, or a path")
    options = read_options(made, arguments)
    if not options.place:
        raise ConfigError("say which runs to merge, such as: robot-rl data merge monday tuesday --out both_days")
    from robot_rl.episodes import merge as merging

    out = Path(options.out) if "/" in options.out else Path(options.runs) / options.out
    done = merging.merge(files_of(options), out)
    for path, same in done.doubles:
        say(f"left out: {path} holds the same as {same}")
    say(f"{len(done.taken)} episodes in {done.folder}" + (f", {len(done.doubles)} left out" if done.doubles else ""))
    return 0
