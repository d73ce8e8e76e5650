"""`robot-rl learner` and `robot-rl actor`: the two halves of a run, on one machine or on two."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from robot_rl.cli.common import parse, parser, say, stop_on_signals, take
from robot_rl.errors import ConfigError

if TYPE_CHECKING:
    from robot_rl.config import Composed
    from robot_rl.link_learner import LearnerLink

log = logging.getLogger(__name__)

LEARNER_SETTINGS = """\
  task=pick_cube            the task; the actors must run the same
  bind=tcp://0.0.0.0:5570   where to listen; the weights go out on the next port. Default tcp://127.0.0.1:5570
  link.keys_dir=keys        keys for an encrypted link, needed beyond this machine (robot-rl keys)
  demos=20                  as for train
"""
ACTOR_SETTINGS = """\
  task=pick_cube            the task; the learner must run the same
  connect=tcp://HOST:5570   where the learner listens. Default tcp://127.0.0.1:5570
  link.keys_dir=keys        keys for an encrypted link, needed beyond this machine (robot-rl keys)
"""


def learner(arguments: Sequence[str]) -> int:
    """Run the learner until its run is complete or it is asked to stop."""
    made = parser(
        "learner",
        "Run the learner alone. It listens for actors, logs and learns what they send, and sends them policies.",
        "  robot-rl learner task=pick_cube\n"
        "  robot-rl learner task=pick_cube bind=tcp://0.0.0.0:5570 link.keys_dir=keys\n"
        "  robot-rl learner --run runs/my_run",
        LEARNER_SETTINGS,
    )
    made.add_argument("--run", default="", metavar="RUN", help="go on with this run instead of beginning one")
    options, settings = parse(made, arguments)
    settings = _at(settings, "bind")
    with stop_on_signals() as stopping:
        from robot_rl import train
        from robot_rl.build import make_env, observed
        from robot_rl.link import session_spec
        from robot_rl.link_learner import LearnerLink
        from robot_rl.runs import resolve_run
        from robot_rl.train_learner import LearnerRun

        composed = _composed(options.run, settings, options.config_dir, "learner")
        chosen = composed.settings()
        task = chosen.task.make()
        observation_spec = observed(chosen, task)
        if options.run:
            folder = resolve_run(options.run, Path("runs"))
        else:
            folder = train.start_run(composed)
            env = make_env(chosen)
            train.prepare_demos(folder, chosen, env, say)
            env.close()

        def open_link(last_seq: Mapping[str, int]) -> LearnerLink:
            link = LearnerLink(chosen.link, session_spec(observation_spec, task.action_spec), last_seq)
            say(f"listening on {chosen.link.address} ports {link.data_port} and {link.weights_port}, run {folder}")
            return link

        control_hz = float(chosen.robot.settings.get("control_hz") or task.control_hz)
        run = LearnerRun(folder, chosen, (observation_spec, task.action_spec), 1.0 / control_hz, open_link)
        try:
            if not run.prepare(stopping):
                return 130
            while not run.finished and not stopping():
                run.turn(0.02)
            if run.finished:
                run.finish()
                time.sleep(2.0 * chosen.link.heartbeat_s)  # the actors hear that it is over
                return 0
            run.receive(0.2)
            run.checkpoint(required=True)
            return 130
        finally:
            run.close()


def actor(arguments: Sequence[str]) -> int:
    """Run one actor until the learner's run is complete or it is asked to stop."""
    made = parser(
        "actor",
        "Run one actor alone. It practises with the newest policy of a learner and sends it every step; it may start\n"
        "before the learner does, and outlives its restarts.",
        "  robot-rl actor task=pick_cube\n"
        "  robot-rl actor task=pick_cube connect=tcp://10.0.0.2:5570 link.keys_dir=keys\n"
        "  robot-rl actor task=pick_cube --index 1",
        ACTOR_SETTINGS,
    )
    made.add_argument("--run", default="", metavar="RUN", help="take the settings of this run")
    made.add_argument("--index", type=int, default=0, metavar="N", help="number of this actor: 0, 1, ...")
    made.add_argument("--attempt", type=int, default=-1, metavar="N", help="number of this start; random by default")
    options, settings = parse(made, arguments)
    settings = _at(settings, "connect")
    if not 0 <= options.index < 2**16:
        raise ConfigError(f"--index is {options.index}; it must lie in 0 to {2**16 - 1}")
    with stop_on_signals() as stopping:
        from robot_rl.actor import Actor
        from robot_rl.assisted import AssistedEnv
        from robot_rl.build import make_env
        from robot_rl.console import show_session
        from robot_rl.episodes.practice import run_log
        from robot_rl.laps import recall
        from robot_rl.link import session_spec
        from robot_rl.link_actor import ActorLink
        from robot_rl.patience import RobotNote
        from robot_rl.rewards.make import keep_claims
        from robot_rl.train_actor import act, actor_seed, save_latencies

        chosen = _composed(options.run, settings, options.config_dir, "actor").settings()
        if chosen.reward.source == "vice" and not options.run:
            raise ConfigError(
                "reward.source is 'vice', whose classifier is a file in the run's folder, and this actor knows of no "
                "run; start it with --run RUN on the learner's machine, or use robot-rl train"
            )
        env = make_env(chosen)
        name = f"actor{options.index}"
        attempt = options.attempt if options.attempt >= 0 else secrets.randbits(20)
        link = ActorLink(chosen.link, session_spec(env.observation_spec, env.task.action_spec), name)
        if options.run:
            keep_claims(env, chosen.reward, Path(options.run), options.index)
        sink = run_log(Path(options.run), env, chosen) if options.run else None
        # One person helps one robot: the first actor's.
        helped = AssistedEnv(env, chosen.operator.make(env.task) if options.index == 0 else None)
        if options.run:
            recall(env, Path(options.run))
        if options.run and options.index == 0:
            show_session(helped, Path(options.run), "train")
        made_actor = Actor(helped, link, chosen.actor, actor_seed(chosen.seed, options.index, attempt), sink=sink)
        note = RobotNote(Path(options.run)) if options.run else lambda reason: None
        try:
            latencies = act(made_actor, stopping, waits=note)
        finally:
            helped.close()
            if sink is not None:
                sink.close()
        if options.run:
            save_latencies(latencies, Path(options.run), name)
    return 0


def _composed(run: str, settings: Sequence[str], config_dirs: Sequence[str], primary: str) -> Composed:
    """Return the configuration; in a supervised process, first see to it that it ends with the supervisor."""
    from robot_rl import config
    from robot_rl.runs import resolve_run
    from robot_rl.supervisor import die_with_supervisor

    die_with_supervisor()
    logging.getLogger("robot_rl").setLevel(logging.INFO)
    if run:
        return config.compose_run(resolve_run(run, Path("runs")), settings, config_dirs)
    return config.compose(settings, primary, config_dirs)


def _at(settings: list[str], name: str) -> list[str]:
    """Turn `bind=` or `connect=` into settings of the link."""
    text = take(settings, name)
    if not text:
        return settings
    if text.startswith("ipc://"):
        return [*settings, f"link.address={text}"]
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as e:
        raise ConfigError(f"{name} is '{text}'; the port must be a number, as in tcp://10.0.0.2:5570") from e
    if parts.scheme != "tcp" or not parts.hostname:
        raise ConfigError(f"{name} is '{text}'; it must be tcp://HOST:PORT, such as tcp://10.0.0.2:5570, or ipc://PATH")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    ports = [] if port is None else [f"link.data_port={port}", f"link.weights_port={port + 1 if port else 0}"]
    return [*settings, f"link.address=tcp://{host}", *ports]
