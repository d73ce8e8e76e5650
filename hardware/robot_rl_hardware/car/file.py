"""Car files: `CarSettings` as YAML, read with every mistake named, written whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from robot_rl.cell_file import free_name, read_values
from robot_rl.errors import ConfigError, StorageError
from robot_rl.jsonl import write_text_atomic
from robot_rl.typed import build
from robot_rl_hardware.car.settings import NUMBERS, CarSettings

HEADER = "# A car: its conversions, limits and lags. SI units, forward and left positive; see docs/car_hardware.md.\n"
_ABSENT = "write one as in docs/car_hardware.md; `measured` names what was measured on this car"


def load_car(path: Path | str) -> CarSettings:
    """Return the car in a YAML file.

    Raises:
        ConfigError: The file is missing or not YAML, does not give a value, gives one twice or one that does not exist,
            or a value is impossible.
    """
    path = Path(path)
    values = read_values(path, what="car file", absent=_ABSENT)
    missing = [name for name in NUMBERS if values.get(name) is None]
    if missing:
        raise ConfigError(
            f"the car file {path} does not give {', '.join(missing)}; nothing drives on a guess, so each must be there"
        )
    try:
        return build(CarSettings, values)
    except ConfigError as e:
        raise ConfigError(f"the car file {path}: {e}") from e


def save_car(path: Path | str, car: CarSettings) -> Path | None:
    """Write a car, all or nothing, and return where the file that was there before is kept (None if there was none).

    Raises:
        StorageError: The disk refuses; what was there before is intact.
    """
    import yaml

    path = Path(path)
    values = dataclasses.asdict(car)
    values["measured"] = list(car.measured)
    text = HEADER + yaml.safe_dump(values, sort_keys=False, default_flow_style=None, allow_unicode=True)
    backup = None
    try:
        if path.exists():
            backup = free_name(path)
            write_text_atomic(backup, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise StorageError(f"could not keep a copy of {path}: {e}; nothing was changed") from e
    write_text_atomic(path, text)
    return backup
