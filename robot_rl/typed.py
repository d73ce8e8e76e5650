"""Plain values from YAML into typed objects: unknown names, wrong types and missing values each get a sentence.

A dataclass or any callable with type hints can be built. Its own checks of ranges run as usual when it is made.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, Union

from robot_rl.errors import ConfigError, MissingDependency, nearest

T = TypeVar("T")

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A class or function named in YAML, and its keyword arguments; imported only when it is made.

    Attributes:
        path: Dotted name, from `_target_`. It comes from our own or the user's YAML, never from a checkpoint.
        settings: The other entries beside `_target_`.
        where: Where the user sets them, for messages.
    """

    path: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    def make(self, *args: Any) -> Any:
        """Import the target and call it with `args` and the settings."""
        module_name, _, name = self.path.rpartition(".")
        try:
            target = getattr(importlib.import_module(module_name), name)
        except ModuleNotFoundError as e:
            missing = e.name or module_name
            if missing.startswith("robot_rl") and not module_name.startswith(missing):
                raise
            if module_name.startswith(missing):
                raise ConfigError(f"{self.where}._target_ is '{self.path}', and there is no module {missing}") from e
            extra = "sim" if missing in ("mujoco", "av", "cv2") else "learner" if missing in ("jax", "optax") else "dev"
            raise MissingDependency(missing, f"{self.where} ({self.path})", f'pip install "robot-rl[{extra}]"') from e
        except (AttributeError, ValueError) as e:
            raise ConfigError(f"{self.where}._target_ is '{self.path}', which does not exist ({e})") from e
        return call(target, args, self.settings, self.where)


def target_of(values: Mapping[str, Any], where: str) -> Target:
    """Return the target that a part of the configuration describes."""
    settings = dict(values)
    path = settings.pop("_target_", None)
    if not isinstance(path, str) or "." not in path:
        raise ConfigError(f"{where} needs a _target_ such as package.module.Class, got {path!r}")
    return Target(path=path, settings=settings, where=where)


def build(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Return a dataclass made of plain values.

    Args:
        kind: The dataclass; fields may be dataclasses, `Target`, tuples, literals and optional.
        values: By field name; fields with a default may be left out.
        where: Dotted path of these values, for messages.
    """
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    _check_names(values, fields, where)
    missing = [
        n
        for n, f in fields.items()
        if n not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{_join(where, missing[0])} has no value; set it with {_join(where, missing[0])}=...")
    return kind(**{name: convert(hints[name], value, _join(where, name)) for name, value in values.items()})


def call(function: Callable[..., T], args: Sequence[Any], values: Mapping[str, Any], where: str) -> T:
    """Call a class or function with `args` and plain values, converted to its type hints."""
    hinted: Any = function
    if inspect.isclass(function) and not dataclasses.is_dataclass(function):
        hinted = function.__init__
    hints = typing.get_type_hints(hinted)
    parameters = inspect.signature(function).parameters
    allowed = list(parameters)[len(args) :]
    _check_names(values, allowed, where)
    missing = [n for n in allowed if n not in values and parameters[n].default is inspect.Parameter.empty]
    if missing:
        raise ConfigError(f"{_join(where, missing[0])} has no value; set it with {_join(where, missing[0])}=...")
    return function(*args, **{n: convert(hints.get(n, Any), v, _join(where, n)) for n, v in values.items()})


def convert(hint: Any, value: Any, where: str) -> Any:
    """Return a plain value as the type that a hint asks for, or raise `ConfigError`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            words = [str(a) for a in arguments]
            raise _wrong(where, value, "one of " + ", ".join(words), nearest(str(value), words))
        return value
    if hint is Target:
        return target_of(_mapping(value, where), where)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), _mapping(value, where), where)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if origin in (Mapping, dict):
        kind = arguments[1] if len(arguments) == 2 else Any
        return {name: convert(kind, v, f"{where}.{name}") for name, v in _mapping(value, where).items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in _WORDS:
        if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
            raise _wrong(where, value, _WORDS[hint])
        return value
    return value


def _convert_union(options: Sequence[Any], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    wanted = [o for o in options if o is not type(None)]
    for option in wanted:
        try:
            return convert(option, value, where)
        except ConfigError:
            if len(wanted) == 1:
                raise
    words = {**_WORDS, Target: "a group with a _target_"}
    raise _wrong(where, value, " or ".join(words.get(o, str(o)) for o in wanted))


def _convert_tuple(kinds: Sequence[Any], value: Any, where: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _wrong(where, value, "a list such as [1, 2]")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(convert(kinds[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if len(value) != len(kinds):
        raise _wrong(where, value, f"a list of {len(kinds)}")
    return tuple(convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(where, value, "a group of settings")
    return value


def _check_names(values: Mapping[str, Any], allowed: typing.Iterable[str], where: str) -> None:
    allowed = list(allowed)
    for name in values:
        if name not in allowed:
            raise ConfigError(unknown_setting(_join(where, str(name)), [_join(where, a) for a in allowed]))


def unknown_setting(name: str, known: Sequence[str]) -> str:
    """Return the sentence for a setting that does not exist."""
    hint = nearest(name, known)
    if hint:
        return f"there is no setting '{name}'.{hint}"
    group = name.rpartition(".")[0]
    beside = sorted(k for k in known if k.rpartition(".")[0] == group) or sorted({k.partition(".")[0] for k in known})
    return f"there is no setting '{name}'; there are {', '.join(beside)}"


def _wrong(where: str, value: Any, allowed: str, hint: str = "") -> ConfigError:
    shown = "nothing" if value is None else repr(value)
    return ConfigError(f"{where} is {shown}; allowed: {allowed}.{hint}")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
