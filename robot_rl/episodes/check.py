"""What is wrong with recorded episodes, each on its own: gaps, numbers that are none, stamps, pictures, actions.

A problem makes an episode, or a part of it, unfit to learn from. A remark is worth a look and may be meant.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.reader import Episode, Frames, Steps

GAP = 2.0  # control periods between two steps from which on it is a gap
FROZEN_S, FROZEN_PICTURES, FROZEN_M = 0.5, 5, 0.005  # the same picture for so long while the tool moved so far
SATURATED, SATURATED_SHARE = 0.999, 0.5
LATE_S = 1.0
FUTURE_S = 0.005
OLD_PICTURE_PERIODS = 2.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about an episode, or about several.

    Attributes:
        path: The file, or the folder of several.
        kind: One word: cut, damaged, gap, order, nan, stamp, picture, frozen, saturated, guard, label, other, outlier,
            disagree.
        sentence: What was found, and where.
        problem: Whether the data are unfit to learn from as they are; else it is a remark.
    """

    path: Path
    kind: str
    sentence: str
    problem: bool = True


def check_episode(episode: Episode) -> list[Finding]:
    """Return what is to be said about one episode; nothing if all is well."""
    steps = episode.steps
    found = [(kind, sentence, True) for kind, sentence in (*_whole(episode, steps), *_numbers(steps))]
    if len(steps):
        found += [(kind, sentence, True) for kind, sentence in _stamps(episode, steps)]
        found += list(_pictures(episode, steps))
        found += [(kind, sentence, False) for kind, sentence in _actions(episode, steps)]
        found += [(kind, sentence, False) for kind, sentence in _labels(episode, steps)]
    return [Finding(path=episode.path, kind=k, sentence=s, problem=p) for k, s, p in found]


def _whole(episode: Episode, steps: Steps) -> Iterator[tuple[str, str]]:
    if episode.damaged:
        places = ", ".join(map(str, episode.damaged[:4]))
        yield "damaged", f"parts at byte {places} cannot be read; complete the file with: robot-rl data repair"
    elif episode.cut:
        yield (
            "cut",
            episode.cut + ("" if episode.path.suffix == ".mcap" else "; complete it with: robot-rl data repair"),
        )
    if not len(steps):
        yield "cut", "it holds no step"
        return
    if steps.gap < len(steps):
        yield "gap", f"step {steps.gap} is followed by others but missing"
    elif episode.end is not None and len(steps) < episode.end.steps:
        yield "gap", f"it has {len(steps)} steps, {episode.end.steps} were made"
    follow = np.diff(steps.index) == 1
    broken = follow & ~_same_rows(steps.next_state[:-1], steps.state[1:])
    if broken.any():
        yield "order", f"the observation after step {_first(broken)} is not the one before the next"


def _numbers(steps: Steps) -> Iterator[tuple[str, str]]:
    for name in ("state", "next_state", "action", "executed", "reward") if len(steps) else ():
        wrong = ~np.isfinite(getattr(steps, name).reshape(len(steps), -1)).all(axis=1)
        if wrong.any():
            yield "nan", f"{name} is not finite in {int(wrong.sum())} step(s), first in step {_first(wrong)}"


def _stamps(episode: Episode, steps: Steps) -> Iterator[tuple[str, str]]:
    took_s = 1e-9 * (steps.after_ns - steps.stamp_ns)
    backwards = took_s <= 0.0
    backwards[1:] |= np.diff(steps.stamp_ns) < 0
    if backwards.any():
        yield "stamp", f"the stamps do not rise at {int(backwards.sum())} step(s), first at step {_first(backwards)}"
    period_s = episode.start.period_s
    late = took_s > GAP * period_s
    if late.any():
        yield (
            "gap",
            (
                f"{int(late.sum())} step(s) took more than {GAP:g} control periods, the longest {took_s.max():.3f} s "
                f"instead of {period_s:g} s, first step {_first(late)}"
            ),
        )
    if not episode.start.real_time:
        return
    age_s = 1e-9 * (steps.log_ns - steps.after_ns)
    ahead = age_s < -FUTURE_S
    if ahead.any():
        yield (
            "stamp",
            f"{int(ahead.sum())} reading(s) carry a stamp from the future, up to {-age_s.min():.3f} s: "
            "the clocks of the computers differ",
        )
    if (age_s > LATE_S).any():
        yield "stamp", f"{int((age_s > LATE_S).sum())} reading(s) were older than {LATE_S:g} s when they were recorded"


