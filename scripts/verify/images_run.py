"""A short run from two cameras, judged by a classifier alone; its policy as ONNX and as a torch program.

Too short to learn the task: it measures how often the classifier is deceived in practice, whether exports act as the
learner's network does, and whether they drive the twin to the same successes. `images_train` measures the learning.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verify import images_parity, images_set
from verify.children import Finished, Runner
from verify.images_set import CAMERAS, CLAIMS, ROBOT_RL, TIMEOUT_S
from verify.rows import Row, at_most

from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.rewards.scoring import clopper_pearson

STAGE = "run"
SECONDS = 330.0
STEPS, EPISODES = 600, 20
TOLERANCE, SIGNIFICANT = 1e-4, 0.05
FORMATS = ("onnx", "torch")


def measure(runner: Runner) -> list[Row]:
    """Practise briefly, export and evaluate."""
    what = "robot-rl train task=pick_cube obs=images reward=classifier"
    classifier, why = images_set.classifier(runner)
    if classifier is None:
        return [Row(stage=STAGE, what=what, measured=why, bar="a classifier", holds=False)]
    runs = runner.work / "run"
    shutil.rmtree(runs, ignore_errors=True)
    words = [
        "train", "task=pick_cube", "obs=images", CAMERAS, "reward=classifier", f"reward.path={classifier}", *CLAIMS,
        f"seed={runner.seed}", f"runs={runs}", "name=short", "live=off", f"learner.total_env_steps={STEPS}",
        "actor.record=always", "evaluation.episodes=0", "evaluation.clone_episodes=0",
    ]  # fmt: skip
    ended = runner.run("run-train", [*ROBOT_RL, *words], TIMEOUT_S)
    facts = read_json(runs / "short" / "summary.json") if ended.status == 0 else {}
    if not facts:
        return [Row(stage=STAGE, what=what, measured=ended.how(), bar="status 0", holds=False)]
    rows = deceived(STAGE, facts, ended.seconds)
    own = _evaluated(runner, runs / "short", "own", "final")
    for name in FORMATS:
        rows += _exported(runner, runs / "short", name, own)
    return rows


def deceived(stage: str, facts: Mapping[str, Any], seconds: float) -> list[Row]:
    """Return the rows of what deceived the classifier while a policy learnt from it, as the twin knows.

    Nothing is promised of these rates: a policy seeks what deceives its judge. What is promised is that they are known.

    Args:
        stage: Of the rows.
        facts: The run's summary.
        seconds: That the run took.
    """
    frames = "failure frames of practice above the threshold, by what the twin knows"
    claims = "claims of success in practice that are false, by what the twin knows"
    judged = facts.get("judged", {}).get("practice", {})
    if not judged.get("failures") or not judged.get("claims"):
        return [Row(stage=stage, what=frames, measured="no claim whose truth is known", bar="some", holds=False)]
    return [
        _rate(
            stage, frames, int(judged["false_positives"]), int(judged["failures"]),
            f"; success frames missed {judged['false_negatives']} of {judged['successes']}",
        ),
        _rate(
            stage, claims, int(judged["false_claims"]), int(judged["claims"]),
            f"; {judged['episodes']} episodes, {facts.get('env_steps')} steps, {seconds:.0f} s",
        ),
    ]  # fmt: skip


def _rate(stage: str, what: str, k: int, n: int, note: str) -> Row:
    """Return the row of a rate, k of n, that shall be known."""
    rate = clopper_pearson(k, n)
    measured = f"{k} of {n} (95 % interval {100 * rate.low:.2f} to {100 * rate.high:.2f} %){note}"
    return Row(stage=stage, what=what, measured=measured, bar="known", holds=True)


def _evaluated(runner: Runner, run: Path, label: str, policy: str) -> list[tuple[bool, int]] | Finished:
    """Return success and steps of each episode of a policy from the same starts, or how the evaluation failed."""
    words = ["eval", str(run), "-n", str(EPISODES), "--label", label, "--policy", policy, "--video", "0"]
    ended = runner.run(f"run-eval-{label}", [*ROBOT_RL, *words, "reward=truth"], TIMEOUT_S)
    if ended.status != 0:
        return ended
    return [(bool(r["success"]), int(r["steps"])) for r in read_jsonl(run / f"eval-{label}.jsonl")]


def _exported(runner: Runner, run: Path, name: str, own: list[tuple[bool, int]] | Finished) -> list[Row]:
    folder = run / f"export-{name}"
    ended = runner.run(f"run-export-{name}", [*ROBOT_RL, "export", str(run), "--format", name], TIMEOUT_S)
    if ended.status != 0:
        what = f"robot-rl export --format {name}"
        return [Row(stage=STAGE, what=what, measured=ended.how(), bar="status 0", holds=False)]
    told = read_json(folder / "policy.json")["parity"]
    rows = [recorded(name, told), through_jax(name, images_parity.through_jax(run, folder))]
    theirs = _evaluated(runner, run, name, str(folder))
    for found in (own, theirs):
        if isinstance(found, Finished):
            what = f"the twin driven by the export ({name})"
            return [*rows, Row(stage=STAGE, what=what, measured=found.how(), bar="status 0", holds=False)]
    assert not isinstance(own, Finished)
    assert not isinstance(theirs, Finished)
    return [*rows, driven(name, own, theirs)]


def recorded(name: str, parity: Mapping[str, Any]) -> Row:
    """Return the row of what the export itself compared: JAX's network on the very features that the program made."""
    largest = {k: float(v) for k, v in parity["largest_difference"]["program"].items()}
    parts = ", ".join(f"{k} {v:.1e}" for k, v in largest.items())
    stored = parity["bytes"]
    return at_most(
        STAGE,
        f"{name} against JAX on {parity['observations']} {parity['source']}: action, std, probability of a choice",
        max(largest.values()),
        TOLERANCE,
        "",
        f" (JAX's network on the features that the export made of the pictures; {parts}; of these features "
        f"{stored['one_step_apart']} of {stored['compared']} lie one step of a byte from the actor's encoder)",
    )


