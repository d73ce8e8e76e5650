"""Reading a launch file: its description, the arguments that it declares, and the values that a person gives."""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_rl.errors import ConfigError, RobotRLError, nearest
from robot_rl_hardware.launching import actions, vocabulary
from robot_rl_hardware.launching.substitutions import Context, perform

HOLDS = "HOLDS"  # in a launch file: the argument whose value no second launch may hold in the same ROS domain


@dataclass(frozen=True, kw_only=True)
class LaunchFile:
    """A launch file that was read.

    Attributes:
        path: Where it lies.
        description: What it asks for.
        holds: The argument whose value no second launch may hold in the same ROS domain, such as "namespace"; empty
            for none.
    """

    path: Path
    description: actions.LaunchDescription
    holds: str = ""


def load(path: Path) -> LaunchFile:
    """Read a launch file.

    Raises:
        ConfigError: There is none, it cannot be read, or it uses what is not in the vocabulary.
    """
    if not path.is_file():
        beside = sorted(p.name for p in path.parent.glob("*.launch.py")) if path.parent.is_dir() else []
        listed = f"; {path.parent} holds {', '.join(beside)}" if beside else ""
        raise ConfigError(f"there is no launch file {path}{listed}.{nearest(path.name, beside)}")
    try:
        with vocabulary.stand_ins():
            found = runpy.run_path(str(path), run_name="<launch>")
            generate = found.get("generate_launch_description")
            if generate is None:
                raise ConfigError("it has no function generate_launch_description()")
            description = generate()
    except RobotRLError as e:
        raise ConfigError(f"the launch file {path} cannot be run: {e}") from e
    except ModuleNotFoundError as e:
        missing = e.name or ""
        known = missing.partition(".")[0] in ("launch", "launch_ros")
        reason = vocabulary.refusal(missing, "") if known else f"it imports {missing}, which is not installed"
        raise ConfigError(f"the launch file {path} cannot be run: {reason}") from e
    except Exception as e:  # a mistake in the file, of whatever kind, is told with its line
        where = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == str(path)]
        line = f" (line {where[-1]})" if where else ""
        raise ConfigError(f"the launch file {path} cannot be run{line}: {type(e).__name__}: {e}") from e
    if not isinstance(description, actions.LaunchDescription):
        raise ConfigError(f"generate_launch_description() of {path} returned {type(description).__name__}")
    return LaunchFile(path=path, description=description, holds=str(found.get(HOLDS, "")))


def declared(file: LaunchFile) -> dict[str, actions.DeclareLaunchArgument]:
    """Return the arguments of a file and of those that it includes, by name."""
    context = Context(file=str(file.path))
    found: dict[str, actions.DeclareLaunchArgument] = {}
    for action in _walk(file.description.entities, context):
        if isinstance(action, actions.DeclareLaunchArgument):
            found.setdefault(action.name, action)
    return found


def _walk(entities: Sequence[actions.Action], context: Context) -> Iterator[actions.Action]:
    for action in entities:
        yield action
        if isinstance(action, actions.GroupAction | actions.TimerAction):
            yield from _walk(action.actions, context)
        elif isinstance(action, actions.IncludeLaunchDescription):
            included = load(Path(perform(context, action.location)))
            given = {perform(context, name) for name, _ in action.launch_arguments}
            for inner in _walk(included.description.entities, Context(file=str(included.path))):
                if not (isinstance(inner, actions.DeclareLaunchArgument) and inner.name in given):
                    yield inner


def arguments(file: LaunchFile, words: Sequence[str]) -> dict[str, str]:
    """Return the `name:=value` words of a command line by name.

    Raises:
        ConfigError: A word is none, an argument does not exist, is missing, or has a value that is not allowed.
    """
    known = declared(file)
    given: dict[str, str] = {}
    for word in words:
        name, mark, value = word.partition(":=")
        if not mark or not name:
            hint = f" Did you mean '{word.replace('=', ':=', 1)}'?" if "=" in word else ""
            raise ConfigError(f"'{word}' is no launch argument; write it as name:=value.{hint}")
        if name not in known:
            raise ConfigError(
                f"{file.path.name} has no argument '{name}'; it has {', '.join(known) or 'none'}.{nearest(name, known)}"
            )
        given[name] = value
    missing = [a for a in known.values() if a.default_value is None and a.name not in given]
    if missing:
        told = "; ".join(f"{a.name}:=... ({a.description})" if a.description else f"{a.name}:=..." for a in missing)
        raise ConfigError(f"{file.path.name} needs {'an argument' if len(missing) == 1 else 'arguments'}: {told}")
    for name, value in given.items():
        check_choice(known[name], value)
    return given


def check_choice(argument: actions.DeclareLaunchArgument, value: str) -> None:
    """Raise `ConfigError` if an argument's value is not among its choices."""
    if argument.choices is not None and value not in argument.choices:
        listed = ", ".join(argument.choices)
        raise ConfigError(f"{argument.name} is '{value}'; allowed: {listed}.{nearest(value, argument.choices)}")


def shown(file: LaunchFile, environment: Mapping[str, str]) -> list[str]:
    """Return the arguments of a file as lines for a person."""
    context = Context(environment=dict(environment), file=str(file.path))
    lines = []
    for argument in declared(file).values():
        default = "must be given" if argument.default_value is None else _default(context, argument)
        choices = f" one of: {', '.join(argument.choices)}." if argument.choices else ""
        lines += [f"  {argument.name}:=  ({default})", f"      {argument.description}{choices}"]
    return lines


def _default(context: Context, argument: actions.DeclareLaunchArgument) -> str:
    text = perform(context, argument.default_value)
    context.launch_configurations.setdefault(argument.name, text)
    return f"default '{text}'"
