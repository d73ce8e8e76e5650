from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl import cli
from robot_rl.cli.common import parse, parser, stop_on_signals, take
from robot_rl.errors import ConfigError


def test_without_a_command_every_command_is_listed(capsys) -> None:
    assert cli.main([]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "examples:" in told
    assert f"robot-rl {command}" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trian"], "there is no command 'trian'"),
        (["trian"], "Did you mean 'train'?"),
        (["train", "--multi"], "there is no option '--multi'. Did you mean '--multirun'?"),
        (["train", "--seed", "1"], "A setting is written without dashes: seed=..."),
        (["train", "task=pick_cub"], "there is no task 'pick_cub'"),
        (["train", "agent.batch_size=-4"], "agent.batch_size is -4"),
        (["train", "resume=nothing"], "there is no run 'nothing'"),
        (["train", "-m", "seed=0,1", "hydra/launcher=slurm"], "hydra/launcher is 'slurm'"),
        (["train", "-m", "sed=0,1"], "there is no setting 'sed'. Did you mean 'seed'?"),
        (["train", "-m", "resume=a"], "a sweep cannot be resumed"),
        (["eval"], "the following arguments are required: RUN"),
        (["eval", "nothing"], "there is no run 'nothing'"),
        (["eval", "nothing", "-n", "0"], "--episodes is 0"),
        (["eval", "nothing", "-n", "many"], "invalid int value: 'many'"),
        (["report", "nothing"], "there is no run 'nothing'"),
        (["report", "a", "b=c"], "does not know what to do with 'b=c'"),
        (["compare", "nothing"], "there is no run 'nothing'"),
        (["demos", "-n", "0"], "--count is 0"),
        (["demos", "task=reech"], "Did you mean 'reach'?"),
        (["actor", "connect=nowhere"], "connect is 'nowhere'"),
        (["actor", "connect=tcp://host:port"], "the port must be a number"),
        (["actor", "--index", "-1"], "--index is -1"),
        (["learner", "bind=tcp://0.0.0.0:70000"], "bind is"),
        (["keys", "/proc/nowhere"], "cannot write keys"),
    ],
)
def test_a_mistake_ends_with_one_sentence_and_status_2(
    arguments: list[str], told: str, capsys, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == [], "a mistake leaves nothing behind"


def test_debug_shows_the_traceback(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        cli.main(["report", "nothing", "--debug"])


def test_all_settings_can_be_printed(capsys) -> None:
    assert cli.main(["train", "--cfg", "task=reach", "seed=5"]) == 0
    printed = capsys.readouterr().out
    assert "seed: 5" in printed
    assert "total_env_steps" in printed


def test_keys_are_made_once(tmp_path: Path, capsys) -> None:
    assert cli.main(["keys", str(tmp_path / "keys"), "--actors", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert cli.main(["keys", str(tmp_path / "keys"), "--actors", "2"]) == 0
    assert "were there already" in capsys.readouterr().out


def test_runs_are_listed(tmp_path: Path, capsys) -> None:
    assert cli.main(["runs", "--runs", str(tmp_path)]) == 0
    assert "no runs" in capsys.readouterr().out
    run = tmp_path / "mine"
    (run / "demos").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"task": "reach", "started": "2026-01-01T00:00:00"}))
    (run / "demos" / "episodes.jsonl").write_text("")
    assert cli.main(["runs", "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("mine")
    assert printed.count("\n") == 1, "the demonstrations within a run are no run"


def test_demonstrations_are_recorded_and_never_overwritten(tmp_path: Path, capsys) -> None:
    arguments = ["demos", "task=reach", "-n", "2", "--out", str(tmp_path / "d")]
    assert cli.main(arguments) == 0
    assert "2 demonstrations of" in capsys.readouterr().out
    assert json.loads((tmp_path / "d" / "demos.json").read_text())["count"] == 2
    assert cli.main(arguments) == 2
    assert "never overwritten" in capsys.readouterr().err


def test_the_overview_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom robot_rl.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(str([m for m in ('numpy', 'jax', 'mujoco', 'numba', 'hydra', 'zmq') if m in sys.modules]))"
    )
    for arguments in ([], ["train", "--help"], ["eval", "--help"], ["doctor", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        assert done.stderr == "[]", arguments


def test_options_and_settings_are_told_apart() -> None:
    made = parser("x", "does", "  x")
    made.add_argument("-n", type=int, default=1)
    options, rest = parse(made, ["a=1", "-n", "3", "b.c=2"])
    assert options.n == 3
    assert rest == ["a=1", "b.c=2"]
    assert take(rest, "a") == "1"
    assert rest == ["b.c=2"]
    assert take(rest, "a") == ""


def test_the_first_signal_asks_and_the_second_interrupts(capsys) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals("stopping") as stopping:
        assert not stopping()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping()
        assert "stopping" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
