"""The process of a gripper: carries out the newest wish, tells the opening. Started by `GripperClient`.

It ends when its standard input closes, which happens when its parent ends, however that ends. The fingers then stay as
they are: whatever they hold shall not fall.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import time

from robot_rl.errors import RobotRLError
from robot_rl_hardware.grippers.link import DONE, FAILED, GO, GRASPED, PHASE, READY, GripperBoard, make_gripper
from robot_rl_hardware.grippers.protocol import Gripper

log = logging.getLogger(__name__)

PERIOD_S = 0.03


def serve(board: GripperBoard, gripper: Gripper, until: int) -> None:
    """Serve until the descriptor `until` can be read, which it can when it is closed at the other end."""
    told = board.told
    try:
        gripper.connect()
    except RobotRLError as e:
        told.words[PHASE] = FAILED
        told.set_text(str(e))
        told.publish()
        return
    done = 0
    deadline = time.monotonic()
    while True:
        said = ""
        try:
            if board.wish.count != done:
                done = _carry_out(board, gripper)
            reading = gripper.read()
            told.numbers[:] = reading.width_m, reading.max_width_m, time.monotonic()
            told.words[:] = READY, reading.grasped, done
        except RobotRLError as e:
            said = str(e)
            told.words[DONE] = done = board.wish.count  # a wish that failed is not tried again: the next one is
            log.warning("%s", said)
        if told.words[PHASE] == READY:
            told.words[GRASPED] = int(told.words[GRASPED])
            told.set_text(said)
            told.publish()
        deadline = max(deadline + PERIOD_S, time.monotonic() - PERIOD_S)
        if _closed(until, max(deadline - time.monotonic(), 0.0)):
            return


def _carry_out(board: GripperBoard, gripper: Gripper) -> int:
    wish = board.wish.read()
    if wish is None:
        return 0
    if wish.words[0] == GO:
        gripper.go(float(wish.numbers[0]))
    else:
        gripper.stop()
    return wish.count


def _closed(until: int, timeout_s: float) -> bool:
    ready, _, _ = select.select([until], [], [], timeout_s)
    return bool(ready)


def main() -> None:
    """Serve the gripper that the arguments describe: descriptor of the shared memory, then its settings as JSON."""
    logging.basicConfig(level=logging.INFO, format="gripper: %(message)s")
    fd, described = int(sys.argv[1]), json.loads(sys.argv[2])
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # the loop's priority is not for us
    board = GripperBoard(fd)
    try:
        gripper = make_gripper(described["kind"], described["address"], described["settings"])
    except RobotRLError as e:
        board.told.words[PHASE] = FAILED
        board.told.set_text(str(e))
        board.told.publish()
        return
    try:
        serve(board, gripper, sys.stdin.fileno())
    finally:
        gripper.close()


if __name__ == "__main__":
    main()
