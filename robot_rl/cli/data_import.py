"""`robot-rl data import`: episodes from other people's formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import parse, parser, say
from robot_rl.errors import ConfigError, nearest

FORMATS = {
    "lerobot": "a LeRobotDataset v3.0, a folder",
    "serl": "pickled demonstrations of SERL or HIL-SERL, read without running anything in them; needs --map",
    "bag": "a ROS 2 bag, a folder (sqlite3 or MCAP); needs --map with topics",
}
SETTINGS = """\
  task=pick_cube            the task that the data are of
  robot.cameras=[wrist]     the cameras that it looks through; robot.image_size=128 their size
"""
EXAMPLES = """\
  robot-rl data import lerobot datasets/my_run --out runs/imported task=pick_cube
  robot-rl data import serl demos.pkl --map serl.yaml --out runs/old_demos task=peg_insert
  robot-rl data import bag bags/monday --map topics.yaml --out runs/monday task=reach
  robot-rl train task=pick_cube demos=runs/imported
"""


def import_(arguments: Sequence[str]) -> int:
    """Make episodes of data in another format."""
    listed = "\n".join(f"  {name:<8}  {what}" for name, what in FORMATS.items())
    made = parser(
        "data import",
        "Make a run of episodes, which serves as demonstrations, of data in another format, which is:\n\n"
        f"{listed}\n\n"
        "A map says where the task's fields come from, see docs/formats.md; without one, only data that name their\n"
        "columns as the task does are taken. What cannot be known is said in each episode, never made up.",
        EXAMPLES,
        SETTINGS,
    )
    made.add_argument("format", metavar="FORMAT", help=", ".join(FORMATS))
    made.add_argument("source", nargs="+", metavar="SOURCE", help="what to import")
    made.add_argument("--out", default="", metavar="DIR", help="the run's folder, such as runs/imported")
    made.add_argument("--map", default="", metavar="YAML", help="where the task's fields come from")
    settings = [word for word in arguments if _is_setting(word)]
    options, _ = parse(made, [word for word in arguments if not _is_setting(word)])
    if options.format not in FORMATS:
        raise ConfigError(
            f"there is no format '{options.format}' to import; allowed: {', '.join(FORMATS)}."
            f"{nearest(options.format, FORMATS)}"
        )
    if not options.out:
        raise ConfigError(f"say where to write, such as: robot-rl data import {options.format} ... --out runs/imported")
    if not any(word.startswith("task=") for word in settings):
        raise ConfigError("say of which task the data are, such as: task=pick_cube")
    from robot_rl import config, runs
    from robot_rl.build import images_of
    from robot_rl.formats import field_map, incoming

    composed = config.compose(settings, config_dirs=options.config_dir)
    chosen = composed.settings()
    task = chosen.task.make()
    goal = incoming.Goal(
        task=task.name,
        observation_spec=dataclasses.replace(task.observation_spec, images=images_of(chosen)),
        action_spec=task.action_spec,
        period_s=1.0 / task.control_hz,
        versions={**runs.versions(), "commit": runs.git_commit() or ""},
    )
    sources = [Path(text) for text in options.source]
    for path in sources:
        if not path.exists():
            raise ConfigError(f"{path} does not exist; give what is to be imported")
    fields = None
    if options.map:
        fields = field_map.read_map(Path(options.map), goal.observation_spec, goal.action_spec)
    if options.format == "lerobot":
        from robot_rl.formats import lerobot_read

        found = lerobot_read.episodes(sources, goal, fields)
    elif options.format == "serl":
        from robot_rl.formats import serl

        found = serl.episodes(sources, goal, fields)
    else:
        from robot_rl.formats import bag

        found = bag.episodes(sources, goal, fields)
    done = incoming.write_run(found, Path(options.out), goal)
    unknown = ", ".join(u.partition(":")[0] for u in done.unknown)
    say(f"{done.episodes} episodes, {done.steps} steps, {done.successes} successes, in {done.path}")
    if unknown:
        say(f"not known: {unknown}; each episode says so")
    return 0


def _is_setting(word: str) -> bool:
    """Return whether a word is `name=value`; a path with such a name is written ./name=value."""
    name, equals, _ = word.partition("=")
    return bool(equals) and not name.startswith(("-", ".", "/"))
