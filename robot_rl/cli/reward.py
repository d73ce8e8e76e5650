"""`robot-rl reward`: success classifiers, from the first labelled picture to the run that learns from them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from robot_rl.cli.common import parser
from robot_rl.errors import ConfigError, nearest

# Word -> (module in this package, function that takes the arguments, what it does).
ACTIONS = {
    "collect": ("reward_collect", "collect", "label pictures live with one key, or from recorded episodes"),
    "train": ("reward_train", "train", "train a classifier, tested on episodes that it has not seen"),
    "audit": ("reward_train", "audit", "find wrong labels: one page with ROC, calibration, thresholds, worst mistakes"),
    "relabel": ("reward_labels", "relabel", "give frames another label"),
    "harvest": ("reward_labels", "harvest", "take in what deceived a classifier during a run"),
}
EXAMPLES = """\
  robot-rl reward collect sets/cube task=pick_cube robot.cameras=[front,wrist] operator=keyboard
  robot-rl reward audit sets/cube
  robot-rl reward train sets/cube
  robot-rl train task=pick_cube reward=classifier reward.path=sets/cube/classifier.ckpt robot.cameras=[front,wrist]
  robot-rl reward train --help                        what an action does, and its options
"""


def reward(arguments: Sequence[str]) -> int:
    """Learn a reward from pictures."""
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, ACTIONS))
        listed = "\n".join(f"  {word:<{width}}  {what}" for word, (_, _, what) in ACTIONS.items())
        what = f"Learn from pictures what a success is: robot-rl reward ACTION [SET] ...\n\nactions:\n{listed}"
        parser("reward", what, EXAMPLES, takes_settings=False).parse_args(["--help"])
    word, *rest = arguments
    if word not in ACTIONS:
        raise ConfigError(f"reward has no action '{word}'; there are {', '.join(ACTIONS)}.{nearest(word, ACTIONS)}")
    module, function, _ = ACTIONS[word]
    return int(getattr(importlib.import_module(f"robot_rl.cli.{module}"), function)(rest))
