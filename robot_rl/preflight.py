"""The record that a person looked at a cell before hardware moves, and its check at the start of a session.

`robot-rl doctor --robot --cell my_cell.yaml --sign NAME` writes it after the checks and the operator's ticks. Drivers
of hardware call `check_preflight(cell)` before they connect; a twin needs none.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robot_rl.cell import Cell
from robot_rl.cell_file import bounds_hash, cell_hash
from robot_rl.errors import CheckpointError, ConfigError, RobotError
from robot_rl.jsonl import read_json, write_json_atomic
from robot_rl.typed import build

MAX_AGE_S = 12 * 3600.0

STATEMENTS = {
    "emergency_stop": "The emergency stop is in my hand, and today it stopped this arm.",
    "watch": "While the arm is driven, I keep `robot-rl watch` open where I can press its SPACE key.",
    "space": "Nobody can reach into the arm's space, and nothing loose or fragile stands in it.",
    "bounds": "The bounds in the cell file were measured on this arm as it is mounted now.",
    "tool": "The tool and its load are set in the robot's own settings as they are mounted now.",
}


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What one person signed.

    Attributes:
        who: The operator.
        signed_unix_s: When, seconds since 1970: the file outlives the process and the machine's uptime.
        host, boot: The computer, and which of its starts. Permissions and governors may change with a start.
        cell: Name of the cell.
        cell_hash, bounds_hash: What it was then.
        statements: The sentences that were ticked, by their keys.
        checks: Name, status and finding of each check.
    """

    who: str
    signed_unix_s: float
    host: str
    boot: str
    cell: str
    cell_hash: str
    bounds_hash: str
    statements: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()


def preflight_path(cell: Cell, folder: Path | None = None) -> Path:
    """Return where the record of a cell is kept: by the user's state on this computer, not in the project."""
    if folder is None:
        state = os.environ.get("XDG_STATE_HOME", "")
        folder = (Path(state) if state else Path.home() / ".local" / "state") / "robot-rl"
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", cell.name).strip("-") or "cell"
    return folder / slug / "preflight.json"


def sign(
    cell: Cell, who: str, statements: Mapping[str, str], checks: Sequence[Mapping[str, str]], folder: Path | None = None
) -> Path:
    """Write the record and return its path.

    Raises:
        ConfigError: Nobody signs, or a statement was not ticked.
        RobotError: The bounds were never measured, or a check failed.
        StorageError: The disk refuses.
    """
    if not who.strip():
        raise ConfigError("a preflight needs the name of the person who signs it: --sign NAME")
    missing = [sentence for key, sentence in STATEMENTS.items() if key not in statements]
    if missing:
        raise ConfigError(f"not ticked, so nothing was signed: {missing[0]}")
    _require_bounds(cell)
    failed = [str(c["name"]) for c in checks if c.get("status") == "fail"]
    if failed:
        raise RobotError(f"nothing was signed, because these checks failed: {', '.join(failed)}. Mend them first")
    path = preflight_path(cell, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"the folder {path.parent} for the record cannot be made: {e.strerror}") from e
    record = {
        "who": who.strip(),
        "signed_unix_s": time.time(),
        "host": platform.node(),
        "boot": boot_id(),
        "cell": cell.name,
        "cell_hash": cell_hash(cell),
        "bounds_hash": bounds_hash(cell),
        "statements": dict(statements),
        "checks": [dict(c) for c in checks],
    }
    return write_json_atomic(path, record)


def check_preflight(cell: Cell, folder: Path | None = None, max_age_s: float = MAX_AGE_S) -> Preflight | None:
    """Return the fresh record of a cell, or None where none is needed: its address is a simulator's on this machine.

    Args:
        cell: The cell that a session is about to use.
        folder: Where records are kept; by default the user's own state folder.
        max_age_s: The oldest record to accept.

    Raises:
        RobotError: There is no record, or it is too old, of another cell, computer or start of it; or the cell has no
            measured bounds.
    """
    if is_simulator(cell.address):
        return None
    _require_bounds(cell)
    path = preflight_path(cell, folder)
    todo = "Do `robot-rl doctor --robot --cell CELL.yaml --sign NAME` with the robot in sight (docs/hardware.md)"
    try:
        values = read_json(path)
        record = build(Preflight, values) if values else None
    except (CheckpointError, ConfigError) as e:
        raise RobotError(f"the preflight record {path} cannot be used: {e}. {todo}") from e
    if record is None:
        raise RobotError(f"nobody has signed a preflight of the cell '{cell.name}' ({path} is missing). {todo}")
    age_s = time.time() - record.signed_unix_s
    hours = f"{age_s / 3600:.1f} h ago, and {max_age_s / 3600:g} h are allowed"
    if not -60.0 <= age_s <= max_age_s:
        found = f"was signed {hours}" if age_s > 0 else "was signed in the future: this computer's clock was changed"
        raise RobotError(f"the preflight of the cell '{cell.name}' by {record.who} {found}. {todo}")
    if record.cell_hash != cell_hash(cell):
        what = "bounds" if record.bounds_hash != bounds_hash(cell) else "cell file"
        raise RobotError(f"the {what} of '{cell.name}' changed since {record.who} signed its preflight. {todo}")
    if (record.host, record.boot) != (platform.node(), boot_id()):
        same = record.host == platform.node()
        found = "this computer has been started anew since" if same else f"it was signed on {record.host}"
        raise RobotError(f"the preflight of '{cell.name}' does not count: {found}. {todo}")
    unticked = [sentence for key, sentence in STATEMENTS.items() if key not in record.statements]
    if unticked:
        raise RobotError(f"the preflight of '{cell.name}' lacks a statement: {unticked[0]} {todo}")
    return record


def is_simulator(address: str) -> bool:
    """Return whether an address is on this machine itself, where only a simulator can be."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def boot_id() -> str:
    """Return what changes each time this computer starts; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _require_bounds(cell: Cell) -> None:
    if cell.bounds is None:
        raise RobotError(
            f"the bounds of the cell '{cell.name}' were never measured, and hardware does not start without: "
            "do `robot-rl calibrate bounds --cell CELL.yaml` first"
        )
