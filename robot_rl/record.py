"""Demonstrations by a person at the robot: episodes on disk until there are enough of them, whatever interrupts.

The arm holds while nobody acts, an episode begins with the person's first motion, and every episode is a file of its
own. What counts is read from the files, so the same command goes on after Ctrl-C, a kill or a power cut.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot_rl.assisted import AssistedEnv
from robot_rl.episodes.beginning import beginning_of
from robot_rl.episodes.facts import EpisodeStart, Verdict
from robot_rl.episodes.folder import entry, episode_files
from robot_rl.episodes.part import number_of
from robot_rl.episodes.recorder import FOLDER, EpisodeRecorder
from robot_rl.errors import ConfigError, RateError, RobotError, StorageError
from robot_rl.link import session_spec
from robot_rl.patience import begin_episode, pause
from robot_rl.record_folder import counts, recorded, start_seed
from robot_rl.robot import RobotState
from robot_rl.specs import ActionSpec
from robot_rl.timing import LoopTimer, RateCheck

MOST_TRIES = 5  # episodes that a scripted operator may try for each demonstration
_NEVER = 10**9

Phase = Literal["getting ready", "waiting", "recording", "keep it?", "paused", "over"]


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """Settings of a recording.

    Attributes:
        n: How many successful demonstrations there shall be.
        time_s: Time limit of an episode from the person's first motion on; 0 takes the task's.
        confirm: Whether a success waits for the person's word, to be kept or not.
        source: Who acts: "human", or "demo" for a script.
        rate_tolerance: Of a robot in real time, see `RateCheck`.
    """

    n: int = 20
    time_s: float = 0.0
    confirm: bool = True
    source: Literal["human", "demo"] = "human"
    rate_tolerance: float = 1.2

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigError(f"n is {self.n}; it must be at least 1")
        if not 0.0 <= self.time_s < math.inf:
            raise ConfigError(f"the time of an episode is {self.time_s} s; it must be positive, or 0 for the task's")


@dataclass(slots=True, kw_only=True)
class Progress:
    """How a recording stands, for whoever shows it.

    Attributes:
        done, n: Demonstrations that count, and how many there shall be.
        tried: Episodes on disk.
        phase: What happens now.
        episode_left_s: Until the episode's time limit; nan while none runs.
        left_s: Estimate until all are there; nan while nothing is known.
        acts: Whether the person acts in this period.
        action: (A,) what was asked for in it.
        state: The newest reading; None before the first.
        guard: Events of the guard in this episode.
        note: About the device.
        said: What became of the last episode.
    """

    done: int = 0
    n: int = 0
    tried: int = 0
    phase: Phase = "getting ready"
    episode_left_s: float = math.nan
    left_s: float = math.nan
    acts: bool = False
    action: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    state: RobotState | None = None
    guard: Counter[str] = field(default_factory=Counter)
    note: str = ""
    said: str = ""


class Recording:
    """Records until there are enough demonstrations; a `with` block.

    Args:
        folder: Of `open_recording`.
        env: The environment with the person beside it.
        config: Settings.
        seed: Same seed, same starts.
        facts: More for `EpisodeStart`: robot, config, versions.
        stopping: Asked in every control period whether to end.
        show: Told in every control period how it stands; it must not wait.

    Raises:
        ConfigError: Another process records into the folder.
    """

    def __init__(
        self, folder: Path, env: AssistedEnv, config: RecordConfig, *, seed: int = 0,
        facts: Mapping[str, Any] | None = None, stopping: Callable[[], bool] = lambda: False,
        show: Callable[[Progress], None] = lambda progress: None,
    ) -> None:  # fmt: skip
        self.folder, self.env, self.config, self._stopping, self._show = folder, env, config, stopping, show
        inner, task = env.env, env.env.task
        spec = session_spec(inner.observation_spec, task.action_spec)
        self._start = EpisodeStart(
            task=task.name, spec=spec, period_s=inner.period_s, real_time=inner.real_time, kind="demo",
            **dict(facts or {}),
        )  # fmt: skip
        self._limit = math.ceil(config.time_s / inner.period_s) if config.time_s else task.max_steps
        self._paced = config.source == "human" and not inner.real_time
        self._seed = seed
        self._hold = Hold(task.action_spec)
        self._rate = RateCheck(inner.period_s, config.rate_tolerance)
        self._timer = LoopTimer(inner.period_s)
        self.progress = Progress(n=config.n)
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                os.close(self._lock)
                raise ConfigError(f"another process records into {folder}; end it, or choose another name=") from e
        self._recorder = EpisodeRecorder(folder / FOLDER, pictures=bool(inner.cameras))
        files = episode_files(folder)
        self.progress.done, self.progress.tried = sum(counts(e) for e in map(entry, files)), len(files)
        self._number = max((number_of(p) for p in files), default=0)
        self._skipped = 0  # episodes that ended before anybody acted: the next start is another one

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what waits and let go of the folder. Safe to call twice."""
        self._recorder.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def run(self) -> bool:
        """Record, and return whether there are enough now; False when it was ended before.

        Raises:
            RobotError: The device or the robot is gone, or the loop misses its rate.
            StorageError: The disk does not take an episode.
            ConfigError: A scripted operator fails too often.
        """
        began_s, tried = time.monotonic(), 0
        progress, first = self.progress, self.progress.done
        while progress.done < self.config.n and not self._stopping():
            if self.config.source == "demo" and tried >= MOST_TRIES * (self.config.n - first):
                raise ConfigError(
                    f"the scripted operator succeeded in {progress.done - first} of {tried} episodes of "
                    f"{self._start.task}; make it less sloppy (operator.expert.noise), or give it more time (--time)"
                )
            tried += 1
            self._wait_while_paused()
            if self._stopping():
                break
            try:
                self._episode()
            except KeyboardInterrupt:
                if not self._stopping():
                    raise
                break
            except RobotError as e:
                if isinstance(e, RateError) or self._gone() or not self.env.real_time:
                    raise
                pause(str(e), 1, self._stopping)  # the next reset waits for what it needs
            made = progress.done - first
            if made:
                progress.left_s = (time.monotonic() - began_s) / made * (self.config.n - progress.done)
        progress.phase = "over"
        self._show(progress)
        return progress.done >= self.config.n

    # ---- one episode -------------------------------------------------------------------------------------------------

    def _episode(self) -> None:
        env, progress = self.env, self.progress
        progress.phase, progress.episode_left_s = "getting ready", math.nan
        progress.guard.clear()
        self._tell("")
        seed = start_seed(self._seed, self._number, self._skipped)
        env.env.task.max_steps = _NEVER
        observation = begin_episode(env, seed, self._stopping)
        self._hold.begin(env.robot_state)
        self._timer.start()
        steps, recording = 0, False
        beginning: dict[str, Any] = {}
        while True:
            before = env.robot_state
            if not recording:  # the person may act now, and then the episode began here
                beginning = beginning_of(env.env)
            try:
                after = env.step(self._hold.action())
            except RobotError as e:
                self._end(recording, "", str(e))
                raise
            following, reward, terminated, truncated, info = after
            acts = info["source"] == "human"
            if acts and not recording:  # the observation that the person acted on is its first
                recording = True
                self._number += 1
                env.env.task.max_steps = steps + self._limit
                self._recorder.begin(
                    replace(self._start, episode=self._number, seed=seed, reset=beginning), before, observation
                )
            steps += 1
            self._hold.take(info["executed_action"])
            if recording:
                self._recorder.step(
                    env.robot_state, following, info["requested_action"], reward, terminated, truncated, info,
                    self.config.source,
                )  # fmt: skip
            observation = following
            progress.phase = "recording" if recording else "waiting"
            progress.acts, progress.action, progress.state = acts, info["requested_action"], env.robot_state
            progress.episode_left_s = (env.env.task.max_steps - steps) * env.env.period_s if recording else math.nan
            progress.guard.update(info["guard_events"])
            self._tell(info["operator_note"])
            if terminated or truncated:
                self._skipped += not recording
                self._conclude(recording, info)
                return
            if self._stopping() or self._gone():
                self._end(recording, "", self._gone() or "the recording was ended")
                if gone := self._gone():
                    raise RobotError(self._lost_device(gone))
                return
            if "period_ms" in info.get("timing", {}):
                self._check_rate(info["timing"]["period_ms"], recording)
            if self._paced:
                self._timer.wait()

    def _check_rate(self, period_ms: float, recording: bool) -> None:
        try:
            self._rate.add(period_ms)
        except RateError as e:
            self._end(recording, "", str(e))
            raise

    def _conclude(self, recording: bool, info: Mapping[str, Any]) -> None:
        """End an episode that the task, the clock, the guard or a button ended."""
        verdict: Verdict = info["verdict"]
        if recording and info["success"] and not verdict and self.config.confirm:
            verdict = self._asked()
        self._end(recording, verdict, str(info["reason"]))
        counted = bool(info["success"]) and verdict in ("", "success")
        if recording:
            self.progress.done += counted
            kept = "discarded" if verdict == "discard" else "counts" if counted else "kept, does not count"
            self.progress.said = f"episode {self._number}: {info['reason']} ({kept})"
        if gone := self._gone():
            raise RobotError(self._lost_device(gone))

    def _end(self, recording: bool, verdict: Verdict, reason: str) -> None:
        """End the file, and see to it that it is whole before anything else happens."""
        if not recording:
            return
        self._recorder.end(verdict, reason)
        self.progress.tried += 1
        if not self._recorder.wait():
            raise StorageError(f"the disk of {self.folder} did not take an episode within a minute{self._safe()}")
        if self._recorder.finished and (lost := self._recorder.finished[-1].lost):
            raise StorageError(f"{lost}{self._safe()}")

    def _asked(self) -> Verdict:
        """Wait for the person's word on a success: ENTER keeps it, discard and failure do not."""
        self.progress.phase, self.progress.acts, self.progress.episode_left_s = "keep it?", False, math.nan
        while not self._stopping() and not self._gone():
            pressed = self.env.poll()
            self._tell(pressed.note)
            for button in pressed.buttons:
                if button in ("failure", "discard"):
                    return button
                if button == "success":
                    return ""
            time.sleep(self.env.env.period_s)
        return ""

    def _wait_while_paused(self) -> None:
        while self.env.paused and not self._stopping():
            self.progress.phase, self.progress.acts = "paused", False
            pressed = self.env.poll()
            self._tell(pressed.note)
            if gone := self._gone():
                raise RobotError(self._lost_device(gone))
            time.sleep(self.env.env.period_s)

    def _tell(self, note: str) -> None:
        self.progress.note = note
        self._show(self.progress)

    def _gone(self) -> str:
        return str(getattr(self.env.operator, "gone", ""))

    def _lost_device(self, gone: str) -> str:
        return f"{gone}, so the recording ends here{self._safe()}"

    def _safe(self) -> str:
        done = sum(counts(e) for e in recorded(self.folder))
        return f". {done} of {self.config.n} demonstrations are safe in {self.folder}; the same command goes on"


class Hold:
    """The action that leaves the arm where it is and the gripper as it was told last."""

    def __init__(self, spec: ActionSpec) -> None:
        self._action = np.zeros(spec.size, np.float32)
        self._gripper = spec.slices.get("gripper")
        self._choices = spec.discrete.get("gripper")

    def begin(self, state: RobotState) -> None:
        """Keep to what the gripper does when an episode begins."""
        if self._gripper is not None and self._choices is not None:
            self._action[self._gripper] = self._choices.value(1 if state.gripper_closing else 0)

    def take(self, executed: NDArray[np.float32]) -> None:
        """Keep to what the gripper was told in an action that was executed."""
        if self._gripper is not None:
            self._action[self._gripper] = executed[self._gripper]

    def action(self) -> NDArray[np.float32]:
        """Return the (A,) action."""
        return self._action.copy()
