"""`robot-rl train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import Parser, parse, parser, say, stop_on_signals, take

SETTINGS = """\
  task=pick_cube            what to learn: one of the files in robot_rl/conf/task
  name=NAME                 name of the run; task and time by default
  seed=0                    of everything random
  demos=20                  demonstrations by the scripted expert, or a folder of recorded ones; 0 for none
  actors=1                  twins that feed the learner
  mode=two_process          or single: one process, bit-identical for a seed
  operator=none             who helps: keyboard, gamepad, spacemouse, joy
  agent=rlpd                or bc: behaviour cloning alone; iql: offline, also from earlier practice
  practice=forward_backward two directions that undo each other, and no resets; see docs/resets.md
  experiment=debug          everything small; see robot_rl/conf/experiment
  learner.total_env_steps=  how long to practise, in environment steps
  learner.updates_per_step= critic updates for each environment step
  evaluation.episodes=50    autonomous episodes at the end
  view.port=8020            a page in the browser with cameras and buttons; 0 takes a free port. See robot-rl view
"""
EXAMPLES = """\
  robot-rl train task=pick_cube
  robot-rl train task=reach mode=single seed=3 name=my_reach
  robot-rl train task=pick_cube agent.critics=2 learner.updates_per_step=4
  robot-rl train task=bin_relocate practice=forward_backward
  robot-rl train resume=my_reach
  robot-rl train -m name=seeds seed=0,1,2,3,4
  robot-rl train -m name=critics seed=0,1 agent.critics=2,10 hydra/launcher=joblib
"""


def train(arguments: Sequence[str]) -> int:
    """Train, resume or sweep."""
    made = parser(
        "train",
        "Train a policy. Makes demonstrations, starts a learner and its actors under one supervisor, shows how it\n"
        "goes, then evaluates and writes a report. Ctrl-C stops in order; resume=RUN goes on where it stood.",
        EXAMPLES,
        SETTINGS,
    )
    _options(made)
    options, settings = parse(made, arguments)
    resume = take(settings, "resume")
    if options.multirun:
        from robot_rl.cli.sweep import sweep

        return sweep(settings, options.config_dir, resume)
    from robot_rl import config, train

    forwarded = [word for folder in options.config_dir for word in ("--config-dir", folder)]
    folder = Path()
    if resume:
        from robot_rl.runs import resolve_run

        folder = resolve_run(resume, Path(take(settings, "runs") or "runs"))
        composed = config.compose_run(folder, settings, options.config_dir)
    else:
        composed = config.compose(settings, config_dirs=options.config_dir)
    if options.cfg:
        say(composed.text())
        return 0
    from robot_rl.cli.terminal import lent_terminal
    from robot_rl.view.process import check_view

    check_view(composed.settings().view)
    with lent_terminal(composed) as keys, stop_on_signals("stopping in order; Ctrl-C again to give up") as stopping:
        if resume:
            train.resume_run(folder, composed)
        else:
            folder = train.start_run(composed)
        say(f"run {folder}")
        outcome = train.run(composed, folder, stopping, say=say, options=[*forwarded, *keys])
    if outcome.report is not None:
        say(f"report {outcome.report}")
    if not outcome.complete:
        say(f"not complete; go on with: robot-rl train resume={folder}")
        return 130
    return 0


def _options(made: Parser) -> None:
    made.add_argument(
        "-m", "--multirun", action="store_true", help="a run for each combination of comma-separated values"
    )
    made.add_argument("--cfg", action="store_true", help="print all settings and do nothing")
