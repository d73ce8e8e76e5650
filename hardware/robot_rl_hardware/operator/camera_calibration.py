"""From pictures of a board to a camera's calibration in the cell file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from robot_rl.cell import Cell
from robot_rl.cell_file import load_cell, save_cell
from robot_rl.errors import ConfigError, nearest
from robot_rl_hardware.cameras.boards import Board
from robot_rl_hardware.cameras.calibration import (
    HandEye,
    Intrinsics,
    calibrate_hand_eye,
    calibrate_intrinsics,
    intrinsics_from,
)
from robot_rl_hardware.operator.shots import Shots

GOOD_ERROR_PX, GOOD_SPREAD_M = 0.5, 0.003


def camera_of(cell: Cell, name: str, path: Path) -> Mapping[str, Any]:
    """Return the settings of a cell's camera.

    Raises:
        ConfigError: There is none of that name.
    """
    settings = cell.cameras.get(name)
    if not isinstance(settings, Mapping):
        there = ", ".join(cell.cameras) or "none"
        raise ConfigError(
            f"{path} has no camera '{name}'; it has: {there}.{nearest(name, cell.cameras)} Write its kind and device "
            "below cameras: first"
        )
    return settings


def lens_of(cell: Cell, name: str, path: Path) -> Intrinsics:
    """Return a camera's lens as it was calibrated.

    Raises:
        ConfigError: It was not.
    """
    calibration = camera_of(cell, name, path).get("calibration")
    values = calibration.get("intrinsics") if isinstance(calibration, Mapping) else None
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"the lens of camera '{name}' was not calibrated; do first: robot-rl calibrate camera intrinsics {name}"
        )
    return intrinsics_from(values)


def compute_intrinsics(path: Path, name: str, folder: Path, board: Board) -> str:
    """Calibrate a lens from a folder of pictures, write it into the cell file, and say how good it is.

    Args:
        path: The cell file.
        name: Of the camera.
        folder: Of pictures.
        board: What they show.
    """
    cell = load_cell(path)
    camera_of(cell, name, path)
    found = calibrate_intrinsics(Shots(folder).pictures(), board)
    backup = write_calibration(path, cell, name, "intrinsics", found.values())
    return (
        f"lens of '{name}': f {found.fx:.1f}, {found.fy:.1f}, centre {found.cx:.1f}, {found.cy:.1f} pixels, from "
        f"{found.views} pictures, error {found.error_px:.2f} pixels ({_judged(found.error_px <= GOOD_ERROR_PX)}); "
        f"written to {path}, before: {backup}"
    )


def compute_hand_eye(path: Path, name: str, folder: Path, board: Board, mount: Literal["hand", "cell"]) -> str:
    """Find where a camera sits from a folder of pictures and poses, write it into the cell file, and say how good.

    Args:
        path: The cell file; it holds the camera's lens.
        name: Of the camera.
        folder: Of pictures and poses.
        board: What they show.
        mount: Where the camera is.
    """
    cell = load_cell(path)
    lens, shots = lens_of(cell, name, path), Shots(folder)
    found: HandEye = calibrate_hand_eye(shots.poses(), shots.pictures(), board, lens, mount)
    backup = write_calibration(path, cell, name, "hand_eye", found.values())
    x, y, z = found.position
    well = found.error_px <= 2.0 * GOOD_ERROR_PX and found.board_spread_m <= GOOD_SPREAD_M
    return (
        f"'{name}' sits at ({x:+.4f}, {y:+.4f}, {z:+.4f}) m in {'the tool' if mount == 'hand' else 'the base'}, from "
        f"{found.views} poses, error {found.error_px:.2f} pixels, the board wanders by "
        f"{1e3 * found.board_spread_m:.1f} mm ({_judged(well)}); written to {path}, before: {backup}"
    )


def write_calibration(path: Path, cell: Cell, name: str, what: str, values: Mapping[str, Any]) -> Path | None:
    """Write one part of a camera's calibration and return where the file of before is kept."""
    settings = dict(camera_of(cell, name, path))
    before = settings.get("calibration")
    settings["calibration"] = {**(before if isinstance(before, Mapping) else {}), what: dict(values)}
    return save_cell(path, dataclasses.replace(cell, cameras={**cell.cameras, name: settings}))


def _judged(well: bool) -> str:
    return "good" if well else "POOR: more pictures, from more sides, sharp, the board flat and its sizes measured"
