"""`robot-rl reward collect`: label pictures live, or take them from recorded episodes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from robot_rl.cli.common import no_settings, parse, parser, say, stop_on_signals
from robot_rl.cli.record import watchers_of
from robot_rl.cli.terminal import has_terminal, reads_keys
from robot_rl.errors import ConfigError

EXAMPLES = """\
  robot-rl reward collect sets/cube task=pick_cube robot.cameras=[front,wrist] operator=keyboard
  robot-rl reward collect sets/cube task=pick_cube robot.cameras=[front,wrist] operator=near_misses --labels truth
  robot-rl reward collect sets/cube --from runs/my_run
  robot-rl reward collect sets/cube --from runs/my_run/episodes/000012.mcap --mark 0-40:failure,55-60:success
"""
SETTINGS = """\
  task=pick_cube            the task
  robot.cameras=[front]     what is looked through; a set has always the same cameras
  operator=keyboard         who acts: the success button (ENTER) says that a success is to be seen from now on, failure
                            (BACKSPACE) that it is not, discard (x) ends the episode; near_misses errs on purpose
  seed=0                    of the starts
"""
INTERRUPTED = 130
SHOW_S = 0.5


def collect(arguments: Sequence[str]) -> int:
    """Label pictures."""
    made = parser(
        "reward collect",
        "Collect pictures labelled success or failure, as the policy will see them. Live: somebody acts, and one key\n"
        "says what is to be seen; nothing but the clock ends an episode, so show many different successes and near\n"
        "misses. Or from recorded episodes: the last frames of successes, and the rest. The same command goes on.",
        EXAMPLES,
        SETTINGS,
    )
    made.add_argument("set", metavar="SET", help="folder of the labelled set; made if it is not there")
    made.add_argument("--successes", type=int, default=200, metavar="N", help="frames to have (200)")
    made.add_argument("--failures", type=int, default=1000, metavar="N", help="frames to have (1000)")
    made.add_argument("--every", type=int, default=0, metavar="N", help="keep one frame in N (2; of episodes 3)")
    made.add_argument("--most", type=int, default=40, metavar="N", help="frames of each label from one episode (40)")
    made.add_argument(
        "--labels",
        choices=("keys", "truth"),
        default="keys",
        help="who labels: the person, or what a twin knows (keys)",
    )
    made.add_argument("--from", dest="place", default="", metavar="PLACE", help="a run, or an episode's file")
    made.add_argument("--last", type=int, default=1, metavar="N", help="last frames of a success that show it (1)")
    made.add_argument("--gap", type=int, default=3, metavar="N", help="frames before them to leave out (3)")
    made.add_argument("--mark", default="", metavar="RANGES", help="ranges of one episode, see the examples")
    options, settings = parse(made, arguments)
    if options.place:
        no_settings(made, settings)
        return _from_episodes(options)
    return _live(options, settings)


def _live(options: argparse.Namespace, settings: list[str]) -> int:
    if not any(s.startswith("operator=") for s in settings):
        if not has_terminal():
            raise ConfigError(
                "nobody acts: choose an operator, such as operator=near_misses (no terminal, no keys here)"
            )
        settings = [*settings, "operator=keyboard"]
    from robot_rl import config
    from robot_rl.assisted import AssistedEnv
    from robot_rl.build import make_env
    from robot_rl.rewards.collect import CollectConfig, Collecting
    from robot_rl.rewards.judges import HumanJudge
    from robot_rl.rewards.labels import LabelledSet

    composed = config.compose(settings, config_dirs=options.config_dir)
    chosen = composed.settings()
    scripted = "near_misses" in chosen.operator.path or "scripted" in chosen.operator.path
    if scripted and options.labels == "keys":
        raise ConfigError("a scripted operator presses no keys; label with what the twin knows: --labels truth")
    wanted = CollectConfig(
        successes=options.successes, failures=options.failures, every=options.every or 2, labels=options.labels,
        most=options.most, seed=chosen.seed,
    )  # fmt: skip
    env = make_env(chosen, encode=False)
    wanted = dataclasses.replace(wanted, paced=not (scripted or env.real_time))  # a person needs the robot's own time
    env.judge = HumanJudge(env.task)
    cameras = {name: field.shape for name, field in env.observation_spec.images.items()}
    with (
        stop_on_signals("ending in order; Ctrl-C again to give up") as stopping,
        watchers_of(taken=scripted or reads_keys(composed)) as (watchers, _),
    ):
        helped = AssistedEnv(env, chosen.operator.make(env.task), watchers, verdicts_end=False)
        try:
            with LabelledSet(Path(options.set), env.task.name, cameras, writing=True) as frames:
                collecting = Collecting(frames, helped, wanted, stopping, shown(wanted))
                complete = collecting.run()
        finally:
            helped.close()
    so_far = collecting.so_far
    sys.stderr.write("\n")
    say(f"{so_far.successes} successes and {so_far.failures} failures from {so_far.episodes} episodes in {options.set}")
    say(
        f"look for wrong labels with: robot-rl reward audit {options.set}"
        if complete
        else "go on with the same command"
    )
    return 0 if complete else INTERRUPTED


def shown(wanted: Any) -> Callable[[Any], None]:
    """Return what shows on standard error how far a collection is, over and over on one line."""
    next_s = 0.0

    def show(so_far: Any) -> None:
        nonlocal next_s
        from robot_rl.live import duration

        now_s = time.monotonic()
        if now_s < next_s:
            return
        next_s = now_s + (SHOW_S if sys.stderr.isatty() else 20 * SHOW_S)
        word = "SUCCESS" if so_far.label else "failure"
        left = f", about {duration(so_far.left_s)} left" if so_far.left_s == so_far.left_s else ""
        note = f"  ! {so_far.note}" if so_far.note else ""
        end = "\x1b[K\r" if sys.stderr.isatty() else "\n"
        sys.stderr.write(
            f"episode {so_far.episodes}, labelling {word}: {so_far.successes} of {wanted.successes} successes, "
            f"{so_far.failures} of {wanted.failures} failures{left}{note}{end}"
        )

    return show


def _from_episodes(options: argparse.Namespace) -> int:
    from robot_rl.episodes.folder import find_files
    from robot_rl.episodes.reader import Episode
    from robot_rl.rewards.from_episodes import Taking, cameras_of, parse_marks, take
    from robot_rl.rewards.labels import LabelledSet

    files = find_files([Path(options.place)])
    taking = Taking(last=options.last, gap=options.gap, every=options.every or 3, marks=parse_marks(options.mark))
    if taking.marks and len(files) != 1:
        raise ConfigError(f"--mark is about one episode, and {options.place} holds {len(files)}; name its file")
    task = str(Episode(files[0]).start.task)
    with LabelledSet(Path(options.set), task, cameras_of(files[0]), writing=True) as into:
        for path in files:
            run = path.parent.parent if path.parent.name == "episodes" else path.parent
            counts = take(path, into, taking, f"{run.name}-{path.name.partition('.')[0]}"[-80:])
            say(f"{path}: {counts[1]} successes, {counts[0]} failures")
        say(f"{into.count(1)} successes and {into.count(0)} failures in {into.folder}")
    return 0
