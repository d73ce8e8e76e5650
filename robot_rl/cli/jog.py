"""`robot-rl jog` and `robot-rl watch`: the operator's keys."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
from collections.abc import Callable, Iterator, Sequence

from robot_rl.cli.common import no_settings, parse, parser

JOG = """\
Move the arm by keys, slowly, through the guard: motion only while a key repeats, SPACE latches a stop.
It needs a terminal and an arm node (on the twin: robot-rl launch launch/arm_twin.launch.py).
When it ends, the arm holds where it is."""

WATCH = """\
Show the arm, and stop it on SPACE or a gamepad's button. Keep it open in a terminal while a robot runs.
Whatever ends it but the key q stops the arm too: Ctrl-C, a closed terminal, an unplugged gamepad.
It does not replace the emergency stop. Status 3 says that its end has stopped the arm."""


def jog(arguments: Sequence[str]) -> int:
    """Move the arm by keys."""
    made = parser("jog", JOG, "  robot-rl jog\n  robot-rl jog --domain 7 --speed 0.02\n", takes_settings=False)
    add_where(made)
    made.add_argument("--speed", type=float, default=0.05, metavar="SHARE", help="of the full speed, at most 0.05")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    where, share = where_of(options), options.speed
    config = importlib.import_module("robot_rl_hardware.operator.jog").JogConfig(fraction=share)
    tool = importlib.import_module("robot_rl_hardware.ros.operator_jog")
    with end_on_signals() as ended:
        return int(tool.run_jog(*where, config, ended, options.wait))


def watch(arguments: Sequence[str]) -> int:
    """Show the arm and stop it."""
    examples = "  robot-rl watch\n  robot-rl watch --gamepad /dev/input/js0 --button 1\n"
    made = parser("watch", WATCH, examples, takes_settings=False)
    add_where(made, waits=False)
    made.add_argument("--gamepad", default="", metavar="DEVICE", help="device file of a gamepad or pedal that stops")
    made.add_argument("--button", type=int, metavar="N", help="which of its buttons; any by default")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    tool = importlib.import_module("robot_rl_hardware.ros.operator_jog")
    with end_on_signals() as ended:
        return int(tool.run_watch(*where_of(options), options.gamepad, options.button, ended))


def add_where(made: argparse.ArgumentParser, waits: bool = True) -> None:
    """Add the options that say which arm is meant, and how long to look for it."""
    made.add_argument("--domain", type=int, metavar="N", help="ROS domain, 0 to 101 (ROS_DOMAIN_ID)")
    made.add_argument("--namespace", default="/arm", metavar="NAME", help="of the arm node (/arm), or of a car's")
    if waits:
        made.add_argument("--wait", type=float, default=10.0, metavar="S", help="how long to look for its node (10)")


def where_of(options: argparse.Namespace) -> tuple[str, int | None]:
    """Return namespace and domain."""
    return options.namespace, options.domain


@contextlib.contextmanager
def end_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C, SIGTERM or the terminal's end (SIGHUP) has come."""
    came = False

    def handle(signum: int, frame: object) -> None:
        nonlocal came
        came = True

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, handle) for n in numbers}
    try:
        yield lambda: came
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
