"""What a reading tells of things that go wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_rig import reading

from robot_rl.practice.detect import EpisodeWatch, StuckWatch
from robot_rl.practice.graph import MotionConfig, TroubleConfig
from robot_rl.practice.record import sentence, summarise
from robot_rl.robot import RobotState

PERIOD_S = 0.1


def at(x: float = 0.5, width: float = 0.08, closing: bool = False) -> RobotState:
    state = reading(closing)
    return dataclasses.replace(state, p_BE=np.array([x, 0.0, 0.2]), gripper_width_m=width)


def watch(**trouble: float) -> EpisodeWatch:
    return EpisodeWatch(TroubleConfig(**trouble), MotionConfig(), PERIOD_S)  # pyright: ignore[reportArgumentType]


def test_an_object_that_slips_is_dropped_and_one_that_is_let_go_is_not() -> None:
    slipped, released, empty = watch(), watch(), watch()
    held = [at(width=w, closing=True) for w in (0.08, 0.06, 0.05, 0.05, 0.05, 0.05)]
    for state in held:
        slipped.step(state, 1.0)
        released.step(state, 1.0)
    assert slipped.dropped == 0
    for width in (0.03, 0.0, 0.0, 0.0):
        slipped.step(at(width=width, closing=True), 1.0)
    for width in (0.06, 0.08, 0.08):
        released.step(at(width=width), 1.0)
    for width in (0.08, 0.06, 0.04, 0.02, 0.0, 0.0, 0.0):
        empty.step(at(width=width, closing=True), 1.0)
    assert (slipped.dropped, released.dropped, empty.dropped) == (1, 0, 0)


@given(st.lists(st.tuples(st.floats(0.4, 0.6), st.booleans()), max_size=60))
def test_a_tool_counts_as_stalled_exactly_if_it_was_told_to_move_and_did_not(moves: list[tuple[float, bool]]) -> None:
    seen = watch(stall_s=1.0, stall_m=0.003)
    places: list[float] = []
    for x, asked in moves:
        seen.step(at(round(x, 2)), 1.0 if asked else 0.0)
        places = [*(places if asked else []), round(x, 2)]
        last = places[-11:]
        assert seen.stalled == (len(last) == 11 and max(last) - min(last) < 0.003) or len(last) < 11


def test_failures_in_a_row_count_as_stuck_unless_something_moved_or_succeeded() -> None:
    here, there = {"cube": np.zeros(7)}, {"cube": np.array([0.1, 0, 0, 1, 0, 0, 0])}
    stuck = StuckWatch(TroubleConfig(stuck_episodes=3))
    for _ in range(2):
        stuck.ended("a", False, here)
        assert stuck.trouble("a") is None
    stuck.ended("a", False, here)
    found = stuck.trouble("a")
    assert found is not None
    assert found.kind == "stuck"
    assert "a failed 3 times in a row" in found.text
    assert stuck.trouble("b") is None, "each node by itself"
    stuck.ended("a", False, there)
    assert stuck.trouble("a") is None, "something moved"
    for _ in range(3):
        stuck.ended("a", True, there)
    assert stuck.trouble("a") is None
    for _ in range(5):
        stuck.ended("a", False, {})
    assert stuck.trouble("a") is not None, "without poses the failures alone count"
    stuck.forget()
    assert stuck.trouble("a") is None


def test_the_minutes_of_autonomy_follow_from_the_rows() -> None:
    episodes = [
        {"node": "forward", "success": i % 2 == 0, "robot_s": 60.0 * (i + 1), "reset_s": 2.0, "duration_s": 9.0}
        for i in range(10)
    ]
    rows = [
        {"rung": "put_down", "cleared": True, "seconds": 4.0, "robot_s": 100.0},
        {"rung": "ask", "cleared": True, "seconds": 900.0, "robot_s": 200.0},
        {"rung": "ask", "cleared": False, "seconds": 1.0, "robot_s": 400.0},
    ]
    facts = summarise(episodes, rows)
    assert facts["human_calls"] == 2
    assert facts["robot_min"] == pytest.approx(10.0), "waiting for a person is no autonomy"
    assert facts["minutes_per_human_call"] == pytest.approx(5.0)
    assert facts["rungs"]["rehome"] == {"tries": 10, "cleared": 10, "robot_s": 20.0}
    assert facts["rungs"]["ask"] == {"tries": 2, "cleared": 1, "robot_s": 0.0}
    practice = facts["nodes"]["forward"]["practice"]
    assert (practice["n"], practice["successes"]) == (10, 5)
    assert practice["low"] < 0.5 < practice["high"]
    assert "called 2 times: 5.0 min of autonomy per human call" in sentence(facts)
    assert summarise(episodes, [])["minutes_per_human_call"] is None
    assert "nobody was called" in sentence(summarise(episodes, []))
