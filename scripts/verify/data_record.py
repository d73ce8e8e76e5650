"""Twenty demonstrations recorded by one command, and a policy learnt from them by another."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

from verify.children import Finished, Runner
from verify.rows import Row, at_least

from robot_rl.episodes.folder import Entry, entry, episode_files
from robot_rl.jsonl import read_json
from robot_rl.stats import number

STAGE = "record"
SECONDS = 240.0
TIMEOUT_S = 900.0
DEMOS, EPISODES, SUCCESSES = 20, 50, 49
ROBOT_RL = [sys.executable, "-m", "robot_rl"]


def measure(runner: Runner) -> list[Row]:
    """Record, check, and train."""
    runs = runner.work / "record"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    words = ["record", "task=pick_cube", "operator=scripted", f"n={DEMOS}", f"runs={runs}", "name=demos"]
    ended = runner.run("record", [*ROBOT_RL, *words], TIMEOUT_S)
    rows = [recorded(ended, runs / "demos")]
    if not rows[0].holds:
        return rows
    checked = runner.run("record-check", [*ROBOT_RL, "data", "check", str(runs / "demos")], TIMEOUT_S)
    rows.append(
        Row(
            stage=STAGE,
            what="robot-rl data check of what was recorded",
            measured=checked.last_line or checked.how(),
            bar="no problem",
            holds=checked.status == 0,
        )
    )
    words = ["train", "task=pick_cube", f"demos={runs / 'demos'}", f"runs={runs}", "name=learnt"]
    ended = runner.run("record-train", [*ROBOT_RL, *words], TIMEOUT_S)
    return [*rows, learnt(ended, runs / "learnt")]


def recorded(ended: Finished, run: Path) -> Row:
    """Return the row of the recording: as many whole, successful episodes as were asked for."""
    entries: list[Entry] = []
    if ended.status == 0 and run.is_dir():
        entries = [entry(path) for path in episode_files(run)]
    good = sum(e.end is not None and e.end.succeeded for e in entries)
    measured = f"{good} of {len(entries)} episodes are successes, {ended.seconds:.0f} s" if entries else ended.how()
    what = f"robot-rl record task=pick_cube operator=scripted n={DEMOS}"
    return Row(stage=STAGE, what=what, measured=measured, bar=f"{DEMOS} demonstrations", holds=good >= DEMOS)


def learnt(ended: Finished, run: Path) -> Row:
    """Return the row of what was learnt from them."""
    facts = read_json(run / "summary.json") if ended.status == 0 else {}
    n, found = int(number(facts.get("n"), 0.0)), int(number(facts.get("successes"), 0.0))
    what = f"robot-rl train task=pick_cube demos=RUN: autonomous successes of {EPISODES}"
    if not facts or n < EPISODES:
        return Row(stage=STAGE, what=what, measured=ended.how(), bar=f">= {SUCCESSES}", holds=False)
    low, high = 100.0 * number(facts.get("low")), 100.0 * number(facts.get("high"))
    note = f" ({low:.0f} to {high:.0f} %), {facts.get('env_steps')} steps, {ended.seconds:.0f} s in all"
    return at_least(STAGE, what, found if n == EPISODES else math.nan, SUCCESSES, "", note)
