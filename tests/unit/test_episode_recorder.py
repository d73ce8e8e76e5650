"""The recorder never holds up a loop in real time; what it cannot keep it counts, and steps it keeps."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from episode_maker import PERIOD_S, a_start, make_episode, observed, reading

from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import EpisodeRecorder, RecorderConfig
from robot_rl.episodes.scan import Scan, scan
from robot_rl.errors import ConfigError

BIG = (480, 640, 3)


def test_pictures_of_full_size_are_left_out_first_and_counted_and_every_step_is_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shots = [rng.integers(0, 256, BIG, np.uint8) for _ in range(8)]  # noise: slow to encode, large to write
    with EpisodeRecorder(tmp_path, RecorderConfig(buffer_mb=10.0)) as recorder:
        first_s = time.monotonic()
        state = reading(rng, first_s)
        recorder.begin(a_start(real_time=True), state, observed(rng, state, ()))
        given = 0
        for k in range(40):
            for shot in shots:
                recorder.frame("wrist", shot, state.stamp_s)
                given += 1
            state = reading(rng, first_s + (k + 1) * PERIOD_S)
            recorder.step(state, observed(rng, state, ()), np.zeros(7, np.float32), 0.0, False, k == 39, {})
        recorder.end()
        assert recorder.wait(120.0)
    episode = Episode(tmp_path / "000001.mcap")
    assert len(episode) == episode.steps.gap == 40
    dropped = episode.end.dropped["wrist"]
    assert dropped > 0
    frames = episode.cameras()["wrist", True]
    assert len(frames) == given - dropped
    assert frames[0].shape == BIG
    assert recorder.finished[-1].dropped == dropped


def test_an_episode_for_which_no_memory_is_left_is_given_up_and_the_next_one_is_not(tmp_path: Path, caplog) -> None:
    rng = np.random.default_rng(0)
    with EpisodeRecorder(tmp_path, RecorderConfig(buffer_mb=1.0)) as recorder:
        state = reading(rng, time.monotonic())
        recorder.begin(a_start(real_time=True), state, observed(rng, state, ()))
        for _ in range(30_000):  # faster than any disk: some 240 MB of numbers would wait, 2 MB may
            recorder.step(state, observed(rng, state, ()), np.zeros(7, np.float32), 0.0, False, False, {})
            if recorder._open.given_up:
                break
        assert recorder._open.given_up
        recorder.end()
        assert recorder.wait(120.0)
        make_episode(recorder, n=3, real_time=True)
        assert recorder.wait(120.0)
    lost, kept = recorder.finished
    assert "more than 2 MB waited for the disk" in lost.lost
    assert "robot-rl data repair" in lost.lost
    assert lost.lost in caplog.text
    assert kept.lost == ""
    cut = Episode(lost.path)
    assert len(cut) == cut.steps.gap == lost.steps > 100
    assert cut.end is None
    assert len(Episode(kept.path)) == 3


def test_a_robot_in_lock_step_waits_rather_than_lose_anything(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path, RecorderConfig(buffer_mb=0.01)) as recorder:
        made = make_episode(recorder, n=60, cameras=("wrist",))
    episode = Episode(tmp_path / "000001.mcap")
    assert len(episode) == 60
    assert episode.end.dropped == {}
    assert len(episode.cameras()["wrist", False]) == len(made.observations)


def test_an_episode_that_nobody_ended_is_ended_by_what_comes_next(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        make_episode(recorder, n=2, end=False, success=False)
        make_episode(recorder, n=3, end=False, success=False)
    ends = [Episode(tmp_path / f"00000{i}.mcap").end for i in (1, 2)]
    assert [e.reason for e in ends] == ["the next episode began", "the recording ended"]
    assert [e.steps for e in ends] == [2, 3]
    recorder.close()  # safe to call twice


def test_the_operators_word_stands_above_the_tasks(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        make_episode(recorder, n=2, verdict="failure")
        make_episode(recorder, n=2, success=False, verdict="success")
        make_episode(recorder, n=2, verdict="discard")
    assert [Episode(r.path).success for r in recorder.finished] == [False, True, False]


def test_readings_between_steps_are_recorded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with EpisodeRecorder(tmp_path) as recorder:
        recorder.sample(reading(rng, 0.0))  # outside an episode: nothing
        recorder.frame("wrist", np.zeros((4, 4, 3), np.uint8), 0.0)
        state = reading(rng, 0.0)
        recorder.begin(a_start(), state, observed(rng, state, ()))
        for k in range(1, 11):
            recorder.sample(reading(rng, 0.01 * k))
        state = reading(rng, 0.1)
        recorder.step(state, observed(rng, state, ()), np.zeros(7, np.float32), 0.0, False, True, {})
        recorder.end()
    episode = Episode(tmp_path / "000001.mcap")
    assert episode.topics["/arm/joint_states"] == 12
    assert np.allclose(np.diff(episode.stamps("/arm/joint_states")[0]), [1e7] * 10 + [0], atol=2)


def test_threads_hand_over_at_once_and_the_time_of_the_log_never_goes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shot = rng.integers(0, 256, (40, 60, 3), np.uint8)
    readings = [reading(rng, time.monotonic()) for _ in range(200)]
    with EpisodeRecorder(tmp_path) as recorder:
        recorder.begin(a_start(real_time=True), readings[0], observed(rng, readings[0], ()))
        senses = [
            threading.Thread(target=lambda: [recorder.sample(r) for r in readings]),
            threading.Thread(target=lambda: [recorder.frame("wrist", shot, r.stamp_s) for r in readings[:50]]),
        ]
        for thread in senses:
            thread.start()
        for _ in range(50):
            state = reading(rng, time.monotonic())
            recorder.step(state, observed(rng, state, ()), np.zeros(7, np.float32), 0.0, False, False, {})
        for thread in senses:
            thread.join()
        recorder.end()
    path = tmp_path / "000001.mcap"
    assert (np.diff([m.log_ns for m in scan(path, Scan())]) >= 0).all()
    episode = Episode(path)
    assert len(episode) == episode.steps.gap == 50
    assert episode.topics["/arm/current_pose"] == 1 + 200 + 50
    assert len(episode.cameras()["wrist", True]) == 50


def test_timing_comes_by_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with EpisodeRecorder(tmp_path) as recorder:
        state = reading(rng, 0.0)
        recorder.begin(a_start(), state, observed(rng, state, ()))
        for k, timing in enumerate([{}, {"period_ms": 101.0, "image_age_ms/wrist": 12.5}]):
            state = reading(rng, 0.1 * (k + 1))
            info = {"timing": timing, "reason": "x"}
            recorder.step(state, observed(rng, state, ()), np.zeros(7, np.float32), 0.0, False, k == 1, info)
        recorder.end()
    timing = Episode(tmp_path / "000001.mcap").steps.timing
    assert np.array_equal(timing["period_ms"], [np.nan, 101.0], equal_nan=True)
    assert np.array_equal(timing["image_age_ms/wrist"], [np.nan, 12.5], equal_nan=True)


def test_a_picture_carries_the_moment_its_light_was_caught(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with EpisodeRecorder(tmp_path) as recorder:
        state = reading(rng, 10.0)
        recorder.begin(a_start("wrist"), state, observed(rng, state, ("wrist",)))
        state = reading(rng, 10.1)
        info = {"timing": {"state_age_ms": 4.0, "image_age_ms/wrist": 34.0}}
        recorder.step(state, observed(rng, state, ("wrist",)), np.zeros(7, np.float32), 0.0, False, True, info)
        recorder.end()
    episode = Episode(tmp_path / "000001.mcap")
    stamps = episode.cameras()["wrist", False].stamp_ns - episode.steps.stamp_ns[0]
    assert np.allclose(stamps, [0, 70e6], atol=2)


def test_mistakes_are_told_in_sentences(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder, pytest.raises(ConfigError, match="call begin first"):
        recorder.step(
            reading(np.random.default_rng(0), 0.0), np.zeros(4), np.zeros(7, np.float32), 0.0, False, False, {}
        )
    with pytest.raises(ConfigError, match="must be positive"):
        RecorderConfig(buffer_mb=0.0)
    with pytest.raises(ConfigError, match="must not be negative"):
        RecorderConfig(sync_s=-1.0)
