"""One HTML page on a replay: the recorded path and the replayed one, how far apart they lie, what the guard said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.reader import Episode
from robot_rl.jsonl import write_text_atomic
from robot_rl.replaying_result import Replay
from robot_rl.report_html import amount, cards, page, panels, section, table, text
from robot_rl.report_plots import BLUE, GREY, ORANGE, Draw, panel

Curves = Mapping[str, tuple[NDArray[Any], NDArray[Any], str, str]]


def write_replay_page(episode: Episode, replayed: Replay, robot: str, out: Path) -> Path:
    """Write the page of a replay and return its path.

    Args:
        episode: What was replayed.
        replayed: What came of it.
        robot: On which robot, in words.
        out: The page.

    Raises:
        StorageError: It cannot be written.
    """
    was = np.array([p for p, _ in replayed.recorded])
    now = np.array([r.p_BE for r in replayed.readings])
    t = replayed.period_s * np.arange(len(now))
    error_mm, error_deg = 1e3 * replayed.error_m, np.degrees(replayed.error_rad)
    named = {"x": 0, "y": 1, "z": 2}
    views = [_path_panel(a, b, was[:, [named[a], named[b]]], now[:, [named[a], named[b]]]) for a, b in ("xy", "xz")]
    over_time = [
        panel(f"position-{a}", f"{a} of the tool", _curves(_two(t, was[:, i], now[:, i]), "time [s]", f"{a} [m]"))
        for a, i in named.items()
    ]
    errors = [
        panel("error-mm", "distance", _curves({"": (t, error_mm, ORANGE, "-")}, "time [s]", "mm")),
        panel("error-deg", "angle", _curves({"": (t, error_deg, ORANGE, "-")}, "time [s]", "degrees")),
    ]
    steps = episode.steps
    rewards = {
        "recorded": (episode.start.period_s * np.arange(1, 1 + steps.gap), steps.reward[: steps.gap], GREY, "-"),
        "replayed": (replayed.speed * t[1:], np.array(replayed.rewards), BLUE, "--"),
    }
    events = [[event, str(k), f"{t[k]:.2f}"] for k, told in enumerate(replayed.events) for event in told]
    body = [
        f"<h1>Replay of {text(episode.start.task)}: {text(episode.path.name)}</h1>",
        f'<p class="soft">{text(f"by {replayed.by} on {robot}, from {replayed.begin}")}</p>',
        *(f"<p>{text(line)}</p>" for line in replayed.lines()),
        cards([
            ("distance", amount(float(np.sqrt(np.mean(error_mm**2))), unit=" mm"), f"RMS; worst {error_mm.max():.2f}"),
            ("angle", amount(float(np.sqrt(np.mean(error_deg**2))), unit=" °"), f"RMS; worst {error_deg.max():.2f}"),
            ("periods", amount(len(replayed.rewards)), f"of {replayed.periods}"),
            ("guard", amount(sum(bool(told) for told in replayed.events)), "periods that it changed"),
        ]),
        section("Path of the tool", panels(views, large=True)),
        section("Over time", panels(over_time)),
        section("Apart", panels(errors)),
        section("Reward", panels([panel("reward", "reward", _curves(rewards, "time of the record [s]", "reward"))])),
        section("The guard", table(("rule", "period", "time [s]"), events[:200]) if events else "", empty="No event."),
    ]  # fmt: skip
    return write_text_atomic(out, page(f"replay of {episode.path.name}", body))


def _two(t: NDArray[Any], was: NDArray[Any], now: NDArray[Any]) -> Curves:
    return {"recorded": (t, was, GREY, "-"), "replayed": (t, now, BLUE, "--")}


def _curves(curves: Curves, xlabel: str, ylabel: str) -> Draw:
    def draw(axes: Any) -> bool:
        for label, (x, y, colour, style) in curves.items():
            axes.plot(x, y, color=colour, linestyle=style, label=label, lw=2.5 if style == "-" and label else 1.5)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        if len(curves) > 1:
            axes.legend(loc="best", handlelength=2.0)
        return True

    return draw


def _path_panel(a: str, b: str, was: NDArray[np.float64], now: NDArray[np.float64]) -> str:
    curves = {
        "recorded": (was[:, 0], was[:, 1], GREY, "-"),
        "replayed": (now[:, 0], now[:, 1], BLUE, "--"),
    }
    plain = _curves(curves, f"{a} [m]", f"{b} [m]")

    def draw(axes: Any) -> bool:
        plain(axes)
        axes.plot(*was[0], "o", color=GREY, ms=6)
        axes.set_aspect("equal", adjustable="datalim")
        return True

    return panel(f"path-{a}{b}", f"{'from above' if b == 'y' else 'from the side'}, begins at the dot", draw)
