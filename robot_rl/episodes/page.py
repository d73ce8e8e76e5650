"""One HTML page on one episode: what was seen, asked for, executed and felt, and what happened when."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.check import check_episode
from robot_rl.episodes.reader import Episode, Frames, Steps
from robot_rl.jsonl import write_text_atomic
from robot_rl.report_html import MISSING, amount, cards, page, panels, section, table, text
from robot_rl.report_plots import BLUE, COLOURS, GREY, ORANGE, Draw, panel

FILM = 8  # pictures in a strip
_THUMB = 160  # pixels across


def write_page(path: Path, out: Path) -> Path:
    """Write the page of an episode and return its path.

    Raises:
        CheckpointError: The episode cannot be read.
        StorageError: The page cannot be written.
    """
    episode = Episode(path)
    steps = episode.steps
    notes = "".join(f"<p>{text(f.kind)}: {text(f.sentence)}</p>" for f in check_episode(episode))
    body = [
        f"<h1>{text(episode.start.task)}: {text(path.name)}</h1>",
        f'<p class="soft">{text(" · ".join(_subtitle(episode)))}</p>',
        f'<p class="verdict">{text(_verdict(episode))}</p>',
        cards(_headline(episode)),
        f'<div class="notes">{notes}</div>' if notes else "",
        *(f'<p class="soft">{text(_edit(edit))}</p>' for edit in episode.edits),
        section("Film", _films(episode)),
        section("Actions", panels(_actions(episode, steps)), empty="There is no complete step."),
        section("Observation", panels(_observation(episode, steps))),
        section("Reward and timing", panels(_reward_and_timing(steps))),
        section("Events", _events(steps), empty="Nothing happened beside the policy's own steps."),
        section("What was run", *_provenance(episode)),
    ]
    return write_text_atomic(out, page(f"{episode.start.task}: {path.name}", body))


def _subtitle(episode: Episode) -> list[str]:
    start = episode.start
    found = [start.kind, start.started, start.robot, f"seed {start.seed}" if start.seed >= 0 else ""]
    return [part for part in found if part]


def _edit(edit: Mapping[str, str]) -> str:
    return f"{edit.get('what', 'changed')}, by {edit.get('who', 'somebody')} at {edit.get('when', 'some time')}"


def _verdict(episode: Episode) -> str:
    end = episode.end
    if end is None:
        return f"No end is recorded: {episode.cut}."
    word = "Success" if end.succeeded else "Discarded" if end.verdict == "discard" else "Failure"
    said = ", by the operator's word" if end.verdict else ""
    return f"{word}{said}{': ' if end.reason else ''}{end.reason}."


def _headline(episode: Episode) -> list[tuple[str, str, str]]:
    end, steps = episode.end, episode.steps
    period_s = episode.start.period_s
    seconds = 1e-9 * float(steps.after_ns[-1] - steps.stamp_ns[0]) if len(steps) else 0.0
    acted = {name: steps.source.count(name) for name in sorted(set(steps.source))}
    guarded = sum(bool(events) for events in steps.guard_events)
    clock = "in real time" if episode.start.real_time else "of the robot's own time"
    dropped = sum(end.dropped.values()) if end is not None else 0
    pictures = sum(len(frames) for frames in episode.cameras().values())
    return [
        ("steps", amount(len(steps)), f"{1 / period_s:g} Hz"),
        ("duration", amount(seconds, unit=" s"), clock),
        ("return", amount(float(steps.reward.sum())), "sum of rewards"),
        ("who acted", ", ".join(acted) or MISSING, ", ".join(f"{n} steps of {name}" for name, n in acted.items())),
        ("guard", amount(guarded), "steps that it changed"),
        ("pictures", amount(pictures), f"{dropped} left out" if dropped else "none left out"),
    ]


def _films(episode: Episode) -> str:
    films = "".join(_film(*found) for found in episode.cameras().items())
    return f'<div style="display: grid; gap: .8rem">{films}</div>' if films else ""


def _film(camera: tuple[str, bool], frames: Frames) -> str:
    import cv2

    if not len(frames):
        return ""
    chosen = np.unique(np.linspace(0, len(frames) - 1, FILM).astype(int))
    shots = []
    for i in chosen:
        shot = np.asarray(frames[int(i)])
        shots.append(cv2.resize(shot, (_THUMB, max(1, _THUMB * shot.shape[0] // shot.shape[1]))))
    _, data = cv2.imencode(".jpg", cv2.cvtColor(np.hstack(shots), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    seconds = 1e-9 * (frames.stamp_ns[chosen] - frames.stamp_ns[0])
    size = "full size" if camera[1] else "as the policy saw it"
    name = f"{camera[0]}, {size}: at {', '.join(f'{s:.1f}' for s in seconds)} s"
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    style = "display: block; width: 100%; height: auto"
    return (
        f'<figure><img style="{style}" alt="{text(name)}" src="{source}"><figcaption>{text(name)}</figcaption></figure>'
    )


def _time_s(steps: Steps) -> NDArray[np.float64]:
    return 1e-9 * (steps.stamp_ns - steps.stamp_ns[0])


def _curves(steps: Steps, columns: Sequence[tuple[str, NDArray[Any], str, str]], unit: str) -> Draw:
    """Return a panel of columns over time: (label, values, colour, line style); shaded where a person acted."""
    x = _time_s(steps)
    human = np.array([source == "human" for source in steps.source])

    def draw(axes: Any) -> bool:
        if not len(x) or not any(np.isfinite(values).any() for _, values, _, _ in columns):
            return False
        for label, values, colour, style in columns:
            axes.plot(x, values, color=colour, linestyle=style, label=label)
        if human.any():
            axes.fill_between(
                x, 0, 1, where=human, step="post", transform=axes.get_xaxis_transform(), color=ORANGE, alpha=0.15, lw=0
            )
        axes.set_xlabel("time [s]")
        axes.set_ylabel(unit)
        if sum(not label.startswith("_") for label, *_ in columns) > 1:
            axes.legend(loc="best", handlelength=1.4)
        return True

    return draw


def _actions(episode: Episode, steps: Steps) -> list[str]:
    spec: Any = episode.start.spec.get("action", {})
    groups = {name: int(size) for name, (size, *_) in spec.get("continuous", {}).items()}
    groups |= dict.fromkeys(spec.get("discrete", {}), 1)
    made, first = [], 0
    if not len(steps):
        return []
    for name, size in groups.items():
        columns = []
        for k in range(first, min(first + size, steps.action.shape[1])):
            colour = COLOURS[(k - first) % len(COLOURS)]
            changed = not np.array_equal(steps.action[:, k], steps.executed[:, k], equal_nan=True)
            columns.append((str(k - first), steps.executed[:, k], colour, "-"))
            if changed:
                columns.append(("_asked", steps.action[:, k], colour, ":"))  # matplotlib leaves _ out of a legend
        asked = any(label == "_asked" for label, *_ in columns)
        unit = "executed; dotted: asked for" if asked else "executed"
        made.append(panel(f"action-{name}", name, _curves(steps, columns, unit)))
        first += size
    return made


def _observation(episode: Episode, steps: Steps) -> list[str]:
    spec: Any = episode.start.spec.get("observation", {})
    made, first = [], 0
    if not len(steps):
        return []
    for name, (size, unit, *_) in spec.get("state", {}).items():
        columns = [
            (str(k - first), steps.state[:, k], COLOURS[(k - first) % len(COLOURS)], "-" if k - first < 6 else "--")
            for k in range(first, min(first + int(size), steps.state.shape[1]))
        ]
        made.append(panel(f"state-{name}", name, _curves(steps, columns, str(unit))))
        first += int(size)
    return made


def _reward_and_timing(steps: Steps) -> list[str]:
    if not len(steps):
        return []
    made = [panel("reward", "reward", _curves(steps, [("reward", steps.reward, BLUE, "-")], "reward"))]
    for i, (name, values) in enumerate(steps.timing.items()):
        made.append(panel(f"timing-{i}", name, _curves(steps, [(name, values, GREY, "-")], "ms")))
    version = steps.policy_version.astype(float)
    if len(set(version)) > 1:
        made.append(panel("version", "policy", _curves(steps, [("version", version, ORANGE, "-")], "updates")))
    return made


def _events(steps: Steps) -> str:
    rows = []
    for i in range(len(steps)):
        told = [f"guard: {name}" for name in steps.guard_events[i]]
        if i and steps.source[i] != steps.source[i - 1]:
            told.append(f"{steps.source[i]} takes over from {steps.source[i - 1]}")
        if steps.terminated[i] or steps.truncated[i]:
            told.append(
                f"{'terminated' if steps.terminated[i] else 'truncated'}: {steps.reason[i] or 'no reason given'}"
            )
        at = f"{1e-9 * (steps.stamp_ns[i] - steps.stamp_ns[0]):.2f}"
        rows += [[what, str(int(steps.index[i])), at] for what in told]
    shown = rows[:200]
    more = f"<p>{len(rows) - 200} more are not shown.</p>" if len(rows) > 200 else ""
    return table(("what", "step", "time [s]"), shown) + more if rows else ""


def _provenance(episode: Episode) -> list[str]:
    start = episode.start
    facts = [[str(k), str(v)] for k, v in start.versions.items() if isinstance(v, (str, int, float))]
    topics = [[topic, str(n)] for topic, n in sorted(episode.topics.items())]
    parts = [f"<details><summary>Topics</summary>{table(('topic', 'messages'), topics)}</details>"]
    if facts:
        parts.append(f"<details><summary>Versions</summary>{table(('package', 'version'), facts)}</details>")
    if start.calibration:
        shown = text(json.dumps(start.calibration, indent=2, ensure_ascii=False))
        parts.append(f"<details><summary>Calibration</summary><pre>{shown}</pre></details>")
    if start.config:
        parts.append(f"<details><summary>Settings</summary><pre>{text(start.config)}</pre></details>")
    return parts
