"""What `robot-rl calibrate bounds` and `keep-out` do with the corners that were touched: show, check, write."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from robot_rl.cell import Cell
from robot_rl.cell_file import bounds_hash, load_cell, save_cell
from robot_rl.errors import ConfigError
from robot_rl.geometry import Vector
from robot_rl_hardware.operator.corners import Corners
from robot_rl_hardware.operator.direct import DirectArm
from robot_rl_hardware.operator.keyboard import Keyboard
from robot_rl_hardware.operator.view import Panel

HELP = "ENTER take this corner    BACKSPACE forget the last    S write and leave    q leave without writing"
LOOK_S = 0.05


def cell_to_change(path: Path) -> Cell:
    """Return the cell in a file, or a new one named like the file if there is none yet."""
    return load_cell(path) if path.exists() else Cell(name=path.stem)


def touch_corners(
    keyboard: Keyboard,
    panel: Panel,
    corners: Corners,
    look: Callable[[], tuple[Vector | None, list[str]]],
    ended: Callable[[], bool],
    other_key: Callable[[str], None] | None = None,
) -> bool:
    """Let a person touch corners until `S` or `q`, and return whether they shall be written.

    Args:
        keyboard, panel: Where keys come from, and lines go.
        corners: What is filled.
        look: Returns the tool's position (3,) [m] in B, None while there is no fresh one, and lines about the arm.
        ended: Whether a signal asks to leave; nothing is written then.
        other_key: Takes the keys that mean nothing here.
    """
    said = ""
    while not ended():
        p, lines = look()
        for key in keyboard.read(LOOK_S):
            said = ""
            if key == "enter":
                said = _take(corners, p)
            elif key == "backspace":
                corners.undo()
            elif key == "S":
                missing = corners.missing()
                if not missing:
                    return True
                said = f"not written: {missing[0]}"
            elif key == "q":
                return False
            elif other_key is not None:
                other_key(key)
        panel.show([*lines, "", *corners.lines(), said, HELP], f"touched {len(corners.points)} {said}".strip())
    return False


def run_direct(path: Path, corners: Corners, keep_out: bool, ended: Callable[[], bool]) -> str:
    """Let a person touch corners with a Franka that no node drives; returns a sentence, empty if nothing was wanted.

    Args:
        path: The cell file; it gives the robot's address.
        corners: Empty.
        keep_out: Whether the box is one to keep out of.
        ended: Whether a signal asks to leave.
    """
    with Keyboard() as keyboard, DirectArm(load_cell(path)) as arm, Panel() as panel:
        wanted = touch_corners(keyboard, panel, corners, arm.look, ended)
    return write_box(path, corners, keep_out) if wanted else ""


def _take(corners: Corners, p: Vector | None) -> str:
    if p is None:
        return "not taken: there is no fresh reading of the arm"
    try:
        corners.add([float(v) for v in p])
    except ConfigError as e:
        return f"not taken: {e}"
    return "taken"


def write_box(path: Path, corners: Corners, keep_out: bool) -> str:
    """Write the box into the cell file and return a sentence about it.

    Args:
        path: The cell file; made if it is not there.
        corners: What was touched.
        keep_out: Whether it is a box to keep out of, which is added to those there are, rather than the bounds.

    Raises:
        ConfigError: The box is degenerate.
        StorageError: The disk refuses; the file is as it was.
    """
    cell, box = cell_to_change(path), corners.box()
    if keep_out:
        changed = dataclasses.replace(cell, keep_out=(*cell.keep_out, box))
    else:
        changed = dataclasses.replace(cell, bounds=box)
    backup = save_cell(path, changed)
    what = "keep-out box" if keep_out else "bounds"
    size = " x ".join(f"{s:.3f}" for s in box.sides_m)
    kept = f"; the file of before is {backup}" if backup else ""
    return f"wrote the {what}, {size} m, to {path} (hash {bounds_hash(changed) or 'none: no bounds yet'}){kept}"
