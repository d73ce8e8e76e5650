"""From YAML and the command line to `Settings`. Hydra and OmegaConf are used here and in the CLI's sweep, nowhere else.

A misspelt setting, option or value is answered with the nearest one that exists. What a run recorded in its
`config.yaml` is read back as plain values only: the classes to build always come from the YAML tree of this
installation or of the user's own `--config-dir`.
"""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_rl.cell_file import SUFFIXES, cell_hash, cell_values, load_cell
from robot_rl.errors import CheckpointError, ConfigError, nearest
from robot_rl.settings import Settings
from robot_rl.typed import build, unknown_setting

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

MODULE = "robot_rl.conf"
GROUPS = ("task", "robot", "cell", "operator", "driver", "camera", "agent", "obs", "experiment")


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A configuration as plain values.

    Attributes:
        values: By name, nested; what `Settings` is built from.
        choices: Which option of each group it was composed from.
    """

    values: Mapping[str, Any]
    choices: Mapping[str, str]

    @property
    def task(self) -> str:
        """Name of the task's YAML."""
        return self.choices["task"]

    def settings(self) -> Settings:
        """Return the typed settings; raises `ConfigError` for a wrong type or a value out of range."""
        return build(Settings, self.values)

    def changed(self, values: Mapping[str, Any]) -> Composed:
        """Return a copy with some of the outermost values replaced."""
        return dataclasses.replace(self, values={**self.values, **values})

    def chose(self, group: str, option: str) -> Composed:
        """Return a copy that says that another option of a group was chosen."""
        return dataclasses.replace(self, choices={**self.choices, group: option})

    def text(self) -> str:
        """Return what goes into a run's `config.yaml`."""
        from omegaconf import OmegaConf

        return OmegaConf.to_yaml(OmegaConf.create({"choices": dict(self.choices), **self.values}))


def compose(overrides: Sequence[str] = (), primary: str = "train", config_dirs: Sequence[str] = ()) -> Composed:
    """Return the configuration for `key=value` overrides.

    Args:
        overrides: As on the command line.
        primary: The YAML file to begin with: train, learner, actor.
        config_dirs: Folders of the user's own YAML, searched beside ours.
    """
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    overrides, files = register_cell_files(overrides)
    with _tree(config_dirs) as search:
        check_overrides(overrides, primary, config_dirs, files)
        try:
            config = hydra_compose(primary, [*search, *overrides], return_hydra_config=True)
            composed = from_hydra(config, config.hydra.runtime.choices)
            chosen = composed.choices.get("cell", "")
            return composed.chose("cell", files[chosen]) if chosen in files else composed
        except (HydraException, OmegaConfBaseException) as e:
            raise ConfigError(_sentence(e)) from e


