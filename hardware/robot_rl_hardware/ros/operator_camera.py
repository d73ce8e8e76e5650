"""Taking pictures of a board through a camera node, with the arm's pose if its node runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import RobotError, WireError
from robot_rl.geometry import quat_angle
from robot_rl_hardware.cameras.boards import Board, find_board
from robot_rl_hardware.cameras.protocol import Picture
from robot_rl_hardware.operator.keyboard import Keyboard
from robot_rl_hardware.operator.shots import Pose, Shots
from robot_rl_hardware.operator.view import Panel
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.node import wait_until
from robot_rl_hardware.ros.operator_client import ArmClient, open_client, wait_for_arm

HELP = "ENTER take a picture    BACKSPACE forget the last    S compute and write    q leave (pictures are kept)"
LOOK_S = 0.1
STILL_M, STILL_RAD = 0.0005, 0.002
PICTURE_S = 3.0


class PictureFeed:
    """The newest whole picture of a camera's node, and when it was caught in ROS time."""

    def __init__(self, client: ArmClient, name: str) -> None:
        from sensor_msgs.msg import CompressedImage

        self.topic = f"/cameras/{name}/image_full/compressed"
        self._newest: tuple[int, Picture] | None = None
        self.trouble = ""
        client.node.create_subscription(CompressedImage, self.topic, self._on_image, qos.newest())
        self._clock = client.node.get_clock()

    def _on_image(self, message: Any) -> None:
        try:
            self._newest = (messages.stamp_ns(message), messages.from_compressed(message))
        except WireError as e:
            self.trouble = str(e)

    def newest(self) -> Picture | None:
        """Return the newest picture (H, W, 3) RGB; None before the first."""
        return None if self._newest is None else self._newest[1]

    def after_now(self) -> Picture:
        """Return the first picture that is caught from now on.

        Raises:
            RobotError: None comes.
        """
        now_ns = self._clock.now().nanoseconds
        newest = self._newest

        def came() -> bool:
            nonlocal newest
            newest = self._newest
            return newest is not None and newest[0] >= now_ns

        wait_until(came, PICTURE_S, f"a picture on {self.topic} {self.trouble}".rstrip())
        assert newest is not None
        return newest[1]


def run_pictures(
    namespace: str,
    domain: int | None,
    name: str,
    folder: Path,
    board: Board,
    *,
    with_arm: bool,
    ended: Callable[[], bool],
    patience_s: float,
) -> bool:
    """Let a person take pictures of a board; returns whether the calibration shall be computed.

    Args:
        namespace: Of the arm node.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        name: Of the camera.
        folder: Where pictures are kept.
        board: What they shall show.
        with_arm: Whether each picture needs the pose of an arm at rest.
        ended: Whether a signal asks to leave.
        patience_s: How long to look for nodes.
    """
    with Keyboard() as keyboard, Panel() as panel, open_client("calibrate", namespace, domain) as client:
        feed = PictureFeed(client, name)
        wait_until(
            lambda: feed.newest() is not None,
            patience_s,
            f"pictures on {feed.topic}; start the camera: robot-rl node camera cell=my_cell.yaml",
        )
        if with_arm:
            wait_for_arm(client, patience_s)
        return _taking(keyboard, panel, client if with_arm else None, feed, Shots(folder), board, ended)


def _taking(
    keyboard: Keyboard,
    panel: Panel,
    arm: ArmClient | None,
    feed: PictureFeed,
    shots: Shots,
    board: Board,
    ended: Callable[[], bool],
) -> bool:
    said, sees = "", "looking"
    look_s = -math.inf
    while not ended():
        for key in keyboard.read(LOOK_S):
            if key == "enter":
                said = _take(arm, feed, shots, board)
            elif key == "backspace":
                said = f"forgot {shots.drop_last() or 'nothing: there is none'}"
            elif key == "S":
                return True
            elif key == "q":
                return False
        if time.monotonic() - look_s > 0.5:
            picture, look_s = feed.newest(), time.monotonic()
            sees = "the board is seen" if picture is not None and find_board(picture, board) else "no board is seen"
        lines = arm.view().lines() if arm is not None else []
        panel.show([*lines, f"{sees}; {len(shots.names())} pictures in {shots.folder}", said, HELP], said or sees)
    return False


def _take(arm: ArmClient | None, feed: PictureFeed, shots: Shots, board: Board) -> str:
    """Keep one picture that shows the board, of an arm that does not move meanwhile; returns what happened."""
    try:
        before = _pose(arm)
        picture = feed.after_now()
        after = _pose(arm)
    except RobotError as e:
        return f"not taken: {e}"
    if before is not None and after is not None:
        moved_m, turned = float(np.linalg.norm(after[0] - before[0])), quat_angle(before[1], after[1])
        if moved_m > STILL_M or turned > STILL_RAD:
            return f"not taken: the arm moves ({1e3 * moved_m:.1f} mm); wait until it rests"
    if find_board(picture, board) is None:
        return "not taken: the picture does not show the board"
    return f"took {shots.add(picture, after)}"


def _pose(arm: ArmClient | None) -> Pose | None:
    """Return the tool's fresh pose, or None where no arm is asked for."""
    if arm is None:
        return None
    view = arm.view()
    if not view.fresh or view.p_BE is None or view.quat_BE is None:
        raise RobotError("there is no fresh reading of the arm")
    return view.p_BE, view.quat_BE
