"""A gripper as an arm's loop sees it: a wish in, an opening out, and nothing ever waits."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from robot_rl_hardware.grippers.link import FAILED, GO, GRASPED, PHASE, READY, STOP, GripperBoard
from robot_rl_hardware.grippers.protocol import GripperError

log = logging.getLogger(__name__)

SAME_M = 5e-4
START_TIMEOUT_S = 60.0  # homing takes up to 20 s, and a busy machine starts Python slowly
GRACE_S = 5.0


class GripperClient:
    """Starts a gripper's process, and talks to it through shared memory."""

    def __init__(self, kind: str, address: str, settings: Mapping[str, Any]) -> None:
        """Start it and wait until it is ready.

        Raises:
            GripperError: It cannot be reached.
        """
        self._board = GripperBoard()
        self._asked = float("nan")
        self._count = 0
        self._width_m, self._grasped = float("nan"), False
        described = json.dumps({"kind": kind, "address": address, "settings": dict(settings)})
        fd = self._board.memory.fd
        self._process = subprocess.Popen(
            [sys.executable, "-m", "robot_rl_hardware.grippers.server", str(fd), described],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # its libraries chat
            pass_fds=(fd,),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            start_new_session=True,  # Ctrl-C is for those who close it
        )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the gripper's process."""
        return self._process.pid

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            told = self._board.told.read()
            if told is not None and told.words[PHASE] == READY:
                return
            if told is not None and told.words[PHASE] == FAILED:
                raise GripperError(told.text)
            if self._process.poll() is not None:
                raise GripperError(
                    f"the gripper's process ended with status {self._process.returncode} before it was ready"
                )
            time.sleep(0.01)
        raise GripperError(f"the gripper was not ready within {START_TIMEOUT_S:.0f} s")

    def ask(self, width_m: float) -> None:
        """Ask for an opening [m]; zero grasps. The newest wish wins; asking again for the same does nothing."""
        if abs(width_m - self._asked) < SAME_M:
            return
        self._asked = width_m
        self._wish(width_m, GO)

    def stop(self) -> None:
        """Ask to leave the fingers where they are."""
        self._asked = float("nan")
        self._wish(0.0, STOP)

    def _wish(self, width_m: float, word: int) -> None:
        wish = self._board.wish
        wish.numbers[0] = width_m
        wish.words[0] = word
        wish.publish()

    @property
    def width_m(self) -> float:
        """Newest opening [m]; a few microseconds when there is a new one, less when not."""
        self._take()
        return self._width_m

    @property
    def grasped(self) -> bool:
        """Whether it holds something."""
        self._take()
        return self._grasped

    def _take(self) -> None:
        count = self._board.told.count
        if count == self._count:
            return
        self._count = count
        told = self._board.told.read()
        if told is not None:
            self._width_m, self._grasped = float(told.numbers[0]), bool(told.words[GRASPED])

    def age_s(self) -> float:
        """Return how old the newest reading is; it grows while the hand moves its fingers."""
        told = self._board.told.read()
        return float("inf") if told is None else time.monotonic() - float(told.numbers[2])

    @property
    def ended(self) -> str:
        """How its process ended; empty while it lives."""
        status = self._process.poll()
        return "" if status is None else f"the gripper's process ended with status {status}"

    @property
    def trouble(self) -> str:
        """What went wrong last; empty if nothing did, or if a later reading succeeded."""
        if self.ended:
            return self.ended
        told = self._board.told.read()
        return "" if told is None else told.text

    def close(self) -> None:
        """End the gripper's process; the fingers keep their hold. Safe to call twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._board.memory.close()


def open_gripper(kind: str, address: str, settings: Mapping[str, Any]) -> GripperClient | None:
    """Return the running gripper of a cell, or None if the kind is "none"."""
    return None if kind == "none" else GripperClient(kind, address, settings)
