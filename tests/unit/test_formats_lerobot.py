"""LeRobot data sets: their layout, and that what is exported without loss comes back as the same steps."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from episode_maker import SIZE, make_episode, make_file
from format_maker import a_goal, a_map, a_run, read

from robot_rl.demos import load
from robot_rl.episodes.check_set import check_files
from robot_rl.episodes.folder import find_files
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import EpisodeRecorder
from robot_rl.episodes.writer import decode_picture
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.formats import lerobot_read, lerobot_write, video_files
from robot_rl.formats.incoming import write_run
from robot_rl.formats.outgoing import select

STEPS = (
    "index", "state", "next_state", "action", "executed", "reward", "terminated", "truncated", "success",
    "policy_version", "stamp_ns", "after_ns", "log_ns",
)  # fmt: skip
OURS = "meta/robot_rl/episodes.parquet"


def test_the_layout_is_that_of_version_3(tmp_path: Path) -> None:
    selection = a_run(tmp_path / "run", "wrist", "front")
    done = lerobot_write.export(selection, tmp_path / "set", task="reach the point")
    assert (done.episodes, done.frames) == (2, 11)
    files = sorted(str(p.relative_to(tmp_path / "set")) for p in (tmp_path / "set").rglob("*") if p.is_file())
    assert files == [
        "data/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        OURS,
        "meta/stats.json",
        "meta/tasks.parquet",
        "videos/observation.images.front/chunk-000/file-000.mp4",
        "videos/observation.images.wrist/chunk-000/file-000.mp4",
    ]
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"]) == ("v3.0", 10, 11)
    assert info["splits"] == {"train": "0:2"}
    assert info["features"]["observation.state"] == {
        "dtype": "float32", "shape": [4], "names": ["position_0", "position_1", "position_2", "width"],
    }  # fmt: skip
    assert info["features"]["action"]["names"][-2:] == ["rotation_2", "gripper"]
    video = info["features"]["observation.images.wrist"]
    assert (video["dtype"], video["shape"]) == ("video", [*SIZE, 3])
    assert video["info"]["video.codec"] == "h264"  # too small for AV1
    table = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")
    assert "observation.images.wrist" not in table.column_names
    assert table["index"].to_pylist() == list(range(11))
    assert table["episode_index"].to_pylist() == [0] * 5 + [1] * 6
    np.testing.assert_array_equal(table["timestamp"].to_numpy()[:5], (np.arange(5) / 10).astype(np.float32))
    assert table["next.done"].to_pylist() == [False] * 4 + [True] + [False] * 5 + [True]
    tasks = pq.read_table(tmp_path / "set/meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "task": "reach the point"}]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    rows = pq.read_table(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(r["dataset_from_index"], r["dataset_to_index"], r["length"]) for r in rows] == [(0, 5, 5), (5, 11, 6)]
    assert rows[1]["videos/observation.images.wrist/from_timestamp"] == pytest.approx(0.5)
    assert rows[0]["tasks"] == ["reach the point"]


def test_what_goes_out_is_the_executed_action_with_its_statistics(tmp_path: Path) -> None:
    selection = a_run(tmp_path / "run", "wrist")
    lerobot_write.export(selection, tmp_path / "set")
    table = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")
    action = np.array(table["action"].to_pylist(), np.float32)
    executed = np.concatenate([Episode(p).steps.executed for p in selection.paths])
    np.testing.assert_array_equal(action, executed)
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())
    for name, value in (("mean", executed.mean(0)), ("std", executed.std(0)), ("min", executed.min(0))):
        np.testing.assert_allclose(stats["action"][name], value, atol=1e-6)
    assert stats["action"]["count"] == [11]
    pictures = np.concatenate([np.stack(e.cameras()["wrist", False][: len(e)]) for e in read(tmp_path / "run")])
    found = np.array(stats["observation.images.wrist"]["mean"])
    assert found.shape == (3, 1, 1)
    np.testing.assert_allclose(found.ravel(), pictures.mean(axis=(0, 1, 2)) / 255.0, atol=1e-9)


@pytest.mark.parametrize("cameras", [(), ("wrist", "front")], ids=["state", "pictures"])
def test_an_exact_export_comes_back_as_the_same_steps(tmp_path: Path, cameras: tuple[str, ...]) -> None:
    changes = {1: {"source": "human", "guard_events": ("speed",)}}
    selection = a_run(tmp_path / "run", *cameras, changes=changes, real_time=True, verdict="success")
    lerobot_write.export(selection, tmp_path / "set", lossless=True)
    goal = a_goal(*cameras)
    done = write_run(lerobot_read.episodes([tmp_path / "set"], goal, None), tmp_path / "back", goal)
    assert (done.episodes, done.steps, done.successes) == (2, 11, 2)
    for mine, theirs in zip(read(tmp_path / "run"), read(done.path), strict=True):
        for name in STEPS:
            np.testing.assert_array_equal(getattr(mine.steps, name), getattr(theirs.steps, name), err_msg=name)
        assert list(mine.steps.source) == list(theirs.steps.source)
        assert list(mine.steps.reason) == list(theirs.steps.reason)
        assert mine.steps.guard_events == theirs.steps.guard_events
        assert mine.end is not None
        assert theirs.end is not None
        assert theirs.end.duration_s == pytest.approx(mine.end.duration_s)
        assert dataclasses.replace(theirs.end, duration_s=mine.end.duration_s) == mine.end
        assert (theirs.start.seed, theirs.start.real_time) == (mine.start.seed, True)
        for camera in cameras:
            a, b = mine.cameras()[camera, False], theirs.cameras()[camera, False]
            assert [a.encoded(i) for i in range(len(a))] == [b.encoded(i) for i in range(len(b))]


def test_a_video_export_comes_back_with_the_same_numbers_and_serves_as_demonstrations(tmp_path: Path) -> None:
    goal = a_goal("wrist")
    lerobot_write.export(a_run(tmp_path / "run", "wrist"), tmp_path / "set")
    done = write_run(lerobot_read.episodes([tmp_path / "set"], goal, None), tmp_path / "back", goal)
    for mine, theirs in zip(read(tmp_path / "run"), read(done.path), strict=True):
        np.testing.assert_array_equal(mine.steps.executed, theirs.steps.executed)
        assert len(theirs.cameras()["wrist", False]) == len(mine) + 1
    assert not [f for f in check_files(find_files([done.path])) if f.problem]
    assert len(load(done.path, goal.observation_spec, goal.action_spec).blocks) == 2


def test_a_set_that_another_wrote_says_what_is_not_known(tmp_path: Path) -> None:
    goal = a_goal("wrist")
    lerobot_write.export(a_run(tmp_path / "run", "wrist"), tmp_path / "set", lossless=True)
    (tmp_path / "set" / OURS).unlink()
    done = write_run(lerobot_read.episodes([tmp_path / "set"], goal, None), tmp_path / "back", goal)
    first = read(done.path)[0]
    assert any("the observation after the last action" in u for u in first.start.origin["unknown"])
    assert any("stamps: nominal" in u for u in done.unknown)
    np.testing.assert_array_equal(first.steps.next_state[-1], first.steps.state[-1])
    np.testing.assert_array_equal(first.steps.stamp_ns, np.arange(5) * 100_000_000)
    assert first.success
    assert not [f for f in check_files(find_files([done.path])) if f.problem]


def test_an_end_without_success_and_without_a_word_on_truncation_claims_nothing(tmp_path: Path) -> None:
    goal = a_goal()
    lerobot_write.export(a_run(tmp_path / "run", success=False), tmp_path / "set")
    (tmp_path / "set" / OURS).unlink()
    path = tmp_path / "set/data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["next.truncated", "next.success"]), path)
    done = write_run(lerobot_read.episodes([tmp_path / "set"], goal, None), tmp_path / "back", goal)
    steps = read(done.path)[0].steps
    assert not steps.terminated.any()
    assert steps.truncated.tolist() == [False] * 4 + [True]


def test_a_cut_episode_goes_out_as_cut_short_and_a_discarded_one_stays(tmp_path: Path) -> None:
    whole = make_file(tmp_path / "run" / "episodes", n=6, seed=1)
    make_file(tmp_path / "run" / "episodes", n=4, seed=2, verdict="discard")
    data = whole.read_bytes()
    (whole.parent / "000009.mcap.part").write_bytes(data[: int(0.5 * len(data))])
    selection = select(find_files([tmp_path / "run"]))
    assert len(selection.left_out) == 1
    assert "discarded" in selection.left_out[0]
    lerobot_write.export(selection, tmp_path / "set")
    table = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet").to_pylist()
    cut = [row for row in table if row["episode_index"] == 1]
    assert 1 <= len(cut) < 6
    assert (cut[-1]["next.truncated"], cut[-1]["next.done"], cut[-1]["next.success"]) == (True, True, False)
    assert [p.name for p in select(find_files([tmp_path / "run"]), successes=True).paths] == ["000001.mcap"]


def test_a_set_without_its_videos_is_refused_by_their_names(tmp_path: Path) -> None:
    lerobot_write.export(a_run(tmp_path / "run", "wrist", "front"), tmp_path / "set")
    (tmp_path / "set/videos/observation.images.front/chunk-000/file-000.mp4").unlink()
    with pytest.raises(
        CheckpointError, match=r"incomplete: videos/observation.images.front/chunk-000/file-000.mp4 miss"
    ):
        list(lerobot_read.episodes([tmp_path / "set"], a_goal("wrist"), None))


def test_a_damaged_video_and_a_damaged_table_are_told_of(tmp_path: Path) -> None:
    goal = a_goal("wrist")
    lerobot_write.export(a_run(tmp_path / "run", "wrist"), tmp_path / "set")
    video = tmp_path / "set/videos/observation.images.wrist/chunk-000/file-000.mp4"
    video.write_bytes(video.read_bytes()[:300])
    with pytest.raises(CheckpointError, match=r"file-000\.mp4 cannot be read"):
        write_run(lerobot_read.episodes([tmp_path / "set"], goal, None), tmp_path / "back", goal)
    assert not (tmp_path / "back").exists()
    (tmp_path / "set/data/chunk-000/file-000.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(CheckpointError, match="cannot be read"):
        list(lerobot_read.episodes([tmp_path / "set"], goal, None))


@pytest.mark.parametrize(("version", "expected"), [("v2.1", "version v2.1, and v3.0 can be read"), ("v4.0", "v4.0")])
def test_a_set_of_another_version_is_refused(tmp_path: Path, version: str, expected: str) -> None:
    lerobot_write.export(a_run(tmp_path / "run"), tmp_path / "set")
    path = tmp_path / "set/meta/info.json"
    path.write_text(path.read_text().replace('"v3.0"', f'"{version}"'))
    with pytest.raises(CheckpointError, match=expected):
        list(lerobot_read.episodes([tmp_path / "set"], a_goal(), None))
    with pytest.raises(CheckpointError, match=r"it has no meta/info.json"):
        list(lerobot_read.episodes([tmp_path / "run"], a_goal(), None))


def test_data_of_another_task_rate_or_order_are_refused_with_the_difference(tmp_path: Path) -> None:
    lerobot_write.export(a_run(tmp_path / "run"), tmp_path / "set")
    with pytest.raises(ConfigError, match="the task has image wrist, the data set does not"):
        list(lerobot_read.episodes([tmp_path / "set"], a_goal("wrist"), None))
    (tmp_path / "set" / OURS).unlink()
    path = tmp_path / "set/meta/info.json"
    text = path.read_text()
    path.write_text(text.replace('"width"', '"opening"'))
    with pytest.raises(ConfigError, match=r"holds position_0, .*, opening; the task point has position_0, .*, width"):
        list(lerobot_read.episodes([tmp_path / "set"], a_goal(), None))
    path.write_text(text.replace('"fps": 10', '"fps": 30'))
    with pytest.raises(ConfigError, match="was recorded at 30 Hz, the task point runs at 10 Hz"):
        list(lerobot_read.episodes([tmp_path / "set"], a_goal(), None))


def test_a_map_takes_other_columns_scales_them_and_brings_pictures_to_size(tmp_path: Path) -> None:
    goal = a_goal("side")
    selection = a_run(tmp_path / "run", "wrist")
    lerobot_write.export(selection, tmp_path / "set", lossless=True)
    (tmp_path / "set" / OURS).unlink()
    text = """\
