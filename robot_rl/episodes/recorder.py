"""Records episodes beside a control loop that never waits for it: the loop hands over, a thread writes.

What is handed over waits in memory while the disk is slow. When that becomes too much, pictures of full size are left
out first, then the policy's pictures, both counted; steps never, until the memory that was allowed is full: then the
episode is given up and a sentence says so. A full disk does the same. The loop goes on, and so does the next episode.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.facts import EpisodeEnd, EpisodeStart, Verdict
from robot_rl.episodes.part import next_file
from robot_rl.episodes.writer import EpisodeWriter, Picture, check_dependencies
from robot_rl.errors import ConfigError, RobotRLError
from robot_rl.robot import RobotState

log = logging.getLogger(__name__)

FOLDER = "episodes"  # within a run's folder
_STEP_BYTES = 4000  # what a waiting step takes in memory, about


@dataclass(frozen=True, kw_only=True)
class RecorderConfig:
    """Settings of the recorder.

    Attributes:
        buffer_mb: What may wait for the disk: full pictures up to half of it, the policy's pictures up to all of it,
            numbers up to twice of it.
        sync_s: How often what was written is forced to the disk; bounds what a power cut can take.
    """

    buffer_mb: float = 128.0
    sync_s: float = 1.0

    def __post_init__(self) -> None:
        if not self.buffer_mb > 0.0:
            raise ConfigError(f"episodes.buffer_mb is {self.buffer_mb}; it must be positive")
        if not self.sync_s >= 0.0:
            raise ConfigError(f"episodes.sync_s is {self.sync_s}; it must not be negative")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What became of one episode.

    Attributes:
        path: The file; with ".part" at its end if the episode was lost on the way; None if none could be begun.
        steps: Steps in it.
        dropped: Pictures left out.
        lost: Why it is not whole, as a sentence; empty if it is.
    """

    path: Path | None
    steps: int
    dropped: int
    lost: str = ""