def through_jax(name: str, found: images_parity.Compared) -> Row:
    """Return the row of the same pictures through JAX's own trunk: rounding may move a stored byte by one there."""
    same, moved = found.action[found.same], found.action[~found.same]
    worst = float(same.max()) if same.size else math.nan
    return at_most(
        STAGE,
        f"{name} against JAX alone, trunk and network, where both store the same bytes ({same.size} of "
        f"{found.action.size}): action",
        worst,
        TOLERANCE,
        "",
        f" (in the others, where rounding moves {found.moved} of {found.bytes} bytes by one step, at most "
        f"{moved.max(initial=0.0):.1e}; before rounding torch and JAX differ by at most {found.feature:.1e} on a range "
        f"of {found.reach:.0f})",
    )


def driven(name: str, own: list[tuple[bool, int]], theirs: list[tuple[bool, int]]) -> Row:
    """Return the row of the twin driven by the run's own policy and by the export, from the same starts.

    Contacts make much of the last digit, so single episodes of a half-trained policy may end otherwise. What may not be
    is that one of the two succeeds more often than chance explains (exact McNemar test over the episodes that differ).
    """
    better = sum(a[0] and not b[0] for a, b in zip(own, theirs, strict=True))
    worse = sum(b[0] and not a[0] for a, b in zip(own, theirs, strict=True))
    exact = sum(a == b for a, b in zip(own, theirs, strict=True))
    p = mcnemar(better, worse)
    return Row(
        stage=STAGE,
        what=f"the twin driven by the export ({name}), from the same {len(own)} starts",
        measured=(
            f"{sum(s for s, _ in theirs)} successes, {sum(s for s, _ in own)} of the run's own policy; {better} "
            f"episodes lost, {worse} won (McNemar p = {p:.2f}); the same number of steps in {exact}"
        ),
        bar=f"p >= {SIGNIFICANT}",
        holds=len(own) > 0 and p >= SIGNIFICANT,
    )


def mcnemar(lost: int, won: int) -> float:
    """Return the two-sided probability of so uneven a split of the episodes that differ, if both were as good."""
    n, k = lost + won, min(lost, won)
    return min(2.0 * sum(math.comb(n, i) for i in range(k + 1)) / 2.0**n, 1.0)
