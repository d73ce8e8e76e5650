"""Replays a recorded episode: its actions as they are, or the tool poses that they led through, always by the guard.

By actions the replay is open-loop: each is a step from wherever the arm then is, as it was for the policy. In the twin
in lock-step, from the recorded beginning, this gives the episode again bit for bit. By state it is closed-loop: the
poses that were commanded then are commanded again, wherever the arm is, so errors do not add up.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot_rl.env import RobotEnv
from robot_rl.episodes.beginning import request_like, request_of
from robot_rl.episodes.reader import Episode, Steps
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.geometry import slerp, tool_delta, tool_delta_inverse
from robot_rl.link import session_spec, spec_difference
from robot_rl.replaying_result import Difference, Outcome, Replay
from robot_rl.robot import RobotState

By = Literal["actions", "state"]
SLOWEST = 0.05
TIME_LIMIT = "time limit"  # what `RobotEnv` calls it; a replay may outlast it


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Where a replay begins.

    Attributes:
        options: For `RobotEnv.reset`.
        exact: Whether a twin stands there in the very state that it was recorded in.
        words: How near this is to the recorded beginning, for people.
    """

    options: Mapping[str, Any]
    exact: bool
    words: str


def check_same(env: RobotEnv, episode: Episode) -> None:
    """Raise `CheckpointError` unless an episode can be replayed in an environment.

    A robot with fewer cameras than the episode may replay it; those that it has must be the episode's.
    """
    start, task = episode.start, env.task
    if start.task != task.name:
        raise CheckpointError(
            f"{episode.path} is of task '{start.task}', the settings are of '{task.name}'; leave task= out, it comes "
            "from the episode"
        )
    spec: dict[str, Any] = {**start.spec}
    observation = spec.get("observation")
    if isinstance(observation, Mapping) and isinstance(observation.get("images"), Mapping):
        images = {name: size for name, size in observation["images"].items() if name in env.cameras}
        spec["observation"] = {**observation, "images": images}
    difference = spec_difference(session_spec(env.recorded_spec, task.action_spec), spec)
    if difference:
        told = difference.replace("learner expects", "this robot and task have").replace("actor sends", "it has")
        told = told.replace("actor does not send it", "the episode has none").replace("learner", "this task")
        raise CheckpointError(f"{episode.path} was recorded with other data: {told}")
    if not math.isclose(start.period_s, env.period_s, rel_tol=0.02):
        raise CheckpointError(
            f"the control period of {episode.path} is {start.period_s:g} s, that of this robot {env.period_s:g} s; "
            "set robot.control_hz"
        )
    if not episode.steps.gap:
        raise CheckpointError(f"{episode.path} holds no complete step; there is nothing to replay")


def beginning(env: RobotEnv, episode: Episode) -> Beginning:
    """Return where a replay of an episode begins on a robot."""
    start = episode.start
    request = request_of(start)
    snapshot = start.reset.get("snapshot")
    if request is None:
        options = {"request": request_like(episode.observed_readings()[0], env.task)}
        return Beginning(
            options=options, exact=False, words="an approximate start: the file does not hold what reproduces its own"
        )
    if snapshot and hasattr(env.robot, "restore"):
        options = {"request": request, "snapshot": snapshot}
        return Beginning(options=options, exact=True, words="the recorded state of the twin")
    words = "the same request" if start.real_time else "the same request, on another kind of robot"
    return Beginning(options={"request": request}, exact=False, words=words)


