"""The section of a run's report on automatic resets: both directions, the rungs, and how long nobody was needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robot_rl.practice.record import LAST, sentence, summarise
from robot_rl.report_html import amount, percent, table, text
from robot_rl.run_data import RunData
from robot_rl.stats import success_summary

PARTS = 5  # stretches of practice that a node's success is told of, to see it change
RUNG_WORDS = {
    "rehome": "drive to the start of an episode",
    "put_down": "put down what is held",
    "retreat": "open and move away",
    "regrasp": "grasp an object and put it where an episode begins",
    "ask": "ask a person",
}


def resets(run: RunData) -> str:
    """Return the section; empty for a run whose resets are not automatic."""
    if not run.resets and not any("node" in e for e in run.episodes):
        return ""
    facts = summarise(run.episodes, run.resets)
    lines = [f"<p>{text(sentence(facts))}.</p>", _nodes(run, facts), _rungs(facts), _calls(run)]
    return "".join(lines)


def _nodes(run: RunData, facts: Mapping[str, Any]) -> str:
    rows = []
    for name in facts["nodes"]:
        episodes = [e for e in run.episodes if e.get("node") == name]
        size = max(-(-len(episodes) // PARTS), 1)
        parts = [success_summary(episodes[i * size : (i + 1) * size]) for i in range(PARTS)]
        newest = success_summary(episodes[-LAST:])
        rows.append(
            [
                name,
                str(len(episodes)),
                *(f"{percent(s.rate)} ({100 * s.low:.0f} to {100 * s.high:.0f})" if s.n else "" for s in parts),
                f"{newest.successes} of {newest.n}: {percent(newest.rate)} "
                f"({100 * newest.low:.0f} to {100 * newest.high:.0f})",
                str(facts["nodes"][name]["dropped"]),
            ]
        )
    ordinals = ("first fifth", "second", "third", "fourth", "last fifth")
    head = ["node", "episodes", *ordinals, f"last {LAST}", "dropped"]
    note = '<p class="soft">Autonomous success in practice, with exploration noise, and its 95 % interval.</p>'
    return "<h3>Success of each node</h3>" + table(head, rows) + note


def _rungs(facts: Mapping[str, Any]) -> str:
    rows = [
        [RUNG_WORDS.get(name, name), str(c["tries"]), str(c["cleared"]), amount(c["robot_s"] / 60)]
        for name, c in facts["rungs"].items()
    ]
    head = ["rung", "tried", "enough", "robot time [min]"]
    return "<h3>Resets by rung</h3>" + table(head, rows)


def _calls(run: RunData) -> str:
    asked = [row for row in run.resets if row.get("rung") == "ask"]
    if not asked:
        return ""
    rows = [
        [amount(float(row.get("robot_s") or 0.0) / 60), str(row.get("node")), str(row.get("trouble")),
         str(row.get("reason")), str(row.get("outcome"))]
        for row in asked
    ]  # fmt: skip
    return "<h3>Calls for a person</h3>" + table(["robot time [min]", "node", "trouble", "why", "outcome"], rows)
