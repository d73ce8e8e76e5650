"""A whole session on the twin in real time, by one command: arm, cameras, learner and actor over DDS."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_disk import fill, small_disk
from verify.children import descendants

from robot_rl.checkpoint import Checkpoints
from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.replay_log import read

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "experiment=debug mode=two_process demos=1 learner.total_env_steps=60 learner.hold_steps=20 "
    "learner.clone_updates=20 evaluation.episodes=1 evaluation.clone_episodes=0 metrics.sinks=[jsonl] "
    "actor.rate_tolerance=0 robot.state_age_s=2 robot.answer_s=2 task.max_steps=30 live=off"
)
PATIENCE_S = 500.0  # a machine that does much else takes minutes for what takes one alone
pytestmark = [
    pytest.mark.ros,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="needs ROS 2: make setup brings it"),
]


@pytest.fixture
def session(tmp_path: Path, launch: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that starts a session in a domain of its own."""
    from robot_rl_hardware.ros.environment import free_domain

    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    domain = free_domain(first=60 + 10 * worker)
    env = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_LOG_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}

    def start(*words: str, settings: str = "") -> Any:
        passed = f"settings:={SMALL} runs={tmp_path} {settings}"
        file = ROOT / "launch" / "train.launch.py"
        return launch(file, "task:=reach", "name:=small", f"domain:={domain}", *words, passed, env=env)

    return start


def test_a_session_trains_and_its_rows_tell_how_it_kept_time(session: Callable[..., Any], tmp_path: Path) -> None:
    run = session("camera:=twin")
    run.patience_s = PATIENCE_S
    assert run.ended() == 0, run.words()
    facts = read_json(tmp_path / "small" / "summary.json")
    assert facts["env_steps"] >= 60
    assert facts["n"] == 1
    episodes = read_jsonl(tmp_path / "small" / "episodes.jsonl")
    assert episodes
    names = {"period_ms_p99", "slack_ms_p1", "action_latency_ms_p50", "state_age_ms_p50"}
    assert names <= set(episodes[0]["timing"])
    assert 90.0 < episodes[0]["timing"]["period_ms_p50"] < 200.0
    samples = read_json(tmp_path / "small" / "latency-eval-final.json")
    assert samples["latency/final/period_ms"]
    report = (tmp_path / "small" / "report.html").read_text()
    assert "Control period" in report
    ends = re.findall(r"^(\w+) has ended", run.out.read_text(), re.MULTILINE)
    assert ends == ["train", "cameras", "arm"]


def test_a_killed_learner_comes_back_and_ctrl_c_saves_and_ends_in_order(
    session: Callable[..., Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = session(settings="learner.total_env_steps=100000 supervisor.restarts=100")
    run.patience_s = PATIENCE_S
    replay = tmp_path / "small" / "replay"

    def logged() -> int:
        return sum(p.stat().st_size for p in replay.glob("*"))

    for _ in range(request.config.getoption("--repeat")):
        run.wait_for(lambda: logged() > 100, "the first steps of practice")
        learner = next(pid for pid in descendants(run.process.pid) if "learner" in command_of(pid))
        os.kill(learner, signal.SIGKILL)
        run.wait_for(lambda learner=learner: not run.lives(learner), "its end")
        before = logged()
        run.wait_for(lambda before=before: logged() > before, "practice that goes on")
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 0, run.words()
    assert "robot-rl train resume=" in run.words()
    ends = re.findall(r"^(\w+) has ended", run.out.read_text(), re.MULTILINE)
    assert ends == ["train", "arm"]
    assert list((tmp_path / "small" / "checkpoints").glob("*"))


def test_a_full_disk_ends_the_session_in_order_and_loses_nothing(session: Callable[..., Any], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "40m") as disk:
        run = session(settings=f"learner.total_env_steps=100000 checkpoint.every_s=1 runs={disk}")
        run.patience_s = PATIENCE_S
        saved = Checkpoints(disk / "small" / "checkpoints")
        run.wait_for(lambda: saved.newest() is not None, "the first checkpoint of practice")
        filler = fill(disk)
        assert run.ended() == 2, run.words()
        said = run.words()
        assert "No space left on device" in said
        assert "the arm holds; the node ends" in said
        assert "Traceback" not in said
        assert re.findall(r"^(\w+) has ended", said, re.MULTILINE) == ["train", "arm"]
        filler.unlink()
        assert saved.newest() is not None
        assert sum(block.steps for _, _, block in read(disk / "small" / "replay")) > 0


def command_of(pid: int) -> list[str]:
    """Return the words of a process; none if it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
