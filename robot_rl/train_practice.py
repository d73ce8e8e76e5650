"""A run with automatic resets, from its demonstrations to its report; `robot_rl.train` carries out all others."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from robot_rl import train
from robot_rl.config import Composed
from robot_rl.env import RobotEnv
from robot_rl.errors import MissingDependency
from robot_rl.evaluate import POLICIES
from robot_rl.jsonl import last_row, read_json, read_jsonl, update_json, write_json_atomic
from robot_rl.metrics import METRICS_FILE, write_evaluation
from robot_rl.practice.record import sentence, summarise_run
from robot_rl.practice.run import PracticeRun
from robot_rl.report import write_report
from robot_rl.stats import Summary


def practise(
    composed: Composed, folder: Path, stopping: train.Stopping, say: train.Say, setup_s: float = 0.0
) -> train.Outcome:
    """Carry a run with automatic resets to its end, from wherever it stands; see `robot_rl.train.run`."""
    outcome, settings = train.Outcome(folder), composed.settings()
    session = int(read_json(folder / "run.json").get("sessions", 0))
    run = PracticeRun(folder, composed, stopping)
    try:
        first = run.nodes[0]
        limit_s = max(node.task.max_steps for node in run.nodes) * first.env.period_s
        total = len(run.nodes) * settings.learner.total_env_steps
        update_json(folder / "run.json", time_limit_s=limit_s, sessions=session + 1, total_env_steps=total)
        before_s = float(last_row(folder / METRICS_FILE).get("t_s", 0.0))
        seconds = {"setup": setup_s, "demonstrations": 0.0}
        for node in run.nodes:
            seconds["demonstrations"] += train.prepare_demos(
                run.node_folder(node.name), run.node_run(node.name), run.placing_env(node.name), say, stopping
            )
        began_s = time.monotonic()
        with train.shown(folder, settings, lambda: {}):
            outcome.complete = not stopping() and run.practise()
        seconds["training"] = before_s + time.monotonic() - began_s
        resets = summarise_run(folder)
        if resets is not None and resets["episodes"]:
            say(sentence(resets))
        if outcome.complete:
            _conclude(outcome, run, seconds, limit_s, say, stopping)
        with contextlib.suppress(MissingDependency):
            outcome.report = write_report(folder)
        return outcome
    finally:
        run.robot.close()


def _conclude(
    outcome: train.Outcome, run: PracticeRun, seconds: dict[str, float], limit_s: float, say: train.Say,
    stopping: train.Stopping,
) -> None:  # fmt: skip
    """Evaluate the final policy and the cloned start of each node, and write the summary."""
    folder, began_s = outcome.folder, time.monotonic()
    nodes: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for node in run.nodes:
        nodes[node.name] = _evaluate_node(run, node.name, limit_s, say, stopping)
        of_node = read_jsonl(run.node_folder(node.name) / "eval-final.jsonl")
        if of_node:
            write_evaluation(folder, node.name, of_node, limit_s, node=node.name)
            rows += [{**row, "node": node.name} for row in of_node]
    if rows:
        outcome.summary = write_evaluation(folder, "final", rows, limit_s, nodes=list(nodes))
    seconds["evaluation"] = time.monotonic() - began_s
    outcome.facts = {
        "task": run.nodes[0].task.name,
        "seed": run.settings.seed,
        "algorithm": run.settings.algorithm,
        **({} if outcome.summary is None else outcome.summary.to_dict()),
        "env_steps": sum(facts["env_steps"] for facts in nodes.values()),
        "updates": sum(facts["updates"] for facts in nodes.values()),
        "nodes": nodes,
        "resets": summarise_run(folder),
        "demos": sum(facts["demos"] for facts in nodes.values()),
        "demos_median_s": None,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }
    write_json_atomic(folder / "summary.json", outcome.facts)


def _evaluate_node(
    run: PracticeRun, name: str, limit_s: float, say: train.Say, stopping: train.Stopping
) -> dict[str, Any]:
    """Evaluate a node's policies from drawn starts, in its own folder, and return its summary."""
    folder, settings, env = run.node_folder(name), run.node_run(name), run.placing_env(name)
    final = _measured(folder, env, "final", settings.evaluation.episodes, run, limit_s, stopping)
    if final is not None:
        say(f"{name}, final policy: {final.sentence()}")
    clone = _measured(folder, env, "clone", settings.evaluation.clone_episodes, run, limit_s, stopping)
    if clone is not None:
        say(f"{name}, cloned start: {clone.sentence()}")
    newest = last_row(folder / METRICS_FILE)
    demos = read_json(folder / "demos" / "demos.json")
    facts = {
        "task": env.task.name,
        "seed": settings.seed,
        "algorithm": settings.algorithm,
        **({} if final is None else final.to_dict()),
        "env_steps": int(newest.get("env_steps", 0)),
        "updates": int(newest.get("updates", 0)),
        "demos": int(demos.get("count", 0)),
        "demos_median_s": demos.get("median_s"),
        "clone_successes": None if clone is None else clone.successes,
        "clone_n": None if clone is None else clone.n,
    }
    write_json_atomic(folder / "summary.json", facts)
    return facts


def _measured(
    folder: Path, env: RobotEnv, which: str, episodes: int, run: PracticeRun, limit_s: float, stopping: train.Stopping
) -> Summary | None:
    if not episodes or not (folder / "checkpoints" / POLICIES[which]).is_file():
        return None
    config = run.settings.evaluation
    filmed = config.video_episodes if which == "final" else 0
    return train.evaluate_run(folder, env, which, episodes, config.seed, limit_s, stopping, filmed)
