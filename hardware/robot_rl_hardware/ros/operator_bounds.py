"""Touching corners with an arm whose node runs: guided by hand, or jogged by keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from robot_rl.errors import RobotError
from robot_rl.geometry import Vector
from robot_rl_hardware.operator.bounds import cell_to_change, touch_corners, write_box
from robot_rl_hardware.operator.corners import Corners
from robot_rl_hardware.operator.jog import KEYS, JogConfig, Jogger
from robot_rl_hardware.operator.keyboard import Keyboard
from robot_rl_hardware.operator.view import Panel
from robot_rl_hardware.ros.operator_client import ArmClient, open_client, wait_for_arm
from robot_rl_hardware.ros.operator_jog import HELP, Driving, Operator


class ArmLook:
    """Where the tool is, and the jogging of it, once for each look.

    Args:
        client: The arm.
        jogger: Moves it; None leaves that to a hand on the arm.
    """

    def __init__(self, client: ArmClient, jogger: Jogger | None) -> None:
        self.client, self.jogger = client, jogger
        self.operator = Operator(client)
        self.driving = Driving(client, jogger) if jogger is not None else None

    def look(self) -> tuple[Vector | None, list[str]]:
        """Return the position of the tool if it is fresh, and lines about the arm; sends the target if it is jogged."""
        now_s, view = time.monotonic(), self.client.view()
        if self.driving is not None:
            if view.others:
                raise RobotError(f"{view.others} other program(s) command this arm too; end them and try again")
            self.driving.step(view, now_s)
        said = self.operator.message(view, now_s)
        keys = [*KEYS.splitlines(), HELP.partition("    q ")[0]] if self.jogger is not None else []
        return (view.p_BE if view.fresh else None), [*view.lines(), said, *keys]

    def key(self, key: str) -> None:
        """Take a key that has nothing to do with corners."""
        now_s = time.monotonic()
        if self.operator.take(key, now_s):
            if self.jogger is not None:
                self.jogger.forget()
        elif self.jogger is not None:
            self.jogger.press(key, now_s)


def run_bounds(
    namespace: str,
    domain: int | None,
    path: Path,
    corners: Corners,
    *,
    keep_out: bool,
    jog: bool,
    ended: Callable[[], bool],
    patience_s: float,
) -> str:
    """Let a person touch corners and write the box; returns a sentence, empty if nothing was to be written.

    Args:
        namespace: Of the arm node.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        path: The cell file.
        corners: Empty.
        keep_out: Whether the box is one to keep out of.
        jog: Whether keys move the arm.
        ended: Whether a signal asks to leave.
        patience_s: How long to look for the arm.
    """
    cell_to_change(path)  # a file that cannot be read is told before the work, not after it
    with (
        Keyboard() as keyboard,
        Panel() as panel,
        open_client("bounds", namespace, domain, commands=jog) as client,
    ):
        wait_for_arm(client, patience_s)
        arm = ArmLook(client, Jogger(JogConfig()) if jog else None)
        wanted = touch_corners(keyboard, panel, corners, arm.look, ended, arm.key)
    return write_box(path, corners, keep_out) if wanted else ""
