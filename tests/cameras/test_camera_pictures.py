"""Settings, clocks, and the way from a whole picture to the policy's square."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robot_rl.errors import CameraError, ConfigError
from robot_rl_hardware.cameras.clocks import DeviceClock, monotonic_from_monotonic, monotonic_from_wall
from robot_rl_hardware.cameras.picture import policy_picture, square_of, turned
from robot_rl_hardware.cameras.settings import OF_KIND, CameraSettings, camera_settings

SIZES = st.tuples(st.integers(8, 90), st.integers(8, 90))


@given(SIZES, st.integers(8, 40), st.data())
def test_the_square_is_all_of_the_crop_and_nothing_else(size: tuple[int, int], side: int, data: Any) -> None:
    height, width = size
    cut = data.draw(st.integers(8, min(size)))
    x, y = data.draw(st.integers(0, width - cut)), data.draw(st.integers(0, height - cut))
    settings = CameraSettings(kind="opencv", crop=(x, y, cut, cut), size=side)
    image = np.full((height, width, 3), 255, np.uint8)
    image[y : y + cut, x : x + cut] = 50
    assert (policy_picture(image, settings) == 50).all()


@given(st.integers(1, 5), st.integers(8, 20), st.data())
def test_each_pixel_is_the_mean_of_the_area_it_covers(factor: int, side: int, data: Any) -> None:
    image = data.draw(arrays(np.uint8, (side * factor, side * factor, 3)))
    made = policy_picture(image, CameraSettings(kind="opencv", size=side))
    mean = image.reshape(side, factor, side, factor, 3).mean(axis=(1, 3))
    assert made.shape == (side, side, 3)
    assert made.dtype == np.uint8
    assert np.abs(made - mean).max() <= 0.51


@given(SIZES)
def test_without_a_crop_it_is_the_largest_square_in_the_middle(size: tuple[int, int]) -> None:
    x, y, side = square_of(CameraSettings(kind="opencv"), *size)
    assert side == min(size)
    assert abs((size[1] - side) - 2 * x) <= 1
    assert abs((size[0] - side) - 2 * y) <= 1


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    made = policy_picture(image, CameraSettings(kind="twin", size=16))
    np.testing.assert_array_equal(made, image)
    assert made.flags.c_contiguous


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_four_quarter_turns_are_none(image: np.ndarray) -> None:
    once = turned(image, 90)
    assert once.shape[:2] == image.shape[1::-1]
    np.testing.assert_array_equal(turned(turned(once, 90), 180), image)
    np.testing.assert_array_equal(turned(turned(image, 270), 90), image)


def test_a_crop_that_does_not_fit_says_what_would() -> None:
    with pytest.raises(CameraError, match=r"\[10, 0, 60, 60\].*does not fit into a picture of 64x48"):
        square_of(CameraSettings(kind="opencv", crop=(10, 0, 60, 60)), 48, 64)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "webcam"}, "allowed: one of realsense, opencv, topic, twin"),
        ({"kind": "realsnse"}, "Did you mean 'realsense'"),
        ({"kind": "opencv", "fps": 0}, "fps must be from 1 to 1000"),
        ({"kind": "opencv", "width": 9000}, "width must be from 8"),
        ({"kind": "opencv", "crop": [0, 0, 10, 20]}, "of a square"),
        ({"kind": "opencv", "crop": [0, 0, 10]}, "a list of 4"),
        ({"kind": "opencv", "crop": [-1, 0, 10, 10]}, "of a square"),
        ({"kind": "opencv", "turn_deg": 45}, "one of [0, 90, 180, 270]"),
        ({"kind": "opencv", "format": "MJPEG"}, "four letters"),
        ({"kind": "opencv", "late_s": 0.0}, "late_s must be positive"),
        ({"kind": "opencv", "frozen_s": -1.0}, "frozen_s must not be negative"),
        ({"kind": "opencv", "sise": 128}, "Did you mean 'cell.cameras.front.size'"),
        ({"kind": "realsense", "device": "1", "serial": "2"}, "keep one"),
        ({}, "kind has no value"),
    ],
)
def test_a_wrong_setting_gets_a_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        camera_settings(values, "cell.cameras.front")
    assert sentence in str(raised.value)
    assert "cell.cameras.front" in str(raised.value)


def test_a_serial_is_a_device_and_each_kind_has_its_usual_values() -> None:
    assert camera_settings({"kind": "realsense", "serial": "0123"}).device == "0123"
    for kind, usual in OF_KIND.items():
        made = camera_settings({"kind": kind})
        assert {name: getattr(made, name) for name in usual} == usual
    assert camera_settings({"kind": "twin", "width": 640}).width == 640


@given(st.floats(0.0, 0.9), st.floats(-1e9, 1e9))
def test_a_wall_stamp_keeps_its_age(age_s: float, wall_s: float) -> None:
    made = monotonic_from_wall(wall_s - age_s, now_s=100.0, now_wall_s=wall_s)
    assert made == pytest.approx(100.0 - age_s, abs=1e-5)


@given(st.one_of(st.floats(-1e6, -1e-3), st.floats(1.1, 1e6)))
def test_a_stamp_of_a_clock_that_jumped_is_not_believed(age_s: float) -> None:
    assert monotonic_from_wall(5e8 - age_s, now_s=100.0, now_wall_s=5e8) == 100.0
    assert monotonic_from_monotonic(100.0 - age_s, 100.0) == 100.0


@given(
    st.floats(-1e6, 1e6),
    st.lists(st.floats(0.001, 0.05), min_size=2, max_size=60),
    st.floats(-5e-5, 5e-5),
)
def test_a_device_clock_is_followed_by_its_fastest_frames(offset_s: float, delays: list[float], drift: float) -> None:
    clock, fastest = DeviceClock(), float("inf")
    for k, delay_s in enumerate(delays):
        caught_s = 10.0 + k / 30.0
        device_s = offset_s + caught_s * (1.0 + drift)
        made = clock.monotonic(device_s, caught_s + delay_s)
        fastest = min(fastest, delay_s)
        # Never after the frame arrived, never before it was caught, but for what the clocks drift apart.
        assert made <= caught_s + delay_s + 1e-3
        assert made == pytest.approx(caught_s + fastest, abs=1e-3)


def test_a_device_that_begins_its_clock_anew_is_followed_anew() -> None:
    clock = DeviceClock()
    for k in range(10):
        clock.monotonic(1000.0 + k, 50.0 + k)
    assert clock.monotonic(0.5, 70.0) == 70.0
    assert clock.monotonic(1.5, 71.2) == pytest.approx(71.0)
