from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl import cli, train
from robot_rl.config import compose

TINY = (
    "task=reach", "demos=2", "live=off", "agent.hidden=[16,16]", "agent.critics=2", "agent.batch_size=16",
    "learner.clone_updates=20", "learner.total_env_steps=40", "learner.updates_per_step=1", "metrics.sinks=[jsonl]",
    "evaluation.episodes=1", "evaluation.clone_episodes=0", "evaluation.video_episodes=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small complete run."""
    root = tmp_path_factory.mktemp("runs")
    composed = compose([*TINY, f"runs={root}", "name=good", "mode=single"])
    folder = train.start_run(composed)
    assert train.run(composed, folder, lambda: False).complete
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the sentence with which a command ends."""
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


def copy(run: Path, target: Path) -> Path:
    return Path(shutil.copytree(run, target / run.name))


def test_a_port_in_use_is_a_sentence_that_names_the_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "robot_rl", "train", *TINY, f"runs={tmp_path}", "name=run"]
        link = ["link.address=tcp://127.0.0.1", f"link.data_port={port}", "link.weights_port=0"]
        done = subprocess.run([*command, *link], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert f"cannot listen on tcp://127.0.0.1:{port}" in done.stderr
    assert "link.data_port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_policy_is_a_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy(run, tmp_path)
    (folder / "checkpoints" / "policy.ckpt").unlink()
    assert "has no final policy yet" in told(capsys, "eval", str(folder), "-n", "1")


def test_a_damaged_policy_is_a_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy(run, tmp_path)
    path = folder / "checkpoints" / "policy.ckpt"
    path.write_bytes(path.read_bytes()[:-40])
    before = path.read_bytes()
    sentence = told(capsys, "eval", str(folder), "-n", "1")
    assert str(path) in sentence
    assert "is damaged" in sentence
    assert path.read_bytes() == before


def test_a_damaged_checkpoint_falls_back_and_two_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy(run, tmp_path)
    (folder / "summary.json").unlink()
    newest, before = sorted((folder / "checkpoints").glob("checkpoint-*.ckpt"), reverse=True)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    assert cli.main(["train", f"resume={folder}"]) == 0
    assert "going on from the checkpoint before" in caplog.text
    capsys.readouterr()

    (folder / "summary.json").unlink()
    for path in (newest, before):
        path.write_bytes(b"rubbish")
    for path in set((folder / "checkpoints").glob("checkpoint-*.ckpt")) - {newest, before}:
        path.unlink()
    assert "is damaged" in told(capsys, "train", f"resume={folder}")
    assert newest.read_bytes() == before.read_bytes() == b"rubbish"


def test_a_damaged_replay_log_is_a_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy(run, tmp_path)
    (folder / "summary.json").unlink()
    path = folder / "replay" / "blocks-000001.log"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    assert "is damaged at byte" in told(capsys, "train", f"resume={folder}")


def test_resuming_as_another_task_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy(run, tmp_path)
    sentence = told(capsys, "train", f"resume={folder}", "task=pick_cube", "learner.total_env_steps=80")
    assert "are of task 'reach', another one" in sentence


def test_a_name_that_is_taken_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = told(capsys, "train", *TINY, f"runs={run.parent}", f"name={run.name}")
    assert "never overwritten" in sentence
    assert "resume=good" in sentence


def test_a_complete_run_says_how_to_go_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "learner.total_env_steps=80" in told(capsys, "train", f"resume={run}")


def test_demonstrations_of_another_task_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = told(capsys, "train", *TINY, "task=pick_cube", f"demos={run}", f"runs={tmp_path}", "mode=single")
    assert "are of task 'reach', another one" in sentence


def test_one_run_is_not_trained_twice_at_once(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from robot_rl.replay_log import ReplayLog

    folder = copy(run, tmp_path)
    (folder / "summary.json").unlink()
    with ReplayLog(folder / "replay"):
        assert "in use by another learner" in told(capsys, "train", f"resume={folder}")


def test_an_actor_of_another_task_is_told_the_difference(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/link"
    learner = subprocess.Popen(
        [sys.executable, "-m", "robot_rl", "learner", *TINY, f"runs={tmp_path}", "name=run", f"bind={address}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        command = [sys.executable, "-m", "robot_rl", "actor", "task=pick_cube", f"connect={address}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    finally:
        learner.terminate()
        learner.communicate(timeout=60)
    assert done.returncode == 2
    assert "the learner refused actor0" in done.stderr
    assert "Traceback" not in done.stderr
    assert learner.returncode == 130
