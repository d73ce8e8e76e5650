"""The section of a report that says how often what judged a run was wrong, where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robot_rl.report_html import remark, share, table
from robot_rl.rewards.counts import judged_summary
from robot_rl.run_data import RunData


def reward(run: RunData) -> str:
    """Return a table of practice by thirds and of each evaluation; empty where the task itself judged."""
    n = len(run.episodes)
    parts: list[tuple[str, Sequence[Mapping[str, Any]]]] = [
        (f"practice, {word} third", run.episodes[n * i // 3 : n * (i + 1) // 3])
        for i, word in enumerate(("first", "second", "last"))
    ]
    parts += [("practice", run.episodes)]
    parts += [(f"evaluation {e.label}", e.episodes) for e in run.evaluations]
    rows = []
    for what, episodes in parts:
        found = judged_summary(episodes)
        if found:
            rows.append([
                what,
                share(found["false_claims"], found["claims"]) if found["claims"] else "no claim",
                _frames(found["false_positives"], found["failures"], found["false_positive_high"]),
                _frames(found["false_negatives"], found["successes"], found["false_negative_high"]),
                share(found["true_successes"], found["episodes"]),
            ])  # fmt: skip
    if not rows:
        return ""
    head = ["", "claims that were false", "failure frames that passed", "success frames missed", "true successes"]
    return table(head, rows) + remark(
        "The judge's word is all that was learnt from; the twin's truth stands beside it and decided nothing. "
        "Frames of "
        "one episode lean on each other: trust the intervals over episodes."
    )


def _frames(k: int, n: int, high: float) -> str:
    return f"{k} of {n} (at most {100 * high:.2f} %)" if n else "none"
