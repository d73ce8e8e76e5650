"""The plots of a report: small SVG panels that take the page's colours, in the light and in the dark.

A panel is drawn with matplotlib without any global state. Its ink is written as `currentColor` and its text stays text,
so the page's style sheet decides what they look like.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import MissingDependency
from robot_rl.run_data import Row, RunData, column, guard_counts
from robot_rl.stats import autonomous, helped, human_share, percentiles, rolling_rate, was_discarded, wilson

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#3f86c9", "#d98324", "#3c9c72", "#cf5350", "#8d72c4", "#8a8f98"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)
WINDOW = 20  # episodes of the rolling success rate
POINTS = 400  # a curve with more points is averaged in this many bins
_INK = "#0a0b0c"
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.15,
    "grid.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "axes.formatter.useoffset": False,
}

Draw = Callable[[Any], bool]  # draws on matplotlib Axes; False when there is nothing to show


def panel(name: str, title: str, draw: Draw, *, size: tuple[float, float] = (4.5, 2.8)) -> str:
    """Return one plot as an inline SVG element, or "" when there is nothing to draw.

    Args:
        name: Unique on the page; prefixes the ids inside.
        title: Shown above the plot and read out by screen readers.
        draw: Draws on the axes.
        size: (width, height) in inches.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingDependency("matplotlib", "a report", "pip install robot-rl[report]") from e
    style: Any = {**_STYLE, "svg.hashsalt": name}
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        if not draw(axes):
            return ""
        axes.set_title(title)
        buffer = io.StringIO()
        empty = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    return _inline(buffer.getvalue(), name, title)


def _inline(svg: str, name: str, title: str) -> str:
    """Return matplotlib's SVG file as an element of a page."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\1{name}-", svg)
    head, _, body = svg.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    label = html.escape(title, quote=True)
    head = f'<svg class="plot" role="img" aria-label="{label}" {box.group(0) if box else ""}>'
    return head + body.replace(_INK, "currentColor")


def binned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a curve without gaps and with at most `POINTS` points, each the mean of its neighbours."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) <= POINTS:
        return x, y
    edges = np.linspace(0, len(x), POINTS + 1).astype(int)[:-1]
    counts = np.diff([*edges, len(x)])
    return np.add.reduceat(x, edges) / counts, np.add.reduceat(y, edges) / counts


X_AXES = {"env_steps": ("environment steps", 1.0), "t_s": ("wall time [min]", 1 / 60)}


def along(rows: Sequence[Mapping[str, object]], axis: str) -> NDArray[np.float64]:
    """Return (n,) where rows lie along "env_steps" or "t_s" (in minutes)."""
    return column(rows, axis) * X_AXES[axis][1]


def finish(axes: Any, axis: str, *, ylabel: str = "", legend: bool = False) -> bool:
    """Label the axes; returns True so that a panel can end with it."""
    axes.set_xlabel(X_AXES[axis][0])
    axes.set_xlim(left=0)
    if axis == "env_steps":
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}")
    if ylabel:
        axes.set_ylabel(ylabel)
    if legend:
        axes.legend(loc="best", handlelength=1.4)
    return True


def success_curve(run: RunData, axis: str) -> Draw:
    """Return a panel of the autonomous success over the last `WINDOW` episodes; helped episodes as marks below."""

    def draw(axes: Any) -> bool:
        alone, with_help = autonomous(run.episodes), helped(run.episodes)
        if not alone and not with_help:
            return False
        ok = np.array([bool(e.get("success")) for e in alone], float)
        x = along(alone, axis)
        if len(x):
            rate = rolling_rate(ok, WINDOW)
            counts = np.minimum(np.arange(1, len(ok) + 1), WINDOW)
            bounds = [wilson(round(r * n), int(n)) for r, n in zip(rate, counts, strict=True)]
            band_x, low = binned(x, np.array([b.low for b in bounds]))
            _, high = binned(x, np.array([b.high for b in bounds]))
            axes.fill_between(band_x, 100 * low, 100 * high, color=BLUE, alpha=0.15, linewidth=0)
            axes.plot(*binned(x, 100 * rate), color=BLUE, label=f"alone, last {WINDOW}")
        if with_help:
            axes.plot(along(with_help, axis), np.full(len(with_help), -5.0), "|", color=ORANGE, label="helped")
        shade_cloning(axes, run, axis)
        axes.set_ylim(-9 if with_help else -2, 103)
        return finish(axes, axis, ylabel="success [%]", legend=bool(with_help))

    return draw


def intervention_curve(run: RunData, axis: str) -> Draw:
    """Return a panel of the share of steps in which a person acted, of an episode and of the last `WINDOW`."""

    def draw(axes: Any) -> bool:
        episodes = [e for e in run.episodes if not was_discarded(e) and np.isfinite(human_share(e))]
        mine = helped(episodes)
        if not mine:
            return False
        steps = np.nan_to_num(column(episodes, "steps"))
        human = steps * np.array([human_share(e) for e in episodes])
        total, acted = np.cumsum(np.append(0.0, steps)), np.cumsum(np.append(0.0, human))
        end = np.arange(1, len(episodes) + 1)
        start = np.maximum(end - WINDOW, 0)
        share = (acted[end] - acted[start]) / np.maximum(total[end] - total[start], 1.0)
        each = np.array([100 * human_share(e) for e in mine])
        axes.plot(along(mine, axis), each, ".", color=ORANGE, alpha=0.3, markersize=3, label="helped episodes")
        axes.plot(*binned(along(episodes, axis), 100 * share), color=ORANGE, label=f"last {WINDOW} episodes")
        axes.set_ylim(-2, 103)
        return finish(axes, axis, ylabel="steps by a person [%]", legend=True)

    return draw


def return_curve(run: RunData, axis: str) -> Draw:
    """Return a panel of the return of each autonomous episode and its rolling mean."""

    def draw(axes: Any) -> bool:
        alone = autonomous(run.episodes)
        x, y = along(alone, axis), column(alone, "return")
        known = np.isfinite(x) & np.isfinite(y)
        if not known.any():
            return False
        x, y = x[known], y[known]
        axes.plot(*binned(x, y), ".", color=BLUE, alpha=0.25, markersize=3)
        axes.plot(*binned(x, rolling_rate(y, WINDOW)), color=BLUE)
        return finish(axes, axis, ylabel="return")

    return draw


def time_to_success(run: RunData, demo_median_s: float) -> Draw:
    """Return a panel of how long each autonomous success took, beside the demonstrations' median."""

    def draw(axes: Any) -> bool:
        rows = [e for e in autonomous(run.episodes) if e.get("success")]
        x, y = along(rows, "env_steps"), column(rows, "duration_s")
        known = np.isfinite(x) & np.isfinite(y) & (y > 0)
        if not known.any():
            return False
        x, y = x[known], y[known]
        middle = np.array([np.median(y[max(0, i + 1 - WINDOW) : i + 1]) for i in range(len(y))])
        axes.plot(*binned(x, y), ".", color=BLUE, alpha=0.25, markersize=3)
        axes.plot(*binned(x, middle), color=BLUE, label=f"median of last {WINDOW}")
        if math.isfinite(demo_median_s):
            axes.axhline(demo_median_s, color=ORANGE, linestyle="--", label="demonstrations")
        axes.set_ylim(bottom=0)
        return finish(axes, "env_steps", ylabel="time to success [s]", legend=True)

    return draw


