"""Learning to race in the twin: the first laps from one slow lap, and a residual on top of the classical driver."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verify.children import Runner
from verify.rows import Row, at_least, at_most

from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.laps import LAST_S, laps_of, summarise
from robot_rl.stats import number

FIRST, RESIDUAL = "laps", "residual"
FIRST_SECONDS, RESIDUAL_SECONDS = 120.0, 240.0
TIMEOUT_S = 1500.0
SEED = 0
FIRST_STEPS, FIRST_S, MINUTE_S = 4000, 60.0, 60.0
COMMON = ["task=lap", "mode=single", "live=off", f"seed={SEED}", "evaluation.clone_episodes=0", "evaluation.episodes=2"]


def measure_first(runner: Runner) -> list[Row]:
    """Practise some minutes of driving from one slow lap, and judge the laps."""
    found = _train(runner, FIRST, [f"learner.total_env_steps={FIRST_STEPS}"])
    return [found] if isinstance(found, Row) else judge_first(*found)


def measure_residual(runner: Runner) -> list[Row]:
    """Practise 20 minutes of driving on top of the classical driver, and judge the laps."""
    found = _train(runner, RESIDUAL, ["task.residual=[0.25,0.4]"])
    return [found] if isinstance(found, Row) else judge_residual(*found)


def judge_first(episodes: Sequence[Mapping[str, Any]], times: Mapping[str, float]) -> list[Row]:
    """Return the rows of a practice that began with one slow lap."""
    came_to, demonstrated = summarise(episodes), times["demonstration"]
    note = f" of driving; {came_to.clean_laps} of {came_to.laps} laps clean in {came_to.driven_s / 60.0:.1f} min"
    helped = f"{came_to.recovered} of {came_to.recoveries} recovered, {came_to.crashes} crashes, {came_to.stuck} stuck"
    return [
        at_most(FIRST, "first clean lap, from state and one slow lap", came_to.first_clean_s, FIRST_S, " s", note),
        at_most(
            FIRST, "median clean lap of the last two minutes of driving, over the demonstrated lap",
            came_to.median_s / demonstrated, 1.0, "", f" ({came_to.median_s:.2f} of {demonstrated:.2f} s)",
        ),
        Row(
            stage=FIRST, what="practice without a reset: every trouble recovered without help", bar="no intervention",
            measured=f"{came_to.interventions} interventions; {helped}",
            holds=came_to.driven_s > 0.0 and came_to.interventions == 0,
        ),
    ]  # fmt: skip


def judge_residual(episodes: Sequence[Mapping[str, Any]], times: Mapping[str, float]) -> list[Row]:
    """Return the rows of a practice on top of the classical driver."""
    came_to, laps, classical = summarise(episodes), laps_of(episodes), times["classical"]
    begun = [lap for lap in laps if lap.driven_s <= MINUTE_S]
    clean = sum(lap.clean for lap in begun)
    early = summarise(within(episodes, MINUTE_S))
    fast = f" ({came_to.median_s:.2f} of {classical:.2f} s, with exploration; in the race {times['policy']:.2f} s)"
    start_s = begun[0].lap_s if begun else math.nan
    return [
        at_least(RESIDUAL, "clean laps in the first minute of driving", clean, 1, "", f" of {len(begun)}"),
        at_most(RESIDUAL, "crashes and times stuck in it", early.crashes + early.stuck, 0, ""),
        at_most(
            RESIDUAL, f"median clean lap of the last {LAST_S:.0f} s of {came_to.driven_s / 60.0:.0f} min, over the "
            "careful classical driver's (task.grip=0.6)", came_to.median_s / classical, 0.99, "", fast,
        ),
        at_most(
            RESIDUAL, "the same, over its own first lap", came_to.median_s / start_s, 0.99, "", f" (of {start_s:.2f} s)"
        ),
    ]  # fmt: skip


def within(episodes: Sequence[Mapping[str, Any]], seconds: float) -> list[Mapping[str, Any]]:
    """Return the episodes that ended within so much driving."""
    ended_s = itertools.accumulate(number(row.get("driven_s"), 0.0) for row in episodes)
    return [row for row, at_s in zip(episodes, ended_s, strict=True) if at_s <= seconds]


def _train(runner: Runner, name: str, settings: Sequence[str]) -> Row | tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the episodes of a training and the lap times that they are compared with [s]; a row if it failed."""
    words = ["train", *COMMON, *settings, f"runs={runner.work}", f"name={name}"]
    ended = runner.run(name, [sys.executable, "-m", "robot_rl", *words], TIMEOUT_S)
    run = runner.work / name
    if ended.status != 0:
        return Row(stage=name, what="robot-rl train task=lap", measured=ended.how(), bar="status 0", holds=False)
    episodes = [row for row in read_jsonl(run / "episodes.jsonl") if row.get("source") == "policy"]
    return episodes, times_of(run)


def times_of(run: Path) -> dict[str, float]:
    """Return the median lap of each who raced, by kind [s]; nan for one that finished none."""
    rows = read_json(run / "leaderboard.json").get("rows")
    found = {"policy": math.nan, "classical": math.nan, "demonstration": math.nan}
    for row in rows if isinstance(rows, list) else []:
        found[str(row.get("kind"))] = number(row.get("median_s"))
    return found
