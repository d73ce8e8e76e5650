"""An `ArmDriver` whose arm is moved by CRISP's controllers on a lab's own ROS: a Panda, a UR, a Kinova, an FR3.

CRISP closes the torque loop; here is the guard, at 100 Hz, in a thread of the arm's node. It sees every request and
every reading before CRISP sees a target, and holds as any other driver does. What it cannot do is survive this process:
when that dies, CRISP's controller keeps its last target, a pose that the arm was already at or on its way to.
"""

from __future__ import annotations

import logging
import math
import threading
import time

import numpy as np

from robot_rl.cell import Cell
from robot_rl.errors import RobotError
from robot_rl.geometry import clip_norm_t, quat_angle, rotation_step
from robot_rl.preflight import check_preflight
from robot_rl.robot import ArmCommand, Executed, ResetRequest, RobotState, Vector
from robot_rl.task import Compliance, Task
from robot_rl_controllers.drive.interface import Mode, Reading, TickStatistics
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.guard_limits import within_cell
from robot_rl_controllers.joint_motion import JointMove
from robot_rl_controllers.safety import SafetyMachine
from robot_rl_hardware.ros.crisp_link import CrispConfig, CrispLink
from robot_rl_hardware.ros.node import SpinningNode, wait_until

log = logging.getLogger(__name__)

DT_S = 0.01
HOME_Q = (0.0, -math.pi / 4, 0.0, -3 * math.pi / 4, 0.0, math.pi / 2, math.pi / 4)
RESET_M_S, RESET_RAD_S = 0.15, 0.6
CEILING_M = 0.03
ARRIVED_M, ARRIVED_RAD = 0.008, 0.04
RESET_S = 30.0
_SOFT = frozenset({"not_finite", "stale_command", "stale_observation", "unreadable_state"})


