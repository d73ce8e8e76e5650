"""`robot-rl data`: one module for each group of actions on recorded episodes, imported only when one is called."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from robot_rl.cli.common import parser
from robot_rl.errors import ConfigError, nearest

# Word -> (module in this package, function that takes the arguments, what it does).
ACTIONS = {
    "ls": ("data_look", "ls", "list them: who acted, steps, success, reason"),
    "show": ("data_look", "show", "write a page for each: film, actions, observation, events"),
    "check": ("data_look", "check", "say what is wrong with them"),
    "repair": ("data_look", "repair", "complete what a kill or a full disk left cut"),
    "trim": ("data_edit", "trim", "cut steps away from the ends of one"),
    "relabel": ("data_edit", "relabel", "give them another verdict: success, failure, discard"),
    "merge": ("data_edit", "merge", "put those of several runs into one folder"),
    "export": ("data_export", "export", "write them in another format: LeRobot, robomimic"),
    "import": ("data_import", "import_", "make episodes of LeRobot data sets, pickles of SERL, ROS 2 bags"),
}
EXAMPLES = """\
  robot-rl data ls                                     all episodes of all runs
  robot-rl data show runs/my_run/episodes/000012.mcap  writes 000012.html beside it
  robot-rl data check --help                           what an action does, and its options
"""


def data(arguments: Sequence[str]) -> int:
    """Look after recorded episodes."""
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, ACTIONS))
        listed = "\n".join(f"  {word:<{width}}  {what}" for word, (_, _, what) in ACTIONS.items())
        what = (
            "Look after recorded episodes, MCAP files, one each, in RUN/episodes: robot-rl data ACTION [PLACE ...]\n"
            f"A place is an episode file, a folder of episodes, a run, or a folder of runs.\n\nactions:\n{listed}"
        )
        parser("data", what, EXAMPLES, takes_settings=False).parse_args(["--help"])
    word, *rest = arguments
    if word not in ACTIONS:
        raise ConfigError(f"'{word}' cannot be done to data; allowed: {', '.join(ACTIONS)}.{nearest(word, ACTIONS)}")
    module, function, _ = ACTIONS[word]
    return int(getattr(importlib.import_module(f"robot_rl.cli.{module}"), function)(rest))
