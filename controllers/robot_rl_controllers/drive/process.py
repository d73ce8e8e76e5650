"""The driver's process: `python -m robot_rl_controllers.drive.process`, told what to drive by JSON on its input.

It prepares everything that could take long before it touches the robot, then runs the loop until it is told to end
(SIGTERM, SIGINT) or its parent is gone. Either way it brakes, gives control back and exits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable

import numpy as np

from robot_rl.errors import RobotRLError
from robot_rl.robot import ArmCommand, Executed, RobotState
from robot_rl_controllers.drive.interface import Mode
from robot_rl_controllers.drive.loop import DriveLoop
from robot_rl_controllers.drive.motion import Motion
from robot_rl_controllers.drive.plant import Plant, PlantFault, Sample
from robot_rl_controllers.drive.records import MODE, Board, state_text
from robot_rl_controllers.drive.rights import ask_for, freeze_garbage
from robot_rl_controllers.drive.spec import DriveSpec
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.joint_motion import MotionLimits

log = logging.getLogger(__name__)


def main() -> int:
    """Drive one arm as told on the standard input; return the exit code."""
    if not os.isatty(2):  # a reader that stands still must not stop the loop: what does not fit is dropped
        os.set_blocking(2, False)
    logging.raiseExceptions = False
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    log.setLevel(logging.INFO)
    spec = DriveSpec.from_json(sys.stdin.readline())
    board = Board(spec.objects, spec.memory)
    try:
        plant, granted = _prepare(spec, board)
        loop = DriveLoop(plant, spec, board, granted, log.warning)
        _end_on_signals(loop)
        try:
            loop.run()
        except PlantFault as fault:
            plant.close()
            return _fail(board, f"the robot refuses control: {fault.reason}")
    except RobotRLError as error:
        return _fail(board, str(error))
    except Exception:
        return _fail(board, "the driver failed:\n" + traceback.format_exc())
    log.info("the driver %s has ended: %s", spec.name, loop.quit_reason)
    return 0


def _prepare(spec: DriveSpec, board: Board) -> tuple[Plant, str]:
    """Compile, lock and warm up, then connect the robot; return it and what the operating system granted."""
    board.state.words[MODE] = Mode.STARTING
    board.state.publish()
    plant: Plant = spec.plant.make()
    warm_up(spec, plant.dt_s)
    granted = ask_for(spec.real_time)
    plant.connect()
    freeze_garbage()
    return plant, granted


def warm_up(spec: DriveSpec, dt_s: float) -> None:
    """Compile, and touch once, all code that ticks will run."""
    sample = Sample(p_BE=np.array([0.5, 0.0, 0.3]), quat_BE=np.array([0.0, 1.0, 0.0, 0.0]))
    motion, guard = Motion(spec.compliance, dt_s), Guard(spec.limits, spec.period_s)
    motion.start(sample)
    motion.update(sample)
    q = np.array([0.0, -0.4, 0.0, -2.3, 0.0, 1.9, 0.8])
    motion.follow_joints(sample, q, MotionLimits())
    motion.update(sample)
    state = RobotState(
        0.0, sample.q, sample.dq, sample.p_BE, sample.quat_BE, np.zeros(6), sample.F_BE, sample.width_m, False
    )
    guard.check(ArmCommand(sample.p_BE, sample.quat_BE, False), state, 0.0, 0.0)
    guard.watch(state, 0.0)
    scratch = Board(spec.objects)
    scratch.state.set_text(state_text("", Executed(sample.p_BE, sample.quat_BE, False)))
    scratch.state.publish()
    scratch.state.read()
    scratch.memory.close()


def _end_on_signals(loop: DriveLoop) -> None:
    def end(number: int, _frame: object) -> None:
        loop.quit_reason = loop.quit_reason or f"told to end ({signal.Signals(number).name})"

    handler: Callable[[int, object], None] = end
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _fail(board: Board, why: str) -> int:
    with contextlib.suppress(RobotRLError):
        board.state.words[MODE] = Mode.FAULT
        board.state.set_text(state_text(why, Executed(np.zeros(3), np.zeros(4), False)))
        board.state.publish()
    log.error("%s", why)
    return 1


if __name__ == "__main__":
    sys.exit(main())
