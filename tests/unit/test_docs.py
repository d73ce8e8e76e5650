"""What the README and docs/ promise: links lead somewhere, commands exist with their settings, examples run."""

from __future__ import annotations

import itertools
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_rl import config
from robot_rl.cli import COMMANDS, main
from robot_rl.cli.camera_settings import store_defaults
from robot_rl.cli.data import ACTIONS
from robot_rl.cli.node_car import of_cars
from robot_rl.cli.reward import ACTIONS as REWARD_ACTIONS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
PROGRAMS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]  # where an example is a whole program
IDS = [p.relative_to(ROOT).as_posix() for p in PAGES]

# Commands that take `name=value` settings, and which of these are not the configuration's.
SETTINGS = {
    "train": {"resume"},
    "demo": set(),
    "record": {"n"},
    "demos": set(),
    "learner": {"bind"},
    "actor": {"connect"},
    "eval": set(),
    "replay": set(),
    "data": set(),
    "reward": set(),
    "camera": {"cell"},
    "calibrate": {"car"},
    "course": set(),
    "pretrain": set(),
}
NODES = {
    "arm": "node",
    "camera": "camera_node",
    "car": "car_node",
}  # kinds of `robot-rl node`, and where their settings begin
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_INLINE = re.compile(r"`((?:robot-rl|make) [^`]+)`")
_INDENTED = re.compile(r"^ {4}((?:\w+=\S+ |time )*(?:robot-rl|make) .*)$", re.MULTILINE)
_FILE = re.compile(r"# ([\w/.]+/[\w.]+\.(?:py|yaml))\n")


def prose(text: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", text)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return [body for kind, body in _FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of every quoted `robot-rl` and `make` command, from the program's name on."""
    text = page.read_text(encoding="utf-8")
    for line in [*_INDENTED.findall(text), *_INLINE.findall(prose(text))]:
        words = shlex.split(line, comments=True)
        start = next(i for i, word in enumerate(words) if word in ("robot-rl", "make"))
        yield words[start:]


def write_files(page: Path, folder: Path) -> list[str]:
    """Write the blocks that begin with the name of a file, and return the Python blocks that do not."""
    for block in [*blocks(page, "python"), *blocks(page, "yaml")]:
        if named := _FILE.match(block):
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.removeprefix(named[0]), encoding="utf-8")
    return [block for block in blocks(page, "python") if not _FILE.match(block)]


def check_launch(words: list[str]) -> None:
    """Check the file and the arguments of a quoted launch, and the settings that it passes on."""
    from robot_rl_hardware.launching import files

    plain = [word for word in words if not word.startswith("-")]
    if not plain or not plain[0].endswith(".launch.py"):
        return
    file = files.load(ROOT / plain[0])
    given = files.arguments(file, plain[1:]) if "--show-args" not in words else {}
    passed = shlex.split(given.get("settings", ""))
    config.check_sweep([*passed, "robot=ros", *(f"task={given[k]}" for k in ("task",) if k in given)])


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in _LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), (
                f"{page.name} links to {link}, whose headings are {sorted(anchors(target))}"
            )


def test_the_readme_leads_to_every_page_and_every_folder() -> None:
    links = {link.partition("#")[0] for link in _LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))}
    pages = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/*.md")}
    assert pages <= links
    for folder in ("robot_rl", "controllers", "hardware", "tasks", "sim", "launch", "tests"):
        assert any(link.startswith(folder) for link in links), folder


def test_the_path_of_a_transition_is_a_list_of_at_most_ten_links() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## The path of one transition")[2].partition("\n## ")[0]
    lines = re.findall(r"^\d+\. .+$", section, re.MULTILINE)
    assert 5 <= len(lines) <= 10
    assert all(_LINK.search(line) for line in lines)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_quoted_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for _, *words in (c for c in commands(page) if c[0] == "make"):
        named = {word for word in words if "=" not in word and word.isascii()}
        assert named, f"{page.name} quotes make without a target"
        assert named <= targets, f"{page.name} quotes make {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_quoted_command_has_its_options_and_settings(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(page, tmp_path)
    helps: dict[str, str] = {}
    for _, command, *words in (c for c in commands(page) if c[0] == "robot-rl"):
        if command == "COMMAND" or command.startswith("-"):
            continue
        assert command in COMMANDS, f"{page.name} quotes robot-rl {command}"
        kinds = {"node": NODES, "data": ACTIONS, "reward": REWARD_ACTIONS}.get(command, ())
        kind = words.pop(0) if words and words[0] in kinds else ""
        if kinds and not kind:
            assert command == "node" or words[:1] in ([], ["ACTION"]), f"{page.name} quotes {command} {' '.join(words)}"
            continue
        if command not in helps or kind:
            with pytest.raises(SystemExit, match="0"):
                main([command, *([kind] if kind else []), "--help"])
            helps[command] = capsys.readouterr().out
        for option in (w.partition("=")[0] for w in words if w.startswith("-")):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", helps[command]), (
                f"{page.name}: robot-rl {command} {option}"
            )
        if command == "launch":
            check_launch(words)
            continue
        settings = [w for w in words if "=" in w and not w.startswith("-")]
        folders = [after for before, after in itertools.pairwise(words) if before == "--config-dir"]
        if kind in NODES:
            store_defaults()
            with config._tree(folders):
                named = of_cars(settings) if kind == "car" else settings
                primary = "car_camera_node" if kind == "camera" and "--car" in words else NODES[kind]
                config.check_overrides([s for s in named if not s.endswith(".yaml")], primary, folders)
        elif settings:
            own = SETTINGS[command]
            config.check_sweep([s for s in settings if s.partition("=")[0] not in own], folders)


@pytest.mark.parametrize("page", [p for p in PROGRAMS if blocks(p, "python")], ids=lambda p: p.stem)
def test_the_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path / "mine")
    for i, block in enumerate(write_files(page, tmp_path)):
        path = tmp_path / f"example_{i}.py"
        path.write_text(block, encoding="utf-8")
        runpy.run_path(str(path), run_name="__main__")


def test_the_example_task_trains_from_its_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(ROOT / "docs" / "tasks.md", tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "mine")
    settings = config.compose(["task=press"], config_dirs=[str(tmp_path / "mine" / "conf")]).settings()
    task = settings.task.make()
    assert task.name == "press"
    assert settings.learner.total_env_steps == 3000
    assert task.expert(settings.expert.make()).action is not None
