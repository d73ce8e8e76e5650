"""`robot-rl record`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_rl.cli.common import parse, parser, say, stop_on_signals, take
from robot_rl.cli.terminal import has_terminal, reads_keys
from robot_rl.errors import ConfigError

if TYPE_CHECKING:
    from robot_rl.assisted import AssistedEnv, Watcher
    from robot_rl.config import Composed
    from robot_rl.record import Progress, RecordConfig

WHAT = """\
Record demonstrations at the robot, or in its twin. The arm holds while you do not act; an episode begins with your
first motion and ends by the task, by its time limit or by a button. Every episode is a file of its own in
runs/NAME/episodes. The same command goes on where it stood, after Ctrl-C, a kill or a power cut.
Status 0: all are there. 2: something is missing or wrong, in a sentence. 130: ended before."""
SETTINGS = """\
  task=pick_cube            what to demonstrate: one of the files in robot_rl/conf/task
  robot=twin                or ros: a twin in real time or hardware, whatever the arm's node drives
  operator=keyboard         or gamepad, spacemouse, joy, and scripted: the task's own expert
  n=20                      how many successful demonstrations there shall be
  name=NAME                 name of the recording; demos-TASK by default
  seed=0                    same seed, same starts
  robot.cameras=[front]     the pictures that the policy shall see
  operator.speed=0.25       share of the task's full step; operator.facing_deg=180 if you face the robot
"""
EXAMPLES = """\
  robot-rl record task=reach
  robot-rl record task=pick_cube operator=spacemouse n=30 name=cube
  robot-rl record task=pick_cube robot=ros operator=gamepad robot.cameras=[front,wrist] --time 30
  robot-rl record task=pick_cube operator=scripted name=cube_scripted
  robot-rl train task=pick_cube demos=runs/cube
