"""The way back onto the course: crashes, walls along a flank, far out on a field, and the roof."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cars import reading

from benchmarks.bench_recovery import rungs
from robot_rl.car import CarCommand, CarReset, CarState
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.driver import ahead
from robot_rl_tasks.car.places import place
from robot_rl_tasks.car.recovery import Breadcrumbs, Recovery
from robot_rl_tasks.car.trouble import TroubleDetector


def recovered(twin: CarTwin, state: CarState, crumbs: Breadcrumbs, longest_s: float) -> tuple[bool, Recovery, float]:
    """Let a car get back and return whether it did and stands along the course, how, and how long it took [s]."""
    recovery, began_s, course = Recovery(twin.place.course, crumbs), state.stamp_s, twin.place.course
    while (command := recovery.command(state)) is not None and state.stamp_s - began_s < longest_s:
        twin.command(command)
        state = twin.observe()
        crumbs.drop(ahead(state, state.stamp_s - state.pose_stamp_s)[0])
    truth = twin.truth()
    s, left = course.line.project(truth.p_WC)
    off = math.remainder(truth.yaw_rad - float(course.line.heading(s)), 2 * math.pi)
    back = recovery.rung == "done" and abs(left) < 0.4 and abs(off) < 0.7 and not truth.collided
    return back, recovery, state.stamp_s - began_s


@pytest.mark.parametrize("name", ["oval", "hall"])
def test_after_random_crashes_it_gets_back_on_the_course(name: str) -> None:
    where = place(name)
    twin, line = CarTwin(where), where.course.line
    back, crashed = 0, 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        i = int(rng.integers(len(line.s)))
        state = twin.reset(
            CarReset(p_WC=tuple(line.points[i]), yaw_rad=float(line.headings[i]), seed=seed, speed_m_s=1.0)
        )
        crumbs, detector, trouble = Breadcrumbs(), TroubleDetector(), ""
        wild = CarCommand(float(rng.uniform(0.1, 0.4) * rng.choice([-1, 1])), float(rng.uniform(1.5, 4.0)))
        for _ in range(150):
            twin.command(wild)
            state = twin.observe()
            crumbs.drop(ahead(state, state.stamp_s - state.pose_stamp_s)[0])
            trouble = detector.update(state, wild.speed_m_s)
            if trouble:
                break
        if not trouble:
            continue  # it found a circle to drive in
        crashed += 1
        back += recovered(twin, state, crumbs, 40.0)[0]
    assert crashed >= 3
    assert back == crashed


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_car_along_a_wall_the_wrong_way_round_turns_the_other_way(side: float) -> None:
    where = place("corridor")
    twin, line = CarTwin(where), where.course.line
    i = int(np.abs(line.curvatures).argmin())  # on a straight
    p = line.points[i] + side * (float(where.course.left_at_s[i]) - 0.3) * line.normals[i]
    askew = -0.05 * side  # towards the wall, and nearer to the course's direction that way
    yaw = float(line.headings[i]) + math.pi + askew
    state, crumbs = twin.reset(CarReset(p_WC=(float(p[0]), float(p[1])), yaw_rad=yaw, seed=3)), Breadcrumbs()
    for _ in range(40):  # pressed against it
        twin.command(CarCommand(-0.2 * side, 0.8))
        state = twin.observe()
        crumbs.drop(ahead(state, state.stamp_s - state.pose_stamp_s)[0])
    back, recovery, _ = recovered(twin, state, crumbs, 40.0)
    assert back, recovery.climbed


@pytest.mark.parametrize("out_m", [3.0, 6.0])
def test_a_car_far_out_on_a_field_drives_to_the_line_without_creeping(out_m: float) -> None:
    where = place("meadow")
    twin, course = CarTwin(where), where.course
    clear = [
        i for i in range(0, len(course.line.s), 10)
        if min(where.clearance(course.line.points[i] + d * course.line.normals[i]) for d in np.arange(0, out_m + 2)) > 2
    ]  # fmt: skip
    p = course.line.points[clear[0]] + out_m * course.line.normals[clear[0]]
    state = twin.reset(CarReset(p_WC=(float(p[0]), float(p[1])), yaw_rad=float(course.line.headings[clear[0]])))
    back, recovery, took_s = recovered(twin, state, Breadcrumbs(), 60.0)
    assert back, recovery.climbed
    assert took_s < 8.0 + 2.0 * out_m / 0.9


def test_a_car_on_its_roof_calls_a_person_and_one_that_only_bounced_does_not() -> None:
    roof = np.array([0.0, 0.0, -9.8])
    lying, bounced = Recovery(place("oval").course, Breadcrumbs()), Recovery(place("oval").course, Breadcrumbs())
    for k in range(12):
        t = 0.05 * k
        lying.command(reading(stamp_s=t, acceleration_m_s2=roof))
        bounced.command(reading(stamp_s=t, **({"acceleration_m_s2": roof} if k == 3 else {})))
    assert lying.rung == "person"
    assert lying.command(reading(stamp_s=0.6, acceleration_m_s2=roof)) is None
    assert bounced.rung != "person"


def test_what_the_benchmark_tells_of_a_rung_is_how_often_it_led_on() -> None:
    ways = [["brake", "back", "join", "done"], ["brake", "back", "turn", "join", "turn", "person"]]
    told = {row["name"]: (row["value"], row["n"]) for row in rungs(ways)}
    assert told == {"rung brake": (1.0, 2), "rung back": (0.5, 2), "rung turn": (0.5, 2), "rung join": (0.5, 2)}