state: {position: "observation.state[0:3]", width: {from: "observation.state[3]", scale: 1000, offset: 1}}
action: {translation: "action[3:6]", rotation: {constant: [0, 0, 0]}, gripper: "action[6]"}
images: {side: observation.images.wrist}
period_s: 0.1
"""
    made = list(lerobot_read.episodes([tmp_path / "set"], goal, a_map(tmp_path, text, goal)))
    steps = Episode(selection.paths[0]).steps
    np.testing.assert_allclose(made[0].states[:-1, 3], 1000 * steps.state[:, 3] + 1, rtol=1e-6)
    np.testing.assert_array_equal(made[0].executed[:, :3], steps.executed[:, 3:6])
    assert not made[0].executed[:, 3:6].any()
    with pytest.raises(ConfigError, match=r"has no pictures 'wrist'; it has observation\.images\.wrist"):
        list(
            lerobot_read.episodes(
                [tmp_path / "set"], goal, a_map(tmp_path, text.replace("observation.images.", ""), goal)
            )
        )
    with pytest.raises(ConfigError, match=r"has no column 'act'; it has observation.state, action"):
        list(
            lerobot_read.episodes([tmp_path / "set"], goal, a_map(tmp_path, text.replace("action[6]", "act[6]"), goal))
        )


def test_pictures_of_full_size_are_the_newest_that_were_caught_by_then(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path / "run" / "episodes") as recorder:
        make_episode(recorder, n=4, cameras=("wrist",), end=False)
        for stamp_s in (0.0, 0.05, 0.12, 0.31):  # the observations are 0.1 s apart
            recorder.frame("wrist", np.full((64, 96, 3), round(500 * stamp_s), np.uint8), stamp_s)
        recorder.end()
    lerobot_write.export(select(find_files([tmp_path / "run"])), tmp_path / "set", lossless=True, full=True)
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert info["features"]["observation.images.wrist"]["shape"] == [64, 96, 3]
    table = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")
    pictures = [decode_picture(cell["bytes"]) for cell in table["observation.images.wrist"].to_pylist()]
    assert [round(float(p.mean())) for p in pictures] == [0, 25, 60, 60]


def test_mixed_tasks_are_refused(tmp_path: Path) -> None:
    first = a_run(tmp_path / "one").paths
    for other, expected in (
        ({"task": "other"}, "'point' there, 'other' here"),
        ({"period_s": 0.05}, "0.1 s there, 0.05"),
    ):
        second = a_run(tmp_path / f"two_{len(other)}_{next(iter(other))}", **other).paths
        with pytest.raises(ConfigError, match=expected):
            select([*first, *second])
    with pytest.raises(ConfigError, match="the first has image wrist, this one does not"):
        select([*a_run(tmp_path / "three", "wrist").paths, *first])


def test_many_episodes_go_into_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA_MB", "VIDEO_MB"):
        monkeypatch.setattr(lerobot_write.layout, name, 1e-6)
    monkeypatch.setattr(lerobot_write.layout, "CHUNK_FILES", 2)
    goal = a_goal("wrist")
    selection = a_run(tmp_path / "run", "wrist", episodes=4)
    lerobot_write.export(selection, tmp_path / "set")
    found = sorted(str(p.relative_to(tmp_path / "set/data")) for p in (tmp_path / "set/data").rglob("*.parquet"))
    assert found == [f"chunk-{i // 2:03d}/file-{i % 2:03d}.parquet" for i in range(4)]
    made = write_run(lerobot_read.episodes([tmp_path / "set"], goal, None), tmp_path / "back", goal)
    for mine, theirs in zip(read(tmp_path / "run"), read(made.path), strict=True):
        np.testing.assert_array_equal(mine.steps.executed, theirs.steps.executed)


def test_frames_of_a_video_are_found_at_their_own_time(tmp_path: Path) -> None:
    grey = [np.full((64, 64, 3), 20 * i, np.uint8) for i in range(12)]
    video = video_files.VideoFile(tmp_path / "v.mp4", (64, 64, 3), 10)
    for picture in grey:
        video.add(picture)
        # Another library may have put its threads into SCHED_BATCH, which disturbs nobody.
        policies = {os.sched_getscheduler(int(t)) for t in os.listdir("/proc/self/task")}
        assert not policies & {os.SCHED_FIFO, os.SCHED_RR}
    video.close()
    for begin in (0, 5, 11):
        found = list(video_files.read(tmp_path / "v.mp4", begin / 10, 12 - begin, 10.0))
        assert [round(float(p.mean()) / 20) for p in found] == list(range(begin, 12))
    with pytest.raises(CheckpointError, match=r"holds 2 frames from 1 s on, 3 were expected"):
        list(video_files.read(tmp_path / "v.mp4", 1.0, 3, 10.0))
