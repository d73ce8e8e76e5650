"""Cell files: a `Cell` as YAML, read with every mistake named, written whole with the old one kept beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_rl.cell import Cell
from robot_rl.errors import ConfigError, StorageError
from robot_rl.jsonl import write_text_atomic
from robot_rl.typed import build

log = logging.getLogger(__name__)

SUFFIXES = (".yaml", ".yml")
HEADER = "# A cell: where a robot stands. Lengths in metres in the robot's base frame B; see docs/hardware.md.\n"


def load_cell(path: Path | str) -> Cell:
    """Return the cell in a YAML file.

    Raises:
        ConfigError: The file is missing or not YAML, names a setting twice or one that does not exist, or a value is
            not allowed.
    """
    path = Path(path)
    try:
        return build(Cell, read_values(path))
    except ConfigError as e:
        raise e if str(path) in str(e) else ConfigError(f"{path}: {e}") from e


def read_values(path: Path, what: str = "cell file", absent: str = "") -> dict[str, Any]:
    """Return the plain values in a file, by name; {} if it is empty.

    Args:
        path: of the file.
        what: the file is, for sentences.
        absent: what to do when there is none, for the sentence; how a cell file is made if empty.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as e:
        absent = absent or f"`robot-rl calibrate bounds --cell {path}` makes one from the measured box"
        raise ConfigError(f"there is no {what} {path}; {absent}") from e
    except (OSError, UnicodeDecodeError) as e:
        reason = getattr(e, "strerror", None) or str(e)
        raise ConfigError(f"the {what} {path} cannot be read: {reason}") from e
    try:
        _refuse_twice(yaml.compose(text, Loader=yaml.SafeLoader), f"{what} {path}")
        values = yaml.safe_load(text)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(e, "problem", None) or str(e).splitlines()[0]
        raise ConfigError(f"the {what} {path}{where} is not valid YAML: {problem}") from e
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"the {what} {path} holds {type(values).__name__}, not settings such as 'name: my_cell'")
    return {str(k): v for k, v in values.items()}


def _refuse_twice(node: Any, file: str) -> None:
    """Raise `ConfigError` if a mapping names a key twice: YAML would silently take the last, also of two bounds."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise ConfigError(f"the {file}, line {line}, sets '{key.value}' twice; keep one")
            seen.add(key.value)
            _refuse_twice(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_twice(value, file)


def save_cell(path: Path | str, cell: Cell) -> Path | None:
    """Write a cell, all or nothing, and return where the file that was there before is kept (None if there was none).

    Raises:
        StorageError: The disk refuses; what was there before is intact.
    """
    import yaml

    path = Path(path)
    text = HEADER + yaml.safe_dump(cell_values(cell), sort_keys=False, default_flow_style=None, allow_unicode=True)
    backup = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            backup = free_name(path)
            write_text_atomic(backup, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise StorageError(f"could not keep a copy of {path}: {e}; nothing was changed") from e
    write_text_atomic(path, text)
    return backup


def free_name(path: Path) -> Path:
    """Return the first of PATH.1.bak, PATH.2.bak, ... that is free."""
    number = 1
    while (backup := path.with_name(f"{path.name}.{number}.bak")).exists():
        number += 1
    return backup


def cell_values(cell: Cell) -> dict[str, Any]:
    """Return a cell as plain values: dicts, lists, numbers and text."""
    return _plain(dataclasses.asdict(cell))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def cell_hash(cell: Cell) -> str:
    """Return 12 hexadecimal digits that change with anything in the cell but its name."""
    values = cell_values(cell)
    del values["name"]
    return _digest(values)


def bounds_hash(cell: Cell) -> str:
    """Return 12 hexadecimal digits that change with the bounds and the keep-out boxes; empty if none were measured."""
    if cell.bounds is None:
        return ""
    values = cell_values(cell)
    return _digest({"bounds": values["bounds"], "keep_out": values["keep_out"]})


def _digest(values: Any) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