class CrispDriver:
    """A guarded client of CRISP's controllers.

    Args:
        task: Gives limits, compliance and control rate.
        cell: Where the robot stands; it must have measured bounds.
        config: CRISP's names.
        recoveries, window_s: How many recoveries are granted without a person within how long.
    """

    def __init__(
        self, task: Task, cell: Cell, config: CrispConfig, recoveries: int = 3, window_s: float = 600.0
    ) -> None:
        self.task, self.cell, self.config = task, cell, config
        limits = within_cell(task.limits, cell, hardware=True)
        self._guard = Guard(limits, 1.0 / task.control_hz, keep_out=cell.keep_out)
        self._machine = SafetyMachine(recoveries, window_s)
        self._compliance = task.compliance
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crisp-driver")
        self._spinning: SpinningNode | None = None
        self._state: RobotState | None = None
        self._target, self._reference = (np.zeros(3), np.zeros(4)), (np.zeros(3), np.zeros(4))
        self._executed = Executed(np.zeros(3), np.zeros(4), False)
        self._request: tuple[ArmCommand, int, float] | None = None
        self._sequence, self._ticks = 0, 0
        self._commanded, self._open_m = False, config.gripper_m
        self._way: list[tuple[Vector, Vector]] = []
        self._joint_move: tuple[JointMove, float] | None = None
        self._moving_until_s = 0.0

    # The caller's side ----------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Find CRISP's controller, set its stiffness, and hold where the arm is."""
        c = self.config
        self._spinning = SpinningNode("robot_rl_crisp", c.namespace, c.domain)
        self._link = CrispLink(self._spinning.node, c)
        self._spinning.start()
        try:
            wait_until(lambda: not self._link.missing(), c.readings_s, "readings")
        except RobotError as e:
            raise RobotError(
                f"CRISP's topics {', '.join(self._link.missing())} said nothing within {c.readings_s:.0f} s in the "
                f"namespace '{c.namespace or '/'}'; start its controllers, or set driver.namespace and driver.domain"
            ) from e
        state = self._link.state()
        if state is None:
            raise RobotError(f"CRISP's joint_states do not name {list(c.joints)}; set driver.joints")
        self._guard.check_start(state)
        if not self._link.wait_for_controller(c.readings_s):
            raise RobotError(
                f"no controller offers the parameters of '{c.controller}', so its stiffness is unknown; start it, or "
                "set driver.controller"
            )
        self._link.set_compliance(self._compliance)
        rotation_step(state.quat_BE, state.quat_BE, 0.1)  # compiled now, not in the loop
        self._hold(state)
        self._state = state
        self._executed = self._held(())
        self._thread.start()

    def read(self) -> Reading:
        """Return the newest reading."""
        with self._lock:
            if self._ended.is_set() or self._state is None:
                raise RobotError("the CRISP driver was closed")
            mode = Mode.RESETTING if self._moving and not self._machine.held else self._machine.mode
            return Reading(
                self._state, mode, self._machine.reason, self._executed, self._sequence, dict(self._machine.counts),
                self._machine.recoveries_left(time.monotonic()), TickStatistics(ticks=self._ticks),
            )  # fmt: skip

    def send(self, command: ArmCommand, sequence: int, stamp_s: float) -> None:
        """Ask for a tool pose."""
        with self._lock:
            self._request = (command, sequence, stamp_s)

    def begin_reset(self, request: ResetRequest) -> None:
        """Begin to drive straight up, across and down; objects are a person's matter."""
        self._guard.check_reset(request.p_BE, request.quat_BE)
        with self._lock:
            state = self._ready_to_move()
            high = max(self._guard.limits.box_max_m[2] - CEILING_M, float(state.p_BE[2]))
            goal, quat = np.array(request.p_BE, float), np.array(request.quat_BE, float)
            over = [np.array([*state.p_BE[:2], high]), np.array([*goal[:2], high]), goal]
            self._way = [(over[0], state.quat_BE.copy()), (over[1], quat), (over[2], quat)]
            self._open_m = request.gripper_width_m
            self._link.send_gripper(False, self.config.gripper_m)

    def move_joints(self, q: Vector) -> None:
        """Begin to drive to joint positions, where CRISP's controller follows them."""
        how = self.config.joint_moves
        if how == "none":
            raise RobotError(
                "CRISP's Cartesian controller follows poses, not joints; if yours follows target_joint too, set "
                "driver.joint_moves to goal or stream"
            )
        with self._lock:
            state = self._ready_to_move()
            move = JointMove(state.q, np.array(q, float))
            self._joint_move = (move, time.monotonic())
            self._moving_until_s += move.duration_s
            if how == "goal":
                self._link.send_joints(np.array(q, float))

    def home(self) -> None:
        """Begin to drive to the home posture."""
        self.move_joints(np.array(HOME_Q))

    def stop(self, reason: str) -> None:
        """Latch a stop."""
        with self._lock:
            self._guard.stop(reason)
            self._fault(reason, soft=False)

    def acknowledge(self, who: str) -> None:
        """End a stop or a hold on a person's word."""
        with self._lock:
            self._machine.acknowledge(who, time.monotonic())

    def recover(self) -> None:
        """End a hold within the budget."""
        with self._lock:
            place = None if self._state is None else tuple(self._state.p_BE)
            self._machine.recover(time.monotonic(), place)

    def set_compliance(self, compliance: Compliance) -> None:
        """Change stiffness, damping and clips; CRISP's controller decides how fast."""
        self._compliance = compliance
        self._link.set_compliance(compliance)

    def close(self) -> None:
        """Hold where the arm is, and leave."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        spinning, self._spinning = self._spinning, None
        if spinning is not None:
            spinning.close()

    # The loop -------------------------------------------------------------------------------------------------------
    @property
    def _moving(self) -> bool:
        return bool(self._way) or self._joint_move is not None

    def _ready_to_move(self) -> RobotState:
        if self._state is None or self._machine.held or self._moving:
            mode = "RESETTING" if self._moving else f"{self._machine.mode.name} ({self._machine.reason})"
            raise RobotError(f"a reset can begin only while the arm runs; it is {mode}. Recover or acknowledge first.")
        self._hold(self._state)
        self._guard.reset_episode()
        self._commanded = False
        self._moving_until_s = time.monotonic() + RESET_S
        return self._state

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._ended.is_set():
            with self._lock:
                try:
                    self._tick(time.monotonic())
                except Exception as e:  # whatever it is, the arm must not be left to its last target
                    log.exception("the CRISP driver failed")
                    self._machine.stop(f"the driver failed ({type(e).__name__}: {e})", time.monotonic())
            self._ticks += 1
            due_s = max(due_s + DT_S, time.monotonic())
            self._ended.wait(due_s - time.monotonic())
        if self._state is not None:
            self._link.send_pose(self._state.p_BE, self._state.quat_BE)

    def _tick(self, now: float) -> None:
        state = self._link.state()
        if state is not None:
            self._state = state
        state = self._state
        assert state is not None  # `start` waited for it
        if now - state.stamp_s > self.config.state_age_s:
            self._fault(f"CRISP's readings are {now - state.stamp_s:.2f} s old", soft=True)
        elif self._machine.mode is Mode.RECOVERING:
            self._guard.acknowledge()
            self._hold(state)
            self._machine.recovered(now)
            self._executed = self._held(())
        if self._moving:
            self._take_request(now, state, execute=False)
            self._move_on(now, state)
        elif not self._take_request(now, state, execute=True):
            self._obey(self._guard.review(state, now), follow=self._commanded)
        if self._joint_move is None:
            self._slew()
            self._link.send_pose(*self._reference)

    def _take_request(self, now: float, state: RobotState, *, execute: bool) -> bool:
        """Answer a new request; return whether there was one."""
        request, self._request = self._request, None
        if request is None:
            return False
        command, self._sequence, stamp_s = request
        if not self._machine.admits(self._sequence, stamp_s):
            self._executed = self._held(("held",))
        elif not execute:
            self._executed = self._held(("resetting",))
        else:
            executed = self._guard.check(command, state, now, stamp_s)
            if self._obey(executed, follow=True):
                self._executed, self._commanded = executed, True
                if executed.close_gripper != self._link.closing:
                    self._link.send_gripper(executed.close_gripper, self._open_m)
        return True

    def _obey(self, executed: Executed, *, follow: bool) -> bool:
        """Follow what the guard lets through, or hold or stop if it says so; return whether the arm runs."""
        ran = not self._machine.held
        if self._guard.stopped:
            self._fault(self._guard.stop_reason, soft=False)
        elif _SOFT.intersection(executed.events):
            self._fault(executed.reason, soft=True, free=tuple(executed.events) == ("stale_command",))
        if self._machine.held:
            if ran:
                self._executed = self._held(tuple(executed.events))
            return False
        if follow:
            self._target = (np.array(executed.p_BE), np.array(executed.quat_BE))
        return True

    def _move_on(self, now: float, state: RobotState) -> None:
        """Watch a reset, and go to its next point."""
        events = self._guard.watch(state, now)
        if self._guard.stopped:
            self._fault(self._guard.stop_reason, soft=False)
        elif _SOFT.intersection(events):
            self._fault(f"the guard held the arm during a reset: {events[0]}", soft=True)
        elif now > self._moving_until_s:
            self._fault(f"the reset did not arrive within {RESET_S:.0f} s; something is in the way", soft=True)
        elif self._joint_move is not None:
            self._follow_joints(now, state, *self._joint_move)
        else:
            self._target = p, quat = self._way[0]
            there = np.linalg.norm(state.p_BE - p) < ARRIVED_M and quat_angle(state.quat_BE, quat) < ARRIVED_RAD
            if there and np.allclose(self._reference[0], p):
                self._way.pop(0)
                if not self._way:
                    self._link.send_gripper(False, self._open_m)
                    self._guard.reset_episode()

    def _follow_joints(self, now: float, state: RobotState, move: JointMove, began_s: float) -> None:
        q, _ = move.at(min(now - began_s, move.duration_s))
        if self.config.joint_moves == "stream":
            self._link.send_joints(q)
        goal, _ = move.at(move.duration_s)
        if now - began_s >= move.duration_s and np.abs(state.q - goal).max() < ARRIVED_RAD:
            self._joint_move = None
            self._hold(state)
            self._guard.reset_episode()

    def _slew(self) -> None:
        """Move what CRISP is told towards the target, no faster than the task or a reset may be."""
        c = self._compliance
        speed_m_s, speed_rad_s = (RESET_M_S, RESET_RAD_S) if self._way else (c.speed_m_s, c.speed_rad_s)
        (p, quat), (goal, goal_quat) = self._reference, self._target
        step = np.array(clip_norm_t(goal - p, speed_m_s * DT_S))
        self._reference = (goal.copy() if np.allclose(step, goal - p) else p + step,
                           rotation_step(quat, goal_quat, speed_rad_s * DT_S))  # fmt: skip

    def _fault(self, reason: str, *, soft: bool, free: bool = False) -> None:
        ran = not self._machine.held
        self._machine.fault(reason, soft=soft, now_s=time.monotonic(), free=free)
        if ran and self._state is not None:
            self._hold(self._state)
        self._commanded = False
        self._way, self._joint_move = [], None

    def _hold(self, state: RobotState) -> None:
        """Aim at where the arm is, once: a hold neither creeps nor pulls."""
        self._target = (state.p_BE.copy(), state.quat_BE.copy())
        self._reference = (state.p_BE.copy(), state.quat_BE.copy())

    def _held(self, events: tuple[str, ...]) -> Executed:
        p, quat = self._target
        held = self._machine.held
        return Executed(p.copy(), quat.copy(), self._link.closing, events, held, self._machine.reason if held else "")


def make_driver(
    task: Task,
    cell: Cell,
    namespace: str = "",
    domain: int | None = None,
    controller: str = "cartesian_impedance_controller",
    joints: tuple[str, ...] = CrispConfig.joints,
    wrench_topic: str = "",
    gripper_state: str = CrispConfig.gripper_state,
    gripper_command: str = CrispConfig.gripper_command,
    gripper_closed: float = 0.0,
    gripper_open: float = 1.0,
    gripper_m: float = 0.08,
    joint_moves: str = "none",
    readings_s: float = 20.0,
    state_age_s: float = 0.1,
    recoveries: int = 3,
    window_s: float = 600.0,
) -> CrispDriver:
    """Return a driver for the arm that CRISP's controllers move; see `CrispConfig` for the settings.

    Raises:
        ConfigError: The cell's bounds are missing or do not fit the task.
        RobotError: Nobody looked through this cell today and signed it; an address of this machine, where only a
            simulator can be, needs no signature.
    """
    config = CrispConfig(
        namespace=namespace, domain=domain, controller=controller, joints=joints, wrench_topic=wrench_topic,
        gripper_state=gripper_state, gripper_command=gripper_command, gripper_closed=gripper_closed,
        gripper_open=gripper_open, gripper_m=gripper_m, joint_moves=joint_moves, readings_s=readings_s,
        state_age_s=state_age_s,
    )  # fmt: skip
    driver = CrispDriver(task, cell, config, recoveries, window_s)
    check_preflight(cell)
    return driver
