from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robot_rl.errors import LabelError
from robot_rl.rewards.labels import FRAMES, RELABELS, LabelledSet

SHAPE = (8, 10, 3)


def picture(seed: int) -> dict[str, np.ndarray]:
    return {"front": np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8)}


def a_set(folder: Path, n: int = 3) -> LabelledSet:
    with LabelledSet(folder, "task", {"front": SHAPE}, writing=True) as made:
        for step in range(n):
            made.add("a", step, picture(step), step % 2, "person", truth=bool(step % 2), score=0.25)
    return LabelledSet(folder)


def test_what_was_added_is_read_back_exactly(tmp_path: Path) -> None:
    made = a_set(tmp_path / "set")
    assert [f.label for f in made.frames] == [0, 1, 0]
    assert made.frames[1].truth is True
    assert made.frames[1].score == 0.25
    for step, frame in enumerate(made.frames):
        np.testing.assert_array_equal(made.pictures(frame.name)["front"], picture(step)["front"])


def test_the_newest_word_wins_and_no_word_is_lost(tmp_path: Path) -> None:
    made = a_set(tmp_path / "set")
    made.relabel(["a/000000"], 1, "first")
    made.relabel(["a/000000", "a/000001"], None, "second")
    again = LabelledSet(made.folder)
    assert [f.label for f in again.frames] == [None, None, 0]
    assert [f.given for f in again.frames] == [0, 1, 0]
    assert again.frames[0].by == "second"
    words = [json.loads(line)["label"] for line in (made.folder / RELABELS).read_text().splitlines()]
    assert words == [1, None, None]
    assert len((made.folder / FRAMES).read_text().splitlines()) == 3


def test_an_unknown_frame_changes_nothing(tmp_path: Path) -> None:
    made = a_set(tmp_path / "set")
    with pytest.raises(LabelError, match=r"no frame 'a/000009'; frames are named EPISODE/STEP"):
        made.relabel(["a/000000", "a/000009"], 1, "me")
    assert LabelledSet(made.folder).frames[0].label == 0


def test_a_torn_last_line_costs_that_frame_alone_and_the_set_goes_on(tmp_path: Path) -> None:
    made = a_set(tmp_path / "set")
    rows = made.folder / FRAMES
    rows.write_bytes(rows.read_bytes()[:-20])
    with LabelledSet(made.folder, "task", {"front": SHAPE}, writing=True) as again:
        assert [f.name for f in again.frames] == ["a/000000", "a/000001"]
        assert again.torn == 1
        again.add("a", 2, picture(7), 1, "person")
    whole = LabelledSet(made.folder)
    assert [f.label for f in whole.frames] == [0, 1, 1]
    np.testing.assert_array_equal(whole.pictures("a/000002")["front"], picture(7)["front"])


