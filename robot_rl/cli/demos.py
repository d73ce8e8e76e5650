"""`robot-rl demos`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import parse, parser, say
from robot_rl.errors import ConfigError

SETTINGS = """\
  task=pick_cube            the task
  seed=0                    same seed, same demonstrations
  expert.speed=0.4          share of the fastest step that the demonstrator uses
  expert.wander=0.3         slow drift; expert.noise, expert.pause_probability and expert.detour_m likewise
"""
EXAMPLES = """\
  robot-rl demos task=pick_cube --out demos/pick_cube
  robot-rl demos task=reach -n 5 seed=3 --out demos/reach
  robot-rl train task=pick_cube demos=demos/pick_cube
"""


def demos(arguments: Sequence[str]) -> int:
    """Record demonstrations."""
    made = parser(
        "demos",
        "Record demonstrations by the task's scripted expert in the twin. Only successes are kept.",
        EXAMPLES,
        SETTINGS,
    )
    made.add_argument("-n", "--count", type=int, default=20, metavar="N", help="how many (20)")
    made.add_argument("--out", default="", metavar="DIR", help="folder to write; demos/TASK by default")
    options, settings = parse(made, arguments)
    if options.count < 1:
        raise ConfigError(f"--count is {options.count}; it must be at least 1")
    from robot_rl import config, demos
    from robot_rl.build import make_env

    composed = config.compose(settings, config_dirs=options.config_dir)
    chosen = composed.settings()
    folder = Path(options.out or f"demos/{composed.task}")
    if (folder / "demos.json").exists():
        raise ConfigError(f"{folder} holds demonstrations already; they are never overwritten, give another --out")
    env = make_env(chosen)
    try:
        task = env.task
        expert = getattr(task, "expert", None)
        if expert is None:
            raise ConfigError(f"task {composed.task} has no scripted expert")
        recorded = demos.record(env, expert(chosen.expert.make()), options.count, chosen.seed)
        demos.save(folder, recorded, env.observation_spec, task.action_spec, composed.task)
    finally:
        env.close()
    count, tried = len(recorded.blocks), recorded.tried
    say(f"{count} demonstrations of {tried} tries, median {recorded.median_s:.1f} s, in {folder}")
    return 0
