"""`robot-rl calibrate camera intrinsics|hand-eye NAME` and `robot-rl calibrate board`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robot_rl.cell_file import load_cell
from robot_rl.cli.common import no_settings, parse, parser, say
from robot_rl.cli.jog import add_where, end_on_signals, where_of
from robot_rl.errors import ConfigError, nearest

KINDS = ("intrinsics", "hand-eye")
CAMERA = """\
intrinsics: what a camera's lens does, from pictures of a board at many angles, all over the picture.
hand-eye: where the camera sits, from pictures of a board at many poses of the arm. A camera on the hand looks at a
board that lies still; one in the cell (--mount cell) at a board in the gripper. Move the arm by robot-rl jog.
The camera's node runs meanwhile (robot-rl node camera cell=my_cell.yaml). Pictures are kept in a folder, and with
--from FOLDER the same is computed again from them, without any camera. The result goes into the cell file."""
EXAMPLES = """\
  robot-rl calibrate board --to board.png
  robot-rl calibrate camera intrinsics wrist --cell my_cell.yaml --square 0.0297 --marker 0.0218
  robot-rl calibrate camera hand-eye wrist --cell my_cell.yaml --square 0.0297 --marker 0.0218
  robot-rl calibrate camera intrinsics wrist --cell my_cell.yaml --from wrist_intrinsics
"""
PIXELS = 120


def calibrate_camera(arguments: Sequence[str], cell_path: Any) -> int:
    """Calibrate a camera.

    Args:
        arguments: After `calibrate camera`.
        cell_path: Checks and returns the path of `--cell`.
    """
    made = parser("calibrate camera", CAMERA, EXAMPLES, takes_settings=False)
    made.add_argument("kind", choices=KINDS, metavar="KIND", help=" or ".join(KINDS))
    made.add_argument("name", metavar="NAME", help="of the camera in the cell file")
    made.add_argument("--cell", default="", metavar="FILE", help="the cell file, such as my_cell.yaml")
    made.add_argument("--from", dest="source", default="", metavar="FOLDER", help="compute from pictures taken before")
    made.add_argument("--to", default="", metavar="FOLDER", help="where new pictures are kept (NAME_KIND)")
    made.add_argument("--mount", choices=("hand", "cell"), default="hand", help="where the camera is, for hand-eye")
    add_board(made)
    add_where(made)
    _check_kind(arguments)
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    path, board = cell_path(options.cell), board_of(options)
    compute = importlib.import_module("robot_rl_hardware.operator.camera_calibration")
    cell, hand_eye = load_cell(path), options.kind == "hand-eye"
    compute.camera_of(cell, options.name, path)
    if hand_eye:
        compute.lens_of(cell, options.name, path)  # told before the work, not after it
    folder = Path(options.source or options.to or f"{options.name}_{options.kind.replace('-', '_')}")
    if not options.source:
        tool = importlib.import_module("robot_rl_hardware.ros.operator_camera")
        with end_on_signals() as ended:
            wanted = tool.run_pictures(
                *where_of(options), options.name, folder, board,
                with_arm=hand_eye, ended=ended, patience_s=options.wait,
            )  # fmt: skip
        if not wanted:
            say(f"nothing was computed; the pictures are in {folder}")
            return 1
    if hand_eye:
        say(compute.compute_hand_eye(path, options.name, folder, board, options.mount))
    else:
        say(compute.compute_intrinsics(path, options.name, folder, board))
    return 0


def calibrate_board(arguments: Sequence[str]) -> int:
    """Draw a board to print."""
    made = parser("calibrate board", "Draw a board to print. Measure a square on the print.", EXAMPLES, "", False)
    made.add_argument("--to", default="board.png", metavar="FILE", help="the picture to write (board.png)")
    add_board(made)
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    boards = importlib.import_module("robot_rl_hardware.cameras.boards")
    cv2 = importlib.import_module("robot_rl_hardware.cameras.picture").load_cv2("drawing a board")
    board = board_of(options)
    if not options.to.endswith(".png"):
        raise ConfigError(f"--to is '{options.to}'; it must end with .png")
    ok, data = cv2.imencode(".png", boards.draw_board(board, PIXELS))
    if not ok:
        raise ConfigError("OpenCV could not encode the board as a picture")
    try:
        Path(options.to).write_bytes(data.tobytes())
    except OSError as e:
        raise ConfigError(f"{options.to} cannot be written: {e.strerror}") from e
    width, height = board.columns * board.square_m, board.rows * board.square_m
    say(f"{options.to}: print it {1e3 * width:.0f} x {1e3 * height:.0f} mm, glue it flat, measure a square (--square)")
    return 0


def add_board(made: argparse.ArgumentParser) -> None:
    """Add the options that describe a board."""
    made.add_argument("--board", default="charuco", metavar="KIND", help="charuco or checkerboard (charuco)")
    made.add_argument("--columns", type=int, default=8, metavar="N", help="squares along it (8)")
    made.add_argument("--rows", type=int, default=6, metavar="N", help="squares across it (6)")
    made.add_argument("--square", type=float, default=0.03, metavar="M", help="side of a square, as measured (0.03)")
    made.add_argument("--marker", type=float, default=0.022, metavar="M", help="side of a marker, as measured (0.022)")


def board_of(options: argparse.Namespace) -> Any:
    """Return the board that the options describe."""
    boards = importlib.import_module("robot_rl_hardware.cameras.boards")
    return boards.Board(
        kind=options.board,
        columns=options.columns,
        rows=options.rows,
        square_m=options.square,
        marker_m=options.marker,
    )


def _check_kind(arguments: Sequence[str]) -> None:
    """Name the nearest kind, which argparse does not."""
    word = next((a for a in arguments if not a.startswith("-")), "")
    if word and word not in KINDS:
        raise ConfigError(f"a camera has no '{word}' to calibrate; it has {', '.join(KINDS)}.{nearest(word, KINDS)}")
