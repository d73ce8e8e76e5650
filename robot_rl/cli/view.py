"""`robot-rl view`: a running session in the browser."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.cli.common import no_settings, parse, parser, say
from robot_rl.errors import ConfigError

if TYPE_CHECKING:
    from robot_rl.view.server import ViewServer


def view(arguments: Sequence[str]) -> int:
    """Serve the view of a run until told to stop."""
    made = parser(
        "view",
        "Show a running session in a browser on this machine: cameras, who acts, success and return, what the critics\n"
        "expect, the guard's events, the time left in the episode and the learner's curves; with buttons that say\n"
        "success, failure or discard, pause the session or stop the robot. The page outlives the session and waits\n"
        "for the next one of the same run. Recording, training and evaluating start it themselves: view.port=8020.",
        "  robot-rl view latest\n  robot-rl view my_run --port 0\n  robot-rl view my_run --wait",
        takes_settings=False,
    )
    made.add_argument("run", metavar="RUN", help="folder or name of the run, the beginning of a name, or 'latest'")
    made.add_argument("--port", type=int, default=8020, metavar="N", help="port of the page; 0 takes a free one (8020)")
    made.add_argument("--host", default="127.0.0.1", help="where to listen: an address of this machine alone")
    made.add_argument("--wait", action="store_true", help="serve the page although nothing runs yet")
    made.add_argument("--runs", default="runs", metavar="DIR", help="folder of all runs (runs)")
    options, rest = parse(made, arguments)
    no_settings(made, rest)
    from robot_rl.console_file import find_session
    from robot_rl.runs import resolve_run
    from robot_rl.supervisor import die_with_supervisor
    from robot_rl.view.server import ViewServer

    die_with_supervisor()
    folder = resolve_run(options.run, Path(options.runs))
    if not options.wait and find_session(folder) is None:
        raise ConfigError(
            f"nothing runs in {folder} at the moment; start it (robot-rl train resume={folder}), or add --wait to show "
            "the page until something does"
        )
    server = ViewServer(folder, options.host, options.port)
    asyncio.run(_serve(server))
    return 0


async def _serve(server: ViewServer) -> None:
    serving = asyncio.ensure_future(server.serve(lambda: say(f"look at {server.url}")))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving
