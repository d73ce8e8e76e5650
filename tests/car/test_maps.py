"""F1TENTH maps become courses with walls; maps that hold no course are refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl_tasks.car.maps import place_from_map

CELL_M = 0.05
ORIGIN = (-8.0, -6.0, 0.0)


def draw(half_width_m: float = 0.7, gap: bool = False, corridor: bool = True) -> np.ndarray:
    """Return the picture of an oval of 10 by 6 m, white between black walls, grey outside."""
    picture = np.full((240, 320), 205, np.uint8)
    centre, axes = (160, 120), (100, 60)  # (0, 0) is the centre of the oval: column 160, row 120
    if corridor:
        cv2.ellipse(picture, centre, axes, 0, 0, 360, 0, round(2 * half_width_m / CELL_M) + 6)
        cv2.ellipse(picture, centre, axes, 0, 0, 360, 254, round(2 * half_width_m / CELL_M))
    if gap:
        picture[100:140, 250:] = 254
    return picture


def write(folder: Path, picture: np.ndarray, suffix: str = "png", **changes: object) -> Path:
    cv2.imwrite(str(folder / f"map.{suffix}"), picture)
    values = {"image": f"map.{suffix}", "resolution": CELL_M, "origin": list(ORIGIN), "negate": 0,
              "occupied_thresh": 0.45, "free_thresh": 0.196, **changes}  # fmt: skip
    path = folder / "map.yaml"
    path.write_text("".join(f"{k}: {v}\n" for k, v in values.items() if v is not None))
    return path


@pytest.mark.parametrize("suffix", ["png", "pgm"])
def test_the_line_runs_midway_between_the_walls(tmp_path, suffix: str) -> None:
    place = place_from_map(write(tmp_path, draw(), suffix))
    x, y = place.course.line.points.T
    assert np.abs(np.hypot(x / 5.0, y / 3.0) - 1.0).max() < 0.05
    assert place.course.left_m == pytest.approx(0.7, abs=0.12)
    assert len(place.walls) == 2
    assert min(place.clearance(p) for p in place.course.line.points) == pytest.approx(0.7, abs=0.15)
    a, b = place.course.line.points[0], place.course.line.points[3]
    assert a[0] * b[1] - a[1] * b[0] > 0, "counter-clockwise unless told otherwise"


def test_it_can_be_driven_the_other_way(tmp_path) -> None:
    line = place_from_map(write(tmp_path, draw()), reverse=True).course.line
    a, b = line.points[0], line.points[3]
    assert a[0] * b[1] - a[1] * b[0] < 0


def test_a_box_on_the_way_becomes_an_obstacle(tmp_path) -> None:
    picture = draw()
    picture[176:180, 158:162] = 0  # 0.2 m, on the way below the centre
    place = place_from_map(write(tmp_path, picture))
    assert len(place.obstacles) == 1
    assert place.obstacles[0, :2] == pytest.approx([0.0, -2.875], abs=0.08)


def test_negated_maps_and_turned_origins_are_understood(tmp_path) -> None:
    place = place_from_map(write(tmp_path, 255 - draw(), negate=1, origin=[6.0, -8.0, 1.5707963]))
    x, y = place.course.line.points.T
    assert np.abs(np.hypot(x / 3.0, y / 5.0) - 1.0).max() < 0.05


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (np.full((100, 100), 254, np.uint8), "has no walls: all its cells are free"),
        (np.full((100, 100), 0, np.uint8), "has no walls: all its cells are occupied or unknown"),
        (draw(gap=True), "no closed course: no walls enclose its free cells"),
        (draw(half_width_m=0.1), r"is 0\.\d+ m wide at .* and the car is 0\.31 m wide"),
    ],
)
def test_maps_that_hold_no_course_are_refused(tmp_path, picture: np.ndarray, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        place_from_map(write(tmp_path, picture))


def test_a_room_without_an_inner_wall_is_refused(tmp_path) -> None:
    picture = np.full((100, 100), 0, np.uint8)
    picture[20:80, 20:80] = 254
    with pytest.raises(ConfigError, match="its free cells go around nothing"):
        place_from_map(write(tmp_path, picture))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resolution": None}, "does not give resolution"),
        ({"resolution": "fine"}, "no number"),
        ({"resolution": 50}, r"resolution 50 m \(0\.001 to 1\)"),
        ({"free_thresh": 0.9}, "the first must be the smaller one"),
        ({"image": "other.png"}, "the map's picture .*other.png is missing"),
        ({"image": "map.yaml"}, "no PNG or PGM that can be read"),
        ({"origin": "[1"}, "not valid YAML"),
    ],
)
def test_a_wrong_map_file_is_refused_with_its_mistake(tmp_path, changes: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        place_from_map(write(tmp_path, draw(), **changes))
