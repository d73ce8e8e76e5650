"""What the commands share: their parser, and stopping on Ctrl-C in order."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from robot_rl.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are ours: one sentence, with the nearest option."""

    def error(self, message: str) -> NoReturn:
        """Raise `ConfigError` instead of printing the usage and leaving."""
        raise ConfigError(f"{message}; see: {self.prog} --help")


def parser(command: str, what: str, examples: str, settings: str = "", takes_settings: bool = True) -> Parser:
    """Return the parser of a command.

    Args:
        command: Its name.
        what: What it does, in sentences.
        examples: Lines of examples.
        settings: The main `name=value` settings, one a line.
        takes_settings: Whether it takes `name=value` arguments and `--config-dir`.
    """
    epilog = (f"main settings:\n{settings.rstrip()}\n\n" if settings else "") + f"examples:\n{examples.rstrip()}"
    made = Parser(
        prog=f"robot-rl {command}",
        description=what,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if takes_settings:
        made.add_argument(
            "--config-dir", action="append", default=[], metavar="DIR", help="a folder of your own YAML: task/, robot/"
        )
    made.add_argument("--debug", action="store_true", help="show the whole traceback of an error, and log more")
    return made


def parse(made: Parser, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options, and the `name=value` settings.

    Raises:
        ConfigError: Something is neither.
    """
    options, rest = made.parse_known_args(list(arguments))
    known = [o for action in made._actions for o in action.option_strings]
    for text in rest:
        if text.startswith("-"):
            name = text.partition("=")[0]
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            if not close and name.startswith("--"):
                hint = f" A setting is written without dashes: {name.lstrip('-')}=..."
            raise ConfigError(f"there is no option '{name}'.{hint} See: {made.prog} --help")
    return options, rest


def no_settings(made: Parser, rest: Sequence[str]) -> None:
    """Raise `ConfigError` if there is an argument that a command without settings cannot use."""
    if rest:
        raise ConfigError(f"{made.prog} does not know what to do with '{rest[0]}'; see: {made.prog} --help")


def take(settings: list[str], name: str) -> str:
    """Remove `name=value` from the settings and return its value, or an empty string."""
    found = [s for s in settings if s.startswith(f"{name}=")]
    for text in found:
        settings.remove(text)
    return found[-1].partition("=")[2] if found else ""


@contextlib.contextmanager
def stop_on_signals(note: str = "") -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C or SIGTERM has come; the second one interrupts at once.

    Args:
        note: What to tell a person at the first one.
    """
    came = False

    def handle(number: int, frame: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True
        if note:
            sys.stderr.write(f"\nrobot-rl: {note}\n")

    if threading.current_thread() is not threading.main_thread():  # a launcher's own thread: signals go elsewhere
        yield lambda: came
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
