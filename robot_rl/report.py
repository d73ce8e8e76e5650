"""The report of a run: one HTML page with everything on it, which opens anywhere and needs no network.

It works on a run that is still going or was cut short: parts that are missing say so.
"""

from __future__ import annotations

import base64
import math
from pathlib import Path

from robot_rl import report_laps
from robot_rl import report_sections as sections
from robot_rl.jsonl import write_text_atomic
from robot_rl.laps import write_laps
from robot_rl.report_compare import LEVEL, WINDOW, WORST, write_comparison
from robot_rl.report_html import (
    MISSING,
    amount,
    cards,
    page,
    percent,
    section,
    share,
    text,
)
from robot_rl.report_practice import resets
from robot_rl.report_reward import reward
from robot_rl.run_data import RunData, column, guard_counts, load_run
from robot_rl.stats import (
    Summary,
    Window,
    first_reaching,
    number,
    success_summary,
    worst_window,
)

__all__ = ["EMBED_BYTES", "findings", "updates_per_step", "write_comparison", "write_report"]

EMBED_BYTES = 16 * 2**20  # a larger video is linked


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    Raises:
        ConfigError: The folder holds no run.
        StorageError: The page cannot be written.
    """
    run = load_run(run_folder)
    write_laps(run.folder)
    demo_s = success_summary(run.demos_as_policy()).median_time_to_success_s
    body = [
        _headline(run, demo_s),
        _video(run),
        section(
            "Evaluation", *sections.evaluation(run, demo_s), empty="Not evaluated yet. Run: robot-rl eval RUN -n 50"
        ),
        section("Laps", report_laps.laps(run)),
        section("Practice", sections.practice(run, demo_s), empty="No practice episode is finished yet."),
        section("Automatic resets", resets(run)),
        section("Interventions", sections.interventions(run)),
        section("Reward", reward(run)),
        section("Guard", sections.guard(run)),
        section("Learner", sections.learner(run), empty="The learner has written no metrics yet."),
        section("Timing", sections.timing(run), empty="No timing was recorded yet."),
        section("What was run", *sections.provenance(run)),
    ]
    return write_text_atomic(run.folder / "report.html", page(f"{run.task}: {run.name}", body))


def _headline(run: RunData, demo_s: float) -> str:
    final = run.final
    episodes = final.episodes if final else run.episodes[-WORST:]
    summary = success_summary(episodes)
    reached = first_reaching(run.episodes, LEVEL, WINDOW)
    worst = worst_window(run.episodes, WORST)
    where = "evaluation" if final else f"last {summary.n} practice episodes"
    items = [
        ("autonomous success", percent(summary.rate), f"{share(summary.successes, summary.n)}, {where}"),
        ("time to success", amount(summary.median_time_to_success_s, unit=" s"), _against_demos(summary, demo_s)),
        ("environment steps", amount(run.env_steps), f"{amount(len(run.episodes))} episodes"),
        ("wall time", amount(run.wall_s / 60, unit=" min"), _split_wall(run)),
        (
            f"to {100 * LEVEL:.0f} % success",
            amount(reached.env_steps if reached else math.nan, unit=" steps"),
            f"{amount(reached.t_s / 60)} min; last {WINDOW} episodes held it" if reached else "not reached in practice",
        ),
        ("worst stretch of practice", percent(worst.rate) if worst else MISSING, _worst(run, worst)),
    ]
    facts = run.facts
    parts = [f"run {run.name}", *(f"{k} {facts[k]}" for k in ("seed", "started") if facts.get(k) is not None)]
    machine = facts.get("machine")
    if isinstance(machine, dict):
        parts.append(f"{machine.get('cores')} cores of {machine.get('cpu')}")
    notes = "".join(f"<p>{text(note)}</p>" for note in findings(run, summary))
    return (
        f'<h1>{text(run.task)}</h1>\n<p class="soft">{text(" · ".join(parts))}</p>\n'
        f'<p class="verdict">{text(_verdict(run, summary, where))}</p>\n{cards(items)}\n'
        + (f'<div class="notes">{notes}</div>' if notes else "")
    )


def _verdict(run: RunData, summary: Summary, where: str) -> str:
    if not run.episodes and not run.final:
        return "This run has not finished an episode yet."
    unfinished = "" if run.summary or run.final else " The run is not finished, or was cut short."
    sentence = summary.sentence()
    return f"{sentence[0].upper()}{sentence[1:]}; {where}.{unfinished}"


def _worst(run: RunData, worst: Window | None) -> str:
    if worst is None:
        return f"fewer than {WORST} autonomous episodes"
    where = f"{worst.successes} of {WORST} episodes from number {worst.start + 1}"
    clone = success_summary(run.clone.episodes) if run.clone else None
    return where + (f"; {worst.rate / clone.rate:.2f} of the clone's" if clone and clone.rate > 0 else "")


def _against_demos(summary: Summary, demo_s: float) -> str:
    if not math.isfinite(demo_s):
        return "median; no demonstrations to compare with"
    ratio = summary.median_time_to_success_s / demo_s
    return f"median; demonstrations {amount(demo_s)} s" + (f", {ratio:.2f} of it" if math.isfinite(ratio) else "")


def _split_wall(run: RunData) -> str:
    cloning = [number(r.get("t_s")) for r in run.other if r.get("kind") == "clone"]
    return f"of which cloning until {amount(max(cloning))} s" if cloning else "pauses between restarts left out"


def findings(run: RunData, summary: Summary) -> list[str]:
    """Return what a reader should know before trusting the headline, as sentences.

    Args:
        run: The run.
        summary: That of the evaluation, or of the last practice episodes.
    """
    notes = list(run.damaged)
    practice = success_summary(run.episodes[-WORST:])
    if run.final and summary.n and practice.n >= WINDOW and summary.high < practice.low:
        notes.append(
            f"Evaluation ({percent(summary.rate)}) is below the last practice episodes ({percent(practice.rate)}): "
            "exploration noise may help the policy, or the success signal differs."
        )
    if run.final and 0 < summary.n < WINDOW:
        notes.append(f"Only {summary.n} autonomous episodes were evaluated; the interval is wide.")
    asked, had = number(run.facts.get("updates_per_step")), updates_per_step(run)
    if math.isfinite(asked) and math.isfinite(had) and had < 0.9 * asked:
        notes.append(f"The learner made {had:.2f} updates per environment step, {asked:g} were asked for.")
    stops = sum(1 for e in run.episodes if any("stop" in rule for rule in guard_counts(e)))
    if stops:
        notes.append(f"The guard stopped the robot in {stops} of {len(run.episodes)} practice episodes.")
    return notes


def updates_per_step(run: RunData) -> float:
    """Return critic updates per environment step over the whole run; nan before the first metrics."""
    updates, steps = column(run.train, "updates"), column(run.train, "env_steps")
    if len(updates) < 2 or not steps[-1] > steps[0]:
        return math.nan
    return float((updates[-1] - updates[0]) / (steps[-1] - steps[0]))


def _video(run: RunData) -> str:
    if run.video is None:
        return section("Video", empty="No video was recorded.")
    try:
        size = run.video.stat().st_size
        if size >= EMBED_BYTES:
            link = f'<p><a href="{text(run.video.name)}">{text(run.video.name)}</a> ({size / 2**20:.0f} MiB)</p>'
            return section("Video", link)
        data = base64.b64encode(run.video.read_bytes()).decode()
    except OSError as e:
        return section("Video", empty=f"The video {run.video.name} cannot be read: {e.strerror or e}.")
    return section("Video", f'<video controls muted loop playsinline src="data:video/mp4;base64,{data}"></video>')
