"""What came of a replay: how near it stayed to the record, what the guard said, and whether it ended the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.reader import Episode
from robot_rl.geometry import quat_angle
from robot_rl.robot import RobotState

Pose = tuple[NDArray[np.float64], NDArray[np.float64]]
_READING = ("q", "dq", "p_BE", "quat_BE", "V_BE", "F_BE", "gripper_width_m", "gripper_closing")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an episode ended."""

    success: bool = False
    terminated: bool = False
    truncated: bool = False
    reason: str = ""

    @property
    def words(self) -> str:
        """The outcome for people."""
        return ("success" if self.success else "no success") + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What came of a replay of m control periods.

    Attributes:
        by: "actions" or "state".
        speed: Of the recorded one.
        period_s: Control period.
        begin: How it began, in words.
        readings: m + 1 of the robot, without pictures.
        recorded: m + 1 recorded poses of the tool at these times: (3,) [m] and (4,) wxyz in B.
        rewards, events: m, of each period; names of the guard's rules.
        steps: How many steps were to be replayed.
        periods: In how many control periods.
        outcome: How it ended.
        wanted: How the episode ended; None if its end was lost.
        clipped: Periods in which the arm was farther behind than one action goes.
        difference: The first difference to the recorded bits, "" if there is none, None if they were not compared.
    """

    by: str
    speed: float
    period_s: float
    begin: str
    readings: Sequence[RobotState]
    recorded: Sequence[Pose]
    rewards: Sequence[float]
    events: Sequence[Sequence[str]]
    steps: int
    periods: int
    outcome: Outcome
    wanted: Outcome | None
    clipped: int
    difference: str | None

    @property
    def error_m(self) -> NDArray[np.float64]:
        """(m + 1,) distance of the tool from where it was [m]."""
        return np.array(
            [float(np.linalg.norm(r.p_BE - p)) for r, (p, _) in zip(self.readings, self.recorded, strict=True)]
        )

    @property
    def error_rad(self) -> NDArray[np.float64]:
        """(m + 1,) angle between its orientation and the recorded one [rad]."""
        return np.array(
            [quat_angle(r.quat_BE, quat) for r, (_, quat) in zip(self.readings, self.recorded, strict=True)]
        )

    @property
    def guard(self) -> Mapping[str, int]:
        """How often each rule of the guard spoke."""
        return Counter(event for events in self.events for event in events)

    @property
    def complete(self) -> bool:
        """Whether every recorded step was replayed."""
        return len(self.rewards) == self.periods

    @property
    def same_outcome(self) -> bool:
        """Whether it was a success if the episode was one, and none if not."""
        return self.wanted is None or self.outcome.success == self.wanted.success

    def lines(self) -> Iterator[str]:
        """Yield what there is to say, a line each."""
        pace = "" if self.speed == 1.0 else f" at {self.speed:g} of the recorded speed"
        yield f"{len(self.rewards)} of {self.periods} control periods replayed by {self.by}{pace}, from {self.begin}"
        if self.difference is not None:
            yield "bit for bit the same as recorded" if not self.difference else f"not the same: {self.difference}"
        for name, values, unit in (
            ("position", 1e3 * self.error_m, "mm"),
            ("orientation", np.degrees(self.error_rad), "degrees"),
        ):
            rms, worst = float(np.sqrt(np.mean(values**2))), int(values.argmax())
            at_s = worst * self.period_s
            yield f"{name:<11} RMS {rms:.2f} {unit}, worst {values[worst]:.2f} {unit} at {at_s:.1f} s"
        told = ", ".join(f"{name} {count}" for name, count in sorted(self.guard.items()))
        yield f"guard       {told or 'no event'}"
        if self.clipped:
            yield f"behind      in {self.clipped} periods by more than one action goes"
        if self.wanted is None:
            yield f"outcome     {self.outcome.words}; the end of the episode was lost, so there is none to compare with"
        else:
            word = "the same" if self.same_outcome else "not the same"
            yield f"outcome     {word}: {self.outcome.words}; recorded: {self.wanted.words}"


class Difference:
    """Looks for the first bit in which a replay differs from what was recorded.

    Attributes:
        words: The first difference; empty if there was none so far.
    """

    def __init__(self, episode: Episode, recorded: Sequence[RobotState]) -> None:
        self.words = ""
        self._steps, self._recorded, self._edited = episode.steps, recorded, bool(episode.edits)
        self._pictures = {
            camera: (frames, {int(number): i for i, number in enumerate(frames.observation)})
            for (camera, full), frames in episode.cameras().items()
            if not full
        }

    def look(self, k: int, state: RobotState, observation: Any) -> None:
        """Compare observation k and the reading that it was made of."""
        if self.words or k >= len(self._recorded):
            return
        wanted, steps = self._recorded[k], self._steps
        for name in _READING:
            self._compare(f"{name} of reading {k}", getattr(state, name), getattr(wanted, name))
        for name, pose in wanted.objects.items():
            self._compare(f"the pose of '{name}' in reading {k}", state.objects.get(name), pose)
        seen = observation if isinstance(observation, Mapping) else {"state": observation}
        vector = steps.state[k] if k < len(steps) else steps.next_state[k - 1]
        self._compare(f"observation {k}", seen["state"], vector)
        for camera, picture in seen.items():
            frames, at = self._pictures.get(camera, (None, {}))
            if frames is not None and k in at and not self.words:
                self._compare(f"picture {k} of camera {camera}", picture, frames[at[k]])

    def judge(self, k: int, reward: float, outcome: Outcome, events: Sequence[str]) -> None:
        """Compare what came of step k."""
        steps = self._steps
        self._compare(f"the reward of step {k}", np.float32(reward), steps.reward[k])
        self._compare(f"success in step {k}", outcome.success, steps.success[k])
        self._compare(f"the guard's events in step {k}", list(events), list(steps.guard_events[k]))
        if not (self._edited and k == steps.gap - 1):  # an end that was cut is called truncated
            self._compare(f"terminated in step {k}", outcome.terminated, steps.terminated[k])
            self._compare(f"truncated in step {k}", outcome.truncated, steps.truncated[k])

    def _compare(self, what: str, found: Any, wanted: Any) -> None:
        if self.words:
            return
        if isinstance(wanted, list) or found is None:
            same = found == wanted
        else:
            same = np.array_equal(np.asarray(found), np.asarray(wanted), equal_nan=np.asarray(wanted).dtype.kind == "f")
        if not same:
            self.words = f"{what} differs first{_size_of(found, wanted)}"


def _size_of(found: Any, wanted: Any) -> str:
    try:
        gap = float(np.abs(np.subtract(np.asarray(found, float), np.asarray(wanted, float))).max())
    except (TypeError, ValueError):
        return ""
    return f", by {gap:.3g}"
