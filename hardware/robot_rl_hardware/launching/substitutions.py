"""Values of a launch file that are worked out when it runs: arguments, environment, paths, conditions."""

from __future__ import annotations

import ast
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from robot_rl.errors import ConfigError, nearest

TRUE, FALSE = ("true", "1"), ("false", "0")


@dataclass(slots=True)
class Context:
    """What is known at one place of a launch file.

    Attributes:
        launch_configurations: Arguments by name.
        environment: Of the processes started from here on.
        namespace: ROS namespace of the nodes started from here on.
        file: The launch file that is being run.
    """

    launch_configurations: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    namespace: str = ""
    file: str = ""

    def perform_substitution(self, value: Substitution) -> str:
        """Return what a substitution stands for."""
        return value.perform(self)

    def scoped(self) -> Context:
        """Return a copy, for a group whose changes end with it."""
        return Context(dict(self.launch_configurations), dict(self.environment), self.namespace, self.file)


class Substitution:
    """A value that depends on the context."""

    def perform(self, context: Context) -> str:
        """Return the text that it stands for."""
        raise NotImplementedError


SomeText: TypeAlias = Any  # text, a substitution, or a sequence of both: what launch accepts for any text


def perform(context: Context, value: SomeText) -> str:
    """Return the text of a value: of plain text, of a substitution, or of several joined."""
    if isinstance(value, Substitution):
        return value.perform(context)
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, Iterable):
        return "".join(perform(context, part) for part in value)
    raise ConfigError(f"{context.file}: {value!r} is neither text nor a substitution")


class TextSubstitution(Substitution):
    """Plain text."""

    def __init__(self, *, text: str) -> None:
        self.text = text

    def perform(self, context: Context) -> str:
        """Return the text."""
        return self.text


class LaunchConfiguration(Substitution):
    """The value of a launch argument."""

    def __init__(self, variable_name: SomeText, *, default: SomeText = None) -> None:
        self.variable_name, self.default = variable_name, default

    def perform(self, context: Context) -> str:
        """Return the argument's value; raises `ConfigError` if there is none."""
        name, known = perform(context, self.variable_name), context.launch_configurations
        if name in known:
            return known[name]
        if self.default is not None:
            return perform(context, self.default)
        raise ConfigError(
            f"{context.file} uses the argument '{name}', which is not declared before; there are "
            f"{', '.join(known) or 'none'}.{nearest(name, known)}"
        )


class EnvironmentVariable(Substitution):
    """The value of an environment variable."""

    def __init__(self, name: SomeText, *, default_value: SomeText = None) -> None:
        self.name, self.default_value = name, default_value

    def perform(self, context: Context) -> str:
        """Return its value; raises `ConfigError` if it is not set and has no default."""
        name = perform(context, self.name)
        if name in context.environment:
            return context.environment[name]
        if self.default_value is not None:
            return perform(context, self.default_value)
        raise ConfigError(f"{context.file} needs the environment variable {name}, which is not set; export {name}=...")


class PathJoinSubstitution(Substitution):
    """A path of several parts."""

    def __init__(self, substitutions: Iterable[SomeText]) -> None:
        self.substitutions = list(substitutions)

    def perform(self, context: Context) -> str:
        """Return the path."""
        return os.path.join(*(perform(context, part) for part in self.substitutions))


class ThisLaunchFileDir(Substitution):
    """The folder of the launch file."""

    def perform(self, context: Context) -> str:
        """Return the folder."""
        return os.path.dirname(os.path.abspath(context.file))


class PythonExpression(Substitution):
    """A comparison or a combination of comparisons, in Python's words. It is read, never executed."""

    def __init__(self, expression: SomeText) -> None:
        self.expression = expression

    def perform(self, context: Context) -> str:
        """Return the result as text; raises `ConfigError` for anything but constants, comparisons and logic."""
        text = perform(context, self.expression)
        try:
            return str(_value(ast.parse(text.strip(), mode="eval").body))
        except (SyntaxError, ValueError, TypeError) as e:
            raise ConfigError(
                f"{context.file}: the expression {text} is none that can be read ({e}); allowed are constants, "
                "comparisons, in, and, or, not and +"
            ) from e


_COMPARE: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(element) for element in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _value(node.operand)
    if isinstance(node, ast.BoolOp):
        values = (_value(v) for v in node.values)
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _value(node.left) + _value(node.right)
    if isinstance(node, ast.Compare):
        values = [_value(v) for v in (node.left, *node.comparators)]
        pairs = zip(values, values[1:], node.ops, strict=False)
        return all(_COMPARE[type(op)](a, b) for a, b, op in pairs if type(op) in _COMPARE or _refuse(op))
    return _refuse(node)


def _refuse(node: ast.AST) -> Any:
    raise ValueError(f"{type(node).__name__} is not allowed")


class IfCondition:
    """True when a text says true."""

    def __init__(self, predicate_expression: SomeText) -> None:
        self.predicate_expression = predicate_expression

    def evaluate(self, context: Context) -> bool:
        """Return whether it holds; raises `ConfigError` if the text says neither."""
        text = perform(context, self.predicate_expression).strip().lower()
        if text not in (*TRUE, *FALSE):
            raise ConfigError(f"{context.file}: a condition says '{text}'; it must be true, false, 1 or 0")
        return text in TRUE


class UnlessCondition(IfCondition):
    """True when a text says false."""

    def evaluate(self, context: Context) -> bool:
        """Return whether it holds."""
        return not super().evaluate(context)
