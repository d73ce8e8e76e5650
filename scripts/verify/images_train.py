"""pick_cube from two cameras: 20 demonstrations, practice, and no word on success but a classifier's."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from verify import images_set
from verify.children import Finished, Runner
from verify.images_run import deceived
from verify.images_set import CAMERAS, CLAIMS, ROBOT_RL
from verify.rows import Row, at_least, at_most

from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.stats import number, wilson

STAGE = "train"
SECONDS = 1800.0
TIMEOUT_S = 7200.0
EPISODES, SHARE, LIMIT_S = 50, 0.95, 1200.0


def measure(runner: Runner) -> list[Row]:
    """Collect, train the classifier, train the policy from it, and evaluate by the task's own rule."""
    what = "robot-rl train task=pick_cube obs=images reward=classifier"
    classifier, why = images_set.classifier(runner)
    if classifier is None:
        return [Row(stage=STAGE, what=what, measured=why, bar="a classifier", holds=False)]
    runs, name = runner.work / "train", f"seed{runner.seed}"
    shutil.rmtree(runs / name, ignore_errors=True)
    words = ["train", "task=pick_cube", "obs=images", CAMERAS, "reward=classifier", f"reward.path={classifier}"]
    words += CLAIMS
    words += [f"seed={runner.seed}", f"runs={runs}", f"name={name}", "live=off", f"evaluation.episodes={EPISODES}"]
    ended = runner.run(f"train-{name}", [*ROBOT_RL, *words], TIMEOUT_S)
    facts = read_json(runs / name / "summary.json") if ended.status == 0 else {}
    if not facts:
        return [Row(stage=STAGE, what=what, measured=ended.how(), bar="status 0", holds=False)]
    words = ["eval", str(runs / name), "-n", str(EPISODES), "--label", "truth", "--video", "0", "reward=truth"]
    judged = runner.run(f"train-eval-{name}", [*ROBOT_RL, *words], TIMEOUT_S)
    seconds = {k: number(v, 0.0) for k, v in facts.get("seconds", {}).items()}
    return [
        autonomous(judged, runs / name, runner.seed),
        at_most(
            STAGE,
            "minutes from the first demonstration to the last update",
            (seconds.get("demonstrations", math.nan) + seconds.get("training", math.nan)) / 60.0,
            LIMIT_S / 60.0,
            " min",
            f" ({facts.get('env_steps')} steps; with both evaluations {ended.seconds / 60.0:.1f} min)",
        ),
        *deceived(STAGE, facts, ended.seconds),
    ]


def autonomous(ended: Finished, run: Path, seed: int) -> Row:
    """Return the row of success by the task's own rule, which the policy has never heard of."""
    what = f"autonomous success by the task's own rule, seed {seed}, 20 demonstrations, reward by the classifier alone"
    bar = f">= {100 * SHARE:.0f} %"
    rows = list(read_jsonl(run / "eval-truth.jsonl")) if ended.status == 0 else []
    if len(rows) < EPISODES:
        return Row(stage=STAGE, what=what, measured=ended.how(), bar=bar, holds=False)
    found = sum(bool(row["success"]) for row in rows)
    interval = wilson(found, len(rows))
    note = f" ({found} of {len(rows)}, 95 % interval {100 * interval.low:.0f} to {100 * interval.high:.0f} %)"
    return at_least(STAGE, what, 100.0 * found / len(rows), 100.0 * SHARE, " %", note)
