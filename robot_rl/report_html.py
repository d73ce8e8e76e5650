"""Small pieces of HTML that reports are put together from; every text is escaped here and nowhere else."""

from __future__ import annotations

import html
import importlib.resources
import math
import string
from collections.abc import Iterable, Mapping, Sequence

from robot_rl.stats import number, was_helped, wilson

MISSING = "–"


def text(value: object) -> str:
    """Return a value escaped for HTML."""
    return html.escape(str(value), quote=True)


def amount(value: object, digits: int = 3, unit: str = "") -> str:
    """Return a number for people to read: few digits, a dash when it is unknown."""
    x = number(value)
    if not math.isfinite(x):
        return MISSING
    shown = f"{x:,.0f}" if abs(x) >= 1000 or x == int(x) else f"{x:.{digits}g}"
    return f"{shown}{unit}"


def percent(rate: float) -> str:
    """Return a share in percent."""
    return f"{100 * rate:.0f} %" if math.isfinite(rate) else MISSING


def share(successes: int, n: int) -> str:
    """Return "49 of 50" and its 95 % interval in words."""
    interval = wilson(successes, n)
    return f"{successes} of {n} (95 % interval {100 * interval.low:.0f} to {100 * interval.high:.0f} %)"


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole HTML page that needs nothing but itself."""
    folder = importlib.resources.files("robot_rl") / "templates"
    template = string.Template((folder / "page.html").read_text(encoding="utf-8"))
    style = (folder / "style.css").read_text(encoding="utf-8")
    return template.substitute(title=text(title), style=style, body="\n".join(part for part in body if part))


def section(title: str, *parts: str, empty: str = "") -> str:
    """Return a section, or its heading with the sentence `empty` when it has no content; "" without that sentence."""
    body = "\n".join(part for part in parts if part)
    if not body and not empty:
        return ""
    return f"<section>\n<h2>{text(title)}</h2>\n{body or remark(empty)}\n</section>"


def remark(sentence: str) -> str:
    """Return a quiet sentence."""
    return f'<p class="soft">{text(sentence)}</p>'


def cards(items: Iterable[tuple[str, str, str]]) -> str:
    """Return headline numbers: (what, number, remark)."""
    shown = [
        f'<div class="card"><small>{text(what)}</small><b>{text(value)}</b><small>{text(remark)}</small></div>'
        for what, value, remark in items
    ]
    return f'<div class="cards">{"".join(shown)}</div>'


def panels(plots: Iterable[str], *, large: bool = False) -> str:
    """Return plots in a grid that folds to one column on a phone; at most two beside each other when large."""
    figures = [f"<figure>{plot}</figure>" for plot in plots if plot]
    kind = "panels large" if large else "panels"
    return f'<div class="{kind}">{"".join(figures)}</div>' if figures else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, raw: Iterable[int] = (), total: int = 0) -> str:
    """Return a table; columns after the first are aligned as numbers.

    Args:
        head: Column titles.
        rows: Cells as text.
        raw: Columns whose cells are HTML already.
        total: How many rows at the end are set in bold.
    """
    body = [list(row) for row in rows]
    if not body:
        return ""
    keep = set(raw)

    def cell(tag: str, i: int, value: str) -> str:
        kind = ' class="n"' if i and i not in keep else ""
        return f"<{tag}{kind}>{value if i in keep and tag == 'td' else text(value)}</{tag}>"

    lines = [f"<tr>{''.join(cell('th', i, h) for i, h in enumerate(head))}</tr>"]
    for j, row in enumerate(body):
        kind = ' class="total"' if j >= len(body) - total else ""
        lines.append(f"<tr{kind}>{''.join(cell('td', i, v) for i, v in enumerate(row))}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def strip(episodes: Iterable[Mapping[str, object]]) -> str:
    """Return one small square per episode: success or failure by colour and sign, details on hover."""
    squares = []
    for i, e in enumerate(episodes):
        ok = bool(e.get("success"))
        helped = was_helped(e)
        words = [f"episode {i + 1}: {'success' if ok else 'failure'}", f"{amount(e.get('duration_s'))} s"]
        words += [str(e["reason"])] if e.get("reason") else []
        words += ["a person helped"] if helped else []
        kind = ("ok" if ok else "bad") + (" help" if helped else "")
        squares.append(f'<i class="{kind}" title="{text(", ".join(words))}">{"" if ok else "×"}</i>')
    return f'<div class="strip">{"".join(squares)}</div>' if squares else ""


def folded(title: str, body: str) -> str:
    """Return content that opens on a click."""
    return f"<details><summary>{text(title)}</summary>\n{body}\n</details>" if body else ""


def code(content: str) -> str:
    """Return preformatted text."""
    return f"<pre>{text(content.strip())}</pre>" if content.strip() else ""
