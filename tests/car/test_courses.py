"""Lines, gates, places and lap times: geometry that holds for any course."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl_tasks.car.course import GateSpacing, make_course, place_gates
from robot_rl_tasks.car.lap_timer import LapTimer
from robot_rl_tasks.car.line import ClosedLine
from robot_rl_tasks.car.pictures import draw_course
from robot_rl_tasks.car.place import Surface, simplify, surface
from robot_rl_tasks.car.places import PRESETS, drivable, place, random_place


def circle(radius: float = 3.0, count: int = 40) -> ClosedLine:
    u = np.linspace(0.0, 2 * math.pi, count, endpoint=False)
    return ClosedLine(radius * np.stack([np.cos(u), np.sin(u)], axis=1))


def test_a_circle_is_one() -> None:
    line = circle()
    assert line.length_m == pytest.approx(2 * math.pi * 3.0, rel=1e-4)
    assert line.curvatures == pytest.approx(np.full(len(line.s), 1 / 3.0), rel=0.01)
    assert line.at(line.length_m + 1.0) == pytest.approx(line.at(1.0))
    assert float(line.heading(0.0)) == pytest.approx(math.pi / 2, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 40), s=st.floats(0.0, 1.0), left=st.floats(-0.4, 0.4))
def test_projecting_finds_what_was_placed_beside_the_line(seed: int, s: float, left: float) -> None:
    line = random_place(seed % 8).course.line
    s_m = s * line.length_m
    heading = float(line.heading(s_m))
    p = line.at(s_m) + left * np.array([-math.sin(heading), math.cos(heading)])
    for near in (None, s_m + 0.7):
        found_s, found_left = line.project(p, near)
        assert math.remainder(found_s - s_m, line.length_m) == pytest.approx(0.0, abs=0.01)
        assert found_left == pytest.approx(left, abs=0.005)


def test_on_a_figure_of_eight_the_hint_keeps_to_the_branch() -> None:
    u = np.linspace(0.0, 2 * math.pi, 200, endpoint=False)
    eight = ClosedLine(np.stack([6.0 * np.sin(u), 3.0 * np.sin(2 * u)], axis=1))
    assert eight.crosses_itself()
    assert not circle().crosses_itself()
    half = 0.5 * eight.length_m
    assert eight.project(np.zeros(2), half + 0.3)[0] == pytest.approx(half, abs=0.05)
    assert math.remainder(eight.project(np.zeros(2), 0.3)[0], eight.length_m) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (np.zeros((3, 2)), "at least four points"),
        (np.array([[0, 0], [0, 0], [1, 1], [0, 1.0]]), "points 0 and 1 of a closed line coincide"),
        (np.full((5, 2), np.nan), "not finite"),
    ],
)
def test_no_line_through_too_little(points: np.ndarray, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ClosedLine(points)


@pytest.mark.parametrize("name", [*PRESETS, *(f"indoor-{k}" for k in range(6)), *(f"outdoor-{k}" for k in range(4))])
def test_every_place_can_be_driven_and_its_gates_seen(name: str) -> None:
    p = place(name)
    course, line = p.course, p.course.line
    course.check_width(0.31)
    assert drivable(line, 0.5 * float((course.left_m + course.right_m).min()))
    assert min(p.clearance(q) for q in line.points) > 0.31 / 2 + 0.3, "something stands on the line"
    assert not line.crosses_itself()
    gates = course.gates
    spacing = GateSpacing()
    for a, b in zip(gates, [*gates[1:], gates[0]], strict=True):
        gap = (b.s_m - a.s_m) % line.length_m
        assert 0.1 < gap <= spacing.gap_m + 0.05
        assert abs(math.remainder(b.heading_rad - a.heading_rad, 2 * math.pi)) <= spacing.turn_rad + 0.1


def test_the_same_seed_gives_the_same_place_and_unknown_names_are_refused() -> None:
    a, b = place("outdoor-3"), place("outdoor-3")
    np.testing.assert_array_equal(a.course.points, b.course.points)
    np.testing.assert_array_equal(a.obstacles, b.obstacles)
    with pytest.raises(ConfigError, match=r"there is no course 'ovel'.* Did you mean 'oval'"):
        place("ovel")
    with pytest.raises(ConfigError, match="make it larger or narrower"):
        random_place(0, size_m=1.0, half_width_m=2.0)
    with pytest.raises(ConfigError, match=r"no surface 'ise'.* Did you mean 'ice'"):
        surface("ise")
    with pytest.raises(ConfigError, match="one of them is no coefficient"):
        Surface(name="glue", friction=40.0, rolling=0.0)


def test_a_course_narrower_than_the_car_is_refused_with_the_place() -> None:
    width = np.full(40, 0.5)
    width[10] = 0.1
    course = make_course("tight", circle().points[::9][:40], width[: len(circle().points[::9][:40])], 0.1)
    with pytest.raises(ConfigError, match=r"is 0\.\d\d m wide at \(.*\) m, and the car is 0\.31 m wide"):
        course.check_width(0.31)


def test_gates_come_closer_where_it_bends() -> None:
    line = place("corridor").course.line
    gates = np.array(place_gates(line))
    bend = np.abs(line.curvature(gates + 0.3)) > 0.5
    gaps = np.diff(np.append(gates, line.length_m))
    assert gaps[bend].mean() < 0.6 * gaps[~bend].mean()


def test_simplifying_keeps_within_its_tolerance() -> None:
    u = np.linspace(0.0, 3.0, 300)
    chain = np.stack([u, np.sin(3 * u)], axis=1)
    few = simplify(chain, 0.02)
    assert len(few) < 40
    a, b = few[:-1], few[1:]
    for p in chain:
        d = b - a
        t = np.clip(((p - a) * d).sum(1) / (d * d).sum(1), 0.0, 1.0)
        assert np.hypot(*(p - a - t[:, None] * d).T).min() <= 0.0201


def drive_laps(course, speed_of, hz: float, laps: float, phase: float = 0.0) -> LapTimer:
    """Follow the line with a given speed over the arc length, read at a rate, and time the laps."""
    line = course.line
    fine = 1e-3
    s, t, path = course.line.length_m - 1.0, 0.0, []
    end = s + laps * line.length_m
    while s < end:
        path.append((t, s))
        s += speed_of(s) * fine
        t += fine
    times, ways = np.array(path).T
    timer = LapTimer(course)
    for stamp in np.arange(phase / hz, times[-1], 1.0 / hz):
        timer.update(stamp, line.at(np.interp(stamp, times, ways)))
    return timer


@settings(max_examples=12, deadline=None)
@given(hz=st.sampled_from([10.0, 20.0, 33.0, 100.0]), phase=st.floats(0.0, 0.99), seed=st.integers(0, 5))
def test_lap_times_do_not_depend_on_when_the_pose_is_read(hz: float, phase: float, seed: int) -> None:
    course = random_place(seed).course
    length = course.line.length_m

    def speed(s: float) -> float:
        return 3.0 + math.sin(4 * math.pi * s / length)

    truth = float(np.mean([1.0 / speed(s) for s in np.linspace(0.0, length, 4000, endpoint=False)]) * length)
    timer = drive_laps(course, speed, hz, 2.3, phase)
    assert len(timer.laps_s) == 2
    # Between two readings the car is taken to go straight on: a few milliseconds at 10 Hz, none at 100 Hz.
    assert timer.laps_s == pytest.approx([truth, truth], abs=0.004 if hz <= 10.0 else 0.002)


def test_a_lap_counts_only_all_gates_in_order_and_forward() -> None:
    course = make_course("circle", circle().points[::4], 0.5, 0.5)
    line = course.line
    timer = LapTimer(course)
    stamp = 0.0

    def go(s_from: float, s_to: float, offset: float = 0.0) -> None:
        nonlocal stamp
        for s in np.arange(s_from, s_to, 0.1 if s_to > s_from else -0.1):
            stamp += 0.05
            heading = float(line.heading(s))
            timer.update(stamp, line.at(s) + offset * np.array([-math.sin(heading), math.cos(heading)]))

    go(-0.5, line.length_m - 0.5)
    assert timer.laps_s == [], "a lap begins and ends at the start"
    go(line.length_m - 0.5, line.length_m + 0.5)
    assert len(timer.laps_s) == 1
    due = timer.next_gate
    go(line.length_m + 0.5, line.length_m - 2.0)
    assert timer.next_gate == due, "backward counts nothing"
    go(line.length_m - 2.0, line.length_m + 0.5)
    assert len(timer.laps_s) == 1
    go(line.length_m + 0.5, 2 * line.length_m + 0.5, offset=-0.9)
    assert len(timer.laps_s) == 1, "beside the gates counts nothing"


def test_after_a_recovery_the_nearest_gate_ahead_is_due_and_the_lap_is_lost() -> None:
    course = make_course("circle", circle().points[::4], 0.5, 0.5)
    timer = LapTimer(course)
    timer.begin(0.0, course.line.at(-0.3))
    timer.update(0.5, course.line.at(0.2))
    s = course.gates[3].s_m + 0.4
    found = timer.resume(1.0, course.line.at(s), float(course.line.heading(s)))
    assert found == 4
    for k, way in enumerate(np.arange(s, s + 1.5 * course.line.length_m, 0.1)):
        timer.update(1.0 + 0.05 * (k + 1), course.line.at(way))
    assert len(timer.laps_s) == 0, "the interrupted lap does not count, and a new one is not complete"


def test_a_picture_shows_the_course(tmp_path) -> None:
    import cv2

    p = place("hall")
    path = draw_course(tmp_path / "deep" / "hall.png", p.course, p, {"driven": p.course.points}, "one lap")
    picture = cv2.imread(str(path))
    assert picture.shape[0] > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
