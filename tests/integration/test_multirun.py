from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.jsonl import read_json
from robot_rl.runs import list_runs

TINY = (
    "task=reach", "agent=bc", "demos=2", "agent.hidden=[16,16]", "agent.batch_size=16", "learner.clone_updates=20",
    "mode=single", "metrics.sinks=[jsonl]", "evaluation.episodes=1", "evaluation.video_episodes=0",
)  # fmt: skip


def sweep(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Ray's own messages home are not for a test, and it shall listen on this machine alone.
    env = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    command = [sys.executable, "-m", "robot_rl", "train", "-m", *TINY, f"runs={root}", "name=sweep", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=env)


def check(root: Path, done: subprocess.CompletedProcess[str], names: set[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    entries = list_runs(root / "sweep")
    assert {entry.name for entry in entries} == names
    assert all(entry.finished for entry in entries)
    assert (root / "sweep" / "comparison.html").is_file()


@pytest.mark.slow
def test_every_combination_is_run_and_compared(tmp_path: Path) -> None:
    done = sweep(tmp_path, "seed=0,1", "agent.critics=2,3")
    check(tmp_path, done, {f"agent.critics={c},seed={s}" for c in (2, 3) for s in (0, 1)})
    facts = [read_json(entry.path / "run.json") for entry in list_runs(tmp_path / "sweep")]
    assert {f["group"] for f in facts} == {"agent.critics=2", "agent.critics=3"}
    assert {f["seed"] for f in facts} == {0, 1}
    assert all("seed=" in f["command"] and "name=" not in f["command"] for f in facts)
    again = sweep(tmp_path, "seed=0,1")
    assert again.returncode == 2
    assert "never overwritten" in again.stderr


def test_a_combination_that_cannot_run_does_not_stop_the_others(tmp_path: Path) -> None:
    done = sweep(tmp_path, "agent.critics=2,-1", "agent.target_subset=2")
    assert done.returncode == 1
    assert "agent.critics is -1" in done.stdout
    assert "Traceback" not in done.stderr
    assert [entry.name for entry in list_runs(tmp_path / "sweep")] == ["agent.critics=2"]


@pytest.mark.slow
def test_side_by_side_on_this_machine(tmp_path: Path) -> None:
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        pytest.skip("hydra-joblib-launcher is not installed: pip install 'robot-rl[sweep]'")
    done = sweep(tmp_path, "seed=0,1", "agent.critics=2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    check(tmp_path, done, {"seed=0", "seed=1"})


@pytest.mark.slow
def test_on_a_ray_of_this_machine(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None:
        pytest.skip("hydra-ray-launcher is not installed: pip install 'robot-rl[ray]'")
    done = sweep(
        tmp_path, "seed=0,1", "agent.critics=2", "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2",
        "+hydra.launcher.ray.init.include_dashboard=false", "+hydra.launcher.ray.init._node_ip_address=127.0.0.1",
    )  # fmt: skip
    check(tmp_path, done, {"seed=0", "seed=1"})
