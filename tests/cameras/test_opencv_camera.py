"""Films at their own speed, and devices that are not there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import CameraError, ConfigError
from robot_rl_hardware.cameras.make import make_camera
from robot_rl_hardware.cameras.opencv import OpenCVCamera
from robot_rl_hardware.cameras.protocol import CameraEnded, CameraTimeout
from robot_rl_hardware.cameras.settings import CameraSettings
from robot_rl_hardware.cameras.worker import CameraWorker

pytest.importorskip("cv2")


@contextmanager
def opened(device: object, **changes: Any) -> Iterator[OpenCVCamera]:
    camera = make_camera(CameraSettings(kind="opencv", device=str(device), **changes))
    assert isinstance(camera, OpenCVCamera)
    try:
        yield camera
    finally:
        camera.close()
        camera.close()


def test_a_film_gives_its_pictures_in_order_at_its_own_speed(film: Path) -> None:
    with opened(film) as camera:
        info = camera.start()
        assert (info.width, info.height, info.fps) == (64, 48, 40.0)
        frames = [camera.read(30.0) for _ in range(20)]
        assert [frame.number for frame in frames] == list(range(1, 21))
        for k, frame in enumerate(frames):
            assert frame.image.shape == (48, 64, 3)
            assert abs(frame.image.astype(float).mean() - 10 * k) < 4.0
        stamps = np.array([frame.stamp_s for frame in frames])
        assert (np.diff(stamps) >= 0.0).all()
        assert stamps[-1] - stamps[0] >= 19 / 40.0 - 0.03, "no faster than the film"
        assert stamps[-1] <= time.monotonic()
        with pytest.raises(CameraEnded, match="is over after 20 pictures; loop=true"):
            camera.read(30.0)


def test_a_loop_begins_anew_and_goes_on_counting(film: Path) -> None:
    with opened(film, loop=True) as camera:
        camera.start()
        frames = [camera.read(30.0) for _ in range(45)]
    assert [frame.number for frame in frames] == list(range(1, 46))
    greys = [float(frame.image.mean()) for frame in frames]
    np.testing.assert_allclose(greys[20:40], greys[:20], atol=0.5)


def test_the_next_picture_of_a_slow_film_is_waited_for_only_so_long(film: Path) -> None:
    with opened(film) as camera:
        camera.start()
        camera.read(30.0)
        with pytest.raises(CameraTimeout):
            camera.read(0.001)
        assert camera.read(30.0).number == 2, "a wait in vain loses nothing"


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    writer.write(np.full((48, 64, 3), (0, 0, 250), np.uint8))  # OpenCV writes blue first
    writer.release()
    with opened(path) as camera:
        camera.start()
        red, green, blue = camera.read(30.0).image.reshape(-1, 3).mean(axis=0)
    assert red > 200
    assert max(green, blue) < 50


@pytest.mark.parametrize("device", ["/dev/video99", "99", 99])
def test_a_dead_device_is_named_beside_those_there_are(device: str | int) -> None:
    camera = make_camera(CameraSettings(kind="opencv", device=device))
    with pytest.raises(CameraError, match=r"there is no /dev/video99; this machine has"):
        camera.start()


def test_a_path_that_is_no_camera_gets_a_sentence() -> None:
    camera = make_camera(CameraSettings(kind="opencv", device="/dev/null"))
    with pytest.raises(CameraError, match="/dev/null gives no pictures"):
        camera.start()


def test_a_film_that_is_missing_or_none(tmp_path: Path) -> None:
    with opened(tmp_path / "film.avi") as camera, pytest.raises(CameraError, match=r"there is no file .*film\.avi"):
        camera.start()
    text = tmp_path / "film.mp4"
    text.write_text("not a film")
    with opened(text) as camera, pytest.raises(CameraError, match="no film or stream"):
        camera.start()


def test_a_camera_that_was_not_opened_says_so(film: Path) -> None:
    with opened(film) as camera, pytest.raises(CameraError, match="is not open"):
        camera.read(0.1)


def test_a_worker_shows_a_film_to_its_end(film: Path, wait: Any) -> None:
    settings = CameraSettings(kind="opencv", device=str(film), size=16)
    worker = CameraWorker("film", make_camera(settings), settings)
    try:
        worker.start()
        wait(lambda: "is over" in worker.status().reason, "the end of the film")
        view = worker.newest()
        assert view is not None
        assert abs(float(view.picture.mean()) - 190.0) < 4.0, "its last picture"
        assert not worker.status().ok
    finally:
        worker.close()


def test_kinds_that_need_ros_are_made_by_the_node() -> None:
    for kind in ("topic", "twin"):
        with pytest.raises(ConfigError, match="camera node"):
            make_camera(CameraSettings(kind=kind))
