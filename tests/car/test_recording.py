"""A course from one slow lap: recovered from noisy poses, refused where the drive is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl_tasks.car.course_file import load_course, save_course
from robot_rl_tasks.car.line import ClosedLine
from robot_rl_tasks.car.places import place
from robot_rl_tasks.car.recording import Drive, record_course


def drive_along(
    line: ClosedLine, rounds: float, *, noise_m: float = 0.0, drift_m: float = 0.0, seed: int = 0, hz: float = 20.0,
    speed: float = 1.0, start_m: float = 0.0,
) -> Drive:  # fmt: skip
    """Return the drive of a car that follows a line, with noisy poses that drift linearly by `drift_m` a round."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, rounds * line.length_m / speed, 1.0 / hz)
    s = start_m + speed * t
    p = line.at(s) + noise_m * rng.standard_normal((len(t), 2))
    p = p + (speed * t / line.length_m * drift_m)[:, None] * np.array([0.6, 0.8])
    return Drive(stamps_s=100.0 + t, p_W=p, yaw_rad=line.heading(s) + 0.3 * noise_m * rng.standard_normal(len(t)))


def furthest(line: ClosedLine, points: np.ndarray) -> float:
    return max(abs(line.project(p)[1]) for p in points)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), noise_mm=st.integers(0, 30), start=st.floats(0.0, 20.0))
def test_random_courses_are_recovered_within_twice_the_noise_of_the_poses(
    seed: int, noise_mm: int, start: float
) -> None:
    truth = place(f"indoor-{seed % 50}").course.line
    noise = noise_mm / 1000
    found = record_course(drive_along(truth, 1.15, noise_m=noise, seed=seed, start_m=start), "found").course
    assert furthest(truth, found.line.points) < 0.02 + 2.0 * noise
    assert furthest(found.line, truth.points) < 0.02 + 2.0 * noise
    assert found.line.length_m == pytest.approx(truth.length_m, rel=0.01)
    # Driven the same way around.
    s, _ = truth.project(found.line.points[10])
    assert math.cos(float(truth.heading(s)) - found.line.headings[10]) > 0.9


def test_drift_is_told_and_spread_over_the_lap() -> None:
    truth = place("oval").course.line
    recorded = record_course(drive_along(truth, 1.1, noise_m=0.01, drift_m=0.4), "drifted")
    assert recorded.closure_m == pytest.approx(0.4, abs=0.15)  # that part of it that is seen across the line
    assert recorded.course.closure_m == pytest.approx(recorded.closure_m, abs=1e-3)
    assert np.abs(recorded.course.line.curvatures).max() < 1.0, "the line has a kink where it closes"


def test_a_figure_of_eight_closes_at_its_start_and_not_at_its_crossing() -> None:
    u = np.linspace(0.0, 2 * math.pi, 200, endpoint=False)
    eight = ClosedLine(np.stack([6.0 * np.sin(u), 3.0 * np.sin(2 * u)], axis=1))
    recorded = record_course(drive_along(eight, 1.1, noise_m=0.005, start_m=2.0), "eight")
    assert recorded.course.line.length_m == pytest.approx(eight.length_m, rel=0.01)


def test_standing_still_and_single_wild_poses_change_nothing() -> None:
    truth = place("oval").course.line
    clean = drive_along(truth, 1.1, noise_m=0.01)
    k = 150
    stamps = np.concatenate([clean.stamps_s[:k], clean.stamps_s[k] + np.arange(200) / 20, clean.stamps_s[k:] + 10.0])
    rng = np.random.default_rng(1)
    waiting = clean.p_W[k] + 0.01 * rng.standard_normal((200, 2))
    p = np.vstack([clean.p_W[:k], waiting, clean.p_W[k:]])
    p[50] += (4.0, -3.0)
    yaw = np.concatenate([clean.yaw_rad[:k], np.full(200, clean.yaw_rad[k]), clean.yaw_rad[k:]])
    recorded = record_course(Drive(stamps_s=stamps, p_W=p, yaw_rad=yaw), "waited")
    assert recorded.dropped == 1
    assert furthest(truth, recorded.course.line.points) < 0.05


def test_a_drive_that_never_closes_is_refused_with_how_near_it_came() -> None:
    drive = drive_along(place("oval").course.line, 0.8)
    with pytest.raises(ConfigError, match=r"of 19.9 m never closes: it came back to .* Drive on past the start"):
        record_course(drive, "open")


def test_coming_back_the_other_way_is_no_lap() -> None:
    x = np.concatenate([np.linspace(0, 10, 200), np.linspace(10, 0, 200)])
    y = np.where(np.arange(400) < 200, 0.0, 0.3)
    yaw = np.where(np.arange(400) < 200, 0.0, math.pi)
    drive = Drive(stamps_s=np.arange(400) / 20, p_W=np.stack([x, y], axis=1), yaw_rad=yaw)
    with pytest.raises(ConfigError, match="heading 180 degrees away"):
        record_course(drive, "there and back")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"stamps_s": np.zeros(100)}, "do not increase"),
        ({"yaw_rad": np.full(100, np.nan)}, "not finite"),
        ({"yaw_rad": np.zeros(99)}, "each with a time, a position and a heading"),
    ],
)
def test_impossible_readings_are_refused(change: dict, sentence: str) -> None:
    values = {"stamps_s": np.arange(100) / 20, "p_W": np.zeros((100, 2)), "yaw_rad": np.zeros(100), **change}
    with pytest.raises(ConfigError, match=sentence):
        Drive(**values)


def test_a_short_or_lost_drive_is_refused() -> None:
    still = Drive(stamps_s=np.arange(100) / 20, p_W=np.zeros((100, 2)), yaw_rad=np.zeros(100))
    with pytest.raises(ConfigError, match=r"0\.0 m long, and the shortest lap is 5 m"):
        record_course(still, "still")
    line = place("oval").course.line
    lost = drive_along(line, 1.1, noise_m=0.6)
    with pytest.raises(ConfigError, match="the localisation was lost"):
        record_course(lost, "lost")


def test_a_recorded_course_survives_its_file(tmp_path) -> None:
    course = record_course(drive_along(place("hall").course.line, 1.1, noise_m=0.01), "hall by hand").course
    save_course(tmp_path / "course.yaml", course)
    again = load_course(tmp_path / "course.yaml")
    np.testing.assert_array_equal(again.points, course.points)
    np.testing.assert_array_equal(again.left_m, course.left_m)
    assert (again.gates_s_m, again.name, again.widths) == (course.gates_s_m, "hall by hand", "assumed")
    assert again.gates == course.gates


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("version: 1", "version: 2", "it has version 2, and this program reads version 1"),
        ("kind: robot_rl course", "kind: map", "this is no course"),
        ("widths: assumed", "widths: guessed", "widths are 'measured', 'drawn' or 'assumed', got 'guessed'"),
        ("closure_m:", "closure:", r"lacks \['closure_m'\]"),
        ("points:\n- [", "points:\n- [.nan, ", "points"),
        ("name: c", "name: [", "not valid YAML"),
    ],
)
def test_a_wrong_course_file_is_refused_with_its_mistake(tmp_path, old: str, new: str, sentence: str) -> None:
    path = tmp_path / "course.yaml"
    save_course(path, record_course(drive_along(place("oval").course.line, 1.1), "c").course)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=sentence) as refused:
        load_course(path)
    assert str(path) in str(refused.value)


def test_a_missing_course_file_says_how_to_make_one(tmp_path) -> None:
    with pytest.raises(ConfigError, match="record one by driving a slow lap"):
        load_course(tmp_path / "none.yaml")
