"""A run from its first demonstration to its report."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from robot_rl import demos as demonstrations
from robot_rl import warm_start
from robot_rl.assisted import AssistedEnv
from robot_rl.build import make_env
from robot_rl.config import Composed
from robot_rl.console import show_session
from robot_rl.demos import period_s
from robot_rl.env import RobotEnv
from robot_rl.errors import CheckpointError, ConfigError, MissingDependency
from robot_rl.evaluate import POLICIES, ActingPolicy, evaluate, load_policy
from robot_rl.jsonl import last_row, read_json, read_jsonl, update_json, write_json_atomic, write_text_atomic
from robot_rl.laps import recall
from robot_rl.live import watch
from robot_rl.metrics import METRICS_FILE, Latencies, write_evaluation
from robot_rl.report import write_report
from robot_rl.rewards.counts import judged_sentence, judged_summary
from robot_rl.rewards.make import check_reward, check_vice, follow_run
from robot_rl.runs import create_run, resolve_run
from robot_rl.settings import OFFLINE, Settings
from robot_rl.stats import Summary
from robot_rl.timing import RateCheck
from robot_rl.train_processes import processes, train_processes
from robot_rl.train_single import train_single
from robot_rl.view.process import page

log = logging.getLogger(__name__)

Say = Callable[[str], None]
Stopping = Callable[[], bool]


@dataclass(slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        folder: The run.
        complete: Whether training ran to its end.
        summary: Of the final evaluation, if there was one.
        facts: Content of `summary.json`.
        report: The page, if it could be written.
    """

    folder: Path
    complete: bool = False
    summary: Summary | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    report: Path | None = None


def start_run(
    composed: Composed,
    command: Sequence[str] | None = None,
    if_exists: Literal["refuse", "archive"] = "refuse",
    **facts: object,
) -> Path:
    """Create the folder of a new run.

    Args:
        composed: The configuration.
        command: The command line that repeats the run.
        if_exists: What to do when its name is taken.
        **facts: More for `run.json`.
    """
    settings = composed.settings()
    check_reward(settings.reward)
    check_vice(settings)
    for name in settings.warm_start:
        warm_start.check(resolve_run(name, Path(settings.runs)), composed.task)
    return create_run(
        Path(settings.runs),
        settings.name,
        task=composed.task,
        seed=settings.seed,
        config_yaml=composed.text(),
        command=command,
        if_exists=if_exists,
        **_plan(settings),
        **facts,
    )


def _plan(settings: Settings) -> dict[str, object]:
    """Return what the live view and the report need to know of the settings."""
    practises = settings.algorithm not in OFFLINE
    return {
        "total_env_steps": settings.learner.total_env_steps if practises else 0,
        "updates_per_step": settings.learner.updates_per_step if practises else None,
        "group": settings.group or settings.algorithm,
        "mode": settings.mode,
        "actors": settings.actors,
    }


def prepare_demos(
    folder: Path, settings: Settings, env: RobotEnv, say: Say, stopping: Stopping = lambda: False
) -> float:
    """Make or fetch the run's demonstrations, unless it has them, and return the seconds that took."""
    began_s = time.monotonic()
    task, target = env.task, folder / "demos"
    if settings.demos == 0 or (target / "demos.json").is_file():
        return 0.0
    specs = (env.observation_spec, task.action_spec)
    if isinstance(settings.demos, str):
        found = demonstrations.load(Path(settings.demos), *specs, env)
    else:
        expert = getattr(task, "expert", None)
        if expert is None:
            raise ConfigError(
                f"task {task.name} has no scripted expert; give recorded demonstrations with demos=FOLDER"
            )
        check = RateCheck(env.period_s, settings.actor.rate_tolerance)
        made = expert(settings.expert.make())
        found = demonstrations.record(env, made, settings.demos, settings.seed, stopping=stopping, check=check)
    demonstrations.save(target, found, *specs, task.name)
    seconds = time.monotonic() - began_s
    say(f"{len(found.blocks)} demonstrations, median {found.median_s:.1f} s, made in {seconds:.1f} s")
    return seconds


def run(
    composed: Composed,
    folder: Path,
    stopping: Stopping,
    *,
    say: Say = log.info,
    options: Sequence[str] = (),
    setup_s: float = 0.0,
) -> Outcome:
    """Carry a run to its end, from wherever it stands.

    Args:
        composed: Its configuration.
        folder: Its folder.
        stopping: Asked often whether to stop.
        say: Tells a person what happens.
        options: Further command-line options of the run's processes.
        setup_s: Seconds that set-up took, for the summary.

    Raises:
        RobotRLError: It cannot go on; what was learnt is saved.
    """
    settings = composed.settings()
    with page(folder, settings.view, say):
        if settings.practice.on:
            from robot_rl.train_practice import practise  # it stands on this module

            return practise(composed, folder, stopping, say, setup_s)
        return _run(settings, folder, stopping, say, options, setup_s)


