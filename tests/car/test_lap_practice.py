"""Practice without a reset: the window of actions, going on after a crash, the cap on the speed, what is counted."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.build import make_env
from robot_rl.car import CarReset
from robot_rl.car_env import CarEnv
from robot_rl.config import compose
from robot_rl.demos import record
from robot_rl.errors import ConfigError
from robot_rl_sim.car.settings import CarTwinConfig, Sensors
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.lap import Lap
from robot_rl_tasks.car.lap_build import make_lap, place_of
from robot_rl_tasks.car.lap_expert import SlowLap
from robot_rl_tasks.car.places import place
from robot_rl_tasks.car.tally import CapSettings, SpeedCap, Tally

OVAL = place("oval")
entry = st.floats(-1.0, 1.0, width=32)
pair = st.tuples(entry, entry).map(lambda v: np.array(v, np.float32))


def make(**task: Any) -> CarEnv:
    made = Lap(course=OVAL.course, place=OVAL, **task)
    return CarEnv(CarTwin(OVAL, CarTwinConfig(sensors=Sensors.perfect(), control_hz=made.control_hz)), made)


WINDOWED = make(slew=0.3)


def crash(env: CarEnv) -> dict[str, Any]:
    """Drive straight on until something ends the episode."""
    for _ in range(200):
        *_, terminated, truncated, info = env.step(env.action_of(0.0, 4.0))
        if terminated or truncated:
            return info
    raise AssertionError("the car drove straight on for 200 steps and met nothing")


@given(last=pair, action=pair, cap=st.floats(1.0, 5.0))
@settings(max_examples=60, deadline=None)
def test_every_action_is_a_setting_in_the_window_and_can_be_told_from_it(
    last: np.ndarray, action: np.ndarray, cap: float
) -> None:
    env = WINDOWED
    env.task.speed_cap.now_m_s = cap
    low, high = env.task.window(None, last)
    env._low, env._high = low, high
    got = env.limited(action)
    assert (np.abs(got - last) <= 0.3 + 1e-5).all(), "no change beyond the slew limit"
    assert (np.abs(got) <= 1.0 + 1e-6).all()
    scale, offset = env.task.mapping()
    speed = float((offset + scale * got)[1])
    before = float((offset + scale * last)[1])
    slowest = before - 0.3 * float(scale[1])
    assert speed <= max(cap, slowest) + 1e-4, "not above the cap, or as fast down to it as the slew limit lets"
    back = env._place_in_window(got)
    open_ = (high - low) > 1e-3
    np.testing.assert_allclose(back[open_], action[open_], atol=2e-3)


def test_the_window_around_the_driver_follows_it_and_no_change_is_the_driver() -> None:
    env = make(residual=(0.25, 0.4))
    env.reset(seed=3)
    for _ in range(40):
        wanted = env.task._driven.copy()
        low, high = env.task.open_window
        assert (low <= wanted + 1e-6).all()
        assert (wanted <= high + 1e-6).all()
        *_, terminated, truncated, info = env.step(env._place_in_window(wanted))
        np.testing.assert_allclose(env.last_action, wanted, atol=1e-5)
        assert (terminated, truncated) == (False, False), info["reason"]


def test_after_a_crash_it_gets_back_by_itself_and_goes_on_where_it_then_is() -> None:
    env = make(slew=2.0)
    env.reset(seed=1)
    assert crash(env)["reason"] == "crash"
    crashed_at, stamp = env.car.truth().p_WC, env.robot_state.stamp_s
    observation, _ = env.reset()
    assert env.observation_space.contains(observation)
    assert env.robot_state.stamp_s > stamp, "time went on: nothing put the car anywhere"
    assert math.hypot(*(env.car.truth().p_WC - crashed_at)) < 6.0
    _, left = OVAL.course.line.project(env.car.truth().p_WC)
    assert abs(left) < 0.4
    info = crash(env)
    facts = info["facts"]
    assert facts["recovery_s"] > 0.0
    assert facts["recovery_m"] > 0.3
    assert not facts["rescued"]
    assert facts["driven_s"] > facts["recovery_s"]
    assert facts["recovery"].startswith("brake back")


def test_what_a_car_on_its_roof_needs_is_a_person_and_is_counted() -> None:
    env = make(slew=2.0)
    env.reset(seed=1)
    crash(env)
    env.car.data.qpos[2:7] = 0.3, 0.0, 1.0, 0.0, 0.0
    env.reset()
    assert env.task.tally.rescued
    facts = crash(env)["facts"]
    assert facts["rescued"]
    assert facts["recovery"] == "brake person"


def test_the_clock_cuts_a_drive_without_touching_it() -> None:
    env = make(max_steps=30, slew=2.0)
    env.reset(seed=2)
    expert = env.task.expert(SlowLap(speed_m_s=1.5))
    expert.reset(np.random.default_rng(0))
    stamps, driven, ends = [], 0.0, 0
    for _ in range(95):
        *_, terminated, truncated, info = env.step(expert.action(env.robot_state))
        stamps.append(env.robot_state.stamp_s)
        assert not terminated, info["reason"]
        if truncated:
            ends += 1
            driven += info["facts"]["driven_s"]
            goal, speed = env.task.timer.next_gate, env.robot_state.speed_m_s
            env.reset()
            assert (env.task.timer.next_gate, env.robot_state.speed_m_s) == (goal, speed)
    assert ends == 3
    assert np.allclose(np.diff(stamps), env.period_s), "no time passed between the episodes"
    assert driven == pytest.approx(90 * env.period_s)


def test_laps_are_counted_with_when_they_ended_and_one_with_a_crash_is_marked() -> None:
    env = make(max_steps=10_000, slew=2.0)
    gate = OVAL.course.gates[0]
    x, y = OVAL.course.line.point(gate.s_m - 0.5)
    env.reset(options={"request": CarReset(p_WC=(x, y), yaw_rad=gate.heading_rad)})
    expert = env.task.expert(SlowLap(speed_m_s=3.0))
    for _ in range(440):
        *_, terminated, _, info = env.step(expert.action(env.robot_state))
        assert not terminated, info["reason"]
    laps = crash(env)["facts"]["laps"].split()
    assert len(laps) >= 2
    assert not any("!" in lap for lap in laps)
    ends = [float(lap.partition("@")[2]) for lap in laps]
    for (before, after), lap in zip(itertools.pairwise(ends), laps[1:], strict=True):
        assert after - before == pytest.approx(float(lap.partition("@")[0]), abs=0.02)
    env.reset()
    expert.reset(np.random.default_rng(0))
    for _ in range(400):
        *_, terminated, _, info = env.step(expert.action(env.robot_state))
        assert not terminated, info["reason"]
    after_crash = crash(env)["facts"]["laps"].split()
    assert after_crash, "it laps again after the crash"


def test_one_demonstration_is_one_lap() -> None:
    env = make_env(compose(["task=lap", "expert.speed_m_s=2.5"]).settings())
    found = record(env, env.task.expert(SlowLap(speed_m_s=2.5)), 1, seed=0)
    length = env.task.course.line.length_m
    assert found.tried == 1
    assert length / 2.7 < found.median_s < length / 1.9 + 1.0
    assert np.abs(found.blocks[0].actions).max() <= 1.0


def test_the_cap_rises_only_while_nothing_goes_wrong() -> None:
    cap = SpeedCap(CapSettings(start_m_s=2.0, rise_m_s=0.5, clean_m=10.0, fall_m_s=0.25), most_m_s=3.0)
    seen = [cap.now_m_s]
    for _ in range(12):
        cap.drove(4.0)
        seen.append(cap.now_m_s)
    assert seen == sorted(seen)
    assert seen[-1] == 3.0
    for _ in range(20):
        cap.drove(4.0)
        cap.trouble()
    assert cap.now_m_s == 2.0, "never below its start"
    cap.recall(9.0)
    assert cap.now_m_s == 3.0
    with pytest.raises(ConfigError, match=r"task\.cap\.clean_m"):
        CapSettings(clean_m=0.0)


def test_a_tally_is_taken_once() -> None:
    tally = Tally()
    tally.stand(0.0, np.zeros(2))
    assert tally.move(1.0, np.array([3.0, 4.0])) == 5.0
    tally.lap(8.0, 0.25, clean=False)
    facts = tally.take(2.0)
    assert (facts["driven_m"], facts["laps"]) == (5.0, "8.000@0.75!")
    assert tally.take(2.0)["driven_m"] == 0.0


def test_what_cannot_be_driven_is_refused_in_a_sentence(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=r"there is no course 'ovl'.*Did you mean 'oval'"):
        make_lap("ovl")
    with pytest.raises(ConfigError, match="there is no course file"):
        place_of(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"driven by a car.*choose robot=car_twin"):
        make_env(compose(["task=lap", "robot=twin"]).settings())
    with pytest.raises(ConfigError, match="robot=car_twin drives task=lap, and 'reach' has no course"):
        make_env(compose(["task=reach", "robot=car_twin"]).settings())
    with pytest.raises(ConfigError, match="episode files are of arms"):
        make_env(compose(["task=lap", "actor.record=always"]).settings())
    for told in ("human", "classifier"):
        with pytest.raises(ConfigError, match=f"reward.source is '{told}'.*by its own rule alone: reward=truth"):
            make_env(compose(["task=lap", f"reward={told}", "reward.path=none.ckpt"]).settings())
    with pytest.raises(ConfigError, match=r"task\.residual is two numbers"):
        make_lap(residual=(0.0, 2.0))
    with pytest.raises(ConfigError, match=r"task\.grip"):
        make_lap(grip=2.0)