def _pictures(episode: Episode, steps: Steps) -> Iterator[tuple[str, str, bool]]:
    if episode.end is not None and sum(episode.end.dropped.values()):
        told = ", ".join(f"{n} of {camera}" for camera, n in sorted(episode.end.dropped.items()))
        yield "picture", f"pictures were left out while recording: {told}", False
    path = _Path(episode)
    for (camera, full), frames in episode.cameras().items():
        if not full:
            missing = np.setdiff1d(np.arange(steps.gap + 1), frames.observation)
            if len(missing):
                yield (
                    "picture",
                    f"camera {camera} lacks {len(missing)} picture(s), first of observation {missing[0]}",
                    True,
                )
        run = _frozen(frames, path)
        if run:
            yield "frozen", f"camera {camera} shows the same picture {run} while the tool moves", True
    for name, ages_ms in steps.timing.items():
        if name.startswith("image_age_ms/") and np.isfinite(ages_ms).any():
            age_s = 1e-3 * float(np.nanpercentile(ages_ms, 95))
            if age_s > OLD_PICTURE_PERIODS * episode.start.period_s:
                camera = name.partition("/")[2]
                yield "picture", f"pictures of {camera} were up to {age_s:.3f} s old when they were used", False


def _frozen(frames: Frames, path: _Path) -> str:
    """Return the longest stretch of equal pictures in words, if the tool moved meanwhile."""
    prints = [hashlib.blake2b(frames.encoded(i), digest_size=16).digest() for i in range(len(frames))]
    longest = ""
    most, begin = FROZEN_PICTURES - 1, 0
    for _, group in itertools.groupby(prints):
        count = len(list(group))
        # When it was shown: one that is shown again keeps the stamp of its light.
        first_ns, last_ns = frames.log_ns[begin], frames.log_ns[begin + count - 1]
        begin += count
        held_s = 1e-9 * (last_ns - first_ns)
        if count > most and held_s >= FROZEN_S and path.moved_m(first_ns, last_ns) > FROZEN_M:
            most, longest = count, f"{count} times ({held_s:.1f} s)"
    return longest


class _Path:
    """Where the tool was."""

    def __init__(self, episode: Episode) -> None:
        readings = episode.readings() if episode.cameras() else []
        start_ns = min(
            (int(s[0]) for t in episode.topics if len(s := episode.stamps(t)[0]) and t[:4] == "/arm"), default=0
        )
        self._at_ns = np.array([start_ns + round(1e9 * r.stamp_s) for r in readings], np.int64)
        self._p = np.array([r.p_BE for r in readings]).reshape(-1, 3)

    def moved_m(self, first_ns: int, last_ns: int) -> float:
        """Return how far from its place at the first time the tool came until the last [m]."""
        inside = self._p[(self._at_ns >= first_ns) & (self._at_ns <= last_ns)]
        return float(np.linalg.norm(inside - inside[0], axis=1).max()) if len(inside) else math.nan


def _actions(episode: Episode, steps: Steps) -> Iterator[tuple[str, str]]:
    action: Any = episode.start.spec.get("action", {})
    discrete = len(action.get("discrete", ())) if isinstance(action, dict) else 0
    continuous = steps.executed[:, : steps.executed.shape[1] - discrete]
    share = (np.abs(continuous) >= SATURATED).mean(axis=0)
    for axis in np.flatnonzero(share > SATURATED_SHARE) if len(steps) >= 10 else ():
        yield "saturated", f"action {axis} is at its limit in {100 * share[axis]:.0f} % of the steps"
    guarded = np.array([bool(events) for events in steps.guard_events])
    if len(steps) >= 10 and guarded.mean() > 0.5:
        rules = sorted({e for events in steps.guard_events for e in events})
        yield "guard", f"the guard changed {100 * guarded.mean():.0f} % of the actions ({', '.join(rules)})"


def _labels(episode: Episode, steps: Steps) -> Iterator[tuple[str, str]]:
    end = episode.end
    if end is None:
        return
    if end.verdict in ("success", "failure") and (end.verdict == "success") != end.success:
        yield "label", f"the operator says {end.verdict}, the task says {'success' if end.success else 'failure'}"
    if end.success and not (steps.reward > 0.0).any():
        yield "label", "it is a success without any reward"
    if end.steps == len(steps) and not (steps.terminated[-1] or steps.truncated[-1]):
        yield "label", f"its last step does not end it ({end.reason or 'no reason is given'})"


def _same_rows(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    return np.array([np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True)], bool)


def _first(mask: Any) -> int:
    return int(np.flatnonzero(mask)[0])
