"""The worker: newest frames for readers who never wait, and an honest word on how the camera does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import CameraError, MissingDependency
from robot_rl_hardware.cameras.protocol import CameraEnded
from robot_rl_hardware.cameras.settings import CameraSettings
from robot_rl_hardware.cameras.worker import CameraWorker, View

Wait = Callable[..., None]
FAST = (0.01,)


def settings(**changes: Any) -> CameraSettings:
    return CameraSettings(kind="opencv", **{"size": 16, "reconnect_s": 0.0, "late_s": 60.0, **changes})


@pytest.fixture
def workers() -> Iterator[list[CameraWorker]]:
    made: list[CameraWorker] = []
    yield made
    for worker in made:
        worker.close()


def run(workers: list[CameraWorker], source: Any, **changes: Any) -> CameraWorker:
    on_view = changes.pop("on_view", None)
    worker = CameraWorker("front", source, settings(**changes), on_view, back_off_s=FAST)
    workers.append(worker)
    worker.start(30.0)
    return worker


def number_of(worker: CameraWorker) -> int:
    view = worker.newest()
    return -1 if view is None else view.frame.number


def test_a_reader_gets_the_newest_frame_and_its_square(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    worker = run(workers, source)
    assert worker.newest() is None
    assert worker.status().reason
    for number in (1, 2, 3):
        source.give(number)
    wait(lambda: number_of(worker) == 3)
    view = worker.newest()
    assert view is not None
    assert view.frame.image.shape == (48, 64, 3)
    assert view.picture.shape == (16, 16, 3)
    status = worker.status()
    assert status.ok
    assert status.reason == ""
    assert 0.0 <= status.age_s < 30.0


def test_one_thread_alone_touches_the_camera(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    worker = run(workers, source)
    source.give(1)
    wait(lambda: number_of(worker) == 1)
    worker.close()
    worker.close()
    assert source.closes >= 1
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads


def test_nobody_waits_for_a_camera_that_hangs(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    worker = run(workers, source, late_s=0.05)
    source.give(1)
    wait(lambda: number_of(worker) == 1)
    source.hang.set()
    assert source.hanging.wait(30.0)
    wait(lambda: not worker.status().ok, "the frame to grow old")
    assert number_of(worker) == 1
    assert "old" in worker.status().reason
    source.hang.clear()


def test_every_frame_is_told_once_and_in_order(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    told: list[int] = []

    def on_view(view: View, well: bool) -> None:
        assert well
        told.append(view.frame.number)

    run(workers, source, on_view=on_view)
    for number in (1, 2, 2, 3, 3, 4):  # a device that has nothing new may give the same frame again
        source.give(number)
    wait(lambda: len(told) == 4)
    assert told == [1, 2, 3, 4]


def test_frames_that_were_never_seen_are_counted(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    worker = run(workers, source)
    for number in (5, 6, 9, 10, 20):
        source.give(number)
    wait(lambda: number_of(worker) == 20)
    assert worker.status().drops == 2 + 9


def test_pictures_that_stand_still_are_frozen_and_a_new_one_ends_it(
    workers: list[CameraWorker], source: Any, wait: Wait
) -> None:
    told: list[bool] = []
    worker = run(workers, source, frozen_s=0.32, on_view=lambda view, well: told.append(well))
    now = time.monotonic()
    for number in range(20):
        source.give(number, value=7, stamp_s=now - 2.0 + 0.05 * number)
    wait(lambda: len(told) == 20)
    status = worker.status()
    assert status.frozen
    assert not status.ok
    assert "frozen" in status.reason
    assert told == [0.05 * number < 0.32 for number in range(20)], "the first 0.32 s may be chance"
    source.give(20, value=8)
    wait(lambda: len(told) == 21)
    assert told[-1]
    assert worker.status().ok


def test_one_pixel_is_enough_to_be_alive(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    from robot_rl_hardware.cameras.protocol import Frame

    worker = run(workers, source, frozen_s=0.1)
    now = time.monotonic()
    for number in range(20):
        image = np.zeros((48, 64, 3), np.uint8)
        image[number, number, 0] = 1
        source.frames.append(Frame(image, now - 2.0 + 0.1 * number, number))
    wait(lambda: number_of(worker) == 19)
    assert not worker.status().frozen


def test_a_drawn_scene_may_stand_still(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    worker = run(workers, source, frozen_s=0.0)
    now = time.monotonic()
    for number in range(20):
        source.give(number, value=7, stamp_s=now - 2.0 + 0.1 * number)
    wait(lambda: number_of(worker) == 19)
    assert worker.status().ok


def test_an_old_frame_is_late_however_new_its_number(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    worker = run(workers, source, late_s=0.5)
    source.give(1, stamp_s=time.monotonic() - 3.0)
    wait(lambda: number_of(worker) == 1)
    status = worker.status()
    assert not status.ok
    assert status.age_s >= 3.0
    assert "allowed are 0.5 s" in status.reason


def test_a_camera_that_fails_is_opened_again(
    workers: list[CameraWorker], source: Any, wait: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    worker = run(workers, source)
    source.give(1)
    wait(lambda: number_of(worker) == 1)
    with caplog.at_level(logging.WARNING):
        source.start_errors.extend(CameraError("still unplugged") for _ in range(3))
        source.frames.append(CameraError("unplugged"))
        wait(lambda: source.starts == 5, "the fifth attempt")
    assert "unplugged" in caplog.text
    assert caplog.text.count("WARNING") == 1, "an outage is told once"
    assert number_of(worker) == 1, "the last picture stays, and its age tells"
    source.give(1)  # the device counts anew
    wait(lambda: worker.status().ok)
    assert worker.status().reconnects == 4
    assert worker.status().drops == 0


def test_a_silent_camera_is_opened_again(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    worker = run(workers, source, reconnect_s=0.05)
    source.give(1)
    wait(lambda: source.starts >= 3)
    assert "silent" in worker.status().reason
    assert not worker.status().ok


def test_the_wait_between_attempts_grows(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    worker = CameraWorker("front", source, settings(), back_off_s=(0.01, 3600.0))
    workers.append(worker)
    worker.start(30.0)
    source.start_errors.append(CameraError("unplugged"))
    source.frames.append(CameraError("unplugged"))
    wait(lambda: source.starts == 2)
    wait(lambda: source.closes == 2)
    began = time.monotonic()
    worker.close()  # does not sit out the hour
    assert time.monotonic() - began < 30.0
    assert source.starts == 2


def test_a_film_that_is_over_stays_over(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    worker = run(workers, source)
    source.give(1)
    source.frames.append(CameraEnded("the film is over"))
    wait(lambda: worker.status().reason == "the film is over")
    assert source.starts == 1


@pytest.mark.parametrize("error", [CameraError("there is no such camera"), MissingDependency("x", "y", "z")])
def test_what_cannot_be_opened_is_refused_at_the_start(source: Any, error: Exception) -> None:
    source.start_errors.append(error)
    worker = CameraWorker("front", source, settings(), back_off_s=FAST)
    with pytest.raises(type(error)) as raised:
        worker.start(30.0)
    assert raised.value is error
    assert source.starts == 1
    worker.close()


def test_a_crop_outside_of_the_picture_is_refused_at_the_start(source: Any) -> None:
    worker = CameraWorker("front", source, settings(crop=(30, 0, 40, 40)), back_off_s=FAST)
    with pytest.raises(CameraError, match="does not fit into a picture of 64x48"):
        worker.start(30.0)
    worker.close()


def test_a_camera_that_hangs_while_it_opens_is_given_up(source: Any) -> None:
    release = threading.Event()
    start = source.start
    source.start = lambda: (release.wait(60.0), start())[1]
    worker = CameraWorker("front", source, settings(), back_off_s=FAST)
    with pytest.raises(CameraError, match=r"did not open within 0.1 s"):
        worker.start(0.1)
    release.set()
    worker.close()


def test_a_fault_of_ours_does_not_look_well(
    workers: list[CameraWorker], source: Any, wait: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    worker = run(workers, source)
    source.give(1)
    wait(lambda: worker.status().ok)
    with caplog.at_level(logging.CRITICAL):
        source.frames.append(ZeroDivisionError("oops"))
        wait(lambda: not worker.status().ok)
    assert "ZeroDivisionError: oops" in worker.status().reason


@pytest.mark.parametrize("turn_deg", [0, 90, 180, 270])
def test_a_camera_that_hangs_askew_is_turned(
    workers: list[CameraWorker], source: Any, wait: Wait, turn_deg: int
) -> None:
    worker = run(workers, source, turn_deg=turn_deg)
    source.give(1)
    given = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    wait(lambda: number_of(worker) == 1)
    view = worker.newest()
    assert view is not None
    np.testing.assert_array_equal(view.frame.image, np.rot90(given, turn_deg // 90))
    assert view.picture.shape == (16, 16, 3)


def test_the_rate_is_that_of_the_frames(workers: list[CameraWorker], source: Any, wait: Wait) -> None:
    worker = run(workers, source)
    assert worker.status().fps == 0.0
    for number in range(30):
        source.give(number)
        wait(lambda number=number: number_of(worker) == number)
    assert worker.status().fps > 1.0
