"""`robot-rl export` and `robot-rl eval --policy FOLDER`: from a run in the twin to the same success."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from policies import random_weights

from robot_rl import cli, demos
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.evaluate import save_policy
from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.messages import Policy
from robot_rl.runs import create_run

SETTINGS = ["task=reach", "task.max_steps=30"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with a demonstration and a policy that does something, made without training."""
    composed = compose(SETTINGS)
    settings = composed.settings()
    env = make_env(settings)
    try:
        folder = create_run(tmp_path_factory.mktemp("runs"), "small", task="reach", seed=0, config_yaml=composed.text())
        spec = (env.observation_spec, env.task.action_spec)
        shown = demos.record(env, env.task.expert(settings.expert.make()), 4, seed=100)
        demos.save(folder / "demos", shown, *spec, task="reach")
        policy = Policy(version=12, weights=random_weights(*spec))
        save_policy(folder / "checkpoints" / "policy.ckpt", policy, *spec, sampled=False)
    finally:
        env.close()
    return folder


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["export", "nothing"], "there is no run 'nothing'"),
        (["export", "nothing", "--format", "onxx"], "there is no format 'onxx' to export to; allowed: onnx, torch."),
        (["export", "nothing", "--policy", "finel"], "Did you mean 'final'?"),
        (["export"], "the following arguments are required: RUN"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(arguments: list[str], told: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_a_run_without_the_policy_and_an_unknown_policy_are_told(run: Path, capsys) -> None:
    assert cli.main(["export", str(run), "--policy", "clone"]) == 2
    assert "has no clone policy yet" in capsys.readouterr().err
    assert cli.main(["eval", str(run), "--policy", "clown"]) == 2
    said = capsys.readouterr().err
    assert "allowed: final, clone, or the folder of an exported one" in said
    assert "Did you mean 'clone'?" in said


def test_a_policy_is_judged_by_drawn_actions_or_by_its_mode_on_request(run: Path, capsys) -> None:
    words = ["eval", str(run), "-n", "2", "--seed", "100", "--video", "0"]
    for actions in ("sampled", "mode"):
        assert cli.main([*words, "--actions", actions, "--label", actions]) == 0
    assert cli.main([*words, "--label", "saved"]) == 0
    told = {label: read_json(run / "eval.json")[label]["sampled"] for label in ("sampled", "mode", "saved")}
    assert told == {"sampled": True, "mode": False, "saved": False}
    sampled, mode, saved = (read_jsonl(run / f"eval-{label}.jsonl") for label in told)
    assert mode == saved
    assert mode != sampled, "another policy acts: its guard events alone tell them apart"
    assert cli.main([*words, "--actions", "greedy"]) == 2
    assert "greedy" in capsys.readouterr().err


def test_an_export_drives_the_twin_as_the_runs_own_policy_does(run: Path, capsys) -> None:
    pytest.importorskip("torch")
    assert cli.main(["export", str(run), "--format", "torch"]) == 0
    assert "recorded observations" in capsys.readouterr().out
    folder = run / "export-torch"
    evaluation = ["-n", "3", "--seed", "100", "--video", "0"]
    assert cli.main(["eval", str(run), *evaluation, "--label", "own"]) == 0
    assert cli.main(["eval", str(run), *evaluation, "--policy", str(folder), "--label", "out"]) == 0
    own, out = (read_jsonl(run / f"eval-{label}.jsonl") for label in ("own", "out"))
    assert [row["seed"] for row in own] == [row["seed"] for row in out]
    assert [row["success"] for row in own] == [row["success"] for row in out]
    np.testing.assert_allclose([row["return"] for row in own], [row["return"] for row in out], atol=1e-3)
    assert {row["policy_version"] for row in out} == {12}
    assert cli.main(["export", str(run), "--format", "torch"]) == 2
    assert "never written over another" in capsys.readouterr().err
    assert sorted(p.name for p in folder.iterdir()) == ["examples.npz", "policy.json", "policy.pt2", "run_policy.py"]
