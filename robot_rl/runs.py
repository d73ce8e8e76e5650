"""Run folders: create, find and describe them. A folder is never overwritten and its small files change atomically.

A run is `runs/<name>/` with `run.json` (versions, seed, command line, commit, machine), `config.yaml`, the metrics of
`robot_rl.metrics`, and at the end `summary.json`. A sweep keeps its runs one level deeper: `runs/<sweep>/<name>/`.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import math
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robot_rl.errors import CheckpointError, ConfigError, StorageError, nearest
from robot_rl.jsonl import read_json, update_json, write_json_atomic, write_text_atomic

PACKAGES = (
    *("robot-rl", "jax", "jaxlib", "optax", "numpy", "scipy", "mujoco", "gymnasium", "numba", "msgpack", "pyzmq"),
    *("hydra-core", "omegaconf", "av", "opencv-python-headless", "matplotlib", "tensorboard", "rich", "torch", "wandb"),
)
__all__ = ["RunEntry", "create_run", "describe_run", "is_run", "list_runs", "read_json", "resolve_run", "update_json"]

_MARKS = ("run.json", "metrics.jsonl", "episodes.jsonl")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]*(/[A-Za-z0-9][A-Za-z0-9._=,+-]*)*")


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One run that exists.

    Attributes:
        name: Path below the root, as `resolve_run` takes it.
        path: The folder.
        task: Task name, empty if unknown.
        started: Local time of the start in ISO form, empty if unknown.
        finished: Whether a summary was written.
    """

    name: str
    path: Path
    task: str
    started: str
    finished: bool


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, as installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def cpu_name() -> str:
    """Return the processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def machine() -> dict[str, object]:
    """Return what the speed of a run depends on: processor, usable cores, memory [GiB], system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = math.nan
    with contextlib.suppress(ValueError, OSError, AttributeError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu_name(), "cores": cores, "memory_gib": round(memory, 1), "system": platform.platform()}


def git_commit(folder: Path | None = None) -> str | None:
    """Return the commit of a checkout, with "+changes" if files differ from it; None outside a checkout.

    Args:
        folder: Any folder inside; that of this package when None.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder or Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        if folder is None and not git("ls-files", Path(__file__).name):
            return None  # installed into an environment that happens to lie inside someone's checkout
        commit = git("rev-parse", "HEAD")
        return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def describe_run(*, task: str, seed: int, command: Sequence[str] | None = None, **extra: object) -> dict[str, object]:
    """Return the content of `run.json`.

    Args:
        task: Task name.
        seed: Seed of the run.
        command: The command line that repeats it; this process's own when None.
        **extra: More facts; the report and the live view know `total_env_steps`, `time_limit_s`, `group` (what a
            comparison puts together) and `updates_per_step` (the asked-for ratio).
    """
    arguments = [Path(sys.argv[0]).name, *sys.argv[1:]] if command is None else list(command)
    return {
        "task": task,
        "seed": seed,
        "command": shlex.join(arguments),
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": git_commit(),
        "machine": machine(),
        "versions": versions(),
        **extra,
    }


def create_run(
    root: Path,
    name: str = "",
    *,
    task: str,
    seed: int,
    config_yaml: str = "",
    command: Sequence[str] | None = None,
    if_exists: Literal["refuse", "archive"] = "refuse",
    **extra: object,
) -> Path:
    """Create a run folder with `run.json` and `config.yaml`, and return it.

    Args:
        root: Folder of all runs, created if need be.
        name: Name of the run; task and time of day when empty.
        task: Task name.
        seed: Seed of the run.
        config_yaml: The resolved configuration.
        command: The command line that repeats the run; this process's own when None.
        if_exists: What to do when the name is taken: refuse, or move the old run aside under a name with its time.
        **extra: More facts, see `describe_run`.

    Raises:
        ConfigError: The name is taken or not allowed.
        StorageError: The folder cannot be written.
    """
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    if name and not _NAME.fullmatch(name):
        raise ConfigError(
            f"'{name}' cannot be the name of a run: use letters, digits and . _ = , + - (and / for a sweep's folder)"
        )
    candidates = [name] if name else [f"{task}-{stamp}", *(f"{task}-{stamp}-{i}" for i in range(2, 1000))]
    if name and if_exists == "archive" and (root / name).exists():
        _archive(root / name)
    for candidate in candidates:
        folder = root / candidate
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError as e:
            if not name and folder.is_dir():
                continue
            raise ConfigError(
                f"the run {folder} exists already and is never overwritten. Continue it with resume={candidate}, "
                "or choose another name"
            ) from e
        except OSError as e:
            raise StorageError(f"could not create {folder}: {e.strerror or e}. Choose a folder you may write to") from e
        write_json_atomic(folder / "run.json", describe_run(task=task, seed=seed, command=command, **extra))
        if config_yaml:
            write_text_atomic(folder / "config.yaml", config_yaml)
        return folder
    raise ConfigError(f"a thousand runs started in this second in {root}; give the run a name")


def _archive(folder: Path) -> None:
    """Move an old run aside, under its name and the time of its last change."""
    stamp = datetime.datetime.fromtimestamp(folder.stat().st_mtime).strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{i}" for i in range(2, 1000))):
        target = folder.with_name(f"{folder.name}-{stamp}{suffix}")
        if not target.exists():
            try:
                folder.rename(target)
            except OSError as e:
                raise StorageError(f"could not move {folder} to {target}: {e.strerror or e}") from e
            return


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run."""
    return any((folder / mark).is_file() for mark in _MARKS)


