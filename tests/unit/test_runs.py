"""Run folders and the small files in them."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import CheckpointError, ConfigError, StorageError
from robot_rl.jsonl import plain, read_json, update_json, write_json_atomic
from robot_rl.runs import create_run, git_commit, list_runs, machine, resolve_run, versions


def test_a_new_run_says_what_it_takes_to_repeat_it(tmp_path: Path) -> None:
    run = create_run(
        tmp_path / "runs",
        "first",
        task="pick_cube",
        seed=3,
        config_yaml="seed: 3\n",
        command=["robot-rl", "train", "note=two words"],
        group="rlpd",
    )
    facts = read_json(run / "run.json")
    assert facts["task"] == "pick_cube"
    assert facts["seed"] == 3
    assert facts["command"] == "robot-rl train 'note=two words'"
    assert facts["group"] == "rlpd"
    assert facts["versions"]["numpy"] == np.__version__
    assert facts["machine"]["cores"] >= 1
    assert facts["machine"]["cpu"]
    assert (run / "config.yaml").read_text() == "seed: 3\n"


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    run = create_run(tmp_path, "demo", task="reach", seed=0)
    (run / "precious.txt").write_text("kept")
    with pytest.raises(ConfigError, match=r"exists already and is never overwritten.*resume=demo"):
        create_run(tmp_path, "demo", task="reach", seed=0)
    again = create_run(tmp_path, "demo", task="reach", seed=1, if_exists="archive")
    assert not (again / "precious.txt").exists()
    kept = list(tmp_path.glob("demo-*/precious.txt"))
    assert [p.read_text() for p in kept] == ["kept"]
    create_run(tmp_path, "demo", task="reach", seed=2, if_exists="archive")
    assert len(list(tmp_path.iterdir())) == 3


def test_unnamed_runs_of_the_same_second_get_names_of_their_own(tmp_path: Path) -> None:
    folders = {create_run(tmp_path, task="reach", seed=i) for i in range(4)}
    assert len(folders) == 4
    assert all(f.name.startswith("reach-") for f in folders)


@pytest.mark.parametrize("name", ["../out", "/etc/run", "a b", ".hidden", "-flag", "a//b", "a/../b"])
def test_names_that_leave_the_folder_or_break_a_shell_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a run"):
        create_run(tmp_path, name, task="reach", seed=0)


def test_a_run_is_found_by_name_beginning_path_or_as_the_latest(tmp_path: Path) -> None:
    a = create_run(tmp_path, "pick-a", task="pick_cube", seed=0)
    b = create_run(tmp_path, "peg-b", task="peg_insert", seed=0)
    c = create_run(tmp_path, "sweep/seed=1", task="pick_cube", seed=1)
    for i, run in enumerate((a, c, b)):
        os.utime(run / "run.json", (1000.0 + i, 1000.0 + i))
    assert resolve_run("pick-a", tmp_path) == a
    assert resolve_run("pe", tmp_path) == b
    assert resolve_run("latest", tmp_path) == b
    assert resolve_run("sweep/seed=1", tmp_path) == c
    assert resolve_run(str(a), tmp_path) == a
    assert [e.name for e in list_runs(tmp_path)] == ["peg-b", "sweep/seed=1", "pick-a"]
    with pytest.raises(ConfigError, match="fits 2 runs"):
        resolve_run("p", tmp_path)
    with pytest.raises(ConfigError, match="Did you mean 'pick-a'"):
        resolve_run("pikc-a", tmp_path)
    with pytest.raises(ConfigError, match=r"peg-b.*'latest'"):
        resolve_run("", tmp_path)


def test_asking_for_a_run_where_there_is_none_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no runs in .* yet\. Start one with: robot-rl train"):
        resolve_run("latest", tmp_path / "runs")
    create_run(tmp_path, "one", task="reach", seed=0)
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="holds no run"):
        resolve_run(str(tmp_path / "other"), tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_any_value_becomes_strict_json(value: object) -> None:
    text = json.dumps(plain(value), allow_nan=False)
    assert json.loads(text) == plain(value)


def test_arrays_and_scalars_of_numpy_become_plain() -> None:
    value = {
        "a": np.float32(0.5),
        "b": np.arange(3),
        "c": np.array([math.nan, 1.0]),
        "d": np.bool_(True),
        "e": Path("x"),
    }
    assert plain(value) == {"a": 0.5, "b": [0, 1, 2], "c": [None, 1.0], "d": True, "e": "x"}


def test_update_keeps_the_other_fields_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    update_json(path, successes=49, n=50)
    assert update_json(path, n=60) == {"successes": 49, "n": 60}
    assert read_json(path) == {"successes": 49, "n": 60}
    path.write_text('{"successes": 4')
    with pytest.raises(CheckpointError, match=r"summary\.json is damaged"):
        read_json(path)
    path.write_text("[1]")
    with pytest.raises(CheckpointError, match="holds a list, expected a JSON object"):
        read_json(path)


def test_a_disk_that_takes_nothing_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json_atomic(path, {"a": 1})
    script = (
        "import resource, sys; from pathlib import Path; from robot_rl.jsonl import write_json_atomic\n"
        "from robot_rl.errors import StorageError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "try: write_json_atomic(Path(sys.argv[1]), {'a': 'x' * 1000})\n"
        "except StorageError as e: sys.exit(0 if 'is intact' in str(e) else 2)\n"
        "sys.exit(1)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 0
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((StorageError, ConfigError), match="file"):
        create_run(tmp_path / "file", "demo", task="reach", seed=0)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_of_a_checkout_is_known_and_changes_are_marked(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    assert git_commit(tmp_path) is None
    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "a")
    commit = git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == commit + "+changes"


def test_the_machine_and_versions_are_described() -> None:
    assert machine()["cpu"] != ""
    assert versions()["python"] == sys.version.split()[0]
