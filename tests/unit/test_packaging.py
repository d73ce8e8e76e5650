"""What a newcomer relies on: the locks, the set-up script's sentences and the Makefile's list."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.lock", "requirements-vision.lock", "requirements-dev.lock", "requirements-robot.lock")
CHOSEN = re.search(r"^TORCH=(\S+)$", (ROOT / "scripts" / "setup.sh").read_text(), re.MULTILINE)
"""torch, whose build set-up chooses for the machine."""


def locked(*names: str) -> dict[str, str]:
    lines = [line for name in names for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    pairs = [line.partition(" ;")[0].split("==") for line in lines]
    assert all(len(pair) == 2 for pair in pairs), "every line of a lock pins one version"
    return {canonicalize_name(name): version for name, version in pairs}


def required(extra: str | None) -> list[Requirement]:
    """Return what an extra asks for, its references to other extras of this project followed."""
    lines = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    found: list[Requirement] = []
    for requirement in map(Requirement, lines):
        if canonicalize_name(requirement.name) == PROJECT["name"]:
            found += [r for inner in sorted(requirement.extras) for r in required(inner)]
        elif requirement.marker is None or requirement.marker.evaluate({**default_environment(), "extra": ""}):
            found.append(requirement)
    return found


@pytest.mark.parametrize(
    ("extra", "locks"),
    [(None, LOCKS[:1]), ("practice", LOCKS[:1]), ("vision", LOCKS[:2]), ("dev", LOCKS[:3]), ("robot", LOCKS)],
)
def test_the_locks_hold_what_pyproject_asks_for(extra: str | None, locks: tuple[str, ...]) -> None:
    assert CHOSEN is not None
    versions = {**locked(*locks), "torch": CHOSEN[1]}
    wrong = [
        str(requirement)
        for requirement in required(extra)
        if versions.get(canonicalize_name(requirement.name), "") not in requirement.specifier
    ]
    assert not wrong, f"not locked, or locked outside the range: {wrong}; run make lock"


def test_the_locks_do_not_overlap_and_name_no_place() -> None:
    names = [name for lock in LOCKS for name in locked(lock)]
    assert len(names) == len(set(names))
    for name in LOCKS:
        assert not re.search(r"https?:|file:|@|--", (ROOT / name).read_text())


def test_practising_brings_no_ros_and_no_device() -> None:
    assert not [name for name in locked(*LOCKS[:3]) if name.startswith("ros-") or name.startswith("pylibfranka")]


def test_no_lock_brings_a_gpu_stack() -> None:
    assert not [name for name in locked(*LOCKS) if name == "torch" or name.startswith(("nvidia-", "jax-cuda"))]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with what set-up reads, and nothing installed."""
    (tmp_path / "scripts").mkdir()
    for name in (*LOCKS, "pyproject.toml", "scripts/setup.sh", "scripts/install_gl.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def tools(folder: Path, **scripts: str) -> str:
    """Return a PATH with the basic tools that set-up uses and the given scripts, and no Python."""
    folder.mkdir()
    for tool in (
        "bash",
        "dirname",
        "cat",
        "sha256sum",
        "cut",
        "flock",
        "grep",
        "sed",
        "rm",
        "tail",
        "mkdir",
        "chmod",
        "uname",
    ):
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def set_up(copy: Path, path: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run(
        [bash, "scripts/setup.sh", *arguments],
        cwd=copy,
        env={"PATH": path, "HOME": str(copy), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_set_up_refuses_an_unknown_role(copy: Path) -> None:
    done = set_up(copy, os.environ["PATH"], "robot")
    assert done.returncode == 2
    assert "allowed: practice, vision, dev" in done.stderr


def test_set_up_says_what_a_failing_package_index_means(copy: Path) -> None:
    # A Python that makes environments whose pip cannot reach its index; everything else is the real script.
    pip = (
        'case "$*" in *"-c "*) exit 0 ;; *--version*) echo "Python 3.11.9" ;; *install*) '
        'echo "Temporary failure in name resolution"; exit 1 ;; esac; exit 0'
    )
    maker = f"""
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin; printf '%s\\n' '#!{shutil.which("bash")}' '{pip}' >.venv/bin/python
    chmod 755 .venv/bin/python ;;
  --version) echo "Python 3.11.9" ;;
esac
exit 0"""
    done = set_up(copy, tools(copy / "tools", **{"python3.11": maker}))
    assert done.returncode == 1
    assert "the package index cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("stub", "found"), [("[ $1 = --version ] && echo Python 3.9.2", "Python 3.9.2"), ("exit 127", "none")]
)
def test_set_up_names_the_python_that_will_not_do(copy: Path, stub: str, found: str) -> None:
    path = tools(copy / "tools", mypython=stub)
    done = set_up(copy, path, PYTHON="mypython")
    assert done.returncode == 1
    assert f"Python 3.11, 3.12 or 3.13 is needed, found mypython: {found}" in done.stderr
    assert not (copy / ".venv").exists()


def test_set_up_says_what_to_install_where_venv_is_missing(copy: Path) -> None:
    path = tools(copy / "tools", mypython='case "$*" in *ensurepip*) exit 1 ;; esac; exit 0')
    done = set_up(copy, path, PYTHON="mypython")
    assert done.returncode == 1
    assert "apt-get install -y python3-venv" in done.stderr


def test_set_up_leaves_no_half_made_environment_when_python_cannot_make_one(copy: Path) -> None:
    maker = 'case "$*" in *venv\\ .venv*) echo "no room" >&2; exit 1 ;; esac; exit 0'
    done = set_up(copy, tools(copy / "tools", **{"python3.11": maker}))
    assert done.returncode == 1
    assert "no room" in done.stderr
    assert "could not create" in done.stderr
    assert not (copy / ".venv").exists()


def test_the_makefile_lists_every_target_it_has() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert set(phony.group(1).split()) - {"practice", "help"} <= set(re.findall(r"^  make (\S+)", listed, re.MULTILINE))
