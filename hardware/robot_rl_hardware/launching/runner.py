"""Runs a launch file: starts its processes, shows what they write, and ends them in order.

The order is the reverse of that in which they were started, one after the other: what commands the robot ends before
what carries it out. A session file therefore starts the arm first and whoever moves it last.
"""

from __future__ import annotations

import contextlib
import selectors
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robot_rl.errors import ConfigError, RobotRLError
from robot_rl_hardware.launching import actions, domain, files
from robot_rl_hardware.launching.children import Child, now
from robot_rl_hardware.launching.substitutions import Context, perform

POLL_S = 0.05
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93)  # cyan, green, yellow, magenta, blue, and their bright kin

Say = Callable[[str], None]


@dataclass(slots=True)
class _Started:
    """A child with what belongs to it."""

    child: Child
    action: actions.ExecuteProcess
    context: Context
    prefix: str
    noticed: bool = False  # its end was told and answered


@dataclass(slots=True)
class Launcher:
    """One launch. Use it once, from the main thread.

    Attributes:
        file: What is launched.
        given: Arguments by name.
        environment: Of this process.
        say: Writes a line.
        colours: Whether names are coloured.
    """

    file: files.LaunchFile
    given: Mapping[str, str]
    environment: Mapping[str, str]
    say: Say = lambda text: None
    colours: bool = False
    first_failure: int = 0
    _started: list[_Started] = field(default_factory=list)
    _timers: list[tuple[float, list[actions.Action], Context]] = field(default_factory=list)
    _handlers: list[tuple[actions.OnProcessExit, Context]] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _folder: Path | None = None
    _stopping: str | None = None
    _asked: int = 0
    _heard: int = 0

    def run(self) -> int:
        """Launch, until everything has ended, and return the exit status: that of the first process that failed.

        Raises:
            RobotRLError: Something could not be started; what had been is ended in order first.
        """
        context = Context(dict(self.given), {**self.environment, "PYTHONUNBUFFERED": "1"}, file=str(self.file.path))
        with self._stack, self._signals():
            self._stack.callback(self._close)
            error: RobotRLError | None = None
            try:
                self._visit(self.file.description.entities, context)
            except RobotRLError as e:
                error = e
                self._stop("it could not be started whole")
            while self._turn():
                pass
            if error is not None:
                raise error
        return self.first_failure

    def _visit(self, entities: Iterable[actions.Action], context: Context) -> None:
        for action in entities:
            if self._stopping is not None:
                return
            if action.condition is None or action.condition.evaluate(context):
                self._do(action, context)

    def _do(self, action: actions.Action, context: Context) -> None:
        match action:
            case actions.DeclareLaunchArgument():
                if action.name not in context.launch_configurations:
                    context.launch_configurations[action.name] = perform(context, action.default_value)
                files.check_choice(action, context.launch_configurations[action.name])
            case actions.SetLaunchConfiguration():
                context.launch_configurations[perform(context, action.name)] = perform(context, action.value)
            case actions.SetEnvironmentVariable():
                context.environment[perform(context, action.name)] = perform(context, action.value)
            case actions.LogInfo():
                self.say(perform(context, action.msg))
            case actions.GroupAction():
                self._visit(action.actions, context.scoped() if action.scoped else context)
            case actions.PushRosNamespace():
                context.namespace = actions.joined(context.namespace, perform(context, action.namespace))
            case actions.TimerAction():
                self._timers.append((now() + action.period, action.actions, context.scoped()))
            case actions.OpaqueFunction():
                self._visit(action.function(context, *action.args, **action.kwargs) or (), context)
            case actions.IncludeLaunchDescription():
                self._include(action, context)
            case actions.RegisterEventHandler():
                self._handlers.append((action.event_handler, context))
            case actions.Shutdown():
                self._stop(perform(context, action.reason) or "the launch file asked for it")
            case actions.ExecuteProcess():
                self._start(action, context)
            case _:
                raise ConfigError(f"{context.file}: {type(action).__name__} is no action of a launch description")

    def _include(self, action: actions.IncludeLaunchDescription, context: Context) -> None:
        for name, value in action.launch_arguments:
            context.launch_configurations[perform(context, name)] = perform(context, value)
        included = files.load(Path(perform(context, action.location)))
        file, context.file = context.file, str(included.path)
        try:
            self._visit(included.description.entities, context)
        finally:
            context.file = file

    def _start(self, action: actions.ExecuteProcess, context: Context) -> None:
        if not self._started and self.file.holds:
            number = domain.number(context.environment.get("ROS_DOMAIN_ID") or "0")
            namespace = context.launch_configurations.get(self.file.holds, self.file.holds)
            holder = f"robot-rl launch {self.file.path.name}"
            self._stack.enter_context(domain.held(number, namespace, holder))
        name = action.label(context)
        child = Child(
            name=name,
            words=action.words(context, self._write_parameters),
            env={
                **context.environment,
                **{perform(context, k): perform(context, v) for k, v in action.additional_env.items()},
            },
            cwd=None if action.cwd is None else perform(context, action.cwd),
            sigterm_s=seconds(context, "sigterm_timeout", action.sigterm_timeout),
            sigkill_s=seconds(context, "sigkill_timeout", action.sigkill_timeout),
        )
        child.start()
        prefix = f"[{name}]"
        if self.colours:
            prefix = f"\x1b[{COLOURS[len(self._started) % len(COLOURS)]}m{prefix}\x1b[0m"
        self._started.append(_Started(child, action, context, prefix))
        self._selector.register(child.out, selectors.EVENT_READ)
        self.say(f"{name} runs as process {child.process.pid}")

    def _write_parameters(self, values: Mapping[str, Any]) -> str:
        import yaml

        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="robot_rl-launch-"))
            self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / f"parameters{len(list(self._folder.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(values)}}), encoding="utf-8")
        return str(path)

    def _turn(self) -> bool:
        """Do what there is to do, and return whether anything is left to wait for."""
        for key, _ in self._selector.select(POLL_S):
            started = next(s for s in self._started if s.child.out == key.fd)
            self._show(started)
            if started.child.silent:
                self._selector.unregister(key.fd)
        if self._asked > self._heard:
            hurry = self._stopping is not None
            self._heard = self._asked
            self._stop("asked to stop")
            if hurry:
                self._press(hurry=True)
        for started in self._started:
            if not started.noticed and started.child.status is not None:
                self._ended(started)
        if self._stopping is None:
            self._fire()
        else:
            self._press()
        alive = any(s.child.status is None for s in self._started)
        if not alive and self._stopping is None and not self._timers:
            self._stop("everything has ended")  # and what the processes left is swept up
        return alive or self._stopping is None or not all(s.child.press(now()) for s in self._started)

    def _show(self, started: _Started) -> None:
        for line in started.child.lines():
            self.say(f"{started.prefix} {line}")

    def _ended(self, started: _Started) -> None:
        started.noticed = True
        self._show(started)
        started.child.leaves_something()
        status, name = started.child.status or 0, started.child.name
        code = started.child.process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        if self._stopping is not None:
            self.say(f"{name} has ended" + (f" ({how})" if status else ""))
            return
        self.say(f"{name} has ended ({how})")
        if status and not self.first_failure:
            self.first_failure = status
        follow = started.action.on_exit
        if follow is not None:
            self._visit(follow if isinstance(follow, list | tuple) else [follow], started.context)
        for handler, context in self._handlers:
            if handler.target_action in (None, started.action):
                self._visit(
                    handler.on_exit if isinstance(handler.on_exit, list | tuple) else [handler.on_exit], context
                )

    def _fire(self) -> None:
        due = [t for t in self._timers if t[0] <= now()]
        self._timers = [t for t in self._timers if t[0] > now()]
        for _, entities, context in due:
            self._visit(entities, context)

    def _stop(self, reason: str) -> None:
        if self._stopping is None:
            self._stopping = reason
            self._timers.clear()
            if any(s.child.status is None for s in self._started):
                self.say(f"stopping in order: {reason}")

    def _press(self, hurry: bool = False) -> None:
        """Go on ending the last process that is not gone yet; the ones before it wait."""
        for started in reversed(self._started):
            was_killed = started.child.killed
            if not started.child.press(now(), hurry):
                if started.child.killed and not was_killed:
                    self.say(f"{started.child.name} did not stop in time and is killed")
                return

    @contextlib.contextmanager
    def _signals(self) -> Any:
        def ask(number: int, frame: object) -> None:
            self._asked += 1

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _close(self) -> None:
        for started in reversed(self._started):
            started.child.close()
        self._selector.close()


def seconds(context: Context, name: str, value: Any) -> float:
    """Return a duration of a launch file in seconds."""
    text = perform(context, value)
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0.0 <= found < 1e6:
        raise ConfigError(f"{context.file}: {name} is '{text}'; it must be a number of seconds of at least 0")
    return found


def screen(text: str) -> None:
    """Write a line; a screen that has gone away stops nothing."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
