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


def compose_cameras(settings: Sequence[str], config_dirs: Sequence[str], primary: str = "camera_node") -> Composed:
    """Return the configuration of a camera node for `name=value` settings; `primary` is the YAML to begin with."""
    from robot_rl.config import compose

    of_cameras = hardware("cameras.settings")
    kinds = [
        *of_cameras.OF_KIND,
        *(path.stem for folder in config_dirs for path in Path(folder, "camera").glob("*.yaml")),
    ]
    for kind in (text.partition("=")[2] for text in settings if text.startswith("camera=")):
        if kind not in kinds:
            raise ConfigError(f"there is no camera '{kind}'; there are {', '.join(kinds)}.{nearest(kind, kinds)}")
    store_defaults()
    return compose(settings, primary, config_dirs)


def store_defaults() -> None:
    """Let the YAMLs of cameras begin with the defaults of `CameraSettings`."""
    from hydra.core.config_store import ConfigStore

    of_cameras = hardware("cameras.settings")
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(of_cameras.CameraSettings):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
    ConfigStore.instance().store("defaults_of_camera", node=defaults, group="camera")


def cameras_of(composed: Composed, settings: Sequence[str], replace: bool = False) -> dict[str, Any]:
    """Return the `CameraSettings` of each camera by name.

    A cell's cameras are what the cell says, and `camera.NAME=...` on the command line changes each of them.
    `camera=KIND` makes cameras for names that the cell does not have; `camera=twin` takes the place of all.

    Args:
        composed: From `compose_cameras`.
        settings: The words on the command line, which say what was asked for.
        replace: Take no camera from the cell.

    Raises:
        ConfigError: The cell has no such camera, or a setting is wrong.
    """
    from robot_rl.typed import convert

    camera_settings = hardware("cameras.settings").camera_settings
    names = list(convert(tuple[str, ...], composed.values["names"], "names"))
    camera = composed.values["camera"]
    of_cell = {} if replace else composed.values["cell"]["cameras"]
    chosen = any(text.startswith("camera=") for text in settings)
    meant = names or list(of_cell) or [DEFAULT_NAME]
    if len(meant) > 1 and any(text.startswith("camera.device=") for text in settings):
        raise ConfigError(f"camera.device is one device, and {', '.join(meant)} are meant; set the devices in the cell")
    if not of_cell or (chosen and camera["kind"] == "twin"):
        return {name: camera_settings(camera) for name in meant}
    for name in names:
        if name not in of_cell and not chosen:
            raise ConfigError(f"the cell has no camera '{name}'; it has {', '.join(of_cell)}.{nearest(name, of_cell)}")
    said = [text.partition("=")[0].removeprefix("camera.") for text in settings if text.startswith("camera.")]
    changed = {name: camera[name] for name in said if name in camera}
    return {
        name: camera_settings(_with(of_cell[name], changed, f"cell.cameras.{name}"), f"cell.cameras.{name}")
        if name in of_cell
        else camera_settings(camera)
        for name in meant
    }


def _with(values: Any, changed: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is {values!r}; allowed: settings such as kind, device, crop")
    if "device" in changed:
        values = {name: value for name, value in values.items() if name != "serial"}
    return {**values, **changed}