def _run(
    settings: Settings, folder: Path, stopping: Stopping, say: Say, options: Sequence[str], setup_s: float
) -> Outcome:
    outcome = Outcome(folder)
    session = int(read_json(folder / "run.json").get("sessions", 0))
    env = make_env(settings)
    try:
        if env.real_time:
            refuse_for_one_robot(settings)
            env.connect()  # before anything is prepared for a robot that is not there
        limit_s = env.task.max_steps * period_s(env)
        update_json(folder / "run.json", time_limit_s=limit_s, sessions=session + 1)
        before_s = float(last_row(folder / METRICS_FILE).get("t_s", 0.0))
        seconds = {"setup": setup_s, "demonstrations": prepare_demos(folder, settings, env, say, stopping)}
        follow_run(env, folder)  # what is evaluated at the end is judged as practice was
        if env.real_time:  # there is one robot, and from here on it is the actor's
            env.close()
        began_s = time.monotonic()
        if settings.mode == "single":
            with shown(folder, settings, lambda: {}):
                outcome.complete = train_single(folder, settings, env, stopping)
        else:
            outcome.complete = _train_beside(folder, settings, stopping, session, options, env.real_time)
        seconds["training"] = before_s + time.monotonic() - began_s
        if outcome.complete:
            say(f"training took {seconds['training']:.0f} s")
            _conclude(outcome, settings, env, seconds, limit_s, say, stopping)
        with contextlib.suppress(MissingDependency):
            outcome.report = write_report(folder)
        return outcome
    finally:
        env.close()


def refuse_for_one_robot(settings: Settings) -> None:
    """Raise `ConfigError` for what only twins in lock-step can do."""
    if settings.actors > 1:
        raise ConfigError(
            f"actors is {settings.actors}; a robot in real time is one, and one actor alone may command it: actors=1"
        )
    if settings.mode == "single":
        raise ConfigError(
            "mode is single; a robot in real time does not wait while the learner computes: mode=two_process"
        )


def _train_beside(
    folder: Path, settings: Settings, stopping: Stopping, session: int, options: Sequence[str], real_time: bool
) -> bool:
    with processes(folder, settings, session, options, real_time) as (supervisor, start_actors):
        if settings.algorithm not in OFFLINE:
            start_actors()
        with shown(folder, settings, supervisor.states):
            return train_processes(supervisor, settings, stopping)


