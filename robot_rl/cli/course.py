"""`robot-rl course record`."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from robot_rl.cli.common import parse, parser, say, stop_on_signals, take
from robot_rl.errors import ConfigError, nearest

WHAT = """\
Record a course: drive around it once, slowly, and a little past where you began. The poses are filtered, the place
where the drive closes is found, a line is fitted and gates are placed; a lidar also measures how far the walls are.
Writes FILE.yaml, which task.course reads, and a picture of it beside. Drive by the keyboard or a gamepad; in a twin
whose course is known the classical driver can do it."""
SETTINGS = """\
  task.course=oval          in a twin: where to drive (corridor, hall, meadow, indoor-SEED, outdoor-SEED, a map's YAML)
  robot=car_twin            what is driven
"""
EXAMPLES = """\
  robot-rl course record --out my_course.yaml --by classical
  robot-rl course record --out hall.yaml --by keyboard task.course=hall
  robot-rl course record --out hall.yaml --by gamepad task.course=hall
  robot-rl train task=lap task.course=my_course.yaml
"""
ACTIONS = ("record",)
BY = ("classical", "keyboard", "gamepad")
BEAMS = 108
_SHOW_M = 5.0
_STEERING_RAD = 0.4


def course(arguments: Sequence[str]) -> int:
    """Record a course."""
    word = next((a for a in arguments if not a.startswith("-")), "")
    made = parser("course record", WHAT, EXAMPLES, SETTINGS)
    made.add_argument("--out", default="course.yaml", metavar="FILE", help="the course file (course.yaml)")
    made.add_argument("--by", choices=BY, default="classical", help="who drives (classical)")
    made.add_argument("--speed", type=float, default=1.2, metavar="M_S", help="highest speed in m/s (1.2)")
    made.add_argument("--no-lidar", action="store_true", help="assume the widths instead of measuring them")
    if word not in ACTIONS and any(a in ("-h", "--help") for a in arguments):
        made.parse_args(["--help"])
    if word not in ACTIONS:
        found = f"'{word}' cannot be done to a course" if word else "course needs to know what to do"
        raise ConfigError(f"{found}; allowed: {', '.join(ACTIONS)}.{nearest(word, ACTIONS) if word else ''}")
    rest = list(arguments)
    rest.remove(word)
    options, settings = parse(made, rest)
    out = Path(options.out)
    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--out is {out}; the name of a course file ends in .yaml")
    if out.exists():
        raise ConfigError(f"{out} is there already, and a course is never overwritten; give another --out")
    if not 0.2 <= options.speed <= 3.0:
        raise ConfigError(f"--speed is {options.speed:g}; a course is recorded at 0.2 to 3 m/s")
    if take(settings, "task") not in ("", "lap"):
        raise ConfigError("a course is recorded with task=lap; leave task out")
    with stop_on_signals("the drive ends here; Ctrl-C again to give up") as stopping:
        return _record(settings, options.config_dir, out, options.by, options.speed, not options.no_lidar, stopping)


def _record(
    settings: Sequence[str], config_dirs: Sequence[str], out: Path, by: str, speed_m_s: float, lidar: bool,
    stopping: Callable[[], bool],
) -> int:  # fmt: skip
    from robot_rl.build import make_env
    from robot_rl.car import CarReset
    from robot_rl.config import compose

    beams = [] if any(s.startswith("task.beams=") for s in settings) or not lidar else [f"task.beams={BEAMS}"]
    env = make_env(compose(["task=lap", *beams, *settings], config_dirs=config_dirs).settings())
    try:
        env.connect()
        task, shown_m = env.task, 0.0
        gate = task.course.gates[0]

        def told(state: Any, way_m: float) -> None:
            nonlocal shown_m
            if way_m >= shown_m + _SHOW_M:
                shown_m = way_m
                away = math.hypot(float(state.p_WC[0]) - gate.p_W[0], float(state.p_WC[1]) - gate.p_W[1])
                say(f"{way_m:5.1f} m driven, {away:4.1f} m from where it began")

        with _hand(by, task, speed_m_s) as hand:
            start = CarReset(p_WC=gate.p_W, yaw_rad=gate.heading_rad)
            drive = _tool("drive")(env.car, hand, start, paced=by != "classical", stopping=stopping, told=told)
        recorded, picture = _tool("keep")(drive, out, task)
    finally:
        env.close()
    course = recorded.course
    say(
        f"{out}: {course.line.length_m:.1f} m, {len(course.gates)} gates, widths {course.widths}; the drive closed to "
        f"{recorded.closure_m:.2f} m after {recorded.lap_s:.1f} s, {recorded.dropped} readings left out"
    )
    say(f"picture {picture}")
    say(f"next: robot-rl train task=lap task.course={out}")
    return 0


def _tool(name: str) -> Callable[..., Any]:
    """Return what drives and records, by its name: the core imports nothing of the tasks."""
    return getattr(importlib.import_module("robot_rl_tasks.car.course_drive"), name)


@contextlib.contextmanager
def _hand(by: str, task: Any, speed_m_s: float) -> Iterator[Any]:
    """Yield whoever drives."""
    if by == "classical":
        yield _tool("slow_hand")(task, speed_m_s)
        return
    from robot_rl_hardware.car.hands import KEYS, PAD, KeyHand, PadHand

    if by == "keyboard":
        from robot_rl_hardware.operator.keyboard import Keyboard

        with Keyboard() as keyboard:
            say(KEYS)
            yield KeyHand(keyboard, _STEERING_RAD, speed_m_s)
        return
    from robot_rl_hardware.operator.gamepad_source import GamepadSource

    source = GamepadSource()
    source.open()
    try:
        say(PAD)
        yield PadHand(source, _STEERING_RAD, speed_m_s)
    finally:
        source.close()
