"""An arm that is a point: the smallest `ArmDriver`, so that the node can be tried where no simulator is installed.

It follows commands at 1 m/s inside the task's box, holds when nobody commands, stops and recovers by the same state
machine as real drivers. Run as a program it is an arm node: python point_arm.py TASK DOMAIN NAMESPACE.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import sys
import threading
import time

import numpy as np

from robot_rl.errors import RobotError
from robot_rl.robot import ArmCommand, Executed, ResetRequest, RobotState
from robot_rl.task import Compliance, Task
from robot_rl_controllers.drive.fr3_kinematics import HOME_Q
from robot_rl_controllers.drive.interface import Mode, Reading
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.safety import SafetyMachine

DT_S, SPEED_M_S = 0.002, 1.0


class PointArm:
    def __init__(self, task: Task) -> None:
        self.task = task
        self._lock = threading.Lock()
        self._guard = Guard(task.limits, DT_S)
        self._machine = SafetyMachine()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._command: tuple[ArmCommand, int, float] | None = None
        self._goal: ResetRequest | None = None
        self._goal_q: np.ndarray | None = None
        self._sequence, self._closing, self._width = 0, False, 0.08
        self._objects = {name: np.array([*obj.pos_m, *obj.quat]) for name, obj in task.scene.items()}
        self._p, self._quat, self._q = np.array([0.45, 0.0, 0.25]), np.array([0.0, 1.0, 0.0, 0.0]), np.array(HOME_Q)
        self._target = self._p.copy()
        self._executed = Executed(self._p, self._quat, False)
        self.compliance = task.compliance
        self._state = self._measure()

    def _measure(self) -> RobotState:
        return RobotState(
            time.monotonic(), self._q.copy(), np.zeros(7), self._p.copy(), self._quat.copy(), np.zeros(6), np.zeros(6),
            self._width, self._closing, {n: p.copy() for n, p in self._objects.items()},
        )  # fmt: skip

    def _run(self) -> None:
        while not self._ended.wait(DT_S):
            with self._lock:
                self._tick(time.monotonic())

    def _tick(self, now_s: float) -> None:
        if self._machine.mode is Mode.RECOVERING:
            self._guard.acknowledge()
            self._target, self._command = self._p.copy(), None
            self._machine.recovered(now_s)
        if self._goal_q is not None and self._machine.mode is Mode.RUN:
            step = np.clip(self._goal_q - self._q, -SPEED_M_S * DT_S, SPEED_M_S * DT_S)
            self._q = self._q + step
            if not step.any():
                self._goal_q = None
        elif self._goal is not None and self._machine.mode is Mode.RUN:
            self._target, self._quat = self._goal.p_BE.copy(), self._goal.quat_BE.copy()
            if np.linalg.norm(self._p - self._target) < 1e-6:
                self._width, self._goal, self._command = self._goal.gripper_width_m, None, None
                self._closing = False
        elif self._command is not None:
            command, sequence, stamp_s = self._command
            fresh = sequence > self._sequence
            self._executed = self._guard.check(command, self._state, now_s, stamp_s)
            if self._executed.stopped or "stale_command" in self._executed.events:
                silent = "stale_command" in self._executed.events and not fresh
                self._machine.fault(
                    ", ".join(self._executed.events), soft=not self._executed.stopped, now_s=now_s, free=silent
                )
            if fresh:
                self._sequence = sequence
            if self._machine.admits(sequence, stamp_s):
                self._target, self._quat = self._executed.p_BE.copy(), self._executed.quat_BE.copy()
                self._closing = self._executed.close_gripper
                self._width = 0.0 if self._closing else 0.08
            else:
                self._executed = dataclasses.replace(self._executed, stopped=True, reason=self._machine.reason)
        if self._machine.held:
            self._goal = self._goal_q = None
            self._target = self._p.copy()
        way = self._target - self._p
        far = np.linalg.norm(way)
        if far > 0.0:
            self._p = self._p + way * min(1.0, SPEED_M_S * DT_S / far)
        self._state = self._measure()

    def start(self) -> None:
        """Compile all that will be used, then live."""
        warm = Guard(self.task.limits, DT_S)
        warm.check_reset(self._p, self._quat)
        warm.check(ArmCommand(self._p, self._quat, False), self._state, self._state.stamp_s, self._state.stamp_s)
        self._thread.start()

    def read(self) -> Reading:
        with self._lock:
            if self._ended.is_set():
                raise RobotError("the point is gone")
            mode, now = self._machine.mode, time.monotonic()
            if mode is Mode.RUN and (self._goal is not None or self._goal_q is not None):
                mode = Mode.RESETTING
            return Reading(
                self._state, mode, self._machine.reason, self._executed, self._sequence, dict(self._machine.counts),
                self._machine.recoveries_left(now),
            )  # fmt: skip

    def send(self, command: ArmCommand, sequence: int, stamp_s: float) -> None:
        with self._lock:
            self._command = (command, sequence, stamp_s)

    def begin_reset(self, request: ResetRequest) -> None:
        self._guard.check_reset(request.p_BE, request.quat_BE)
        with self._lock:
            if self._machine.held:
                raise RobotError(f"the arm is in {self._machine.mode.name}: {self._machine.reason}")
            self._goal = request
            for name, pose in request.objects.items():
                self._objects[name] = np.array(pose)

    def move_joints(self, q: np.ndarray) -> None:
        with self._lock:
            self._goal_q = np.array(q)

    def home(self) -> None:
        self.begin_reset(ResetRequest(p_BE=np.array([0.45, 0.0, 0.25]), quat_BE=np.array([0.0, 1.0, 0.0, 0.0])))

    def stop(self, reason: str) -> None:
        with self._lock:
            self._machine.stop(reason, time.monotonic())

    def acknowledge(self, who: str) -> None:
        with self._lock:
            self._machine.acknowledge(who, time.monotonic())

    def recover(self) -> None:
        with self._lock:
            self._machine.recover(time.monotonic(), tuple(self._p))

    def set_compliance(self, compliance: Compliance) -> None:
        self.compliance = compliance

    def close(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()


def main(task_name: str, domain: str, namespace: str) -> None:
    from robot_rl.config import compose
    from robot_rl_hardware.ros.arm_node import run_arm_node

    logging.basicConfig(level=logging.INFO)
    task = compose([f"task={task_name}"]).settings().task.make()
    came = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: came.set())
    run_arm_node(PointArm(task), task, "point", came.is_set, namespace, int(domain))


if __name__ == "__main__":
    main(*sys.argv[1:])
