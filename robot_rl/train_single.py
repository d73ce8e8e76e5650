"""Actor and learner taking turns in one process: slower than two, and bit-identical for a seed.

Nothing here depends on the clock but when files are written: one control period, then one turn of the learner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from robot_rl.actor import Actor
from robot_rl.assisted import AssistedEnv
from robot_rl.console import show_session
from robot_rl.demos import period_s
from robot_rl.env import RobotEnv
from robot_rl.episodes.practice import run_log
from robot_rl.laps import recall
from robot_rl.link_local import LocalActor, LocalLearner, local_link
from robot_rl.rewards.make import keep_claims, keep_no_claims
from robot_rl.settings import Settings
from robot_rl.train_actor import actor_seed
from robot_rl.train_learner import LearnerRun


def train_single(folder: Path, settings: Settings, env: RobotEnv, stopping: Callable[[], bool] = lambda: False) -> bool:
    """Train, or go on training, until the run is complete.

    Args:
        folder: The run, with its demonstrations.
        settings: All settings.
        env: The environment.
        stopping: Asked in every turn whether to stop; what was learnt is saved then.

    Returns:
        Whether the run is complete.
    """
    ends: tuple[LocalActor, LocalLearner] | None = None

    def open_link(last_seq: Mapping[str, int]) -> LocalLearner:
        nonlocal ends
        ends = local_link(session=f"session{len(last_seq)}")  # each start is a new stream in the log
        return ends[1]

    keep_claims(env, settings.reward, folder)
    recall(env, folder)
    helped = AssistedEnv(env, settings.operator.make(env.task))
    sink = run_log(folder, env, settings)
    run = LearnerRun(folder, settings, (env.observation_spec, env.task.action_spec), period_s(env), open_link)
    try:
        if not run.prepare(stopping):
            return False
        assert ends is not None  # LearnerRun has opened it
        show_session(helped, folder, "train")
        seed = actor_seed(settings.seed, 0, len(run.last_seq))
        actor = Actor(helped, ends[0], settings.actor, seed, sink=sink)
        while not run.finished and not stopping():
            actor.tick()
            run.turn()
        if run.finished:
            run.finish()
            return True
        actor.flush()
        run.receive(0.0)
        run.checkpoint(required=True)
        return False
    finally:
        keep_no_claims(env)  # it goes on to evaluate
        helped.operator.close()
        for watcher in helped.watchers:
            watcher.close()
        run.close()
        if sink is not None:
            sink.close()
