"""Takes the documentation's picture of the view: what a browser shows of a session that runs.

    robot-rl train task=pick_cube robot.cameras=[front,wrist] view.port=8020
    python scripts/make_view_picture.py 'http://127.0.0.1:8020/#KEY' docs/images/view.png

The address is the one that the first command prints. The picture waits for both cameras and the middle of an episode.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from headless_browser import BrowserError, open_tab
from make_picture import _shrink

from robot_rl.errors import RobotRLError

WIDTH, HEIGHT = 1280, 1000
READY = (
    "state.status === 'live' && state.running && state.episode >= {episodes} && state.step > 15 && canvases.size > 1"
    " && [...canvases.values()].every((c) => c.canvas.dataset.shown > 1)"
    " && [...document.querySelectorAll('#learner .plot')].length > 3"
)


def main() -> int:
    """Take the picture; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="as robot-rl view prints it, with the key")
    parser.add_argument("out", type=Path, nargs="?", default=Path("docs/images/view.png"), help="PNG to write")
    parser.add_argument("--episodes", type=int, default=10, help="how many shall have ended before (10)")
    parser.add_argument("--dark", action="store_true", help="as a person sees it who prefers dark colours")
    parser.add_argument("--wait", type=float, default=600.0, metavar="S", help="for the moment (600)")
    arguments = parser.parse_args()
    try:
        with open_tab() as tab:
            tab.look(width=WIDTH, height=HEIGHT, dark=arguments.dark)
            tab.open(arguments.address)
            tab.wait(READY.format(episodes=arguments.episodes), arguments.wait)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            tab.picture(arguments.out)
            _shrink(arguments.out)
    except (BrowserError, RobotRLError, OSError) as e:
        print(f"make_view_picture: {e}", file=sys.stderr)
        return 2
    print(f"{arguments.out} ({arguments.out.stat().st_size / 1000:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