def test_a_kill_between_frames_leaves_whole_frames(tmp_path: Path) -> None:
    code = (
        "import os, sys, numpy as np\nfrom pathlib import Path\nfrom robot_rl.rewards.labels import LabelledSet\n"
        "s = LabelledSet(Path(sys.argv[1]), 't', {'front': (8, 10, 3)}, writing=True)\n"
        "for i in range(5): s.add('a', i, {'front': np.full((8, 10, 3), i, np.uint8)}, 1, 'person')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "set")], check=False, timeout=60)
    assert done.returncode == -9
    with LabelledSet(tmp_path / "set", "t", {"front": SHAPE}, writing=True) as left:
        assert len(left) == 5
        assert [int(left.pictures(f.name)["front"][0, 0, 0]) for f in left.frames] == list(range(5))


def test_a_frame_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    made = a_set(tmp_path / "set")
    with LabelledSet(made.folder, "task", {"front": SHAPE}, writing=True) as again:
        again.add("a", 0, picture(99), 1, "someone")
        assert len(again) == 3
    np.testing.assert_array_equal(LabelledSet(made.folder).pictures("a/000000")["front"], picture(0)["front"])


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with (
        LabelledSet(tmp_path / "set", "task", {"front": SHAPE}, writing=True),
        pytest.raises(LabelError, match="another process is adding frames"),
    ):
        LabelledSet(tmp_path / "set", "task", {"front": SHAPE}, writing=True)
    LabelledSet(tmp_path / "set", "task", {"front": SHAPE}, writing=True).close()


@pytest.mark.parametrize(
    ("task", "cameras", "sentence"),
    [
        ("other", {"front": SHAPE}, "of the task 'task', not of 'other'"),
        ("task", {"side": SHAPE}, r"cameras \{'front'.*and there are \{'side'"),
        ("task", {"front": (4, 4, 3)}, "same robot.cameras and robot.image_size"),
    ],
)
def test_another_task_or_other_cameras_are_refused(tmp_path: Path, task: str, cameras: dict, sentence: str) -> None:
    a_set(tmp_path / "set")
    with pytest.raises(LabelError, match=sentence):
        LabelledSet(tmp_path / "set", task, cameras, writing=True)


def test_what_is_no_set_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no set of labelled pictures"):
        LabelledSet(tmp_path / "nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("do not lose me")
    with pytest.raises(LabelError, match="holds other files"):
        LabelledSet(tmp_path / "full", "task", {"front": SHAPE})
    with pytest.raises(LabelError, match="no camera"):
        LabelledSet(tmp_path / "blind", "task", {})


def test_a_format_of_the_future_is_refused(tmp_path: Path) -> None:
    made = a_set(tmp_path / "set")
    facts = json.loads((made.folder / "set.json").read_text())
    (made.folder / "set.json").write_text(json.dumps({**facts, "format": 7}))
    with pytest.raises(LabelError, match="format 7, this version of robot_rl reads format 1"):
        LabelledSet(made.folder)


@pytest.mark.parametrize("damage", ["gone", "cut", "other size"])
def test_a_picture_that_is_not_whole_is_told_of(tmp_path: Path, damage: str) -> None:
    made = a_set(tmp_path / "set")
    path = made.folder / "pictures" / "a" / "000000-front.png"
    if damage == "gone":
        os.unlink(path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:30])
    else:
        other = LabelledSet(tmp_path / "other", "t", {"front": (4, 4, 3)}, writing=True)
        other.add("a", 0, {"front": np.zeros((4, 4, 3), np.uint8)}, 1, "me")
        path.write_bytes(other.png("a/000000", "front"))
        other.close()
    with pytest.raises(LabelError, match=r"000000-front.png"):
        made.pictures("a/000000")


def test_a_picture_of_another_shape_or_camera_is_refused(tmp_path: Path) -> None:
    with LabelledSet(tmp_path / "set", "task", {"front": SHAPE}, writing=True) as made:
        with pytest.raises(LabelError, match=r"needs a \(8, 10, 3\) uint8 picture of camera 'front', got none"):
            made.add("a", 0, {"side": np.zeros(SHAPE, np.uint8)}, 1, "me")
        with pytest.raises(LabelError, match=r"got \(4, 4, 3\)"):
            made.add("a", 0, {"front": np.zeros((4, 4, 3), np.uint8)}, 1, "me")
        with pytest.raises(LabelError, match="episode name"):
            made.add("../up", 0, picture(0), 1, "me")
        assert len(made) == 0


@pytest.mark.parametrize(
    "row",
    [
        {"frame": "../../etc/000001", "step": 1, "label": 1},
        {"frame": "a/000009", "step": 9, "label": [1]},
        {"frame": "a/000009", "step": "nine", "label": 1},
        {"frame": {"a": 1}, "step": 9, "label": 1},
        {"frame": "a/000009", "step": 9, "label": 2},
    ],
)
def test_a_row_that_is_none_of_ours_is_counted_and_left_out(tmp_path: Path, row: dict) -> None:
    made = a_set(tmp_path / "set")
    for name in (FRAMES, RELABELS):
        with open(made.folder / name, "a") as file:
            file.write(json.dumps(row) + "\n")
    again = LabelledSet(made.folder)
    assert [f.label for f in again.frames] == [0, 1, 0]
    assert again.torn == 1


def test_facts_without_cameras_are_told_of(tmp_path: Path) -> None:
    made = a_set(tmp_path / "set")
    (made.folder / "set.json").write_text(json.dumps({"format": 1, "task": "task"}))
    with pytest.raises(LabelError, match=r"set.json lacks the task or the cameras"):
        LabelledSet(made.folder)