"""
DEFAULT_N = 20
PERSONS_S = 60.0  # a person with keys is slower than a policy
SHOW_S = 0.1
SCRIPTED = "robot_rl.operator_scripted.ScriptedOperator"
_INTERRUPTED = 130


def record(arguments: Sequence[str]) -> int:
    """Record demonstrations."""
    made = parser("record", WHAT, EXAMPLES, SETTINGS)
    made.add_argument(
        "--time", type=float, default=0.0, metavar="S",
        help=f"time limit of an episode; the task's, and at least {PERSONS_S:.0f} s for a person, by default",
    )  # fmt: skip
    made.add_argument("--no-confirm", action="store_true", help="keep every success without asking")
    options, settings = parse(made, arguments)
    n = _whole(take(settings, "n"))
    composed = _composed(settings, options.config_dir)
    with stop_on_signals("ending in order; Ctrl-C again to give up") as stopping:
        return _record(composed, n, options, stopping)


def _record(composed: Composed, n: int, options: argparse.Namespace, stopping: Callable[[], bool]) -> int:
    from robot_rl import record_folder
    from robot_rl.assisted import AssistedEnv
    from robot_rl.build import make_env
    from robot_rl.console import show_session
    from robot_rl.record import RecordConfig
    from robot_rl.view.process import check_view, page

    settings = composed.settings()
    check_view(settings.view)
    scripted = settings.operator.path == SCRIPTED
    inner = make_env(settings, encode=False)
    if hasattr(inner, "car"):
        inner.close()
        raise ConfigError(
            f"demonstrations of task {composed.task} are not recorded here: training makes one slow lap itself, and "
            "robot-rl course record records the course that a person drives"
        )
    operator = settings.operator.make(inner.task)
    name = settings.name or f"demos-{composed.task}"
    config = RecordConfig(
        n=n, time_s=_time_s(options.time, scripted, inner.task.max_steps * inner.period_s),
        confirm=not (scripted or options.no_confirm), source="demo" if scripted else "human",
        rate_tolerance=settings.actor.rate_tolerance,
    )  # fmt: skip
    with watchers_of(taken=scripted or reads_keys(composed)) as (watchers, keys):
        env = AssistedEnv(inner, operator, watchers)
        try:
            if not (Path(settings.runs) / name).exists():
                env.connect()  # before there is a folder for what nobody can record
            folder = record_folder.open_recording(
                Path(settings.runs), name, inner, task=composed.task, seed=settings.seed, config_yaml=composed.text()
            )
            for sentence in record_folder.complete_cut(folder):
                say(sentence)
            done = sum(map(record_folder.counts, record_folder.recorded(folder)))
            say(f"recording {folder}: {done} of {n} demonstrations")
            if done < n:
                env.connect()
                show_session(env, folder, "record")
                with page(folder, settings.view, say):
                    complete = _run(folder, env, config, composed, stopping, keys)
            else:
                complete = True
        finally:
            env.close()
    return _end(folder, complete, n, composed.task)


def _run(
    folder: Path, env: AssistedEnv, config: RecordConfig, composed: Composed, stopping: Callable[[], bool],
    keys: Sequence[str],
) -> bool:  # fmt: skip
    from robot_rl.jsonl import read_json
    from robot_rl.record import Recording

    settings, run = composed.settings(), read_json(folder / "run.json")
    facts = {
        "robot": settings.robot.path,
        "config": composed.text(),
        "versions": {key: run[key] for key in ("versions", "commit") if key in run},
    }
    with _shown([*getattr(env.operator, "help", ()), *keys], env.env.task.name) as show:
        recording = Recording(folder, env, config, seed=settings.seed, facts=facts, stopping=stopping, show=show)
        with recording:
            return recording.run()


def _end(folder: Path, complete: bool, n: int, task: str) -> int:
    """Say what was recorded and what to do next."""
    from robot_rl.record_folder import counts, recorded, table

    episodes = recorded(folder)
    for line in table(episodes):
        say(line)
    done = sum(map(counts, episodes))
    say(f"{done} of {n} demonstrations of {task} in {folder}")
    if not complete:
        say("go on with the same command")
        return _INTERRUPTED
    say(f"learn from them with: robot-rl train task={task} demos={folder}")
    return 0


def _composed(settings: list[str], config_dirs: Sequence[str]) -> Composed:
    """Return the configuration, with somebody to demonstrate."""
    from robot_rl import config

    chosen = [s.partition("=")[2] for s in settings if s.startswith("operator=")]
    if not chosen and has_terminal():
        settings = [*settings, "operator=keyboard"]
    elif not chosen or chosen[-1] == "none":
        have = ", ".join(o for o in config.options(config_dirs)["operator"] if o != "none")
        raise ConfigError(f"nobody demonstrates: choose one of operator={have} (without a terminal there are no keys)")
    if chosen and chosen[-1] == "scripted":  # it demonstrates from the first step to the last
        alone = ("operator.share=1.0", "operator.episodes=1.0", "operator.patience_steps=0")
        settings = [
            *(s for s in alone if not any(t.startswith(s.partition("=")[0] + "=") for t in settings)),
            *settings,
        ]
    return config.compose(settings, config_dirs=config_dirs)


def _whole(text: str) -> int:
    try:
        return int(text or DEFAULT_N)
    except ValueError as e:
        raise ConfigError(f"n is '{text}'; it must be a whole number of at least 1") from e


def _time_s(asked_s: float, scripted: bool, tasks_s: float) -> float:
    if asked_s or scripted:
        return asked_s
    return max(tasks_s, PERSONS_S)


@contextlib.contextmanager
def watchers_of(taken: bool) -> Iterator[tuple[list[Watcher], Sequence[str]]]:
    """Yield what watches: the keys of this terminal, unless they are taken, or not wanted."""
    if taken or not has_terminal():
        yield [], ()
        return
    keys = importlib.import_module("robot_rl_hardware.operator.keys")
    keyboard = importlib.import_module("robot_rl_hardware.operator.keyboard")
    buttons: Any = keys.TerminalButtons(keyboard.Keyboard())
    try:
        yield [buttons], buttons.help
    finally:
        buttons.close()


@contextlib.contextmanager
def _shown(keys: Sequence[str], task: str) -> Iterator[Callable[[Progress], None]]:
    """Yield what shows a recording in this terminal; drawing never waits, and it happens ten times a second at most."""
    view = importlib.import_module("robot_rl_hardware.operator.view")
    heard = logging.getLogger("robot_rl.assisted")
    level, next_s, phase = heard.level, -math.inf, ""
    heard.setLevel(logging.ERROR)  # notes about the device are shown here

    def show(progress: Progress) -> None:
        nonlocal next_s, phase
        now_s = time.monotonic()
        if now_s >= next_s or progress.phase != phase:
            next_s, phase = now_s + SHOW_S, progress.phase
            panel.show(lines(progress, task, keys), headline(progress))

    try:
        with view.Panel() as panel:
            yield show
    finally:
        heard.setLevel(level)


def headline(p: Progress) -> str:
    """Return what is printed where there is no terminal, when it changes."""
    return f"{p.done} of {p.n}" + (f", {p.said}" if p.said else "") + (f", {p.note}" if p.note else "")


def lines(p: Progress, task: str, keys: Sequence[str]) -> list[str]:
    """Return a recording as lines for a terminal."""
    from robot_rl.live import duration

    left = f"   about {duration(p.left_s)} left" if math.isfinite(p.left_s) else ""
    number = min(p.done + 1, p.n)
    out = [f"{task}: demonstration {number} of {p.n}   {p.done} done, {p.tried} episodes recorded{left}"]
    now = {
        "getting ready": "getting ready: the arm goes to its start",
        "waiting": "READY: the recording begins with your first motion",
        "recording": f"RECORDING   {p.episode_left_s:4.1f} s left   "
        + ("you act" if p.acts else "nobody acts, the arm holds"),
        "keep it?": "SUCCESS: keep it?   success button (ENTER) keeps   discard (x)   failure (BACKSPACE)",
        "paused": "PAUSED: pause again (p) to go on",
        "over": "the recording is over",
    }[p.phase]
    out.append(now)
    out.append(_tool(p))
    out.append("action " + " ".join(f"{v:+.2f}" for v in p.action) if p.acts else "")
    guard = "  ".join(f"{name} {count}" for name, count in sorted(p.guard.items()))
    out.append(f"guard: {guard or 'nothing'}" + (f"   last {p.said}" if p.said else ""))
    out.append(f"! {p.note}" if p.note else "")
    return [*out, *keys, "Ctrl-C ends; the same command goes on"]


def _tool(p: Progress) -> str:
    if p.state is None:
        return ""
    import numpy as np

    from robot_rl.geometry import rotate

    x, y, z = p.state.p_BE
    ahead = rotate(p.state.quat_BE, np.array([1.0, 0.0, 0.0]))
    yaw_deg = math.degrees(math.atan2(ahead[1], ahead[0]))
    gripper = f"gripper {max(1e3 * p.state.gripper_width_m, 0.0):.0f} mm, " + (
        "closing" if p.state.gripper_closing else "opening"
    )
    return f"tool  x {x:+.4f}  y {y:+.4f}  z {z:+.4f} m  yaw {yaw_deg:+.1f} deg   {gripper}"