@contextlib.contextmanager
def shown(folder: Path, settings: Settings, states: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Show the run on the terminal meanwhile."""
    if settings.live == "off":
        yield
        return
    stop = threading.Event()
    view = threading.Thread(target=watch, args=(folder, stop), kwargs={"processes": states}, daemon=True)
    view.start()
    try:
        yield
    finally:
        stop.set()
        view.join(5.0)


def _conclude(
    outcome: Outcome,
    settings: Settings,
    env: RobotEnv,
    seconds: dict[str, float],
    limit_s: float,
    say: Say,
    stopping: Stopping,
) -> None:
    """Evaluate the final policy and the cloned start, and write the summary."""
    folder, config = outcome.folder, settings.evaluation
    began_s = time.monotonic()
    if config.episodes:
        outcome.summary = evaluate_run(
            folder, env, "final", config.episodes, config.seed, limit_s, stopping, config.video_episodes
        )
        say(f"final policy: {outcome.summary.sentence()}")
    clone = folder / "checkpoints" / POLICIES["clone"]
    summary = None
    if config.clone_episodes and clone.is_file() and settings.algorithm not in OFFLINE:
        summary = evaluate_run(folder, env, "clone", config.clone_episodes, config.seed, limit_s, stopping)
        say(f"cloned start: {summary.sentence()}")
    show_evidence(folder, env)
    seconds["evaluation"] = time.monotonic() - began_s
    demos = read_json(folder / "demos" / "demos.json")
    judged = {"practice": judged_summary(read_jsonl(folder / "episodes.jsonl"))}
    if outcome.summary is not None:
        judged["evaluation"] = judged_summary(read_jsonl(folder / "eval-final.jsonl"))
    for when, found in judged.items():
        if found:
            say(f"{when}: {judged_sentence(found)}")
    outcome.facts = {
        "task": env.task.name,
        "seed": settings.seed,
        "algorithm": settings.algorithm,
        **({} if outcome.summary is None else outcome.summary.to_dict()),
        "env_steps": int(last_row(folder / METRICS_FILE).get("env_steps", 0)),
        "updates": int(last_row(folder / METRICS_FILE).get("updates", 0)),
        "demos": demos.get("count", 0),
        "demos_median_s": demos.get("median_s"),
        "clone_successes": None if summary is None else summary.successes,
        "clone_n": None if summary is None else summary.n,
        **({"judged": judged} if any(judged.values()) else {}),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }
    write_json_atomic(folder / "summary.json", outcome.facts)


def show_evidence(folder: Path, env: RobotEnv) -> None:
    """Let a task that has a way of its own to show what was learnt, such as a race, do so in the run's folder."""
    evidence = getattr(env.task, "evidence", None)
    if evidence is not None:
        recall(env, folder)
        path = folder / "checkpoints" / POLICIES["final"]
        evidence(env, load_policy(path, env.observation_spec, env.task.action_spec), folder)


def evaluate_run(
    folder: Path,
    env: RobotEnv,
    which: str,
    episodes: int,
    seed: int,
    limit_s: float,
    stopping: Stopping = lambda: False,
    video_episodes: int = 0,
    label: str = "",
    exported: Path | None = None,
    sampled: bool | None = None,
) -> Summary:
    """Evaluate one of a run's policies and record the result in its folder.

    Args:
        folder: The run.
        env: The environment.
        which: "final" or "clone"; with `exported`, what the result says that it is of.
        episodes: How many.
        seed: Of the starts.
        limit_s: Time limit of an episode, for the restricted mean time.
        stopping: Asked after each episode.
        video_episodes: How many of the first episodes are filmed.
        label: Under which the result is kept; `which` when empty.
        exported: Folder of an exported policy that acts in the place of the run's own.
        sampled: Whether actions are drawn, or the mode acts; as the policy was saved when None.
    """
    policy = _acting(folder, env, which, exported)
    if sampled is not None:
        policy.sampled = sampled

    def progress(done: int, successes: int) -> None:
        if stopping():
            raise KeyboardInterrupt

    recall(env, folder)
    label = label or which
    video = folder / ("video.mp4" if label == "final" else f"video-{label}.mp4") if video_episodes else None
    latencies = Latencies(prefix=f"{label}/")
    beside = AssistedEnv(env)
    show_session(beside, folder, "eval")
    try:
        rows = evaluate(beside, policy, episodes, seed, video, video_episodes, progress, latencies, stopping)
    finally:
        for watcher in beside.watchers:
            watcher.close()
    if latencies:
        latencies.save(folder, f"eval-{label}")
    return write_evaluation(
        folder, label, rows, limit_s,
        policy=which, policy_version=policy.version, evaluation_seed=seed, sampled=policy.sampled,
    )  # fmt: skip


def _acting(folder: Path, env: RobotEnv, which: str, exported: Path | None) -> ActingPolicy:
    if exported is not None:
        from robot_rl.export.acting import ExportedActor

        return ExportedActor(exported, env.observation_spec, env.task.action_spec)
    return load_policy(policy_path(folder, which), env.observation_spec, env.task.action_spec)


def policy_path(folder: Path, which: str) -> Path:
    """Return the file of a run's policy, "final" or "clone"; raises `CheckpointError` if there is none yet."""
    path = folder / "checkpoints" / POLICIES[which]
    if not path.is_file():
        raise CheckpointError(f"the run {folder} has no {which} policy yet ({path}); train it first")
    return path


def resume_run(folder: Path, composed: Composed) -> None:
    """Take the settings that a run goes on with as its own.

    Raises:
        ConfigError: It is complete already, and no more steps were asked for.
    """
    settings = composed.settings()
    if (folder / "summary.json").is_file():
        done = int(read_json(folder / "summary.json").get("env_steps", 0))
        planned = max(len(settings.practice.nodes), 1) * settings.learner.total_env_steps  # a setting of each node
        if settings.algorithm in OFFLINE or done >= planned:
            raise ConfigError(
                f"the run {folder} is complete ({done} steps). Go on with more: "
                f"learner.total_env_steps={2 * settings.learner.total_env_steps}"
            )
    write_text_atomic(folder / "config.yaml", composed.text())
    update_json(folder / "run.json", **_plan(settings))


def conclusion(outcome: Outcome) -> list[str]:
    """Return what a complete run came to, in lines for a terminal."""
    facts, seconds = outcome.facts, outcome.facts["seconds"]
    lines = [f"{name:<16} {seconds[name]:6.0f} s" for name in seconds]
    if outcome.summary is not None:
        lines.append(outcome.summary.sentence())
        ratio = outcome.summary.median_time_to_success_s / float(facts["demos_median_s"] or "nan")
        if ratio == ratio:
            lines.append(f"demonstrations took {facts['demos_median_s']:.1f} s, the policy {ratio:.2f} of that")
    folder = outcome.folder
    found = {"video": folder / "video.mp4", "report": outcome.report, "summary": folder / "summary.json"}
    return lines + [f"{name:<8} {path}" for name, path in found.items() if path is not None and path.is_file()]
