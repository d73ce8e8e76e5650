"""`robot-rl replay`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.cli.common import parse, parser, say, stop_on_signals
from robot_rl.cli.data_places import places
from robot_rl.errors import ConfigError

if TYPE_CHECKING:
    from robot_rl.config import Composed
    from robot_rl.env import RobotEnv
    from robot_rl.episodes.reader import Episode

DIFFERS = 1  # exit status when the replay ended otherwise than the episode, or is not what the twin should give again
SETTINGS = """\
  robot=twin                replay in the twin in lock-step; by default the robot that the episode was recorded with
  robot=ros                 replay on whatever the arm's node drives: a twin in real time, or a real arm
  robot.namespace=/arm      any setting may be changed; the task and the rest come from the episode
"""
EXAMPLES = """\
  robot-rl replay runs/my_run/episodes/000012.mcap
  robot-rl replay my_run/episodes/000012.mcap robot=twin --video replay.mp4
  robot-rl replay my_run/episodes/000012.mcap robot=ros --by state --speed 0.5
"""


def replay(arguments: Sequence[str]) -> int:
    """Replay an episode."""
    made = parser(
        "replay",
        "Replay a recorded episode through the guard, and say how near it stayed: RMS and worst error of the tool,\n"
        "the guard's events, whether it ended the same. In the twin in lock-step it comes out again bit for bit.\n"
        "Status 1 says that it ended otherwise. A robot in real time moves only after you agreed; Ctrl-C ends the\n"
        "replay after the running control period, and the arm holds.",
        EXAMPLES,
        SETTINGS,
    )
    made.add_argument("episode", metavar="EPISODE", help="an episode file")
    made.add_argument(
        "--by",
        choices=("actions", "state"),
        default="actions",
        help="the executed actions, open-loop, or the commanded poses of the tool, closed-loop (actions)",
    )
    made.add_argument("--speed", type=float, default=1.0, metavar="SHARE", help="slower, by state alone: 0.05 to 1 (1)")
    made.add_argument("--video", default="", metavar="FILE", help="film the replay, if the robot can draw itself")
    made.add_argument("--out", default="", metavar="FILE", help="page to write; EPISODE.replay.html by default")
    made.add_argument("--yes", action="store_true", help="move a robot in real time without asking")
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    options, settings = parse(made, arguments)
    from robot_rl.build import make_env
    from robot_rl.episodes.reader import Episode
    from robot_rl.replaying import check_same
    from robot_rl.replaying import replay as run
    from robot_rl.replaying_page import write_replay_page

    (path,) = places([options.episode], Path(options.runs))
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name one episode in it, such as {path}/000001.mcap")
    page = Path(options.out) if options.out else path.with_name(f"{path.name.partition('.')[0]}.replay.html")
    for file in (page, Path(options.video)):
        if not file.parent.is_dir():
            raise ConfigError(f"there is no folder {file.parent} to write {file.name} to; make it first")
    episode = Episode(path)
    composed = _composed(episode, settings, options.config_dir)
    env = make_env(composed.settings(), encode=False)
    try:
        check_same(env, episode)
        if env.real_time and not options.yes:
            _ask(env, episode, options.by, options.speed)  # Ctrl-C here leaves at once: nothing has moved
        note = "ends after this control period; once more ends at once"
        film = _film(env, options.video, max(episode.start.episode, 0))
        with stop_on_signals(note) as stopping, film as shown:
            done = run(env, episode, options.by, options.speed, stopping, shown)
    finally:
        env.close()
    for line in done.lines():
        say(line)
    if options.video and Path(options.video).is_file():
        say(f"video {options.video}")
    robot = composed.choices.get("robot", "") or type(env.robot).__name__
    say(f"page {write_replay_page(episode, done, f'robot={robot}', page)}")
    return DIFFERS if done.difference or not done.same_outcome or not done.complete else 0


def _composed(episode: Episode, settings: list[str], config_dirs: Sequence[str]) -> Composed:
    """Return the episode's own configuration, on the robot that was asked for."""
    from robot_rl import config

    where = f"the configuration in {episode.path}"
    text, start = episode.start.config, episode.start
    if not text:
        say(f"{episode.path} holds no settings; those of the task '{start.task}' are taken as they are today")
        chosen = [] if any(word.startswith("task=") for word in settings) else [f"task={start.task}"]
        return config.compose([*chosen, *_cameras(episode, settings), *settings], config_dirs=config_dirs)
    _, choices = config.recorded_values(text, where)
    if f"robot={choices.get('robot')}" in settings:  # as it was recorded, with what was set of it
        settings = [word for word in settings if word != f"robot={choices.get('robot')}"]
    elif any(word.startswith("robot=") for word in settings):
        settings = [*_cameras(episode, settings), *settings]
    return config.compose_recorded(text, where, settings, config_dirs)


def _cameras(episode: Episode, settings: Sequence[str]) -> list[str]:
    """Return the settings of another robot that sees what the recorded one saw."""
    spec: Any = episode.start.spec.get("observation", {})
    images = spec.get("images", {}) if isinstance(spec, dict) else {}
    if not images or any(word.startswith("robot.cameras=") for word in settings):
        return []
    return [f"robot.cameras=[{','.join(images)}]", f"robot.image_size={next(iter(images.values()))[0]}"]


def _ask(env: RobotEnv, episode: Episode, by: str, speed: float) -> None:
    """Say what will move, and raise `KeyboardInterrupt` unless a person agrees."""
    from robot_rl.replaying import beginning

    if not sys.stdin.isatty():
        raise ConfigError("this moves a robot in real time and nobody can be asked here; give --yes if that is meant")
    request = beginning(env, episode).options["request"]
    seconds = episode.steps.gap * env.period_s / speed
    robot = getattr(env.robot, "where", "the robot")
    say(f"{robot} will go to {_place(request.p_BE)} and replay {seconds:.1f} s by {by}")
    for name, pose in request.objects.items():
        say(f"  {name} stood at {_place(pose[:3])}")
    sys.stdout.write("Is the way clear? Type yes: ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("yes", "y"):
        raise KeyboardInterrupt


def _place(p: Any) -> str:
    return f"({', '.join(f'{v:.3f}' for v in np.asarray(p))}) m"


@contextlib.contextmanager
def _film(env: RobotEnv, video: str, number: int) -> Iterator[Callable[[float, bool | None], None]]:
    """Yield what is told the time of each picture of a film, and at the end whether it was a success."""
    from robot_rl.evaluate import HOLD_FRAMES, Film

    film = Film(env, Path(video)) if video else None
    try:
        yield lambda t_s, success: film and film.add(number, t_s, success, 1 if success is None else HOLD_FRAMES)
    finally:
        if film is not None:
            film.close()
