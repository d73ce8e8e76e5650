"""Foreign episodes on their way into ours: what is known of one, and the file that it becomes."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.facts import EpisodeEnd, EpisodeStart, Verdict
from robot_rl.episodes.part import next_file
from robot_rl.episodes.recorder import FOLDER
from robot_rl.episodes.writer import EpisodeWriter, Picture, check_dependencies
from robot_rl.errors import ConfigError, SpecError
from robot_rl.formats.target import new_folder
from robot_rl.link import session_spec
from robot_rl.specs import ActionSpec, ObservationSpec


@dataclass(frozen=True, kw_only=True)
class Goal:
    """The task that foreign data are brought to.

    Attributes:
        task: Its name.
        observation_spec, action_spec: What its arrays are, with the cameras that it looks through.
        period_s: Its control period.
        versions: Of packages, and the commit.
    """

    task: str
    observation_spec: ObservationSpec
    action_spec: ActionSpec
    period_s: float
    versions: Mapping[str, Any] = field(default_factory=dict)

    def start(self, origin: Mapping[str, Any], **other: Any) -> EpisodeStart:
        """Return the facts of an imported episode's start."""
        now = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
        facts: dict[str, Any] = {
            "task": self.task, "spec": session_spec(self.observation_spec, self.action_spec), "period_s": self.period_s,
            "kind": "demo", "robot": f"imported from {origin['format']}", "versions": self.versions, "started": now,
        }  # fmt: skip
        return EpisodeStart(**{**facts, **other}, origin=dict(origin))

    def check_period(self, period_s: float, stated: float | None, what: str) -> None:
        """Raise `ConfigError` unless data were recorded at the task's rate, or a person said which it is."""
        if abs(period_s - self.period_s) > 0.02 * self.period_s and stated is None:
            raise ConfigError(
                f"{what} was recorded at {1.0 / period_s:g} Hz, the task {self.task} runs at {1.0 / self.period_s:g} "
                "Hz: an action means another motion. If the actions are the task's all the same, say so with "
                f"period_s: {self.period_s:g} in the map"
            )


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """One episode of n steps, in terms of the task.

    Attributes:
        start: What is known of it; `origin` says what is not.
        states: (n + 1, S) float32.
        actions, executed: (n, A) float32 asked for and executed.
        rewards: (n,) float32.
        terminated, truncated, success: (n,) bool.
        sources, reasons: n words each.
        images: By camera, n + 1 pictures, read once, in order.
        stamps_ns: (n + 1,) of the readings before and after each step, Unix time or from 0 on.
        log_ns: (n,) when each step was handed over; the stamp after it when None.
        picture_stamps_ns: By camera, (n + 1,); those of the readings where none are known.
        policy_versions: (n,) int64.
        guard_events: Names of rules for each step.
        timing: Milliseconds by name for each step.
        verdict: The operator's word, if there was one.
        reason: Why it ended, if the last step does not say it.
    """

    start: EpisodeStart
    states: NDArray[np.float32]
    actions: NDArray[np.float32]
    executed: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    success: NDArray[np.bool_]
    sources: Sequence[str]
    reasons: Sequence[str]
    images: Mapping[str, Iterable[Picture]]
    stamps_ns: NDArray[np.int64]
    log_ns: NDArray[np.int64] | None = None
    picture_stamps_ns: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    policy_versions: NDArray[np.int64] | None = None
    guard_events: Sequence[Sequence[str]] = ()
    timing: Sequence[Mapping[str, float]] = ()
    verdict: Verdict = ""
    reason: str = ""

    def __len__(self) -> int:
        return len(self.rewards)


