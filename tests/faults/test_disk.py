from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_disk import small_disk

from robot_rl.checkpoint import Checkpoints
from robot_rl.replay_log import read

TINY = (
    "task=reach", "demos=2", "live=off", "agent.hidden=[16,16]", "agent.critics=2", "agent.batch_size=16",
    "learner.clone_updates=20", "learner.total_env_steps=200000", "learner.updates_per_step=0.1",
    "metrics.sinks=[jsonl]", "metrics.every_s=0.1", "checkpoint.every_s=0.2", "mode=single", "name=run",
)  # fmt: skip


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    with small_disk(tmp_path / "disk", "512k") as folder:
        yield folder


def test_a_full_disk_ends_a_run_in_a_sentence_and_loses_nothing(disk: Path) -> None:
    command = [sys.executable, "-m", "robot_rl", "train", *TINY, f"runs={disk}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
    assert "intact" in done.stderr.strip().splitlines()[-1]
    folder = disk / "run"
    assert Checkpoints(folder / "checkpoints").newest() is not None
    assert sum(block.steps for _, _, block in read(folder / "replay")) > 0

    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
    resumed = subprocess.run(
        [sys.executable, "-m", "robot_rl", "train", f"resume={folder}", "learner.total_env_steps=100",
         "evaluation.episodes=1", "evaluation.clone_episodes=0", "evaluation.video_episodes=0"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert (folder / "summary.json").is_file()
