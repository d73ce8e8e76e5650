"""`robot-rl demo`: what `make demo` runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import parse, parser, say, stop_on_signals

EXAMPLES = """\
  make demo
  robot-rl demo
  robot-rl demo seed=1 name=demo1
"""


def demo(arguments: Sequence[str]) -> int:
    """Run the demonstration."""
    made = parser(
        "demo",
        "Teach the arm twin to pick up a cube in some minutes: 20 slow and sloppy demonstrations by a scripted\n"
        "expert, training, 50 autonomous episodes, a video and a report. An earlier demo is moved aside.",
        EXAMPLES,
        "  seed=0                    of everything random\n  (and every setting of robot-rl train)",
    )
    options, settings = parse(made, arguments)
    from robot_rl import config, train

    composed = config.compose(["experiment=demo", *settings], config_dirs=options.config_dir)
    chosen = composed.settings()
    forwarded = [word for folder in options.config_dir for word in ("--config-dir", folder)]
    old = Path(chosen.runs) / chosen.name
    with stop_on_signals("stopping in order; Ctrl-C again to give up") as stopping:
        if old.exists():
            say(f"an earlier run {old} is kept beside under its time")
        folder = train.start_run(composed, if_exists="archive")
        say(f"run {folder}: {composed.task} from {chosen.demos} demonstrations")
        outcome = train.run(composed, folder, stopping, say=say, options=forwarded, setup_s=_setup_s())
    if not outcome.complete or outcome.summary is None:
        say(f"not complete; go on with: robot-rl train resume={folder}")
        return 130
    for line in train.conclusion(outcome):
        say(line)
    return 0


def _setup_s() -> float:
    """Return the seconds that `make demo` says its set-up took."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(os.environ.get("ROBOT_RL_SETUP_S", "0")))
    return 0.0
