"""`robot-rl doctor`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.cli.common import no_settings, parse, parser, say
from robot_rl.cli.jog import add_where, end_on_signals, where_of
from robot_rl.errors import ConfigError

if TYPE_CHECKING:
    from robot_rl.cell import Cell
    from robot_rl.probes import Check

WHAT = """\
Say what works on this machine and what to install: Python, packages for each role, JAX and its device,
OpenGL, memory, disk, ports. Ends with status 1 when practising in the twin cannot work.
With --robot: what there is of an arm over ROS 2, how fast and how old its topics come, whether this computer
may drive it, and what is missing; ends with status 1 when the robot cannot be driven.
With --car: the seven traps of an F1TENTH car, in its file and in what its topics say; push or turn the car by hand
meanwhile, or let it drive. Nothing is sent; ends with status 1 when the car cannot be driven."""
EXAMPLES = """\
  robot-rl doctor
  robot-rl doctor --robot --domain 7
  robot-rl doctor --robot --cell my_cell.yaml --sign "Ada Lovelace"
  robot-rl doctor --car my_car.yaml --wait 8
"""


def doctor(arguments: Sequence[str]) -> int:
    """Look at this machine, or at a robot."""
    made = parser("doctor", WHAT, EXAMPLES, takes_settings=False)
    made.add_argument("--robot", action="store_true", help="look at a robot and at what drives it")
    made.add_argument("--car", default="", metavar="FILE", help="look at an RC car, whose file this is")
    made.add_argument("--cell", default="", metavar="FILE", help="with --robot: the cell file, or the name of a cell")
    made.add_argument("--move", action="store_true", help="with --robot: close and open the gripper too")
    made.add_argument("--sign", default="", metavar="NAME", help="with --robot: tick the operator's list and sign it")
    made.add_argument("--json", action="store_true", help="with --robot or --car: print JSON")
    add_where(made)
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    if options.car:
        _refuse(options, ("robot", "cell", "move", "sign"), "--car looks at a car, and --{} belongs to an arm")
        return _car(options)
    if options.robot:
        return _robot(options)
    _refuse(
        options,
        ("cell", "move", "sign", "json", "domain"),
        "--{0} belongs to --robot: robot-rl doctor --robot --{0} ...",
    )
    from robot_rl.doctor import main

    return main()


def _robot(options: argparse.Namespace) -> int:
    from robot_rl.doctor_robot import robot_checks, verdict

    cell = _cell(options.cell)
    if options.sign and (not options.cell or options.json):
        raise ConfigError("--sign needs --cell FILE, a terminal to tick the list in, and no --json")
    if options.sign and not sys.stdin.isatty():
        raise ConfigError("--sign asks a person, and the input is no terminal; run it by itself in one")
    namespace, domain = where_of(options)
    probe = importlib.import_module("robot_rl_hardware.ros.operator_probe")
    measured = probe.measure(namespace, domain, move=options.move, patience_s=options.wait)
    checks = robot_checks(measured, cell, Path.cwd(), signing=bool(options.sign), moved=options.move)
    failed = any(check.status == "fail" for check in checks)
    if options.json:
        say(json.dumps({"ok": not failed, "cell": cell.name, "checks": [_plain(c) for c in checks]}, indent=2))
        return int(failed)
    _show(checks, verdict(checks))
    if options.sign:
        return _sign(cell, options.sign, checks)
    return int(failed)


def _refuse(options: argparse.Namespace, names: Sequence[str], sentence: str) -> None:
    """Raise `ConfigError` for an option that does not belong here."""
    for name in names:
        if getattr(options, name) not in (None, "", False):
            raise ConfigError(sentence.format(name))


def _car(options: argparse.Namespace) -> int:
    car = importlib.import_module("robot_rl_hardware.car.file").load_car(options.car)
    traps = importlib.import_module("robot_rl_hardware.car.traps")
    probe = importlib.import_module("robot_rl_hardware.ros.car_probe")
    namespace, domain = where_of(options)
    checks = traps.car_checks(probe.look("" if namespace == "/arm" else namespace, domain, options.wait), car)
    failed = any(check.status == "fail" for check in checks)
    if options.json:
        say(json.dumps({"ok": not failed, "car": car.name, "checks": [_plain(c) for c in checks]}, indent=2))
        return int(failed)
    _show(checks, traps.verdict(checks))
    return int(failed)


def _cell(text: str) -> Cell:
    """Return the cell that an option names: a file, or an option of the configuration; the twin's by default."""
    from robot_rl.cell import Cell
    from robot_rl.cell_file import SUFFIXES, load_cell

    if text.endswith(SUFFIXES):
        return load_cell(text)
    if not text:
        return Cell()
    from robot_rl.config import compose

    return compose([f"cell={text}"]).settings().cell


def _show(checks: Sequence[Check], sentence: str) -> None:
    from rich.console import Console

    from robot_rl.doctor import render

    Console().print(render(checks, sentence))


def _sign(cell: Cell, who: str, checks: Sequence[Check]) -> int:
    """Let a person tick the list and write the record."""
    from robot_rl.preflight import STATEMENTS, sign

    failed = [check.name for check in checks if check.status == "fail"]
    if failed:
        say(f"Nothing can be signed before these are mended: {', '.join(failed)}.")
        return 1
    ticked = {}
    with end_on_signals() as ended:
        for key, sentence in STATEMENTS.items():
            say(f"  {sentence}")
            sys.stdout.write("  true? [y/N] ")
            sys.stdout.flush()
            if ended() or sys.stdin.readline().strip().lower() not in ("y", "yes"):
                say("Not ticked, so nothing was signed.")
                return 1
            ticked[key] = sentence
    path = sign(cell, who, ticked, [_plain(check) for check in checks])
    say(f"Signed by {who} for the cell '{cell.name}': {path}. It counts for 12 hours on this computer.")
    return 0


def _plain(check: Check) -> dict[str, str]:
    return {"name": check.name, "status": check.status, "found": check.found, "advice": check.advice}
