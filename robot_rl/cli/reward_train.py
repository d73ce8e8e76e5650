"""`robot-rl reward train|audit`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_rl.cli.common import Parser, no_settings, parse, parser, say
from robot_rl.errors import ConfigError

ENCODER = "efficientnet_lite0"
SHOW_S = 5.0


def train(arguments: Sequence[str]) -> int:
    """Train a classifier."""
    made = parser(
        "reward train",
        "Train a success classifier on a labelled set: a small head on frozen features, half of each batch successes,\n"
        "views shifted by some pixels. The episodes are cut into parts; each part is judged by a head that saw "
        "the others\n"
        "alone, and from that come accuracy, calibration and threshold. The file that is written was trained on all.\n"
        "A run that uses the file takes the new one up at its next episode.",
        "  robot-rl reward train sets/cube\n"
        "  robot-rl reward train sets/cube --false-positives 0.005 --cameras front\n"
        "  robot-rl reward train sets/cube --encoder pixels      no torch: colours on a coarse grid",
        takes_settings=False,
    )
    _options(made)
    made.add_argument("--out", default="", metavar="FILE", help="where to; SET/classifier.ckpt by default")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    from robot_rl.rewards.classifier import save_classifier
    from robot_rl.rewards.features import open_encoder, size_of
    from robot_rl.rewards.labels import LabelledSet
    from robot_rl.rewards.training import train_classifier

    rate, config = _rate(options), _config(options)
    frames = LabelledSet(Path(options.set))
    encoder = open_encoder(options.encoder, size_of(frames.cameras))
    made_one, _ = train_classifier(frames, encoder, options.encoder, config, rate, progress(), _cameras(options))
    out = save_classifier(Path(options.out or frames.folder / "classifier.ckpt"), made_one)
    for line in told(made_one.facts):
        say(line)
    say(f"classifier {out}")
    say(f"learn from it with: robot-rl train task={frames.task} reward=classifier reward.path={out} "
        f"robot.cameras=[{','.join(made_one.cameras)}]")  # fmt: skip
    return 0


def audit(arguments: Sequence[str]) -> int:
    """Find wrong labels."""
    made = parser(
        "reward audit",
        "Judge every frame of a labelled set by classifiers that saw nothing of its episode, and write one page: ROC,\n"
        "calibration, what each threshold means, and the labels that are probably wrong, with their pictures. On the\n"
        "page s, f and x mark frames; the command that it then shows puts that into the set.",
        "  robot-rl reward audit sets/cube\n  robot-rl reward audit runs/my_run/judged --encoder pixels",
        takes_settings=False,
    )
    _options(made)
    made.add_argument(
        "--out", default="", metavar="FILE", help="the page, with a .json beside it; SET/audit.html by default"
    )
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    from robot_rl.jsonl import write_json_atomic
    from robot_rl.rewards.audit import audit as audited
    from robot_rl.rewards.audit import audit_facts
    from robot_rl.rewards.audit_page import write_audit
    from robot_rl.rewards.features import open_encoder, size_of
    from robot_rl.rewards.labels import WORDS, LabelledSet

    rate, config = _rate(options), _config(options)
    frames = LabelledSet(Path(options.set))
    encoder = open_encoder(options.encoder, size_of(frames.cameras))
    found = audited(frames, encoder, config, rate, progress(), _cameras(options))
    out = write_audit(Path(options.out or frames.folder / "audit.html"), frames, found, rate)
    write_json_atomic(out.with_suffix(".json"), audit_facts(found, rate))
    say(f"area under the ROC {found.area:.4f}, calibration error {found.calibration_error:.3f} on unseen episodes")
    say(f"{len(found.suspects)} of {len(found.judged.labels)} labels are probably wrong")
    for suspect in found.suspects[:10]:
        say(f"  {suspect.name}  labelled {WORDS[suspect.label]}, success with probability {suspect.probability:.3f}")
    say(f"page {out}, all suspects in {out.with_suffix('.json').name}")
    return 0


def told(facts: Mapping[str, Any]) -> list[str]:
    """Return how a classifier did on unseen episodes, in lines."""
    failures, successes = int(facts["failures"]), int(facts["successes"])
    return [
        f"{facts['frames']} frames of {facts['episodes']} episodes, each judged without its episode:",
        f"  accuracy {100 * facts['accuracy']:.1f} %, area under the ROC {facts['area']:.4f}, calibration error "
        f"{facts['calibration_error']:.3f}",
        f"  threshold {facts['threshold']:.3f} for at most {100 * facts['wanted_rate']:g} % false positives: "
        f"{facts['false_positives']} of {failures} failures pass (at most {100 * facts['false_positive_high']:.2f} %), "
        f"{facts['true_positives']} of {successes} successes (at least {100 * facts['true_positive_low']:.1f} %)",
    ]  # fmt: skip


def progress() -> Callable[[str, int, int], None]:
    """Return what tells on standard error how far something is and how long it will take, every few seconds."""
    began: dict[str, float] = {}
    first: dict[str, int] = {}
    last_s = time.monotonic()

    def tell(what: str, done: int, n: int) -> None:
        nonlocal last_s
        from robot_rl.live import duration

        now_s = time.monotonic()
        if what not in began:
            began[what] = now_s  # the first word comes after the first piece: it only starts the clock
            first[what] = done
            if done < n:
                return
        if now_s - last_s >= SHOW_S or done == n:
            last_s = now_s
            pieces = max(done - first[what], 1)
            left = duration((now_s - began[what]) / pieces * (n - done))
            sys.stderr.write(f"robot-rl: {what} {done} of {n}, about {left} left\n")

    return tell


def _options(made: Parser) -> None:
    made.add_argument("set", metavar="SET", help="folder of the labelled set")
    made.add_argument(
        "--encoder", default=ENCODER, metavar="NAME", help=f"frozen trunk, a file of one, or pixels ({ENCODER})"
    )
    made.add_argument(
        "--false-positives",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="share of the failures that may pass (0.01)",
    )
    made.add_argument("--cameras", default="", metavar="A,B", help="look at these alone; all by default")
    made.add_argument("--steps", type=int, default=0, metavar="N", help="gradient steps (250)")
    made.add_argument("--folds", type=int, default=0, metavar="N", help="parts that the episodes are cut into (5)")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of folds, weights and batches (0)")


def _rate(options: argparse.Namespace) -> float:
    if not 0.0 <= options.false_positives < 1.0:
        raise ConfigError(f"--false-positives is {options.false_positives}; it must lie in 0 to below 1, such as 0.01")
    return options.false_positives


def _config(options: argparse.Namespace) -> Any:
    from robot_rl.rewards.head import HeadConfig

    given = {name: getattr(options, name) for name in ("steps", "folds") if getattr(options, name)}
    if options.seed < 0:
        raise ConfigError(f"--seed is {options.seed}; it must be at least 0")
    return HeadConfig(**given, seed=options.seed)


def _cameras(options: argparse.Namespace) -> list[str]:
    return [name.strip() for name in options.cameras.split(",") if name.strip()]
