"""Rows of the verification: what was measured, the bar, whether it holds; as a table and as JSON."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from robot_rl.jsonl import write_json_atomic, write_text_atomic
from robot_rl.runs import git_commit, machine, versions

MARKS = {True: ("holds", "green"), False: ("FAILS", "bold red"), None: ("cannot here", "yellow")}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One claim.

    Attributes:
        stage: Where it was measured; what `--only` takes.
        what: The claim in words.
        measured: What was found.
        bar: What is asked for.
        holds: Whether it is met; None when this machine cannot show it, which is no failure.
    """

    stage: str
    what: str
    measured: str
    bar: str
    holds: bool | None


def at_most(stage: str, what: str, value: float, limit: float, unit: str, note: str = "") -> Row:
    """Return a row for a number that shall not exceed a limit; nan was not found and fails."""
    return Row(
        stage=stage, what=what, measured=f"{value:.4g}{unit}{note}", bar=f"<= {limit:g}{unit}", holds=value <= limit
    )


def at_least(stage: str, what: str, value: float, limit: float, unit: str, note: str = "") -> Row:
    """Return a row for a number that shall reach a limit; nan was not found and fails."""
    return Row(
        stage=stage, what=what, measured=f"{value:.4g}{unit}{note}", bar=f">= {limit:g}{unit}", holds=value >= limit
    )


def table(rows: Sequence[Row], title: str) -> Table:
    """Return the rows as a table."""
    shown = Table(title=title, title_justify="left", show_lines=True)
    for name, ratio in (("what", 4), ("measured", 6), ("bar", 3)):
        shown.add_column(name, ratio=ratio, overflow="fold")
    shown.add_column("holds", no_wrap=True)
    for row in rows:
        word, style = MARKS[row.holds]
        shown.add_row(f"{row.stage}: {row.what}", row.measured, row.bar, Text(word, style=style))
    return shown


def write(folder: Path, rows: Sequence[Row], title: str, seconds: float, complete: bool) -> None:
    """Write `rows.json` and `table.txt`.

    Args:
        folder: Where.
        rows: What was measured so far.
        title: Of the table.
        seconds: Wall time of the verification.
        complete: Whether every chosen stage was measured.
    """
    facts = {"commit": git_commit(), "machine": machine(), "versions": versions()}
    write_json_atomic(
        folder / "rows.json",
        {**facts, "seconds": round(seconds, 1), "complete": complete, "rows": [asdict(row) for row in rows]},
    )
    text = io.StringIO()
    Console(width=140, file=text).print(table(rows, title))
    write_text_atomic(folder / "table.txt", text.getvalue())
