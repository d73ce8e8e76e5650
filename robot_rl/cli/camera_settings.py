"""Which cameras are meant: those of a cell, or one kind for every name on the command line."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_rl.errors import ConfigError, nearest

if TYPE_CHECKING:
    from robot_rl.config import Composed

DEFAULT_NAME = "front"


def hardware(module: str) -> Any:
    """Return a module of the package that touches devices, which only commands know, and only by name."""
    return importlib.import_module(f"robot_rl_hardware.{module}")


def compose_cameras(settings: Sequence[str], config_dirs: Sequence[str]) -> Composed:
    """Return the configuration of a camera node for `name=value` settings."""
    from hydra.core.config_store import ConfigStore

    from robot_rl.config import compose

    of_cameras = hardware("cameras.settings")
    kinds = [
        *of_cameras.OF_KIND,
        *(path.stem for folder in config_dirs for path in Path(folder, "camera").glob("*.yaml")),
    ]
    for kind in (text.partition("=")[2] for text in settings if text.startswith("camera=")):
        if kind not in kinds:
            raise ConfigError(f"there is no camera '{kind}'; there are {', '.join(kinds)}.{nearest(kind, kinds)}")
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(of_cameras.CameraSettings):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
    ConfigStore.instance().store("defaults_of_camera", node=defaults, group="camera")
    return compose(settings, "camera_node", config_dirs)


def cameras_of(composed: Composed, settings: Sequence[str]) -> dict[str, Any]:
    """Return the `CameraSettings` of each camera by name.

    With `camera=KIND` on the command line, or a cell without cameras, each of `names` is a camera of that kind.
    Otherwise they are cameras of the cell, and `camera.NAME=...` on the command line changes each of them.

    Raises:
        ConfigError: The cell has no such camera, or a setting is wrong.
    """
    from robot_rl.typed import convert

    camera_settings = hardware("cameras.settings").camera_settings
    names = list(convert(tuple[str, ...], composed.values["names"], "names"))
    camera = composed.values["camera"]
    of_cell = composed.values["cell"]["cameras"]
    if not of_cell or any(text.startswith("camera=") for text in settings):
        return {name: camera_settings(camera) for name in names or [DEFAULT_NAME]}
    for name in names:
        if name not in of_cell:
            raise ConfigError(f"the cell has no camera '{name}'; it has {', '.join(of_cell)}.{nearest(name, of_cell)}")
    said = [text.partition("=")[0].removeprefix("camera.") for text in settings if text.startswith("camera.")]
    changed = {name: camera[name] for name in said if name in camera}
    return {
        name: camera_settings(_with(of_cell[name], changed, f"cell.cameras.{name}"), f"cell.cameras.{name}")
        for name in names or of_cell
    }


def _with(values: Any, changed: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is {values!r}; allowed: settings such as kind, device, crop")
    if "device" in changed:
        values = {name: value for name, value in values.items() if name != "serial"}
    return {**values, **changed}
