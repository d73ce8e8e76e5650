from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from episode_maker import make_file
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, LabelError
from robot_rl.rewards.from_episodes import Taking, cameras_of, labels_of, parse_marks, take
from robot_rl.rewards.labels import LabelledSet


@settings(deadline=None)
@given(st.integers(1, 60), st.booleans(), st.integers(1, 5), st.integers(0, 6), st.integers(1, 7))
def test_successes_are_at_the_end_and_the_gap_before_them_is_left_out(
    n: int, success: bool, last: int, gap: int, every: int
) -> None:
    found = labels_of(n, success, Taking(last=last, gap=gap, every=every))
    assert all(0 <= i <= n for i in found)
    ones, zeros = [i for i, v in found.items() if v], [i for i, v in found.items() if not v]
    assert 0 not in ones, "an episode does not begin with a success"
    if not success:
        assert not ones
        assert zeros == list(range(0, n + 1, every))
    else:
        assert sorted(ones) == list(range(max(n + 1 - last, 1), n + 1))
        assert all(i < n + 1 - last - gap for i in zeros)


def test_frames_of_a_recorded_episode_are_exactly_those_that_the_policy_saw(tmp_path: Path) -> None:
    from robot_rl.episodes.reader import Episode

    path = make_file(tmp_path / "episodes", n=12, cameras=("front", "wrist"))
    cameras = cameras_of(path)
    assert cameras == {"front": (12, 16, 3), "wrist": (12, 16, 3)}
    with LabelledSet(tmp_path / "set", "point", cameras, writing=True) as into:
        counts = take(path, into, Taking(last=2, gap=2, every=4), "e")
        assert counts == {0: 3, 1: 2}
        assert [(f.step, f.label) for f in into.frames] == [(0, 0), (4, 0), (8, 0), (11, 1), (12, 1)]
        seen = Episode(path).cameras()
        for frame in into.frames:
            for camera in cameras:
                np.testing.assert_array_equal(into.pictures(frame.name)[camera], seen[camera, False][frame.step])
        assert take(path, into, Taking(last=2, gap=2, every=4), "e") == {0: 0, 1: 0}, "twice is once"


def test_a_failure_gives_failures_and_a_discarded_episode_nothing(tmp_path: Path) -> None:
    failure = make_file(tmp_path / "a", n=6, cameras=("front",), success=False)
    discarded = make_file(tmp_path / "b", n=6, cameras=("front",), verdict="discard")
    with LabelledSet(tmp_path / "set", "point", cameras_of(failure), writing=True) as into:
        assert take(failure, into, Taking(every=3), "a") == {0: 3, 1: 0}
        assert take(discarded, into, Taking(), "b") == {0: 0, 1: 0}
        assert take(discarded, into, Taking(marks=parse_marks("0-1:failure,5-99:success")), "b") == {0: 2, 1: 2}
        assert {f.by for f in into.frames if f.episode == "b"} == {"person"}


def test_episodes_without_the_cameras_are_refused(tmp_path: Path) -> None:
    blind = make_file(tmp_path / "a", n=3)
    with pytest.raises(LabelError, match="holds no pictures that a policy saw"):
        cameras_of(blind)
    other = make_file(tmp_path / "b", n=3, cameras=("side",))
    with (
        LabelledSet(tmp_path / "set", "point", {"front": (12, 16, 3)}, writing=True) as into,
        pytest.raises(LabelError, match=r"no pictures of camera 'front'.*it has \['side'\]"),
    ):
        take(other, into, Taking(), "b")


@pytest.mark.parametrize("text", ["5", "7-3:success", "1-2:maybe", "x-y:failure", "1-2=success"])
def test_a_mark_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="marks nothing; write FIRST-LAST:success"):
        parse_marks(text)
