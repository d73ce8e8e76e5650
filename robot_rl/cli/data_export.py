"""`robot-rl data export`: recorded episodes in other people's formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_rl.cli.common import no_settings, parse, parser, say
from robot_rl.cli.data_places import places
from robot_rl.errors import ConfigError, nearest

FORMATS = {
    "lerobot": "a LeRobotDataset v3.0: parquet and video, for VLA fine-tuning and the tools of LeRobot",
    "hdf5": "one file in the layout of robomimic, for imitation learning",
}
EXAMPLES = """\
  robot-rl data export lerobot runs/my_run --out datasets/my_run --task "pick up the cube"
  robot-rl data export lerobot runs/my_run --out datasets/exact --lossless --full
  robot-rl data export hdf5 runs/my_run --out my_run.hdf5 --successes
"""


def export(arguments: Sequence[str]) -> int:
    """Write recorded episodes in another format."""
    listed = "\n".join(f"  {name:<8}  {what}" for name, what in FORMATS.items())
    made = parser(
        "data export",
        "Write recorded episodes in another format, which is:\n\n"
        f"{listed}\n\n"
        "A place is an episode file, a folder of episodes, a run, or a folder of runs. The action that goes out is\n"
        "the one that was executed. Discarded episodes stay behind. Nothing is overwritten, and an interrupted export\n"
        "leaves nothing.",
        EXAMPLES,
        takes_settings=False,
    )
    made.add_argument("format", metavar="FORMAT", help=" or ".join(FORMATS))
    made.add_argument("place", nargs="+", metavar="PLACE", help="files and folders")
    made.add_argument("--out", default="", metavar="PATH", help="what to write: a folder (lerobot) or a file (hdf5)")
    made.add_argument("--successes", action="store_true", help="successful episodes only")
    made.add_argument("--full", action="store_true", help="pictures of full size instead of what the policy saw")
    made.add_argument(
        "--lossless", action="store_true", help="lerobot: pictures exactly as recorded, in parquet, instead of video"
    )
    made.add_argument("--task", default="", metavar="TEXT", help="lerobot: what is done, in words; the task's name")
    made.add_argument(
        "--valid", type=float, default=0.1, metavar="SHARE", help="hdf5: share of episodes in mask/valid (0.1)"
    )
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    if options.format not in FORMATS:
        raise ConfigError(
            f"there is no format '{options.format}' to export to; allowed: {', '.join(FORMATS)}."
            f"{nearest(options.format, FORMATS)}"
        )
    if not options.out:
        raise ConfigError(f"say where to write, such as: robot-rl data export {options.format} ... --out datasets/NAME")
    from robot_rl.episodes.folder import find_files
    from robot_rl.formats.outgoing import select

    selection = select(find_files(places(options.place, Path(options.runs))), options.successes)
    for sentence in selection.left_out:
        say(f"left out  {sentence}")
    out = Path(options.out)
    if options.format == "lerobot":
        from robot_rl.formats import lerobot_write

        done = lerobot_write.export(selection, out, task=options.task, lossless=options.lossless, full=options.full)
        say(f"{done.episodes} episodes, {done.frames} frames, {done.pictures}, in {done.path}")
        return 0
    from robot_rl.formats import robomimic

    told = robomimic.export(selection, out, valid=options.valid, full=options.full)
    say(
        f"{told.episodes} episodes, {told.samples} samples, {told.valid} of the episodes for validation, in {told.path}"
    )
    return 0
