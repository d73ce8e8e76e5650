"""What the actions of `robot-rl data` share: their parser, the places they are given, and sizes in words."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import Parser, no_settings, parse, parser
from robot_rl.errors import ConfigError

PLACE = "A place is an episode file, a folder of episodes, a run, or a folder of runs."


def data_parser(word: str, what: str, examples: str) -> Parser:
    """Return the parser of an action that takes places."""
    made = parser(f"data {word}", f"{what}\n{PLACE}", examples, takes_settings=False)
    made.add_argument("place", nargs="*", metavar="PLACE", help="files and folders; all runs by default")
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    return made


def read_options(made: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; raises `ConfigError` if something else was given."""
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    return options


def files_of(options: argparse.Namespace) -> list[Path]:
    """Return the episode files of the places that were given."""
    from robot_rl.episodes.folder import find_files

    return find_files(places(options.place, Path(options.runs)))


def places(named: Sequence[str], root: Path) -> list[Path]:
    """Return the places, looked for here and in the folder of runs; that folder itself if none is named."""
    if not named:
        if not root.is_dir():
            raise ConfigError(f"there is no folder {root} of runs here; say where the episodes are")
        return [root]
    paths = [Path(text) for text in named]
    return [path if os.path.exists(path) or not os.path.exists(root / path) else root / path for path in paths]


def size_of(size: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