def scalars(run: RunData, names: Iterable[str], *, axis: str = "env_steps", ylabel: str = "") -> Draw:
    """Return a panel of some scalars of `metrics.jsonl`; a logarithmic scale when they span more than 100 fold."""
    names = list(names)

    def draw(axes: Any) -> bool:
        x = along(run.train, axis)
        seen: list[float] = []
        for name, colour in zip(names, (*COLOURS, *COLOURS), strict=False):
            bx, by = binned(x, column(run.train, name))
            if len(bx):
                axes.plot(bx, by, color=colour, label=name)
                seen += [float(by.min()), float(by.max())]
        if not seen:
            return False
        if min(seen) > 0 and max(seen) > 100 * min(seen):
            axes.set_yscale("log")
        return finish(axes, axis, ylabel=ylabel, legend=True)

    return draw


def pace(run: RunData, numerator: str, denominator: str, *, target: float = math.nan, ylabel: str = "") -> Draw:
    """Return a panel of the ratio of two counters' growth, against wall time.

    Args:
        run: The run.
        numerator: Counter in `metrics.jsonl`, such as "updates".
        denominator: Counter or "t_s".
        target: The ratio that was asked for, if any.
        ylabel: What the ratio is.
    """

    def draw(axes: Any) -> bool:
        t = along(run.train, "t_s")
        top, bottom = column(run.train, numerator), column(run.train, denominator)
        known = np.isfinite(t) & np.isfinite(top) & np.isfinite(bottom)
        stride = max(1, int(known.sum()) // 100)  # counters jump by groups: look over about a hundredth of the run
        t, top, bottom = t[known][::stride], top[known][::stride], bottom[known][::stride]
        grown = np.diff(bottom) > 0
        if not grown.any():
            return False
        ratio = np.diff(top)[grown] / np.diff(bottom)[grown]
        axes.plot(t[1:][grown], ratio, color=BLUE)
        if math.isfinite(target):
            axes.axhline(target, color=ORANGE, linestyle="--", label=f"asked for: {target:g}")
        axes.set_ylim(0, 1.15 * float(np.nanmax([*ratio, target])) or 1.0)  # nothing may have happened yet
        return finish(axes, "t_s", ylabel=ylabel, legend=math.isfinite(target))

    return draw


def policy_age(run: RunData) -> Draw:
    """Return a panel of how many environment steps behind the learner the acting policy was."""

    def draw(axes: Any) -> bool:
        x, y = binned(along(run.episodes, "t_s"), column(run.episodes, "policy_age_steps"))
        if not len(x):
            return False
        axes.plot(x, y, ".", color=BLUE, alpha=0.5, markersize=3)
        axes.set_ylim(bottom=0)
        return finish(axes, "t_s", ylabel="policy age [env steps]")

    return draw


def control_period(run: RunData) -> Draw:
    """Return a panel of a real-time robot's control period in each practice episode: median and 99th percentile."""

    def draw(axes: Any) -> bool:
        rows = [{**e, **timing} for e in run.episodes if isinstance(timing := e.get("timing"), Mapping)]
        for name, colour, label in (("p50", BLUE, "median"), ("p99", ORANGE, "99 %")):
            x, y = binned(along(rows, "env_steps"), column(rows, f"period_ms_{name}"))
            if not len(x):
                return False
            axes.plot(x, y, ".", color=colour, markersize=3, label=label)
        axes.set_ylim(bottom=0)
        return finish(axes, "env_steps", ylabel="control period [ms]", legend=True)

    return draw


def guard_events(run: RunData, bins: int = 30) -> Draw:
    """Return a panel of the guard's events per episode along the run, by rule."""

    def draw(axes: Any) -> bool:
        counts = [guard_counts(e) for e in run.episodes]
        rules = sorted({rule for c in counts for rule, value in c.items() if value > 0})
        x = along(run.episodes, "env_steps")
        if not rules or not np.isfinite(x).any():
            return False
        edges = np.linspace(0, np.nanmax(x) + 1, bins + 1)
        where = np.clip(np.digitize(np.nan_to_num(x), edges) - 1, 0, bins - 1)
        episodes = np.maximum(np.bincount(where, minlength=bins), 1)
        floor = np.zeros(bins)
        for i, rule in enumerate(rules):
            values = np.array([c.get(rule, 0.0) for c in counts])
            height = np.bincount(where, values, minlength=bins) / episodes
            axes.bar(edges[:-1], height, np.diff(edges), floor, align="edge", color=COLOURS[i % 6], label=rule)
            floor += height
        return finish(axes, "env_steps", ylabel="events per episode", legend=True)

    return draw


def histogram(samples: Sequence[float], unit: str = "ms") -> Draw:
    """Return a panel of a distribution up to its 99.5th percentile, with median and 99th percentile marked."""

    def draw(axes: Any) -> bool:
        values = np.asarray(samples, float)
        values = values[np.isfinite(values)]
        if len(values) < 2:
            return False
        marks = percentiles(values, (50, 99))
        low, top = float(values.min()), float(np.percentile(values, 99.5))
        if top - low <= 1e-6 * max(abs(low), abs(top), 1e-3):
            low, top = low - 0.5, top + 0.5  # a constant, such as a simulated period
        axes.hist(values, bins=list(np.linspace(low, top, 51)), color=BLUE, alpha=0.7)
        axes.axvline(marks["p50"], color=GREEN, label=f"median {marks['p50']:.3g} {unit}")
        axes.axvline(marks["p99"], color=ORANGE, linestyle="--", label=f"99 %: {marks['p99']:.3g} {unit}")
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(unit)
        axes.set_ylabel("samples")
        axes.legend(loc="best", handlelength=1.4)
        return True

    return draw


def shade_cloning(axes: Any, run: RunData, axis: str) -> None:
    """Shade the time in which the policy was cloned from demonstrations, before practice began."""
    cloning = along([r for r in run.other if r.get("kind") == "clone"], "t_s")
    if axis == "t_s" and np.isfinite(cloning).any():
        axes.axvspan(0, float(np.nanmax(cloning)), color=GREY, alpha=0.15, linewidth=0)


def sparkline(rows: Sequence[Row], name: str, width: int = 120, height: int = 22) -> str:
    """Return a tiny curve of one scalar as an inline SVG element."""
    _, y = binned(np.arange(len(rows), dtype=float), column(rows, name))
    if len(y) < 2:
        return ""
    y = y[:: max(1, len(y) // width)]
    span = float(y.max() - y.min()) or 1.0
    px = np.linspace(1, width - 1, len(y))
    py = height - 2 - (height - 4) * (y - y.min()) / span
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
    return f'<svg class="spark" viewBox="0 0 {width} {height}" aria-hidden="true"><polyline points="{points}"/></svg>'
