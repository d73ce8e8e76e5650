"""The page of an episode shows what happened, needs nothing but itself, and works for a cut one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from episode_maker import make_episode

from robot_rl.episodes.page import write_page
from robot_rl.episodes.recorder import EpisodeRecorder
from robot_rl.episodes.scan import Scan, scan


def test_a_page_shows_film_plots_events_and_settings(tmp_path: Path) -> None:
    shot = np.zeros((48, 64, 3), np.uint8)
    with EpisodeRecorder(tmp_path) as recorder:
        make_episode(
            recorder, n=12, cameras=("wrist",), seed=5, end=False, config="task: <point>\n", versions={"numpy": "2"},
            calibration={"wrist": [1.0]},
            changes={4: {"source": "human"}, 5: {"guard_events": ("box",)}},
        )  # fmt: skip
        recorder.frame("side", shot, 0.5)
        recorder.end("failure")
    page = write_page(tmp_path / "000001.mcap", tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "side, full size" in page
    assert "wrist, as the policy saw it: at 0.0," in page
    assert "Failure, by the operator&#x27;s word: done." in page
    assert "label: the operator says failure, the task says success" in page
    for title in ("translation", "rotation", "gripper", "position", "width", "reward"):
        assert f'aria-label="{title}"' in page, title
    assert "guard: box" in page
    assert "human takes over from policy" in page
    assert "policy takes over from human" in page
    assert "terminated: done" in page
    assert "task: &lt;point&gt;" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_a_page_of_a_cut_episode_says_so(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        make_episode(recorder, n=4, seed=1)
    data = (tmp_path / "000001.mcap").read_bytes()
    places = [m.chunk for m in scan(tmp_path / "000001.mcap", Scan()) if m.topic == "/rl/step"]
    for steps in (2, 0):
        (tmp_path / "000002.mcap.part").write_bytes(data[: places[steps]])
        page = write_page(tmp_path / "000002.mcap.part", tmp_path / "page.html").read_text()
        assert f"No end is recorded: it was cut after {steps} steps" in page
    assert "There is no complete step." in page