class EpisodeRecorder:
    """The control loop's end: `begin`, then `step` after each step, then `end`; none of them waits.

    Only a robot in lock-step, for which no time passes meanwhile, is made to wait until the step before is written.

    Args:
        folder: Where the files lie, such as RUN/episodes; made when the first episode begins.
        config: Settings.
        pictures: Whether there are any, so that a missing library is told of now.

    Raises:
        MissingDependency: The extra `data` is not installed.
    """

    def __init__(self, folder: Path, config: RecorderConfig | None = None, *, pictures: bool = False) -> None:
        check_dependencies(pictures)
        self.folder, self.config = folder, config or RecorderConfig()
        self.finished: deque[Recorded] = deque(maxlen=1000)
        self._limit = self.config.buffer_mb * 1e6
        self._jobs: deque[tuple[int, Callable[[], None] | None]] = deque()
        self._ready = threading.Condition()
        self._waiting_bytes = 0
        self._busy = False
        self._thread: threading.Thread | None = None
        self._open: _Open | None = None  # the loop's side
        self._writer: EpisodeWriter | None = None  # the thread's side, as are the next three
        self._lost = ""
        self._path: Path | None = None

    def begin(self, start: EpisodeStart, state: RobotState, observation: Any) -> None:
        """Begin an episode; one that is still open ends as cut off.

        Args:
            start: What is known of it.
            state: The first reading.
            observation: The first observation: the flat state, or a dictionary with "state" and pictures.
        """
        if self._open is not None:
            self.end(reason="the next episode began")
        if not start.started:
            now = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
            start = dataclasses.replace(start, started=now)
        offset_ns = time.time_ns() - (time.monotonic_ns() if start.real_time else round(state.stamp_s * 1e9))
        opened = self._open = _Open(start, offset_ns, state.stamp_s, _state(observation))
        self._put(0, lambda: self._begin(opened))
        size, acts = self._observed(opened, state, observation, 0)
        self._put(size, lambda: self._writing(*acts))

    def step(
        self,
        state: RobotState,
        observation: Any,
        action: NDArray[np.float32],
        reward: float,
        terminated: bool,
        truncated: bool,
        info: Mapping[str, Any],
        source: str = "policy",
        policy_version: int = 0,
    ) -> None:
        """Record a step, right after `RobotEnv.step`.

        Args:
            state: The reading that the step led to (`env.robot_state`).
            observation: The observation that the step led to.
            action: (A,) what was asked for.
            reward, terminated, truncated, info: As the environment returned them.
            source: Who acted.
            policy_version: Of the weights that acted, or would have.
        """
        opened = self._open
        if opened is None:
            raise ConfigError("a step was recorded before an episode was begun; call begin first")
        following = _state(observation)
        timing: Mapping[str, float] = info.get("timing", {})
        executed = info.get("executed_action", action)
        fields: dict[str, Any] = {
            "index": opened.steps,
            "source": source,
            "policy_version": int(policy_version),
            "state": opened.state,
            "action": np.array(action, np.float32),
            "executed": np.array(executed, np.float32),
            "next_state": following,
            "reward": float(reward),
            "terminated": bool(terminated),
            "truncated": bool(truncated),
            "success": bool(info.get("success", False)),
            "reason": str(info.get("reason", "")),
            "guard_events": [str(e) for e in info.get("guard_events", ())],
            "state_age_ms": float(timing.get("state_age_ms", np.nan)),
            "period_ms": float(timing.get("period_ms", np.nan)),
            "action_latency_ms": float(timing.get("action_latency_ms", np.nan)),
            "timing_names": list(timing),
            "timing_ms": np.array(list(timing.values()), np.float32),
        }
        opened.count(fields, state.stamp_s)
        before_s, opened.stamp_s, opened.state = opened.stamp_s, state.stamp_s, following
        size, acts = self._observed(opened, state, observation, opened.steps, timing)
        log_ns = opened.log_ns(state.stamp_s)
        acts.append(lambda w: w.step(fields, before_s, state.stamp_s, log_ns))
        if not opened.start.real_time:  # so that a kill takes no more than the step in flight here too
            self.wait()
        self._put(size, lambda: self._writing(*acts))  # all at once: each handover may cost the loop a thread switch

    def sample(self, state: RobotState) -> None:
        """Record a reading between two steps."""
        if self._open is not None:
            log_ns = self._open.log_ns(state.stamp_s)
            self._put(_STEP_BYTES, lambda: self._writing(lambda w: w.state(state, log_ns)))

    def frame(self, camera: str, picture: Picture, stamp_s: float) -> None:
        """Record a picture of full size; it must not change afterwards. It is the first to be left out."""
        opened = self._open
        if opened is None:
            return
        if not self._has_room(opened, picture.nbytes, 0.5):
            opened.dropped[camera] += 1
            return
        log_ns = opened.log_ns(stamp_s)
        self._put(picture.nbytes, lambda: self._writing(lambda w: w.frame(camera, picture, stamp_s, log_ns)))

    def end(self, verdict: Verdict = "", reason: str = "") -> None:
        """End the episode: the file is completed and named as soon as the thread comes to it.

        Args:
            verdict: The operator's word, if there is one.
            reason: Why it ended, if the last step does not say so.
        """
        opened, self._open = self._open, None
        if opened is not None:
            facts = opened.facts(verdict, reason)
            self._put(0, lambda: self._end(facts))

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Wait until everything handed over is written; return whether it is. Never call it from a control loop."""
        with self._ready:
            return self._ready.wait_for(lambda: not self._jobs and not self._busy, timeout_s)

    def close(self, timeout_s: float = 60.0) -> None:
        """End an open episode, write everything and stop the thread. Safe to call twice."""
        self.end(reason="the recording ended")
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._ready:
                self._jobs.append((0, None))
                self._ready.notify_all()
            thread.join(timeout_s)
            if thread.is_alive():
                log.warning("the disk of %s did not take the last episode within %.0f s", self.folder, timeout_s)

    def __enter__(self) -> EpisodeRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- the loop's side ---------------------------------------------------------------------------------------------

    def _observed(
        self, opened: _Open, state: RobotState, observation: Any, index: int, timing: Mapping[str, float] | None = None
    ) -> tuple[int, list[Callable[[EpisodeWriter], None]]]:
        """Return what is to be written of an observation, and how many bytes wait with it."""
        log_ns, size = opened.log_ns(state.stamp_s), _STEP_BYTES
        acts: list[Callable[[EpisodeWriter], None]] = [lambda w: w.state(state, log_ns)]
        pictures = observation.items() if isinstance(observation, dict) else ()
        for name, picture in pictures:
            if name == "state":
                continue
            if self._has_room(opened, picture.nbytes + size, 1.0):
                acts.append(_picture(name, picture, index, _caught_s(state, name, timing or {}), log_ns))
                size += picture.nbytes
            else:
                opened.dropped[name] += 1
        return size, acts

    def _has_room(self, opened: _Open, size: int, share: float) -> bool:
        """Return whether so many bytes may wait in a part of the memory; those of lock-step may, and wait for it."""
        return not opened.start.real_time or self._waiting_bytes + size <= share * self._limit

    def _put(self, size: int, job: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="episode-recorder", daemon=True)
            self._thread.start()
        opened = self._open
        with self._ready:
            if size and opened is not None:
                if not opened.start.real_time:
                    self._ready.wait_for(lambda: self._waiting_bytes <= self._limit)
                elif opened.given_up or self._waiting_bytes > 2.0 * self._limit:
                    opened.given_up = True  # for good: an episode with a gap would be worse than a short one
                    return
            self._jobs.append((size, job))
            self._waiting_bytes += size
            self._ready.notify_all()

    # ---- the thread's side -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._jobs)
                size, job = self._jobs.popleft()
                self._busy = job is not None
            if job is None:
                return
            with self._losing():
                job()
            with self._ready:
                self._waiting_bytes -= size
                self._busy = False
                self._ready.notify_all()

    def _begin(self, opened: _Open) -> None:
        self._lost, self._writer, self._path = "", None, None
        with self._losing():
            file = next_file(self.folder)
            self._path = file.part
            try:
                self._writer = EpisodeWriter(file, opened.start, opened.offset_ns, self.config.sync_s)
                file.flush()
            except BaseException:
                file.close()
                raise

    def _writing(self, *acts: Callable[[EpisodeWriter], None]) -> None:
        for act in acts:
            if self._writer is not None and not self._lost:
                with self._losing():
                    act(self._writer)

    def _end(self, facts: EpisodeEnd) -> None:
        writer = self._writer
        steps = writer.steps if writer is not None else 0
        if not self._lost and writer is not None and steps < facts.steps:
            self._lose(f"more than {2 * self.config.buffer_mb:.0f} MB waited for the disk")
        if writer is not None and not self._lost:
            with self._losing():
                writer.finish(facts)
                self._path = writer.file.path
        if writer is not None:
            writer.file.close()
        self._writer = None
        dropped = sum(facts.dropped.values())
        if dropped:
            log.warning("%d pictures of %s were left out: the disk or the processor is too slow", dropped, self._path)
        self.finished.append(Recorded(path=self._path, steps=steps, dropped=dropped, lost=self._lost))

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except RobotRLError as e:
            self._lose(str(e))
        except Exception as e:  # a bug here must not end what records the episodes to come
            log.exception("the recorder of %s failed", self.folder)
            self._lose(f"the recorder failed ({e!r})")

    def _lose(self, why: str) -> None:
        if self._lost:
            return
        steps = self._writer.steps if self._writer is not None else 0
        where = f"What was written until then is intact; complete it with: robot-rl data repair {self._path}"
        self._lost = f"an episode is lost after {steps} steps: {why}. {where if self._path else 'Nothing was written'}"
        log.warning("%s", self._lost)


class _Open:
    """The episode that the loop is in."""

    def __init__(self, start: EpisodeStart, offset_ns: int, stamp_s: float, state: NDArray[np.float32]) -> None:
        self.start, self.offset_ns, self.stamp_s, self.state = start, offset_ns, stamp_s, state
        self.dropped: Counter[str] = Counter()
        self.given_up = False
        self.steps = 0
        self._sources: Counter[str] = Counter()
        self._guard: Counter[str] = Counter()
        self._total = 0.0
        self._first_s = self._last_s = stamp_s
        self._last: Mapping[str, Any] = {}

    def log_ns(self, stamp_s: float) -> int:
        """Return the time of the log: now, or the robot's own where none passes by itself."""
        now_ns = time.monotonic_ns() if self.start.real_time else round(stamp_s * 1e9)
        return self.offset_ns + now_ns

    def count(self, fields: Mapping[str, Any], stamp_s: float) -> None:
        """Add up a step."""
        self.steps += 1
        self._sources[fields["source"]] += 1
        self._guard.update(fields["guard_events"])
        self._total += fields["reward"]
        self._last_s, self._last = stamp_s, fields

    def facts(self, verdict: Verdict, reason: str) -> EpisodeEnd:
        """Return what is known at the end."""
        last = self._last
        return EpisodeEnd(
            steps=self.steps,
            success=bool(last.get("success", False)),
            terminated=bool(last.get("terminated", False)),
            truncated=bool(last.get("truncated", False)),
            reason=reason or str(last.get("reason", "")),
            total_reward=self._total,
            duration_s=self._last_s - self._first_s,
            verdict=verdict,
            sources=dict(self._sources),
            guard=dict(self._guard),
            dropped=dict(self.dropped),
        )


def _picture(name: str, picture: Picture, index: int, stamp_s: float, log_ns: int) -> Callable[[EpisodeWriter], None]:
    return lambda w: w.picture(name, picture, index, stamp_s, log_ns)


def _caught_s(state: RobotState, camera: str, timing: Mapping[str, float]) -> float:
    """Return when the light of a picture was caught: its age and that of the reading were measured at one moment."""
    older_ms = timing.get(f"image_age_ms/{camera}", np.nan) - timing.get("state_age_ms", np.nan)
    return state.stamp_s - 1e-3 * older_ms if np.isfinite(older_ms) else state.stamp_s


def _state(observation: Any) -> NDArray[np.float32]:
    return np.array(observation["state"] if isinstance(observation, dict) else observation, np.float32)
