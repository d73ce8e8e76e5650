from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl import cli
from robot_rl.jsonl import last_row

TINY = (
    "task=reach", "demos=2", "agent.hidden=[16,16]", "agent.critics=2", "agent.batch_size=16",
    "learner.clone_updates=20", "learner.total_env_steps=120", "learner.updates_per_step=1", "metrics.sinks=[jsonl]",
)  # fmt: skip
ROBOT_RL = (sys.executable, "-m", "robot_rl")


@pytest.mark.slow
def test_learner_and_actor_started_by_hand_over_an_encrypted_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, runs = tmp_path / "keys", tmp_path / "runs"
    assert cli.main(["keys", str(keys)]) == 0
    encrypted = (f"link.keys_dir={keys}", "link.encrypt=true")
    learner = subprocess.Popen(
        [*ROBOT_RL, "learner", *TINY, *encrypted, "bind=tcp://127.0.0.1:0", f"runs={runs}", "name=far"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert learner.stdout is not None
    assert learner.stderr is not None
    try:
        for line in learner.stdout:
            if found := re.search(r"ports (\d+) and (\d+)", line):
                break
        else:
            pytest.fail(learner.stderr.read())
        ports = (f"link.data_port={found[1]}", f"link.weights_port={found[2]}")
        done = subprocess.run(
            [*ROBOT_RL, "actor", "task=reach", *encrypted, *ports, "connect=tcp://127.0.0.1"],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        _, said = learner.communicate(timeout=60)
    finally:
        learner.kill()
    assert learner.returncode == 0, said
    assert last_row(runs / "far" / "metrics.jsonl")["env_steps"] >= 120
    capsys.readouterr()
    assert cli.main(["eval", "far", "--runs", str(runs), "-n", "2", "--video", "0"]) == 0
    assert "of 2 autonomous successes" in capsys.readouterr().out
    assert cli.main(["report", "far", "--runs", str(runs)]) == 0


def test_beyond_this_machine_there_is_no_link_without_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["actor", "task=reach", "connect=tcp://192.0.2.1:5570"]) == 2
    assert "link.keys_dir is not set" in capsys.readouterr().err
