"""The demo, run afresh: its times, its successes, its film and its report, and whether the cloned start was kept."""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
from pathlib import Path

import numpy as np
from make_picture import clearest, redness
from numpy.typing import NDArray
from verify.children import Runner
from verify.rows import Row, at_least, at_most

from robot_rl.errors import RobotRLError
from robot_rl.run_data import RunData, load_run
from robot_rl.stats import number, success_summary, worst_window

STAGE = "demo"
TOTAL_S, TRAINING_S, TIMEOUT_S = 420.0, 150.0, 900.0
EPISODES, SUCCESSES, TIME_RATIO, WINDOW, KEPT = 50, 49, 0.8, 50, 0.8
RISE = 0.03  # of the picture's height: how far the cube must move up on film


def measure(runner: Runner) -> list[Row]:
    """Run the demo and judge what it leaves."""
    shutil.rmtree(runner.work / "demo", ignore_errors=True)
    ended = runner.run("demo", [sys.executable, "-m", "robot_rl", "demo", f"runs={runner.work}"], TIMEOUT_S)
    if ended.status != 0:
        return [Row(stage=STAGE, what="robot-rl demo", measured=ended.how(), bar="ends with status 0", holds=False)]
    run = load_run(runner.work / "demo")
    return [*times(runner.root, run, ended.seconds), *successes(run), film(run), report(run), kept(run)]


def times(root: Path, run: RunData, wall_s: float) -> list[Row]:
    """Return the rows of wall time.

    Args:
        root: The repository, which knows how long its set-up took.
        run: The demo.
        wall_s: How long the command took.
    """
    spent = run.summary.get("seconds")
    seconds = spent if isinstance(spent, dict) else {}
    setup_s = setup_seconds(root)
    note = (
        f" (set-up {setup_s:.0f} s)"
        if math.isfinite(setup_s)
        else " (without set-up: this environment was not made here)"
    )
    total_s = wall_s + (setup_s if math.isfinite(setup_s) else 0.0)
    return [
        at_most(STAGE, "set-up, demonstrations, training, evaluation", total_s, TOTAL_S, " s", note),
        at_most(STAGE, "training", number(seconds.get("training")), TRAINING_S, " s"),
    ]


def setup_seconds(root: Path) -> float:
    """Return how long `make` took to create the environment; nan when it did not."""
    with contextlib.suppress(OSError, ValueError):
        return float((root / ".venv" / ".setup_s").read_text().strip())
    return math.nan


def successes(run: RunData) -> list[Row]:
    """Return the rows of success and of time to success."""
    facts = run.summary
    n, found = int(number(facts.get("n"), 0.0)), int(number(facts.get("successes"), 0.0))
    low, high = 100.0 * number(facts.get("low")), 100.0 * number(facts.get("high"))
    median_s, demo_s = number(facts.get("median_time_to_success_s")), number(facts.get("demos_median_s"))
    ratio = median_s / demo_s if demo_s > 0.0 else math.nan
    return [
        Row(
            stage=STAGE,
            what="autonomous successes from 20 sloppy demonstrations",
            measured=f"{found} of {n} (95 % interval {low:.0f} to {high:.0f} %), {facts.get('env_steps')} steps",
            bar=f">= {SUCCESSES} of {EPISODES}",
            holds=n >= EPISODES and found >= n * SUCCESSES / EPISODES,
        ),
        at_most(
            STAGE,
            "median time to success against the demonstrations'",
            ratio,
            TIME_RATIO,
            "",
            f" ({median_s:.1f} s against {demo_s:.1f} s)",
        ),
    ]


def film(run: RunData) -> Row:
    """Return the row of the video: it decodes, and the cube is up at the end of the success that shows it best."""
    what, bar = "video shows the cube being lifted", f"{100 * RISE:.0f} % of the height or more"
    try:
        first, *_, last = clearest(run)
    except RobotRLError as e:
        return Row(stage=STAGE, what=what, measured=str(e), bar=bar, holds=False)
    rise = (red_height(last) - red_height(first)) / first.shape[0]
    return Row(stage=STAGE, what=what, measured=f"the cube rises by {100 * rise:.0f} %", bar=bar, holds=rise >= RISE)


def red_height(picture: NDArray[np.uint8]) -> float:
    """Return the mean height above the lower edge of what is red as the cube, in pixels; nan where nothing is."""
    rows, _ = np.nonzero(redness(picture))
    return picture.shape[0] - float(rows.mean()) if rows.size else math.nan


def report(run: RunData) -> Row:
    """Return the row of the report: it is there and carries the video."""
    path = run.folder / "report.html"
    page = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    whole = page.rstrip().endswith("</html>") and "<video" in page
    measured = f"{len(page) / 1e6:.1f} MB" if page else "missing"
    return Row(stage=STAGE, what="report", measured=measured, bar="one whole page with the video", holds=whole)


def kept(run: RunData) -> Row:
    """Return the row of the cloned start: the worst stretch of practice beside the clone's own success."""
    what = f"worst {WINDOW} practice episodes in a row, as a share of the clone's success"
    clone = success_summary(run.clone.episodes) if run.clone else None
    worst = worst_window(run.episodes, WINDOW)
    if clone is None or not clone.rate > 0.0 or worst is None:
        measured = f"{len(run.episodes)} practice episodes, clone {clone.successes if clone else 'not evaluated'}"
        return Row(stage=STAGE, what=what, measured=measured, bar=f">= {KEPT}", holds=False)
    note = f" ({worst.successes} of {WINDOW} from episode {worst.start + 1}; clone {clone.successes} of {clone.n})"
    return at_least(STAGE, what, worst.rate / clone.rate, KEPT, "", note)
