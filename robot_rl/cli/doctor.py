"""`robot-rl doctor`."""

from __future__ import annotations

from collections.abc import Sequence

from robot_rl.cli.common import no_settings, parse, parser


def doctor(arguments: Sequence[str]) -> int:
    """Look at this machine."""
    made = parser(
        "doctor",
        "Say what works on this machine and what to install: Python, packages for each role, JAX and its device,\n"
        "OpenGL, memory, disk, ports. Ends with status 1 when practising in the twin cannot work.",
        "  robot-rl doctor",
        takes_settings=False,
    )
    _, rest = parse(made, arguments)
    no_settings(made, rest)
    from robot_rl.doctor import main

    return main()
