"""`robot-rl eval`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import parse, parser, say, stop_on_signals
from robot_rl.errors import ConfigError, nearest

EXAMPLES = """\
  robot-rl eval latest
  robot-rl eval runs/my_run -n 200
  robot-rl eval my_run --policy clone
  robot-rl eval my_run --policy runs/my_run/export-onnx
  robot-rl eval my_run -n 100 --seed 7 --label other_starts
  robot-rl eval my_run --actions mode --label mode
  robot-rl eval my_run --label tight task.max_steps=60
  robot-rl eval my_run view.port=8020
"""


def evaluate(arguments: Sequence[str]) -> int:
    """Evaluate a run's policy."""
    made = parser(
        "eval",
        "Measure how often a run's policy succeeds on its own, from starts that training never saw, with a 95 %\n"
        "Wilson interval and the time to success. Films the first episodes and writes the report anew.",
        EXAMPLES,
    )
    made.add_argument("run", metavar="RUN", help="folder or name of the run, the beginning of a name, or 'latest'")
    made.add_argument("-n", "--episodes", type=int, default=50, metavar="N", help="episodes (50)")
    made.add_argument(
        "--policy", default="final", metavar="WHICH", help="final, clone, or the folder of an exported policy (final)"
    )
    made.add_argument(
        "--actions", choices=("sampled", "mode"), help="draw them as in practice, or take the mode (as the run says)"
    )
    made.add_argument("--label", default="", help="name of this evaluation in the report; the policy by default")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the starts (0)")
    made.add_argument("--video", type=int, default=4, metavar="N", help="how many episodes to film (4)")
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    options, settings = parse(made, arguments)
    for name, least in (("episodes", 1), ("seed", 0), ("video", 0)):
        if getattr(options, name) < least:
            raise ConfigError(f"--{name} is {getattr(options, name)}; it must be at least {least}")
    from robot_rl import config, train
    from robot_rl.build import make_env
    from robot_rl.demos import period_s
    from robot_rl.evaluate import POLICIES
    from robot_rl.report import write_report
    from robot_rl.rewards.make import follow_run
    from robot_rl.runs import resolve_run
    from robot_rl.view.process import page

    folder = resolve_run(options.run, Path(options.runs))
    exported = None if options.policy in POLICIES else Path(options.policy)
    if exported is not None and not (exported / "policy.json").is_file():
        raise ConfigError(
            f"there is no policy '{options.policy}'; allowed: {', '.join(POLICIES)}, or the folder of an exported one "
            f"(robot-rl export {options.run}).{nearest(options.policy, POLICIES)}"
        )
    which = options.policy if exported is None else "exported"
    sampled = None if options.actions is None else options.actions == "sampled"
    chosen = config.compose_run(folder, settings, options.config_dir).settings()
    with stop_on_signals() as stopping, page(folder, chosen.view, say):
        env = make_env(chosen, encode=exported is None)  # an exported program reads pictures itself
        follow_run(env, folder)
        try:
            summary = train.evaluate_run(
                folder, env, which, options.episodes, options.seed, env.task.max_steps * period_s(env),
                stopping, options.video, options.label, exported, sampled,
            )  # fmt: skip
            if options.policy == "final":
                train.show_evidence(folder, env)
        finally:
            env.close()
    say(f"{which} policy of {folder}: {summary.sentence()}")
    label = options.label or which
    video = folder / ("video.mp4" if label == "final" else f"video-{label}.mp4")
    if options.video and video.is_file():
        say(f"video {video}")
    say(f"report {write_report(folder)}")
    return 0
