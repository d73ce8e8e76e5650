"""`robot-rl calibrate bounds|keep-out|camera|board|car`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from robot_rl.cell_file import SUFFIXES
from robot_rl.cli.calibrate_camera import EXAMPLES as CAMERA_EXAMPLES
from robot_rl.cli.calibrate_camera import calibrate_board, calibrate_camera
from robot_rl.cli.calibrate_car import EXAMPLES as CAR_EXAMPLES
from robot_rl.cli.calibrate_car import calibrate_car
from robot_rl.cli.common import no_settings, parse, parser, say
from robot_rl.cli.jog import add_where, end_on_signals, where_of
from robot_rl.errors import ConfigError, nearest

BOUNDS = """\
Measure the box that the tool may visit: bring the tool to its corners, by hand or by keys (--jog), and take each
with ENTER.
The pose comes from an arm node, or with --direct from a Franka that nothing drives yet.
The box is written into the cell file, a margin inside of what was touched. The file of before is kept."""

KEEP_OUT = """\
Add a box that the tool must not enter: touch its corners with the tool, from outside. The box that is written is a
margin larger than what was touched. The file of before is kept."""

EXAMPLES = """\
  robot-rl calibrate bounds --cell my_cell.yaml --direct
  robot-rl calibrate bounds --cell my_cell.yaml --jog
  robot-rl calibrate keep-out --cell my_cell.yaml --direct --margin 0.05
"""
WHAT = ("bounds", "keep-out", "camera", "board", "car")


def calibrate(arguments: Sequence[str]) -> int:
    """Measure what belongs in a cell file."""
    what = next((a for a in arguments if not a.startswith("-")), "")
    if what in WHAT:
        rest = list(arguments)
        rest.remove(what)
        if what == "car":
            return calibrate_car(rest)
        if what == "camera":
            return calibrate_camera(rest, cell_path)
        return calibrate_board(rest) if what == "board" else _boxes(what, rest)
    made = parser(
        "calibrate",
        f"Measure what belongs in a cell file or a car file: {', '.join(WHAT)}. Each has its own --help.",
        EXAMPLES + CAMERA_EXAMPLES + CAR_EXAMPLES,
        takes_settings=False,
    )
    parse(made, arguments)
    found = f"'{what}' is nothing to calibrate" if what else "calibrate needs to know what"
    raise ConfigError(f"{found}; there are {', '.join(WHAT)}.{nearest(what, WHAT) if what else ''}")


def _boxes(what: str, arguments: Sequence[str]) -> int:
    keep_out = what == "keep-out"
    made = parser(f"calibrate {what}", KEEP_OUT if keep_out else BOUNDS, EXAMPLES, takes_settings=False)
    made.add_argument("--cell", default="", metavar="FILE", help="the cell file, such as my_cell.yaml; made if missing")
    made.add_argument("--margin", type=float, default=0.005, metavar="M", help="metres from what was touched (0.005)")
    made.add_argument("--jog", action="store_true", help="move the arm by keys instead of by hand")
    made.add_argument("--direct", action="store_true", help="read a Franka at the cell's address, without any node")
    add_where(made)
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    path = cell_path(options.cell)
    margin_m = options.margin
    if not margin_m >= 0.0:
        raise ConfigError(f"--margin is {options.margin}; it must not be negative")
    if options.jog and options.direct:
        raise ConfigError("--jog moves the arm through its node, and --direct reads it without one; choose one of them")
    namespace, domain = where_of(options)
    corners = importlib.import_module("robot_rl_hardware.operator.corners").Corners(-margin_m if keep_out else margin_m)
    with end_on_signals() as ended:
        if options.direct:
            tool = importlib.import_module("robot_rl_hardware.operator.bounds")
            return _told(tool.run_direct(path, corners, keep_out, ended))
        tool = importlib.import_module("robot_rl_hardware.ros.operator_bounds")
        sentence = tool.run_bounds(
            namespace, domain, path, corners, keep_out=keep_out, jog=options.jog, ended=ended, patience_s=options.wait
        )
    return _told(sentence)


def _told(sentence: str) -> int:
    say(sentence or "nothing was written")
    return 0 if sentence else 1


def cell_path(text: str) -> Path:
    """Return the path of the cell file that an option names."""
    if not text:
        raise ConfigError("which cell? Name its file: --cell my_cell.yaml")
    if not text.endswith(SUFFIXES):
        raise ConfigError(f"--cell is '{text}'; it must be a file that ends with {' or '.join(SUFFIXES)}")
    return Path(text)
