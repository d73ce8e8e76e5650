"""What is wrong with a set of episodes: unreadable files, other tasks, labels, outliers, other ways of acting."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from robot_rl.episodes.check import Finding, check_episode
from robot_rl.episodes.check_agree import disagreement
from robot_rl.episodes.reader import Episode
from robot_rl.errors import CheckpointError
from robot_rl.link import spec_difference

FEWEST = 8  # episodes from which on one can differ from the rest
FAR = 6.0  # distance from the median, in robust standard deviations
BALANCE_FROM, BALANCE = 20, 0.05  # from so many episodes on, fewer than this share of a label are told of
_MEASURES = {
    "steps": "steps",
    "duration_s": "seconds",
    "path": "of mean change of the observation in a step",
    "action": "of mean size of an action",
    "start": "between its first observation and the usual one",
}


def check_files(paths: Sequence[Path], progress: Callable[[Path], None] = lambda path: None) -> list[Finding]:
    """Check episodes, each on its own and against each other.

    Args:
        paths: Their files.
        progress: Told each file before it is read.
    """
    found: list[Finding] = []
    facts: list[_Facts] = []
    for path in paths:
        progress(path)
        try:
            episode = Episode(path)
            found += check_episode(episode)
            if len(episode):
                facts.append(_Facts(episode))
        except CheckpointError as e:
            found.append(Finding(path=path, kind="unreadable", sentence=str(e).removeprefix(f"{path} ")))
    return found + _other_tasks(facts) + _labels(facts) + _outliers(facts) + _disagreeing(facts)


class _Facts:
    """What is compared between episodes."""

    def __init__(self, episode: Episode) -> None:
        steps = episode.steps
        self.path, self.start, self.end = episode.path, episode.start, episode.end
        self.first = np.asarray(steps.state[0], float)
        scale = _scales(episode.start.spec, steps.state.shape[1])
        self.scaled = self.first / scale
        finite = np.isfinite(steps.state).all(axis=1) & np.isfinite(steps.executed).all(axis=1)
        self.states = np.asarray(steps.state[finite], float) / scale
        self.executed = np.asarray(steps.executed[finite], float)
        self.measures: Mapping[str, float] = {
            "steps": len(steps),
            "duration_s": 1e-9 * float(steps.after_ns[-1] - steps.stamp_ns[0]),
            "path": float(np.abs((steps.next_state - steps.state) / scale).mean()),
            "action": float(np.abs(steps.executed).mean()),
        }


def _scales(spec: Mapping[str, object], size: int) -> np.ndarray:
    """Return the (size,) typical magnitudes of the state that the recorded specification names."""
    observation = spec.get("observation")
    fields = observation.get("state", {}) if isinstance(observation, Mapping) else {}
    scale = np.concatenate([np.full(int(f[0]), float(f[2])) for f in fields.values()]) if fields else np.ones(size)
    return scale if len(scale) == size else np.ones(size)


def _other_tasks(facts: Sequence[_Facts]) -> list[Finding]:
    if not facts:
        return []
    tasks = Counter(f.start.task for f in facts)
    usual = tasks.most_common(1)[0][0]
    model = next(f for f in facts if f.start.task == usual)
    found = []
    for f in facts:
        difference = spec_difference(model.start.spec, f.start.spec)
        if f.start.task != usual:
            sentence = f"it is of task '{f.start.task}', most are of '{usual}'"
        elif difference:
            told = difference.replace("learner expects", "most have").replace("actor sends", "this one has")
            sentence = f"its data differ: {told.replace('actor', 'this one').replace('learner', 'the rest')}"
        elif not math.isclose(f.start.period_s, model.start.period_s, rel_tol=0.02):
            sentence = (
                f"its control period is {f.start.period_s:g} s, that of {model.path.name} {model.start.period_s:g} s"
            )
        else:
            continue
        found.append(Finding(path=f.path, kind="other", sentence=sentence))
    return found


def _labels(facts: Sequence[_Facts]) -> list[Finding]:
    ended = [f for f in facts if f.end is not None and f.end.verdict != "discard"]
    good = sum(f.end.succeeded for f in ended if f.end is not None)
    n = len(ended)
    if n >= FEWEST and not good:
        sentence = f"none of {n} episodes is a success: there is nothing to imitate, and no reward to learn from"
    elif n >= BALANCE_FROM and not BALANCE <= good / n <= 1.0 - BALANCE:
        few = "successes" if good < n - good else "failures"
        sentence = f"{good} of {n} episodes are successes: what tells them apart is hard to learn from so few {few}"
    else:
        return []
    return [Finding(path=_common(facts), kind="label", sentence=sentence, problem=False)]


def _outliers(facts: Sequence[_Facts]) -> list[Finding]:
    """Return the episodes that are far from the rest of their task, by the median and the median deviation."""
    found = []
    for task in sorted({f.start.task for f in facts}):
        ours = [f for f in facts if f.start.task == task]
        if len(ours) < FEWEST or len({f.first.shape for f in ours}) > 1:
            continue
        middle = np.median([f.scaled for f in ours], axis=0)
        for measure, unit in _MEASURES.items():
            values = np.array(
                [float(np.linalg.norm(f.scaled - middle)) if measure == "start" else f.measures[measure] for f in ours]
            )
            center = float(np.median(values))
            spread = 1.4826 * float(np.median(np.abs(values - center)))
            spread = max(spread, 0.05 * abs(center), 1e-9)  # episodes of one length do not make the next an outlier
            for f, value in zip(ours, values, strict=True):
                if abs(value - center) > FAR * spread:
                    sentence = f"it is unlike the rest: {value:.3g} {unit}, usual are {center:.3g}"
                    found.append(Finding(path=f.path, kind="outlier", sentence=sentence, problem=False))
    return found


def _disagreeing(facts: Sequence[_Facts]) -> list[Finding]:
    """Return the episodes that act otherwise than the rest of their task in like states."""
    found = []
    for task in sorted({f.start.task for f in facts}):
        ours = [f for f in facts if f.start.task == task and len(f.states)]
        if len(ours) < FEWEST or len({(f.states.shape[1], f.executed.shape[1]) for f in ours}) > 1:
            continue
        scores = disagreement([f.states for f in ours], [f.executed for f in ours])
        if np.isfinite(scores).sum() < FEWEST:
            continue
        center = float(np.nanmedian(scores))
        spread = max(1.4826 * float(np.nanmedian(np.abs(scores - center))), 0.1 * center, 1e-9)
        for f, score in zip(ours, scores, strict=True):
            if score - center > FAR * spread:
                sentence = (
                    f"it disagrees with the rest: where others were too, its actions are {score:.2g} from theirs, "
                    f"usual are {center:.2g}"
                )
                found.append(Finding(path=f.path, kind="disagree", sentence=sentence, problem=False))
    return found


def _common(facts: Sequence[_Facts]) -> Path:
    folders = {f.path.parent for f in facts}
    return folders.pop() if len(folders) == 1 else Path()