def list_runs(root: Path) -> list[RunEntry]:
    """Return every run below `root` (at most two folders deep), newest first."""
    found: list[tuple[float, RunEntry]] = []
    for pattern in ("*", "*/*"):
        for folder in root.glob(pattern):
            if folder.name.startswith(".") or not folder.is_dir() or not is_run(folder):
                continue
            if folder.parent != root and is_run(folder.parent):
                continue  # the demonstrations within a run
            facts: dict[str, object] = {}
            with contextlib.suppress(CheckpointError):
                facts = read_json(folder / "run.json")
            newest = max(((folder / mark).stat().st_mtime for mark in _MARKS if (folder / mark).is_file()), default=0.0)
            entry = RunEntry(
                name=folder.relative_to(root).as_posix(),
                path=folder,
                task=str(facts.get("task", "")),
                started=str(facts.get("started", "")),
                finished=(folder / "summary.json").is_file(),
            )
            found.append((newest, entry))
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0], reverse=True)]


def resolve_run(text: str, root: Path) -> Path:
    """Return the folder of the run that a user means.

    Args:
        text: A path, a name below `root`, the unique beginning of one, or "latest".
        root: Folder of all runs.

    Raises:
        ConfigError: None or several fit; the message lists what exists.
    """
    for folder in (Path(text), root / text):
        if text and is_run(folder):
            return folder
    entries = list_runs(root)
    names = [entry.name for entry in entries]
    if not entries:
        raise ConfigError(f"there is no run '{text}': no runs in {root} yet. Start one with: robot-rl train")
    if text == "latest":
        return entries[0].path
    fitting = [entry for entry in entries if text and entry.name.startswith(text)]
    if len(fitting) == 1:
        return fitting[0].path
    listed = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    if fitting:
        several = ", ".join(entry.name for entry in fitting[:12])
        raise ConfigError(f"'{text}' fits {len(fitting)} runs in {root}: {several}. Write more of the name")
    if text and Path(text).is_dir():
        raise ConfigError(f"the folder {text} holds no run (none of {', '.join(_MARKS)}); runs in {root}: {listed}")
    raise ConfigError(f"there is no run '{text}' in {root}.{nearest(text, names)} Runs: {listed}, or 'latest'")
