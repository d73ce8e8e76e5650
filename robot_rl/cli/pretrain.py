"""`robot-rl pretrain`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from robot_rl.cli.common import parse, parser, say, stop_on_signals, take
from robot_rl.cli.reward_train import progress
from robot_rl.errors import ConfigError

WHAT = """\
Learn an encoder of pictures for driving, offline: implicit Q-learning on logs of slow navigation, towards goals given
in hindsight. The logs are driven in the twin by an unsteady classical driver on courses drawn at random, and may also
be a folder of public ones (docs/car_learning.md says how they look). Writes OUT/encoder.trunk, which obs.encoder reads;
it stays frozen on the car. The same command goes on after Ctrl-C or a kill."""
SETTINGS = """\
  task.ground=              of the courses: carpet, asphalt, grass, ice; that of each course when empty
"""
EXAMPLES = """\
  robot-rl pretrain --out encoders/navigation
  robot-rl train task=lap obs=images obs.encoder=encoders/navigation/encoder.trunk
  robot-rl pretrain --out encoders/more --minutes 90 --updates 20000
  robot-rl pretrain --out encoders/public --logs recon_npz --minutes 0
  robot-rl pretrain --out encoders/drawn --updates 0      weights as they are drawn, for comparison
"""
COURSES = ("indoor-1000", "indoor-1001", "indoor-1002", "indoor-1003", "indoor-1004", "indoor-1005",
           "outdoor-1000", "outdoor-1001")  # fmt: skip
NAMED = ("oval", "corridor", "hall", "meadow")
SPEEDS_M_S = (1.0, 1.4, 1.8)
MOST_MINUTES = 600.0


def pretrain(arguments: Sequence[str]) -> int:
    """Drive for logs, learn from them, write an encoder."""
    made = parser("pretrain", WHAT, EXAMPLES, SETTINGS)
    made.add_argument("--out", default="encoders/navigation", metavar="DIR", help="where to (encoders/navigation)")
    made.add_argument("--minutes", type=float, default=40.0, metavar="N", help="driving in the twin, in all (40)")
    made.add_argument("--courses", default=",".join(COURSES), metavar="A,B", help="driven: indoor-SEED, outdoor-SEED")
    made.add_argument("--logs", default="", metavar="DIR", help="a folder of logs to learn from too")
    made.add_argument("--updates", type=int, default=6000, metavar="N", help="gradient steps (6000)")
    made.add_argument("--batch", type=int, default=128, metavar="N", help="steps of a batch (128)")
    made.add_argument(
        "--size", type=int, default=128, metavar="PIXELS", help="of the car's pictures: 64, 128, ... (128)"
    )
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of drives, weights and batches (0)")
    options, settings = parse(made, arguments)
    courses = [name.strip() for name in options.courses.split(",") if name.strip()]
    _check(options, courses, settings)
    from robot_rl.pretraining.logs import read_logs
    from robot_rl.pretraining.run import PretrainConfig
    from robot_rl.pretraining.run import pretrain as learn

    config = PretrainConfig(updates=options.updates, batch_size=options.batch, seed=options.seed, size=options.size)
    out = Path(options.out)
    given = read_logs(Path(options.logs)) if options.logs else []
    with stop_on_signals("stopping in order; the same command goes on") as stopping:
        if options.minutes and not _drive(out / "logs", courses, options, settings, stopping):
            say("not complete; the same command goes on")
            return 130
        own = read_logs(out / "logs") if options.minutes else []
        done = learn(out, [*own, *given], config, stopping, progress())
    facts = done.facts
    say(f"{facts['frames']} frames of {facts['drives']} drives, {facts['updates']} updates in {facts['seconds']:.0f} s")
    if "unseen_error" in facts:
        say(
            f"on {facts['unseen_drives']} unseen drives V errs by {facts['unseen_error']:.5f} (squared), with pictures "
            f"of other moments by {facts['unseen_error_other_pictures']:.5f}"
        )
    if not done.complete:
        say("not complete; the same command goes on")
        return 130
    say(f"encoder {done.trunk}")
    size = "" if options.size == 128 else f" robot.image_size={options.size}"
    say(f"next: robot-rl train task=lap obs=images{size} obs.encoder={done.trunk}")
    return 0


def _check(options: argparse.Namespace, courses: Sequence[str], settings: list[str]) -> None:
    if not 0.0 <= options.minutes <= MOST_MINUTES:
        raise ConfigError(f"--minutes is {options.minutes:g}; allowed are 0, for none, to {MOST_MINUTES:g}")
    if not options.minutes and not options.logs:
        raise ConfigError("--minutes is 0 and there are no --logs, so there is nothing to learn from; give one of them")
    for name in NAMED:
        if name in courses:
            raise ConfigError(
                f"--courses names {name}; an encoder is learnt on other courses than those that are raced on: "
                "indoor-SEED and outdoor-SEED"
            )
    if options.minutes and not courses:
        raise ConfigError("--courses names none; give some, such as indoor-1000,outdoor-1000")
    if take(settings, "task") not in ("", "lap"):
        raise ConfigError("an encoder for driving is learnt with task=lap; leave task out")


def _drive(
    folder: Path, courses: Sequence[str], options: argparse.Namespace, settings: Sequence[str],
    stopping: Callable[[], bool],
) -> bool:  # fmt: skip
    """Drive the logs that are missing; return False when it was stopped."""
    from robot_rl.build import make_env
    from robot_rl.config import compose
    from robot_rl.pretraining.drives import drive_log

    tell, count = progress(), len(courses)
    for i, course in enumerate(courses):
        speed = SPEEDS_M_S[i % len(SPEEDS_M_S)]
        common = ["task=lap", "obs=images", f"task.course={course}", f"robot.image_size={options.size}"]
        chosen = compose([*common, f"expert.speed_m_s={speed}", *settings], config_dirs=options.config_dir).settings()
        env = make_env(chosen, encode=False)
        try:
            steps = round(60.0 * options.minutes / count / env.period_s)
            path = folder / f"{course}-{steps}-{options.seed}.npz"
            if path.is_file():
                continue
            expert = env.task.expert(chosen.expert.make())
            told = lambda done, at=i * steps, n=count * steps: tell("driven steps", at + done, n)  # noqa: E731
            if not drive_log(path, env, expert, steps, options.seed + i, stopping=stopping, told=told):
                return False
        finally:
            env.close()
    return True