def register_cell_files(overrides: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Give Hydra each file of `cell=PATH.yaml` as an option of the group `cell`.

    Returns:
        The overrides with the options' names in the place of the paths, and the path of each.

    Raises:
        ConfigError: A file is missing or wrong.
    """
    from hydra.core.config_store import ConfigStore

    out, files = list(overrides), dict[str, str]()
    for i, text in enumerate(overrides):
        name, _, path = text.partition("=")
        if name != "cell" or not path.endswith(SUFFIXES):
            continue
        cell = load_cell(path)
        option = f"file_{cell_hash(cell)}"
        ConfigStore.instance().store(option, node=cell_values(cell), group="cell")
        out[i], files[option] = f"cell={option}", str(Path(path).resolve())
    return out, files


def from_hydra(config: DictConfig, choices: Mapping[str, Any]) -> Composed:
    """Return what Hydra composed as plain values.

    Args:
        config: With or without Hydra's own part.
        choices: Option of each group, `hydra.runtime.choices`.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    config = config.copy()
    OmegaConf.set_struct(config, False)
    config.pop("hydra", None)
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as e:
        raise ConfigError(_sentence(e)) from e
    assert isinstance(values, dict)  # the root of every primary is a mapping
    chosen = {group: str(choices[group]) for group in GROUPS if choices.get(group) is not None}
    return Composed(values={str(k): v for k, v in values.items()}, choices=chosen)


def check_sweep(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> list[str]:
    """Check the overrides of a sweep before anything is started, and return the names that take several values."""
    with _tree(config_dirs):
        check_overrides(overrides, "train", config_dirs)
        return [o.key_or_group for o in map(_parse, overrides) if o.is_sweep_override()]


def compose_run(folder: Path, overrides: Sequence[str] = (), config_dirs: Sequence[str] = ()) -> Composed:
    """Return the configuration that a run was started with, changed by further overrides.

    The groups and plain values are the recorded ones; `_target_` comes from the YAML tree, never from the record.
    """
    path = folder / "config.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as e:
        raise CheckpointError(
            f"{path} is missing, so the run's settings are unknown; was it made by robot-rl train?"
        ) from e
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{path} cannot be read: {_first_line(e)}. Restore it from a copy") from e
    return compose_recorded(text, str(path), overrides, config_dirs)


def recorded_values(text: str, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the plain values and the choices that a recorded configuration holds.

    Args:
        text: YAML, as `Composed.text` gives it.
        where: What it was read from, for messages.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        recorded: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except (OSError, OmegaConfBaseException, ValueError) as e:
        raise CheckpointError(f"{where} cannot be read: {_first_line(e)}. Restore it from a copy") from e
    except Exception as e:  # YAML's own errors derive from Exception alone
        raise CheckpointError(f"{where} is not valid YAML: {_first_line(e)}. Restore it from a copy") from e
    choices = recorded.pop("choices", None) if isinstance(recorded, dict) else None
    if not isinstance(recorded, dict) or not isinstance(choices, dict):
        raise CheckpointError(f"{where} does not say which task the run is of; restore it from a copy")
    return {str(k): v for k, v in recorded.items()}, {str(k): v for k, v in choices.items()}


def compose_recorded(text: str, where: str, overrides: Sequence[str] = (), config_dirs: Sequence[str] = ()) -> Composed:
    """Return a recorded configuration, changed by further overrides; see `compose_run`."""
    recorded, choices = recorded_values(text, where)
    mine = {override.partition("=")[0].lstrip("+~") for override in overrides}
    cell = str(choices.pop("cell", "twin"))
    if not cell.endswith(SUFFIXES):
        choices["cell"] = cell
    for group in ("robot", "operator"):  # another one: what was recorded of the other is not about it
        if group in mine:
            recorded.pop(group, None)
    groups = [f"{group}={choice}" for group, choice in choices.items() if group in GROUPS]
    composed = compose([*groups, *overrides], config_dirs=config_dirs)
    values = _overlay(composed.values, recorded, mine, "")
    if "cell" in recorded and not any(name.partition(".")[0] == "cell" for name in mine):
        # The run keeps the cell that it began in, whatever became of a file.
        values["cell"], composed = recorded["cell"], composed.chose("cell", cell)
    return dataclasses.replace(composed, values=values)


def _overlay(local: Mapping[str, Any], recorded: Mapping[str, Any], mine: set[str], where: str) -> dict[str, Any]:
    """Return `local` with the recorded values, but for names in `mine`, `_target_` and what is no longer known."""
    out = dict(local)
    for name, value in recorded.items():
        path = f"{where}.{name}" if where else name
        if name == "_target_" or name not in local or path in mine:
            continue
        if isinstance(value, Mapping) and isinstance(local[name], Mapping):
            out[name] = _overlay(local[name], {str(k): v for k, v in value.items()}, mine, path)
        else:
            out[name] = value
    return out


def options(config_dirs: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the options of each group, of our own tree and of the user's folders."""
    roots = [Path(__file__).parent / "conf", *map(Path, config_dirs)]
    return {group: sorted({p.stem for root in roots for p in (root / group).glob("*.yaml")}) for group in GROUPS}


@contextmanager
def _tree(config_dirs: Sequence[str]) -> Iterator[list[str]]:
    """Open the configuration tree and yield the override that adds the user's folders."""
    from hydra import initialize_config_module

    register_defaults()
    for folder in config_dirs:
        if not Path(folder).is_dir():
            raise ConfigError(f"--config-dir {folder} is no folder; give the one that holds task/, robot/, ...")
    with initialize_config_module(MODULE, version_base="1.3", job_name="robot-rl"):
        yield search_path(config_dirs)


def search_path(config_dirs: Sequence[str]) -> list[str]:
    """Return the override that adds folders of YAML."""
    if not config_dirs:
        return []
    return ["hydra.searchpath=[" + ",".join(f"'file://{Path(d).resolve()}'" for d in config_dirs) + "]"]


def register_defaults() -> None:
    """Give Hydra the defaults of the dataclasses, so that they are written in one place only."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store("defaults_of_settings", node=plain_defaults())


def plain_defaults() -> dict[str, Any]:
    """Return the defaults of `Settings` as plain values; what has no default is left to the YAML."""
    out: dict[str, Any] = {}
    for f in dataclasses.fields(Settings):
        if f.default is not dataclasses.MISSING:
            out[f.name] = f.default
        elif f.default_factory is not dataclasses.MISSING:
            out[f.name] = _plain(dataclasses.asdict(f.default_factory()))  # pyright: ignore[reportArgumentType]
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def check_overrides(
    overrides: Sequence[str], primary: str, config_dirs: Sequence[str], more_cells: Iterable[str] = ()
) -> None:
    """Raise `ConfigError` for an override that cannot be read, or that names what does not exist."""
    parsed = [_parse(text) for text in overrides]
    for override in parsed:
        group = override.key_or_group
        if group in GROUPS:
            _check_choice(override, [*options(config_dirs)[group], *(more_cells if group == "cell" else ())])
    chosen = [o for o in parsed if o.key_or_group in GROUPS and not o.is_sweep_override()]
    if len(chosen) == len(parsed):
        return  # nothing but choices, and those exist
    known = _known(primary, tuple(search_path(config_dirs)), tuple(o.input_line or "" for o in chosen))
    for override in parsed:
        name = override.key_or_group
        if name in GROUPS or name.startswith("hydra") or override.is_add() or override.is_force_add():
            continue
        if name not in known:
            raise ConfigError(unknown_setting(name, known))


@functools.lru_cache(maxsize=64)
def _known(primary: str, search: tuple[str, ...], choices: tuple[str, ...]) -> tuple[str, ...]:
    """Return every name that can be set, given what the groups are."""
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException

    try:
        return tuple(_paths(hydra_compose(primary, [*search, *choices])))
    except HydraException as e:
        raise ConfigError(_sentence(e)) from e


def _check_choice(override: Override, have: Sequence[str]) -> None:
    """Raise `ConfigError` if a group has no such option."""
    group = override.key_or_group
    if override.is_sweep_override():
        words = [str(v) for v in override.sweep_string_iterator()]
    else:
        words = [override.get_value_element_as_str()]
    for word in words:
        if word not in have:
            listed = ", ".join(have)
            raise ConfigError(f"there is no {group} '{word}'; there are {listed}.{nearest(word, have)}")


def _parse(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if "=" not in text and not text.startswith("~"):
        raise ConfigError(f"'{text}' is no setting; write it as name=value, for instance seed=1")
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as e:
        raise ConfigError(f"'{text}' cannot be read: {_first_line(e)}; quote the value, as in 'name=\"a b\"'") from e


def _paths(config: Any, where: str = "") -> Iterator[str]:
    for name in config:
        path = f"{where}.{name}" if where else str(name)
        yield path
        try:
            value = config[name]
        except Exception:  # a value that is missing or cannot be resolved is still a name
            continue
        if isinstance(value, Mapping) or hasattr(value, "items"):
            yield from _paths(value, path)


def _sentence(error: Exception) -> str:
    """Return Hydra's or OmegaConf's complaint as one sentence."""
    inner = error.__cause__ if isinstance(error.__cause__, Exception) else error
    full_key = getattr(inner, "full_key", None)
    if type(inner).__name__ == "MissingMandatoryValue" and full_key:
        return f"{full_key} has no value; set it with {full_key}=..."
    return _first_line(inner)


def _first_line(error: Exception) -> str:
    buffer = io.StringIO(str(error))
    return next((line.strip().rstrip(".") for line in buffer if line.strip()), type(error).__name__)
