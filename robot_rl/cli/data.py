"""`robot-rl data`: one module for each group of actions on recorded episodes, imported only when one is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from robot_rl.errors import ConfigError, nearest

# Word -> (module in this package, function that takes the arguments, what it does).
ACTIONS = {
    "ls": ("data_look", "ls", "list them: who acted, steps, success, reason"),
    "show": ("data_look", "show", "write a page for each: film, actions, observation, events"),
    "check": ("data_look", "check", "say what is wrong with them"),
    "repair": ("data_look", "repair", "complete what a kill or a full disk left cut"),
}


def overview() -> str:
    """Return what `robot-rl data` prints without an action."""
    width = max(map(len, ACTIONS))
    listed = "\n".join(f"  {word:<{width}}  {what}" for word, (_, _, what) in ACTIONS.items())
    return (
        "Look after recorded episodes: MCAP files, one each, in RUN/episodes.\n\n"
        "  robot-rl data ACTION [PLACE ...] [options]\n\n"
        f"Actions:\n{listed}\n\n"
        "A place is an episode file, a folder of episodes, a run, or a folder of runs.\n"
        "  robot-rl data ACTION --help      what an action does, and examples\n"
    )


def data(arguments: Sequence[str]) -> int:
    """Look after recorded episodes."""
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(overview())
        return 0
    word, *rest = arguments
    if word not in ACTIONS:
        raise ConfigError(f"'{word}' cannot be done to data; allowed: {', '.join(ACTIONS)}.{nearest(word, ACTIONS)}")
    module, function, _ = ACTIONS[word]
    return int(getattr(importlib.import_module(f"robot_rl.cli.{module}"), function)(rest))
