"""`robot-rl reward relabel|harvest`: change labels, and take in what a run found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import no_settings, parse, parser, say

AS = {"success": 1, "failure": 0, "none": None}


def relabel(arguments: Sequence[str]) -> int:
    """Give frames another label."""
    made = parser(
        "reward relabel",
        "Give frames of a labelled set another label; none takes them out of training. What was said before stays in\n"
        "the set's files. The page of robot-rl reward audit writes these commands.",
        "  robot-rl reward relabel sets/cube live-000-00003/000044 live-000-00003/000046 --as failure\n"
        "  robot-rl reward relabel sets/cube live-000-00007 --as none      a whole episode",
        takes_settings=False,
    )
    made.add_argument("set", metavar="SET", help="folder of the labelled set")
    made.add_argument("frame", metavar="FRAME", nargs="+", help="EPISODE/STEP, or EPISODE for all of its frames")
    made.add_argument("--as", dest="word", choices=tuple(AS), required=True, help="what is to be seen on them")
    made.add_argument("--by", default="person", metavar="WHO", help="who says so (person)")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    from robot_rl.rewards.labels import LabelledSet

    frames = LabelledSet(Path(options.set))
    by_episode: dict[str, list[str]] = {}
    for frame in frames.frames:
        by_episode.setdefault(frame.episode, []).append(frame.name)
    names = [name for word in options.frame for name in by_episode.get(word, [word])]
    before = {f.name: f.label for f in frames.frames}
    done = frames.relabel(names, AS[options.word], options.by)
    changed = sum(before[f.name] != f.label for f in done)
    say(
        f"{changed} of {len(done)} frames are now {options.word}: {frames.count(1)} successes, {frames.count(0)} "
        f"failures, {frames.count(None)} not labelled"
    )
    return 0


def harvest(arguments: Sequence[str]) -> int:
    """Take in what practice found."""
    made = parser(
        "reward harvest",
        "Add to a set the frames of a run's practice at which its classifier was wrong: failures that passed for a\n"
        "success, and successes that were missed. The twin or the operator has said which they are; claims that "
        "nobody\n"
        "could check wait in RUN/judged for a person (robot-rl reward relabel RUN/judged FRAME --as failure).",
        "  robot-rl reward harvest latest sets/cube\n  robot-rl reward train sets/cube      a running run takes it up",
        takes_settings=False,
    )
    made.add_argument("run", metavar="RUN", help="folder or name of the run, or 'latest'")
    made.add_argument("set", metavar="SET", help="the labelled set that it is added to")
    made.add_argument("--right", action="store_true", help="add claims that were right too")
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    from robot_rl.rewards.harvest import harvest as take_in
    from robot_rl.rewards.labels import LabelledSet
    from robot_rl.runs import resolve_run

    folder = Path(options.set)
    known = LabelledSet(folder)
    with LabelledSet(folder, known.task, known.cameras, writing=True) as into:
        before = len(into)
        found = take_in(resolve_run(options.run, Path(options.runs)), into, options.right)
        say(
            f"practice found {found.false_positives} failures that passed for a success, {found.false_negatives} "
            "missed "
            f"successes and {found.right} right claims; {found.waiting} wait for a person's word"
        )
        say(f"{len(into) - before} frames are new in {folder}: {into.count(1)} successes, {into.count(0)} failures")
    return 0
