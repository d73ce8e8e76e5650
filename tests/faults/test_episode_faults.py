"""What kills, full disks and wrong folders do to recorded episodes: never more than the step in flight is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from episode_maker import make_episode, make_file
from small_disk import small_disk

from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import EpisodeRecorder
from robot_rl.episodes.repair import repair
from robot_rl.errors import CheckpointError, StorageError
from robot_rl.replay_log import read

HELPERS = str(Path(__file__).resolve().parents[1] / "helpers")

RECORD_FOR_EVER = """
import sys, time, numpy as np
from pathlib import Path
from robot_rl.episodes.recorder import EpisodeRecorder
from episode_maker import a_start, observed, reading
rng = np.random.default_rng(0)
recorder = EpisodeRecorder(Path(sys.argv[1]), pictures=True)
state = reading(rng, time.monotonic())
recorder.begin(a_start("wrist", real_time=True), state, observed(rng, state, ("wrist",)))
for k in range(100000):
    state = reading(rng, time.monotonic())
    recorder.step(state, observed(rng, state, ("wrist",)), np.zeros(7, np.float32), 0.0, False, False, {})
    recorder.wait()
    print(k + 1, flush=True)
"""
SMALL_FILES = """
import resource, sys
from pathlib import Path
from robot_rl.episodes.recorder import EpisodeRecorder
from episode_maker import make_episode
recorder = EpisodeRecorder(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
make_episode(recorder, n=50)
make_episode(recorder, n=3, seed=1)
recorder.close()
for found in recorder.finished:
    print(found.steps, found.lost)
"""


def program(text: str, folder: Path) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([HELPERS, *sys.path])}
    command = [sys.executable, "-c", text, str(folder)]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("after", [1, 7, 23])
def test_a_kill_costs_the_step_in_flight_at_most(tmp_path: Path, after: int) -> None:
    written = 0
    with program(RECORD_FOR_EVER, tmp_path) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            for line in child.stdout:
                written = int(line)
                if written >= after:
                    break
        finally:
            child.send_signal(signal.SIGKILL)
        rest, errors = child.stdout.read(), child.stderr.read()  # what the loop above has read ahead, too
    written = max([written, *(int(word) for word in rest.split())])
    assert written >= after, errors
    (path,) = tmp_path.iterdir()
    assert path.name == "000001.mcap.part"
    episode = Episode(path)
    assert written <= len(episode) == episode.steps.gap <= written + 1
    assert episode.cut == f"it was cut after {len(episode)} steps"
    assert len(episode.cameras()["wrist", False]) == len(episode) + 1
    outcome = repair(path)
    assert outcome.steps == len(episode)
    with EpisodeRecorder(tmp_path) as recorder:  # a restart goes on after it
        make_episode(recorder, n=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000001.mcap", "000002.mcap"]


TRAINING = (
    "task=reach", "mode=single", "demos=2", "live=off", "agent.hidden=[16,16]", "agent.critics=2",
    "agent.batch_size=16", "agent.updates_per_actor_update=1", "learner.updates_per_call=4",
    "learner.updates_per_step=0.5", "learner.clone_updates=20", "learner.hold_steps=40", "metrics.sinks=[jsonl]",
    "learner.total_env_steps=100000", "actor.record=always", "actor.block_steps=1", "evaluation.episodes=0", "name=run",
)  # fmt: skip


@pytest.mark.slow
def test_a_kill_in_the_midst_of_training_costs_the_step_in_flight_at_most(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "robot_rl", "train", *TRAINING, f"runs={tmp_path}"]
    folder = tmp_path / "run" / "episodes"
    with open(tmp_path / "log", "w", encoding="utf-8") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, cwd=tmp_path)
    try:
        deadline_s = time.monotonic() + 300.0
        while not (folder / "000003.mcap").exists():
            assert child.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline_s, "no third episode in time"
            time.sleep(0.01)
    finally:
        child.kill()  # SIGKILL, wherever it is
        child.wait()
    logged: dict[int, int] = {}
    for _, _, block in read(tmp_path / "run" / "replay"):
        logged[block.episode] = logged.get(block.episode, 0) + block.steps
    kept: dict[int, int] = {}
    for path in sorted(folder.iterdir()):
        try:
            episode = Episode(path)
        except CheckpointError:  # it was killed as it began one
            assert path.name.endswith(".part")
            continue
        assert episode.steps.gap == len(episode)
        kept[episode.start.episode] = len(episode)
        assert (episode.cut == "") is (path.suffix == ".mcap")
    assert len(kept) >= 3
    for number, steps in logged.items():  # what the learner has stored is on the disk here too
        assert kept.get(number, 0) >= steps - 1, f"episode {number}"


def test_a_file_that_may_not_grow_is_marked_lost_and_the_next_episode_is_recorded(tmp_path: Path) -> None:
    child = program(SMALL_FILES, tmp_path)
    out, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    first, second = out.strip().splitlines()
    steps, _, lost = first.partition(" ")
    assert "Traceback" not in errors
    assert f"an episode is lost after {steps} steps: could not write" in lost
    assert "File too large" in lost
    assert "robot-rl data repair" in lost
    assert lost in errors
    assert second.strip() == "3"
    cut = Episode(tmp_path / "000001.mcap.part")
    assert len(cut) == cut.steps.gap == int(steps) > 3
    assert Episode(tmp_path / "000002.mcap").cut == ""


def test_a_full_disk_marks_the_episode_lost_and_keeps_what_was_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        check_a_full_disk(disk, tmp_path)


def check_a_full_disk(disk: Path, tmp_path: Path) -> None:
    with EpisodeRecorder(disk) as recorder:
        make_episode(recorder, n=4, seed=1)
        make_episode(recorder, n=200, seed=2)
    kept, lost = recorder.finished
    assert kept.lost == ""
    assert "No space left on device" in lost.lost
    assert Episode(kept.path).cut == ""
    assert lost.path is not None
    cut = Episode(lost.path)
    assert len(cut) == cut.steps.gap == lost.steps > 0
    with pytest.raises(StorageError, match="is left as it is"):  # there is no room for a complete copy
        repair(lost.path)
    assert len(Episode(lost.path)) == lost.steps
    copy = tmp_path / lost.path.name
    shutil.copy(lost.path, copy)
    assert repair(copy).steps == lost.steps


def test_a_folder_that_cannot_be_made_costs_the_episode_and_no_more(tmp_path: Path, caplog) -> None:
    (tmp_path / "episodes").write_text("a file is in the way")
    with EpisodeRecorder(tmp_path / "episodes") as recorder:
        make_episode(recorder, n=2)
    (found,) = recorder.finished
    assert found.path is None
    assert found.steps == 0
    assert "could not begin an episode" in found.lost
    assert "Nothing was written" in found.lost
    assert found.lost in caplog.text


def test_a_file_that_vanishes_while_it_is_written_costs_the_episode_and_no_more(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path / "episodes") as recorder:
        make_episode(recorder, n=2, end=False)
        assert recorder.wait()
        shutil.rmtree(tmp_path / "episodes")
        recorder.end()
        make_episode(recorder, n=2)
    gone, made = recorder.finished
    assert "an episode is lost after 2 steps" in gone.lost
    assert made.lost == ""
    assert len(Episode(made.path)) == 2


def test_a_repair_that_is_cut_short_leaves_the_episode(tmp_path: Path) -> None:
    path = make_file(tmp_path, n=3)
    part = path.with_name(path.name + ".part")
    part.write_bytes(path.read_bytes()[:-200])
    path.unlink()
    (tmp_path / f".{path.name}.1.tmp").write_bytes(b"what a killed repair left")
    assert repair(part).steps == 3
    assert Episode(path).start.task == "point"
