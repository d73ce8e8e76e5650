"""The shipped launch files keep to the subset, start what exists, and end it in the documented order."""

from __future__ import annotations

import ast
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robot_rl.cli import COMMANDS, main
from robot_rl.config import compose
from robot_rl_hardware.launching import files, vocabulary

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
NAMES = [path.name.removesuffix(".launch.py") for path in FILES]
ORDER = {
    "arm": ["arm"], "arm_twin": ["arm"], "cameras": ["camera"], "train": ["arm", "camera", "train"],
    "run_policy": ["arm", "camera", "eval"], "car": ["car"], "car_twin": ["car"],
}  # fmt: skip
NEEDED = {
    "arm": ["driver:=twin"],
    "car": ["driver:=vesc", "car:=my_car.yaml"],
    "car_twin": ["car:=my_car.yaml"],
    "run_policy": ["run:=demo"],
    "train": ["camera:=twin", "task:=reach"],
}

# Stands for the Python of `python:=`: tells its command line and waits until it is asked to end.
FAKE = """#!/bin/sh
echo "$$ began $*" >> {events}
trap 'echo "$$ ended $*" >> {events}; exit 0' INT TERM
while :; do sleep 0.05; done
"""


def test_every_shipped_file_is_tried() -> None:
    assert sorted(ORDER) == NAMES


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_imports_only_the_standard_library_and_the_subset(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.partition(".")[0] in sys.stdlib_module_names, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            if node.module.partition(".")[0] in sys.stdlib_module_names:
                continue
            assert node.module in vocabulary.NAMES
            assert {alias.name for alias in node.names} <= set(vocabulary.NAMES[node.module])


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_arguments_of_a_file_are_shown_and_described(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", str(path), "--show-args"]) == 0
    shown = capsys.readouterr().out
    for name, argument in files.declared(files.load(path)).items():
        assert f"{name}:=" in shown
        assert argument.description in shown
        assert argument.description


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_starts_commands_that_exist_and_ends_them_in_the_reverse_order(
    path: Path, tmp_path: Path, launch: Callable[..., Any]
) -> None:
    events, fake, name = tmp_path / "told", tmp_path / "python", path.name.removesuffix(".launch.py")
    fake.write_text(FAKE.format(events=events))
    fake.chmod(0o755)
    env = {"TMPDIR": str(tmp_path)}
    run = launch(path, *NEEDED.get(name, []), f"python:={fake}", "domain:=98", env=env)

    def told(event: str) -> list[list[str]]:
        lines = [line.split(maxsplit=2) for line in events.read_text().splitlines()] if events.is_file() else []
        return [shlex.split(words)[2:] for _, happened, words in lines if happened == event]

    run.wait_for(lambda: len(told("began")) == len(ORDER[name]), "the start of all")
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 0

    def kind(words: list[str]) -> str:
        return words[1] if words[0] == "node" else words[0]

    assert sorted(map(kind, told("began"))) == sorted(ORDER[name])
    assert [kind(words) for words in told("ended")] == ORDER[name][::-1]
    for words in told("began"):
        assert words[0] in COMMANDS
        if words[0] == "train":
            settings = [w for w in words if "=" in w and not w.startswith("robot")]
            assert compose(settings).task == "reach"


def test_a_driver_that_does_not_exist_is_a_sentence(launch: Callable[..., Any]) -> None:
    run = launch(ROOT / "launch" / "train.launch.py", "driver:=twn")
    assert run.ended() == 2
    assert "driver is 'twn'; allowed: twin, fci, crisp. Did you mean 'twin'?" in run.words()


def test_this_folder_is_no_package() -> None:
    assert not (ROOT / "launch" / "__init__.py").exists()
