"""What a launch file can ask for: arguments, processes, nodes, groups, other files, and what follows when one ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from robot_rl.errors import ConfigError
from robot_rl_hardware.launching.substitutions import Context, IfCondition, SomeText, perform


class Action:
    """Anything in a launch description; `condition` decides whether it happens."""

    def __init__(self, *, condition: IfCondition | None = None) -> None:
        self.condition = condition


class LaunchDescription:
    """What `generate_launch_description()` of a launch file returns."""

    def __init__(self, initial_entities: Iterable[Action] | None = None) -> None:
        self.entities: list[Action] = list(initial_entities or ())

    def add_action(self, action: Action) -> None:
        """Append an action."""
        self.entities.append(action)


class DeclareLaunchArgument(Action):
    """Declares an argument; without a default it must be given."""

    def __init__(
        self,
        name: str,
        *,
        default_value: SomeText = None,
        description: str = "",
        choices: Sequence[str] | None = None,
        condition: IfCondition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self.name, self.default_value, self.description, self.choices = name, default_value, description, choices


class SetLaunchConfiguration(Action):
    """Sets an argument's value from here on."""

    def __init__(self, name: SomeText, value: SomeText, *, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self.name, self.value = name, value


class SetEnvironmentVariable(Action):
    """Sets an environment variable of the processes from here on."""

    def __init__(self, name: SomeText, value: SomeText, *, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self.name, self.value = name, value


class LogInfo(Action):
    """Writes a line."""

    def __init__(self, *, msg: SomeText, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self.msg = msg


class GroupAction(Action):
    """Several actions; what they set ends with the group."""

    def __init__(self, actions: Iterable[Action], *, scoped: bool = True, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self.actions, self.scoped = list(actions), scoped


class PushRosNamespace(Action):
    """Puts the nodes from here on into a namespace."""

    def __init__(self, namespace: SomeText, *, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self.namespace = namespace


class TimerAction(Action):
    """Actions that happen after some seconds."""

    def __init__(self, *, period: float, actions: Iterable[Action], condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self.period, self.actions = float(period), list(actions)


class OpaqueFunction(Action):
    """Actions that a function of the launch file decides on when it is run."""

    def __init__(
        self,
        *,
        function: Callable[..., Iterable[Action] | None],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        condition: IfCondition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self.function, self.args, self.kwargs = function, tuple(args), dict(kwargs or {})


class PythonLaunchDescriptionSource:
    """The place of another launch file."""

    def __init__(self, launch_file_path: SomeText) -> None:
        self.location = launch_file_path


class IncludeLaunchDescription(Action):
    """Everything of another launch file."""

    def __init__(
        self,
        launch_description_source: Any,
        *,
        launch_arguments: Iterable[tuple[SomeText, SomeText]] = (),
        condition: IfCondition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        source = launch_description_source
        self.location = source.location if isinstance(source, PythonLaunchDescriptionSource) else source
        self.launch_arguments = list(launch_arguments)


class Shutdown(Action):
    """Ends everything, in order."""

    def __init__(self, *, reason: SomeText = "", condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self.reason = reason


class ExecuteProcess(Action):
    """A process.

    Args:
        cmd: Its words.
        name: What it is called on the screen; the executable's name otherwise.
        cwd: Folder that it runs in.
        additional_env: Further environment variables.
        output: Accepted for launch's sake; output always goes to the screen.
        emulate_tty: Accepted likewise.
        sigterm_timeout, sigkill_timeout: Seconds that it is given after SIGINT, and after SIGTERM.
        on_exit: What happens when it ends by itself.
        condition: Decides whether it is started.
    """

    def __init__(
        self,
        *,
        cmd: Iterable[SomeText],
        name: SomeText = None,
        cwd: SomeText = None,
        additional_env: Mapping[SomeText, SomeText] | None = None,
        output: SomeText = "screen",
        emulate_tty: bool = False,
        sigterm_timeout: SomeText = "5",
        sigkill_timeout: SomeText = "5",
        on_exit: Any = None,
        condition: IfCondition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self.cmd, self.process_name, self.cwd = list(cmd), name, cwd
        self.additional_env = dict(additional_env or {})
        self.sigterm_timeout, self.sigkill_timeout, self.on_exit = sigterm_timeout, sigkill_timeout, on_exit

    def words(self, context: Context, write_parameters: Callable[[Mapping[str, Any]], str]) -> list[str]:
        """Return the command line.

        Args:
            context: Where it is started.
            write_parameters: Writes parameters of a node to a file and returns its path.
        """
        return [perform(context, part) for part in self.cmd]

    def label(self, context: Context) -> str:
        """Return its name for the screen."""
        if self.process_name is not None:
            return perform(context, self.process_name)
        return perform(context, self.cmd[0]).rpartition("/")[2]


class Node(ExecuteProcess):
    """A ROS node: a process that gets its name, namespace, parameters and remaps in ROS's own words.

    The executable is a path, as `sys.executable` with `arguments=["-m", ...]`: without a system ROS there is no index
    of packages to look a name up in.
    """

    def __init__(
        self,
        *,
        executable: SomeText,
        package: SomeText = None,
        name: SomeText = None,
        namespace: SomeText = "",
        arguments: Iterable[SomeText] = (),
        parameters: Iterable[Any] = (),
        remappings: Iterable[tuple[SomeText, SomeText]] = (),
        **rest: Any,
    ) -> None:
        if package is not None:
            raise ConfigError(
                f"Node(package='{package}') needs the package index of a system ROS; without one name the program: "
                "Node(executable=sys.executable, arguments=['-m', 'robot_rl', ...])"
            )
        super().__init__(cmd=[executable, *arguments], name=name, **rest)
        self.namespace, self.parameters, self.remappings = namespace, list(parameters), list(remappings)

    def words(self, context: Context, write_parameters: Callable[[Mapping[str, Any]], str]) -> list[str]:
        """Return the command line with the arguments for ROS."""
        ros: list[str] = []
        if self.process_name is not None:
            ros += ["-r", f"__node:={perform(context, self.process_name)}"]
        if namespace := joined(context.namespace, perform(context, self.namespace)):
            ros += ["-r", f"__ns:={namespace}"]
        for given in self.parameters:
            if isinstance(given, Mapping):
                ros += [
                    "--params-file",
                    write_parameters({perform(context, k): _plain(context, given[k]) for k in given}),
                ]
            else:
                ros += ["--params-file", perform(context, given)]
        for source, target in self.remappings:
            ros += ["-r", f"{perform(context, source)}:={perform(context, target)}"]
        return super().words(context, write_parameters) + (["--ros-args", *ros] if ros else [])


def joined(outer: str, inner: str) -> str:
    """Return a namespace inside another one; an absolute one stands alone."""
    if inner.startswith("/"):
        return inner
    parts = [part.strip("/") for part in (outer, inner) if part.strip("/")]
    return "/" + "/".join(parts) if parts else ""


def _plain(context: Context, value: Any) -> Any:
    """Return a parameter's value as YAML can hold it."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(v, bool | int | float | str) for v in value):
        return list(value)
    return perform(context, value)


class OnProcessExit:
    """What happens when a process ends; `target_action` None means any."""

    def __init__(self, *, target_action: Action | None = None, on_exit: Any) -> None:
        self.target_action, self.on_exit = target_action, on_exit


class RegisterEventHandler(Action):
    """Listens for the end of a process from here on."""

    def __init__(self, event_handler: OnProcessExit, *, condition: IfCondition | None = None) -> None:
        super().__init__(condition=condition)
        self.event_handler = event_handler
