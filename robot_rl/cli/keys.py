"""`robot-rl keys`."""

from __future__ import annotations

from collections.abc import Sequence

from robot_rl.cli.common import no_settings, parse, parser, say


def keys(arguments: Sequence[str]) -> int:
    """Make keys."""
    made = parser(
        "keys",
        "Make the keys of a learner and its actors. Between machines the link is always encrypted, and only actors\n"
        "whose key the learner holds are let in. Give each actor's machine learner.key and its own actorN.key_secret.",
        "  robot-rl keys keys\n  robot-rl keys keys --actors 4\n"
        "  robot-rl learner bind=tcp://0.0.0.0:5570 link.keys_dir=keys",
        takes_settings=False,
    )
    made.add_argument("folder", metavar="DIR", help="folder of the keys; those that exist are kept")
    made.add_argument("--actors", type=int, default=1, metavar="N", help="how many actors (1)")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    from robot_rl.curve import make_keys

    files = make_keys(options.folder, options.actors)
    for path in files:
        say(str(path))
    if not files:
        say(f"all keys were there already in {options.folder}")
    return 0