def nominal_stamps(n: int, period_s: float) -> NDArray[np.int64]:
    """Return n + 1 stamps of data that have none: a control period apart, from 0 on."""
    return np.round(np.arange(n + 1) * period_s * 1e9).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What was written.

    Attributes:
        path: The run's folder.
        episodes, steps, successes: How many.
        unknown: What is not known of some of them.
    """

    path: Path
    episodes: int
    steps: int
    successes: int
    unknown: Sequence[str]


def write_run(
    episodes: Iterable[Incoming], path: Path, goal: Goal, progress: Callable[[Incoming], None] = lambda episode: None
) -> Imported:
    """Write episodes as a run that serves as demonstrations.

    Args:
        episodes: The episodes, made one after the other.
        path: The run's folder; it must not exist.
        goal: The task.
        progress: Told each episode when it is written.

    Raises:
        ConfigError: The name is taken, there is no episode, or one does not fit the task.
        StorageError: The disk does not take it; nothing is left.
    """
    check_dependencies(bool(goal.observation_spec.images))
    count = steps = successes = 0
    unknown: dict[str, None] = {}
    with new_folder(path, "a run") as folder:
        for episode in episodes:
            end = _write(episode, folder / FOLDER, goal)
            count, steps, successes = count + 1, steps + end.steps, successes + end.succeeded
            unknown |= dict.fromkeys(episode.start.origin.get("unknown", ()))
            progress(episode)
        if not count:
            raise ConfigError("there is no episode in what was to be imported; nothing is written")
    return Imported(path=path, episodes=count, steps=steps, successes=successes, unknown=list(unknown))


def _write(episode: Incoming, folder: Path, goal: Goal) -> EpisodeEnd:
    n = len(episode)
    _check(episode, goal)
    stamps = episode.stamps_ns
    log = episode.log_ns if episode.log_ns is not None else stamps[1:]
    file = next_file(folder)
    try:
        # Stamps count from the first one, so that seconds are exact to the nanosecond.
        writer = EpisodeWriter(file, episode.start, int(stamps[0]))
        pictures = {name: iter(episode.images[name]) for name in goal.observation_spec.images}

        def seen(index: int, log_ns: int) -> None:
            for name, left in pictures.items():
                picture = next(left)
                shape = goal.observation_spec.images[name].shape
                if picture.shape != shape:
                    raise ConfigError(
                        f"pictures of camera '{name}' are {picture.shape[1]}x{picture.shape[0]}, the task's are "
                        f"{shape[1]}x{shape[0]}; say resize: true in the map, or choose the task's size with "
                        f"robot.image_size={picture.shape[0]}"
                    )
                at = episode.picture_stamps_ns.get(name, stamps)[index]
                writer.picture(name, picture, index, _seconds(at, stamps), log_ns)

        seen(0, int(stamps[0]))
        for k in range(n):
            seen(k + 1, int(log[k]))
            writer.step(_fields(episode, k), _seconds(stamps[k], stamps), _seconds(stamps[k + 1], stamps), int(log[k]))
        end = _end(episode)
        writer.finish(end)
    finally:
        file.close()
    return end


def _check(episode: Incoming, goal: Goal) -> None:
    n, spec = len(episode), goal.observation_spec
    expected = {
        "states": (n + 1, spec.size), "actions": (n, goal.action_spec.size), "executed": (n, goal.action_spec.size),
        "rewards": (n,), "stamps_ns": (n + 1,),
    }  # fmt: skip
    for name, shape in expected.items():
        value = getattr(episode, name)
        if value.shape != shape or not np.isfinite(value).all():
            raise SpecError(f"{name} of an imported episode have shape {value.shape}, expected finite {shape}")
    if not n:
        raise SpecError("an imported episode holds no step")


def _fields(episode: Incoming, k: int) -> dict[str, Any]:
    timing = episode.timing[k] if episode.timing else {}
    versions = episode.policy_versions
    return {
        "index": k,
        "source": episode.sources[k],
        "policy_version": int(versions[k]) if versions is not None else 0,
        "state": episode.states[k],
        "action": episode.actions[k],
        "executed": episode.executed[k],
        "next_state": episode.states[k + 1],
        "reward": float(episode.rewards[k]),
        "terminated": bool(episode.terminated[k]),
        "truncated": bool(episode.truncated[k]),
        "success": bool(episode.success[k]),
        "reason": episode.reasons[k],
        "guard_events": list(episode.guard_events[k]) if episode.guard_events else [],
        **{name: float(timing.get(name, np.nan)) for name in ("state_age_ms", "period_ms", "action_latency_ms")},
        "timing_names": list(timing),
        "timing_ms": np.array(list(timing.values()), np.float32),
    }


def _end(episode: Incoming) -> EpisodeEnd:
    sources, guard = {}, {}
    for source in episode.sources:
        sources[source] = sources.get(source, 0) + 1
    for events in episode.guard_events:
        for event in events:
            guard[event] = guard.get(event, 0) + 1
    return EpisodeEnd(
        steps=len(episode),
        success=bool(episode.success[-1]),
        terminated=bool(episode.terminated[-1]),
        truncated=bool(episode.truncated[-1]),
        reason=episode.reason or episode.reasons[-1],
        total_reward=float(episode.rewards.sum(dtype=np.float64)),
        duration_s=1e-9 * float(episode.stamps_ns[-1] - episode.stamps_ns[0]),
        verdict=episode.verdict,
        sources=sources,
        guard=guard,
    )


def _seconds(stamp_ns: Any, stamps: NDArray[np.int64]) -> float:
    return 1e-9 * int(stamp_ns - stamps[0])


def resized(picture: Picture, height: int, width: int) -> Picture:
    """Return an (H, W, 3) picture in another size, each pixel the mean of those it covers."""
    if picture.shape[:2] == (height, width):
        return picture
    import cv2

    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
