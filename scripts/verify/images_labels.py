"""A labelled set collected by one command, its classifier on frames of other starts, the audit of a poisoned copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verify import images_set
from verify.children import Finished, Runner
from verify.images_set import FAILURES, POISON, ROBOT_RL, SUCCESSES, TIMEOUT_S
from verify.rows import Row, at_least

from robot_rl.jsonl import read_json
from robot_rl.rewards.classifier import Classifier, load_classifier
from robot_rl.rewards.features import features_of, labelled, open_encoder, size_of
from robot_rl.rewards.labels import LabelledSet
from robot_rl.rewards.scoring import Operating, operating_point

STAGE = "labels"
SECONDS = 300.0
ACCURACY, RATE = 0.95, 0.01
FOUND, RIGHT = 0.9, 0.9  # shares: of the wrong labels that are named, and of the named ones that are wrong
TEST_SUCCESSES, TEST_FAILURES = 60, 300


def measure(runner: Runner) -> list[Row]:
    """Collect, train, test on other starts, poison and audit."""
    folder, ended = images_set.collect(runner, runner.seed)
    rows = [collected(ended, folder)]
    if not rows[0].holds:
        return rows
    path, ended = images_set.train(runner, folder)
    if ended.status != 0:
        return [*rows, Row(stage=STAGE, what="reward train", measured=ended.how(), bar="status 0", holds=False)]
    made = load_classifier(path)
    rows += unseen(made.facts)
    test, ended = images_set.collect(runner, runner.seed + images_set.FRESH, TEST_SUCCESSES, TEST_FAILURES)
    if ended.status == 0:
        rows.append(fresh(judged(made, LabelledSet(test))))
    else:
        rows.append(Row(stage=STAGE, what="frames of other starts", measured=ended.how(), bar="status 0", holds=False))
    return [*rows, *_audited(runner, folder)]


def collected(ended: Finished, folder: Path) -> Row:
    """Return the row of the collection: as many frames of both labels as were asked for."""
    measured, good = ended.how(), False
    if ended.status == 0:
        frames = LabelledSet(folder)
        have = (frames.count(1), frames.count(0))
        good = have == (SUCCESSES, FAILURES)
        measured = f"{have[0]} and {have[1]} of {len(frames.episodes())} episodes, {ended.seconds:.0f} s"
    what = "robot-rl reward collect ... operator=near_misses --labels truth: frames of success and failure"
    return Row(stage=STAGE, what=what, measured=measured, bar=f"{SUCCESSES} and {FAILURES}", holds=good)


def unseen(facts: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a classifier on the episodes that were left out in turn."""
    failures, successes = int(facts["failures"]), int(facts["successes"])
    passed, found = int(facts["false_positives"]), int(facts["true_positives"])
    told = (
        f" ({facts['episodes']} episodes, each judged without it; threshold {facts['threshold']:.3f}: {passed} of "
        f"{failures} failures pass, {found} of {successes} successes)"
    )
    return [
        at_least(STAGE, "accuracy on episodes left out", 100.0 * float(facts["accuracy"]), 100.0 * ACCURACY, " %", told)
    ]


def judged(made: Classifier, frames: LabelledSet) -> Operating:
    """Return what a classifier's own threshold means on frames of another set."""
    names, labels, _ = labelled(frames)
    encoder = open_encoder(made.encoder, size_of(made.cameras), views=1)
    seen = {name: views[:, 0] for name, views in features_of(frames, names, encoder).items()}
    return operating_point(labels, made.probability(seen), made.threshold, RATE)


def fresh(point: Operating) -> Row:
    """Return the row of the false positives on other starts: a rate of 1 % must not be ruled out."""
    c, rate = point.counts, point.false_positive
    return Row(
        stage=STAGE,
        what="the threshold for at most 1 % false positives, on frames of other starts",
        measured=(
            f"{c.false_positive} of {c.negatives} failures pass (95 % interval {100 * rate.low:.2f} to "
            f"{100 * rate.high:.2f} %), {c.true_positive} of {c.positives} successes; accuracy {100 * c.accuracy:.1f} %"
        ),
        bar="the interval reaches down to 1 %",
        holds=rate.low <= RATE,
    )


def _audited(runner: Runner, folder: Path) -> list[Row]:
    into = folder.with_name(f"{folder.name}-poisoned")
    wrong = images_set.poison(folder, into, POISON, runner.seed)
    ended = runner.run("audit-poisoned", [*ROBOT_RL, "reward", "audit", str(into)], TIMEOUT_S)
    if ended.status != 0:
        what = "robot-rl reward audit of a poisoned set"
        return [Row(stage=STAGE, what=what, measured=ended.how(), bar="status 0", holds=False)]
    suspects = [str(s["name"]) for s in read_json(into / "audit.json")["suspects"]]
    truth = {frame.name: bool(frame.truth) for frame in LabelledSet(into).frames}
    return audited(wrong, suspects, len(truth), ended.seconds)


def audited(wrong: set[str], suspects: Sequence[str], frames: int, seconds: float) -> list[Row]:
    """Return the rows of an audit.

    Args:
        wrong: Names of the frames whose labels were turned round.
        suspects: Those that the audit names, the surest first.
        frames: Of the set.
        seconds: That it took.
    """
    hit = [name for name in suspects if name in wrong]
    surest = sum(name in wrong for name in suspects[: len(wrong) // 2])
    left = len(wrong) - len(hit) + len(suspects) - len(hit)  # if all that is named were turned round
    return [
        at_least(
            STAGE,
            f"robot-rl reward audit of a copy with {100 * POISON:.0f} % of the labels turned round: share found",
            len(hit) / max(len(wrong), 1),
            FOUND,
            "",
            f" ({len(hit)} of {len(wrong)}, {seconds:.0f} s)",
        ),
        at_least(
            STAGE,
            "share of what it names that is wrong",
            len(hit) / max(len(suspects), 1),
            RIGHT,
            "",
            f" ({len(hit)} of {len(suspects)}; {surest} of the {len(wrong) // 2} surest; with all of them turned round "
            f"{left} of {frames} labels would be wrong, {len(wrong)} before)",
        ),
    ]
