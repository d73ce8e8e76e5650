"""Episodes made up for tests: a point that moves, seen by small cameras, recorded by the real recorder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.episodes.facts import EpisodeStart, Verdict
from robot_rl.episodes.recorder import EpisodeRecorder
from robot_rl.link import session_spec
from robot_rl.robot import RobotState
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ImageField, ObservationSpec, StateField

PERIOD_S = 0.1
SIZE = (12, 16)  # height, width of the policy's pictures


def specs(*cameras: str) -> tuple[ObservationSpec, ActionSpec]:
    """Return what the made up task observes and does."""
    return (
        ObservationSpec(
            state={"position": StateField(size=3, unit="m", scale=0.1), "width": StateField(size=1, unit="m")},
            images={name: ImageField(height=SIZE[0], width=SIZE[1]) for name in cameras},
        ),
        ActionSpec(
            continuous={
                "translation": ContinuousGroup(size=3, unit="m", scale=0.02),
                "rotation": ContinuousGroup(size=3, unit="rad", scale=0.1),
            },
            discrete={"gripper": DiscreteGroup(choices=("open", "close"))},
        ),
    )


def a_start(*cameras: str, **other: Any) -> EpisodeStart:
    """Return facts of a start."""
    facts: dict[str, Any] = {"task": "point", "spec": session_spec(*specs(*cameras)), "period_s": PERIOD_S}
    return EpisodeStart(**{**facts, **other})


def reading(rng: np.random.Generator, stamp_s: float) -> RobotState:
    """Return a reading of no particular robot."""
    quat = rng.normal(size=4)
    return RobotState(
        stamp_s=stamp_s,
        q=rng.normal(size=7),
        dq=rng.normal(size=7),
        p_BE=rng.normal(size=3),
        quat_BE=quat / np.linalg.norm(quat),
        V_BE=rng.normal(size=6),
        F_BE=rng.normal(size=6),
        gripper_width_m=float(rng.uniform(0.0, 0.08)),
        gripper_closing=bool(rng.integers(2)),
        objects={"cube": np.concatenate([rng.normal(size=3), [1.0, 0.0, 0.0, 0.0]])},
    )


def observed(rng: np.random.Generator, state: RobotState, cameras: tuple[str, ...]) -> Any:
    """Return an observation: the state alone, or with pictures of noise."""
    vector = np.array([*state.p_BE, state.gripper_width_m], np.float32)
    if not cameras:
        return vector
    return {"state": vector, **{name: rng.integers(0, 256, (*SIZE, 3), np.uint8) for name in cameras}}


class Made:
    """What went into an episode, to compare with what comes out of its file."""

    def __init__(self) -> None:
        self.readings: list[RobotState] = []
        self.observations: list[Any] = []
        self.steps: list[dict[str, Any]] = []


def make_episode(
    recorder: EpisodeRecorder,
    n: int = 6,
    seed: int = 0,
    cameras: tuple[str, ...] = (),
    verdict: Verdict = "",
    success: bool = True,
    end: bool = True,
    changes: Mapping[int, Mapping[str, Any]] | None = None,
    **start: Any,
) -> Made:
    """Record an episode of n steps.

    Args:
        recorder: Who records it.
        n: Steps.
        seed: Of everything in it.
        cameras: Cameras of the policy.
        verdict: The operator's.
        success: Whether the last step is a success; a time limit if not.
        end: Whether the episode is ended.
        changes: By step, other values of "action", "executed", "reward", "stamp_s", "guard_events", "source".
        **start: Other facts of the start.
    """
    rng = np.random.default_rng(seed)
    made = Made()
    facts = a_start(*cameras, seed=seed, **start)
    first_s = time.monotonic() if facts.real_time else 0.0
    state = reading(rng, first_s)
    observation = observed(rng, state, cameras)
    made.readings.append(state)
    made.observations.append(observation)
    recorder.begin(facts, state, observation)
    for k in range(n):
        change = (changes or {}).get(k, {})
        state = reading(rng, change.get("stamp_s", first_s + (k + 1) * facts.period_s))
        observation = observed(rng, state, cameras)
        last = k == n - 1
        action = rng.uniform(-0.9, 0.9, 7).astype(np.float32)
        step = {
            "action": action,
            "executed": action * np.float32(0.5),
            "reward": float(last and success),
            "guard_events": (),
            "source": "policy",
            **change,
        }
        info = {
            "executed_action": step["executed"],
            "success": last and success,
            "reason": ("done" if success else "time limit") if last else "",
            "guard_events": step["guard_events"],
        }
        recorder.step(
            state, observation, step["action"], step["reward"], last and success, last and not success, info,
            step["source"], 100 + k,
        )  # fmt: skip
        made.readings.append(state)
        made.observations.append(observation)
        made.steps.append(step)
    if end:
        recorder.end(verdict)
    return made


def make_file(folder: Path, **options: Any) -> Path:
    """Return the file of one episode, made as by `make_episode`."""
    with EpisodeRecorder(folder) as recorder:
        make_episode(recorder, **options)
    found = recorder.finished[-1]
    assert found.path is not None
    assert not found.lost
    return found.path
