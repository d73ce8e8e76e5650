"""Mistakes with recorded data, each with the real command: a sentence that names the difference, nothing lost."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

from verify.bad_input import judge
from verify.children import Finished, Runner
from verify.rows import Row

STAGE = "mistakes"
SECONDS = 120.0
TIMEOUT_S = 180.0
BAR = "one sentence, status not 0, no traceback, nothing lost"
ROBOT_RL = [sys.executable, "-m", "robot_rl"]


class Payload:
    """What a harmful pickle would do: make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def measure(runner: Runner) -> list[Row]:
    """Record a few episodes, then make every mistake once."""
    runs = runner.work / "mistakes"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    words = ["record", "task=reach", "operator=scripted", "n=2", f"runs={runs}", "name=reached"]
    made = _run(runner, "record", words)
    if made.status != 0:
        return [
            Row(stage=STAGE, what="two episodes to be mistaken about", measured=made.how(), bar="status 0", holds=False)
        ]
    reached = runs / "reached"
    before = _content(reached)
    harmful, made_by_it = runs / "harmful.pkl", runs / "made-by-a-pickle"
    harmful.write_bytes(pickle.dumps([{"observations": Payload(made_by_it)}]))
    note = runs / "note.mcap"
    note.write_text("this is no recording\n")
    empty = runs / "lerobot"
    (empty / "meta").mkdir(parents=True)
    demos = ["train", "task=pick_cube", f"demos={reached}", f"runs={runs}", "name=other", "live=off"]
    cameras = [
        "record",
        "task=reach",
        "operator=scripted",
        "n=3",
        f"runs={runs}",
        "name=reached",
        "robot.cameras=[front]",
    ]
    imported = ["task=reach", "--out", str(runs / "imported")]
    mistakes = {
        "episodes of another task as demonstrations": (demos, "reach"),
        "recording on with other cameras": (cameras, "front"),
        "a text file as an episode": (["data", "show", str(note)], "note.mcap"),
        "a pickle with code in it": (["data", "import", "serl", str(harmful), *imported], "harmful.pkl"),
        "a LeRobot set without its files": (["data", "import", "lerobot", str(empty), *imported], "lerobot"),
        "an episode that is not there": (["replay", str(reached / "episodes" / "000099.mcap")], "000099"),
        "a misspelt format": (["data", "export", "lerobt", str(reached), "--out", str(runs / "x")], "lerobot"),
    }
    rows: list[Row] = []
    for what, (arguments, says) in mistakes.items():
        ended = _run(runner, what.replace(" ", "-"), arguments)
        lost = "" if _content(reached) == before else "what was recorded has changed"
        lost = "the code in the pickle ran" if made_by_it.exists() else lost
        row = judge(what, ended, says, lost)
        rows.append(Row(stage=STAGE, what=row.what, measured=row.measured, bar=BAR, holds=row.holds))
    return rows


def _run(runner: Runner, name: str, words: list[str]) -> Finished:
    return runner.run(f"mistakes-{name}", [*ROBOT_RL, *words], TIMEOUT_S)


def _content(run: Path) -> dict[str, str]:
    """Return a checksum of every episode file."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((run / "episodes").glob("*.mcap*"))}
