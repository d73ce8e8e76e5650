"""`robot-rl train -m`: a run for each combination of settings, through Hydra's multirun and its launchers.

One after the other by default, side by side with `hydra/launcher=joblib`, on a Ray cluster with `hydra/launcher=ray`
(its machines must share the folder of runs). Each run lies in `runs/SWEEP/`, and a comparison of all beside them.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_rl.cli.common import say, stop_on_signals, take
from robot_rl.errors import ConfigError, MissingDependency, RobotRLError

if TYPE_CHECKING:
    from omegaconf import DictConfig

LAUNCHERS = {"basic": "", "joblib": "sweep", "ray": "ray"}
_ODD = re.compile(r"[^A-Za-z0-9._=,+-]+")


def sweep(settings: list[str], config_dirs: Sequence[str], resume: str) -> int:
    """Run every combination and compare the results.

    Args:
        settings: `name=value`, some with several values separated by commas.
        config_dirs: Folders of the user's own YAML.
        resume: Must be empty: a sweep is not resumed, its runs are, one by one.
    """
    if resume:
        raise ConfigError("a sweep cannot be resumed as a whole; resume its unfinished runs one by one without -m")
    from robot_rl import config

    settings = list(settings)
    runs = Path(next((s.partition("=")[2] for s in reversed(settings) if s.startswith("runs=")), "runs"))
    name = take(settings, "name") or f"sweep-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    launcher = next((s.partition("=")[2] for s in reversed(settings) if s.startswith("hydra/launcher=")), "basic")
    _check_launcher(launcher)
    folder = runs / name
    if folder.exists():
        raise ConfigError(f"the sweep {folder} exists already and is never overwritten; choose another name")
    swept = config.check_sweep(settings, config_dirs)
    fixed = [s.partition("=")[0] for s in settings if s.partition("=")[0] not in swept]
    excluded = ",".join(dict.fromkeys(["name", *fixed]))
    words = [
        *config.search_path(config_dirs),
        f"name={name}",
        f"hydra.job.config.override_dirname.exclude_keys=[{excluded}]",
        *settings,
    ]
    _launch(words)
    return _conclude(folder, runs)


def _check_launcher(launcher: str) -> None:
    if launcher not in LAUNCHERS:
        raise ConfigError(f"hydra/launcher is '{launcher}'; there are {', '.join(LAUNCHERS)}")
    plugin = f"hydra_plugins.hydra_{launcher}_launcher"
    if LAUNCHERS[launcher]:
        import importlib.util

        with contextlib.suppress(ModuleNotFoundError):
            if importlib.util.find_spec(plugin) is not None:
                return
        extra = LAUNCHERS[launcher]
        raise MissingDependency(
            f"hydra-{launcher}-launcher", f"hydra/launcher={launcher}", f"pip install 'robot-rl[{extra}]'"
        )


def _launch(words: Sequence[str]) -> None:
    import hydra

    from robot_rl.config import MODULE, register_defaults

    register_defaults()
    with _arguments(["robot-rl", "--multirun", *words]):
        hydra.main(config_path=f"pkg://{MODULE}", config_name="train", version_base="1.3")(job)()


@contextlib.contextmanager
def _arguments(argv: list[str]) -> Iterator[None]:
    """Let Hydra, which reads the command line itself, see other arguments."""
    before, sys.argv = sys.argv, argv
    try:
        yield
    finally:
        sys.argv = before


def job(config: DictConfig) -> str:
    """Carry out one run of a sweep, in whatever process a launcher calls it; return its folder or what went wrong."""
    from hydra.core.hydra_config import HydraConfig

    from robot_rl import train
    from robot_rl.config import from_hydra

    hydra = HydraConfig.get()
    label = _ODD.sub("_", hydra.job.override_dirname) or f"run{hydra.job.num}"
    group = ",".join(part for part in label.split(",") if not part.startswith("seed=")) or "all"
    name = str(config.name)
    changes: dict[str, Any] = {"name": f"{name}/{label}", "live": "off"}
    folder = Path(str(config.runs)) / name
    try:
        composed = from_hydra(config, hydra.runtime.choices)
        changes["group"] = composed.values.get("group") or group
        composed = composed.changed(changes)
        command = ["robot-rl", "train", *(o for o in hydra.overrides.task if not o.startswith("name="))]
        with stop_on_signals() as stopping:
            run = train.start_run(composed, command=command)
            outcome = train.run(composed, run, stopping, say=lambda text: say(f"{label}: {text}"))
            if stopping():
                raise KeyboardInterrupt
        return str(outcome.folder)
    except RobotRLError as e:
        sys.stderr.write(f"robot-rl: {label}: {e}\n")
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "failed.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"run": label, "error": str(e)}) + "\n")
        return str(e)


def _conclude(folder: Path, runs: Path) -> int:
    """Write the comparison, print a line for each run, and return the exit status."""
    from robot_rl.jsonl import read_json, read_jsonl
    from robot_rl.report import write_comparison
    from robot_rl.runs import list_runs

    entries = sorted(list_runs(folder), key=lambda e: e.name)
    for entry in entries:
        facts = read_json(entry.path / "summary.json")
        told = f"{facts['successes']} of {facts['n']}" if facts.get("n") else "complete" if facts else "not complete"
        say(f"{entry.name}: {told}")
    if entries:
        say(f"comparison {write_comparison([e.path for e in entries], folder / 'comparison.html', folder.name)}")
    failed = read_jsonl(folder / "failed.jsonl")
    for row in failed:
        say(f"{row.get('run')}: failed: {row.get('error')}")
    return 1 if failed or not all(e.finished for e in entries) else 0