def replay(
    env: RobotEnv,
    episode: Episode,
    by: By = "actions",
    speed: float = 1.0,
    stopping: Callable[[], bool] = lambda: False,
    shown: Callable[[float, bool | None], None] = lambda t_s, success: None,
) -> Replay:
    """Replay an episode and return what came of it.

    Args:
        env: The robot and the task of the episode, see `check_same`.
        episode: The episode, whole or cut.
        by: "actions" or "state".
        speed: At most 1; slower only by state, and then with as many more control periods.
        stopping: Asked before each period whether to end here.
        shown: Told the time of each observation, and at the end whether it was a success.

    Raises:
        ConfigError: The speed is not allowed.
        CheckpointError: The episode does not fit, or lacks readings.
    """
    if not SLOWEST <= speed <= 1.0:
        raise ConfigError(f"--speed is {speed:g}; allowed: {SLOWEST:g} to 1, for no more was recorded than full speed")
    if by == "actions" and speed != 1.0:
        raise ConfigError(f"--speed is {speed:g}; actions are steps of one control period, go slower with --by state")
    check_same(env, episode)
    begin, recorded = beginning(env, episode), episode.observed_readings()
    observation, _ = env.reset(options=dict(begin.options))
    n = episode.steps.gap
    periods = math.ceil(round(n / speed, 9))
    course = _Course(env, recorded, episode.steps)
    same = Difference(episode, recorded) if begin.exact and by == "actions" else None
    readings, rewards, events = [_bare(env.robot_state)], list[float](), list[Sequence[str]]()
    outcome, clipped = Outcome(), 0
    if same is not None:
        same.look(0, env.robot_state, observation)
    for k in range(periods):
        shown(k * env.period_s, None)
        if stopping():
            outcome = Outcome(reason="ended by the operator")
            break
        if by == "actions":
            action = _action(episode.steps, k, begin.exact)
        else:
            action, beyond = course.action(min((k + 1) * speed, n), speed, env.robot_state)
            clipped += beyond
        observation, reward, terminated, truncated, info = env.step(action)
        readings.append(_bare(env.robot_state))
        rewards.append(float(reward))
        events.append(tuple(info["guard_events"]))
        outcome = Outcome(
            success=bool(info["success"]), terminated=terminated, truncated=truncated, reason=str(info["reason"])
        )
        if same is not None:
            same.look(k + 1, env.robot_state, observation)
            same.judge(k, float(reward), outcome, events[-1])
        if terminated or (truncated and outcome.reason != TIME_LIMIT):
            break
    shown(len(rewards) * env.period_s, outcome.success)
    return Replay(
        by=by,
        speed=speed,
        period_s=env.period_s,
        begin=begin.words,
        readings=readings,
        recorded=course.at([min(k * speed, n) for k in range(len(readings))]),
        rewards=rewards,
        events=events,
        steps=n,
        periods=periods,
        outcome=outcome,
        wanted=_outcome(episode),
        clipped=clipped,
        difference=None if same is None else same.words,
    )


def _action(steps: Steps, k: int, exact: bool) -> NDArray[np.float32]:
    """Return what a robot is told in step k: what was executed then.

    Where a guard changed the action, the very same twin is asked for the same again, and its guard does the same: what
    was executed is kept in single precision, and would not give the same bits.
    """
    again = exact and steps.guard_events[k] and steps.source[k] != "human"
    return steps.action[k] if again else steps.executed[k]


class _Course:
    """Where the tool was told to be, and was, at any time of the episode, counted in steps."""

    def __init__(self, env: RobotEnv, recorded: Sequence[RobotState], steps: Steps) -> None:
        spec = env.task.action_spec
        self._scale = np.repeat([spec.continuous["translation"].scale, spec.continuous["rotation"].scale], 3)
        self._gripper = spec.slices["gripper"] if "gripper" in spec.discrete else None
        self._executed, self._size = steps.executed, spec.size
        self._was = [(s.p_BE, s.quat_BE) for s in recorded]
        self._told = [(recorded[0].p_BE, recorded[0].quat_BE)]
        for state, action in zip(recorded, steps.executed, strict=False):
            move = self._scale * action[:6].astype(float)
            self._told.append(tool_delta(state.p_BE, state.quat_BE, move[:3], move[3:]))

    def action(self, at: float, speed: float, state: RobotState) -> tuple[NDArray[np.float32], bool]:
        """Return the action that leads from a reading to where the tool was told to be at the end of step `at`.

        The arm lags behind what it is told, so it was told to go ahead of where it came; at a lower speed it lags less,
        and is told to go that much less ahead. Also returns whether it is farther than one action goes.
        """
        (p, quat), (p_was, quat_was) = _between(self._told, at), self.at([at])[0]
        if speed < 1.0:
            p, quat = p_was + speed * (p - p_was), slerp(quat_was, quat, speed)
        delta = np.concatenate(tool_delta_inverse(state.p_BE, state.quat_BE, p, quat)) / self._scale
        action = np.zeros(self._size, np.float32)
        action[:6] = np.clip(delta, -1.0, 1.0)
        if self._gripper is not None:
            action[self._gripper] = self._executed[min(math.ceil(at), len(self._told) - 1) - 1][self._gripper]
        return action, bool((np.abs(delta) > 1.0 + 1e-6).any())

    def at(self, times: Sequence[float]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return where the tool was: (3,) [m] and (4,) wxyz in B."""
        return [_between(self._was, t) for t in times]


def _between(
    poses: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], at: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    k = min(int(at + 1e-9), len(poses) - 1)
    share = at - k
    (p, quat), (p_next, quat_next) = poses[k], poses[min(k + 1, len(poses) - 1)]
    return (p, quat) if share < 1e-9 else (p + share * (p_next - p), slerp(quat, quat_next, share))


def _outcome(episode: Episode) -> Outcome | None:
    """Return how the recorded episode ended by the task's own word; None if its end was lost."""
    end, steps = episode.end, episode.steps
    if end is None or steps.gap < len(steps):
        return None
    return Outcome(success=end.success, terminated=end.terminated, truncated=end.truncated, reason=end.reason)


def _bare(state: RobotState) -> RobotState:
    return dataclasses.replace(state, images={})
