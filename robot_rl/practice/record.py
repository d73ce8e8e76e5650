"""What became of automatic resets, on disk: a row for each rung that was tried, and the numbers that follow from them.

The clock of autonomy is the robot's own: control periods in which it moved or was watched. Waiting for a person is no
part of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_rl.errors import StorageError
from robot_rl.jsonl import JsonlFile, last_row, read_jsonl
from robot_rl.stats import number, success_summary

log = logging.getLogger(__name__)

RESETS_FILE = "resets.jsonl"
REHOME = "rehome"  # what begins every episode: not tried in trouble, but a reset all the same
ASK = "ask"
LAST = 100  # episodes of a node that its newest rate of success is taken over


class ResetLog:
    """Appends to `resets.jsonl` of a run, and knows how much robot time went by.

    Args:
        folder: The run.

    Attributes:
        robot_s: Robot time of the run so far, over all its restarts.
    """

    def __init__(self, folder: Path) -> None:
        rows = (last_row(folder / name) for name in (RESETS_FILE, "episodes.jsonl"))
        self.robot_s = max(number(row.get("robot_s"), 0.0) for row in rows)
        self._file = JsonlFile(folder / RESETS_FILE)

    def write(
        self, rung: str, node: str, trouble: str, outcome: str, seconds: float, cleared: bool, reason: str
    ) -> None:
        """Record one try.

        Args:
            rung: What was tried.
            node: Which node had been practised.
            trouble: Why: a kind of `detect.Trouble`, or "holding".
            outcome: What became of the motion, or "answered".
            seconds: How long it took; of a person's help the wall time.
            cleared: Whether the trouble was over then.
            reason: In words.
        """
        row = {
            "robot_s": round(self.robot_s, 2), "rung": rung, "node": node, "trouble": trouble, "outcome": outcome,
            "seconds": round(seconds, 2), "cleared": cleared, "reason": reason,
        }  # fmt: skip
        try:
            self._file.append(row)
        except StorageError as e:  # a full disk loses a row, not the run
            log.warning("%s", e)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._file.close()


def summarise(episodes: Sequence[Mapping[str, Any]], resets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a run says of its autonomy, as plain values.

    Args:
        episodes: Rows of its `episodes.jsonl`, each with "node".
        resets: Rows of its `resets.jsonl`.

    Returns:
        "nodes": for each, the success of all its autonomous practice and of the newest; "rungs": how often each was
        tried and how often the trouble was over then; "human_calls"; "robot_min"; "minutes_per_human_call", None when
        nobody was called: then "robot_min" is a lower bound of it.
    """
    names = dict.fromkeys(str(e["node"]) for e in episodes if "node" in e)
    nodes: dict[str, Any] = {}
    for name in names:
        rows = [e for e in episodes if e.get("node") == name]
        nodes[name] = {
            "practice": success_summary(rows).to_dict(),
            "newest": success_summary(rows[-LAST:]).to_dict(),
            "dropped": int(sum(number(e.get("dropped"), 0.0) for e in rows)),
        }
    begun = [number(e.get("reset_s"), 0.0) for e in episodes if "node" in e]
    rungs: dict[str, Any] = {REHOME: {"tries": len(begun), "cleared": len(begun), "robot_s": round(sum(begun), 1)}}
    for row in resets:
        counts = rungs.setdefault(str(row.get("rung")), {"tries": 0, "cleared": 0, "robot_s": 0.0})
        counts["tries"] += 1
        counts["cleared"] += bool(row.get("cleared"))
        if row.get("rung") != ASK:
            counts["robot_s"] = round(counts["robot_s"] + number(row.get("seconds"), 0.0), 1)
    calls = sum(row.get("rung") == ASK for row in resets)
    robot_s = max((number(row.get("robot_s"), 0.0) for row in (*episodes[-1:], *resets[-1:])), default=0.0)
    return {
        "episodes": len(begun),
        "nodes": nodes,
        "rungs": rungs,
        "human_calls": calls,
        "robot_min": round(robot_s / 60.0, 2),
        "minutes_per_human_call": round(robot_s / 60.0 / calls, 2) if calls else None,
    }


def sentence(facts: Mapping[str, Any]) -> str:
    """Return the minutes of autonomy per human call in words."""
    calls, minutes = facts["human_calls"], facts["robot_min"]
    if not calls:
        return f"{facts['episodes']} episodes in {minutes:.0f} min of robot time; nobody was called"
    times = "once" if calls == 1 else f"{calls} times"
    return (
        f"{facts['episodes']} episodes in {minutes:.0f} min of robot time; a person was called {times}: "
        f"{facts['minutes_per_human_call']:.1f} min of autonomy per human call"
    )


def summarise_run(folder: Path) -> dict[str, Any] | None:
    """Return `summarise` of a run's folder; None for a run without automatic resets."""
    if not (folder / RESETS_FILE).is_file():
        return None
    return summarise(read_jsonl(folder / "episodes.jsonl"), read_jsonl(folder / RESETS_FILE))
