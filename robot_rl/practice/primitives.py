"""Scripted motions that bring a scene back: put down, open, lift, retreat, move there, grasp and place.

Each is a closed loop over the measured pose: a command, the guard, a control period, a look. Each ends with what became
of it: it arrived, its time ran out, or the guard did not let it go on. None of them needs to know what robot it moves.
"""

from __future__ import annotations

import math

import numpy as np

from robot_rl.geometry import quat_conj, quat_from_rotvec, quat_mul, quat_to_matrix, rotvec_from_quat
from robot_rl.practice.graph import MotionConfig
from robot_rl.practice.motion import Outcome, Progress, changed, joined
from robot_rl.robot import ArmCommand, Executed, Robot, RobotState, Vector
from robot_rl.task import Limits, Task

REST_M_S, REST_RAD_S = 0.01, 0.1
LEAD, LEAD_M = 0.2, 0.012  # joint friction leaves an error: this share of it is added to the target at every look
FINGERS_S, FINGERS_M = 0.3, 0.0005  # fingers that moved less than this for so long have come to rest
MARGIN_M = 0.005  # kept from the edges of the workspace
DRAG_M, DRAG_S, OFF_CENTRE, PRESS_M = 0.04, 2.0, 0.2, 0.012  # how an object is pulled from above
_REFUSALS = frozenset(("workspace", "cone", "keep_out", "measured_workspace", "measured_cone", "measured_keep_out"))


class Primitives:
    """The motions of one arm within one task's workspace.

    Args:
        robot: Is moved; it has been reset at least once.
        task: Gives the limits; of every node on the robot they are the same.
        period_s: Control period.
        config: How to move.
    """

    def __init__(self, robot: Robot, task: Task, period_s: float, config: MotionConfig) -> None:
        self.robot, self.task, self.config, self._period_s = robot, task, config, period_s

    @property
    def _limits(self) -> Limits:
        return self.task.limits

    def holds(self, state: RobotState) -> bool:
        """Return whether there is something between the closed fingers."""
        return state.gripper_closing and state.gripper_width_m > self.config.held_m

    def held(self) -> str:
        """Return why the robot does not let itself be moved, in words, and empty when it does.

        It costs a control period: the robot is told to stay where it is, and its guard answers.
        """
        state = self.robot.observe()
        executed = self.robot.command(ArmCommand(state.p_BE, state.quat_BE, state.gripper_closing))
        return (executed.reason or "the guard holds the arm") if executed.stopped else ""

    def open(self) -> Outcome:
        """Open the fingers where the tool is."""
        return self._fingers("open", close=False)

    def close(self) -> Outcome:
        """Close the fingers; "missed" when there is nothing between them."""
        done = self._fingers("close", close=True)
        if done.reached and not self.holds(self.robot.observe()):
            return changed(done, "missed", "the fingers closed on nothing")
        return done

    def lift(self) -> Outcome:
        """Move straight up by the lift, as far as the workspace goes, the fingers as they are."""
        state = self.robot.observe()
        up = state.p_BE + np.array([0.0, 0.0, self.config.lift_m])
        return self.move("lift", up, state.quat_BE, state.gripper_closing)

    def retreat(self) -> Outcome:
        """Open, and move straight up to the top of the workspace."""
        opened = self.open()
        if not opened.reached:
            return changed(opened, opened.result, opened.reason, motion="retreat")
        state = self.robot.observe()
        return joined(opened, self.move("retreat", _high(state.p_BE), state.quat_BE, close=False))

    def put_down(self) -> Outcome:
        """Lower what is held until it stands on something, let it go, and lift the hand."""
        state = self.robot.observe()
        down = np.array([state.p_BE[0], state.p_BE[1], -math.inf])
        lowered = self.move("put_down", down, state.quat_BE, close=True, until_contact=True)
        if not lowered.reached:
            return lowered
        opened = joined(lowered, self.open())
        return opened if not opened.reached else joined(opened, self.lift())

    def grasp(self, p_BO: Vector, quat_BO: Vector, quarter_turns: int = 0) -> Outcome:
        """Grasp an object from above, and lift it.

        Args:
            p_BO, quat_BO: Its pose.
            quarter_turns: Turns the hand by so many right angles: another pair of sides, when one is out of reach.
        """
        quat = facing(self.robot.observe().quat_BE, quat_BO, quarter_turns)
        above = p_BO + np.array([0.0, 0.0, self.config.clearance_m])
        done = self.retreat()
        if done.reached:
            done = joined(done, self.move("above", above, quat, close=False))
        if done.reached:
            done = joined(done, self.move("down", p_BO, quat, close=False))
        if done.reached or done.result == "timed out":
            # Fingers that stand on something beside the object may still be around its upper half.
            closed = joined(done, self.close())
            done = closed if done.reached or closed.reached else changed(closed, done.result, done.reason)
        if done.reached:
            done = joined(done, self.move("up", above, quat, close=True))
        if done.reached and not self.holds(self.robot.observe()):
            done = changed(done, "missed", "the object slipped out of the fingers")
        return changed(done, done.result, done.reason, motion="grasp")

    def drag(self, p_BO: Vector, towards: Vector) -> Outcome:
        """Press on an object from above with closed fingers, and pull it a little way, as out of a corner.

        Args:
            p_BO: Where it is [m].
            towards: Place that it is pulled towards [m].
        """
        way = np.array([*(towards - p_BO)[:2], 0.0])
        way *= min(1.0, DRAG_M / max(float(np.linalg.norm(way)), 1e-9))
        # Not on its middle: on the far side the hand would meet whatever the object leans on.
        at = p_BO + OFF_CENTRE * way
        done = self.retreat()  # nothing must be left in the hand
        quat = self.robot.observe().quat_BE
        if done.reached:
            done = joined(done, self._fingers("close", close=True))
        above = at + np.array([0.0, 0.0, self.config.clearance_m])
        for name, p, contact in (("above", above, False), ("press", at, True)):
            if done.reached:
                done = joined(done, self.move(name, p, quat, close=True, until_contact=contact))
        if done.reached:
            pressed = self.robot.observe().p_BE + way - np.array([0.0, 0.0, PRESS_M])
            pulled = self.move("pull", pressed, quat, close=True, timeout_s=DRAG_S)
            done = joined(joined(done, pulled), self.lift())
        return changed(done, done.result, done.reason, motion="drag")

    def place(self, p_BO: Vector) -> Outcome:
        """Carry what is held to above a place, lower it until it stands, let it go, and lift the hand.

        Args:
            p_BO: (3,) where it shall stand [m].
        """
        quat = self.robot.observe().quat_BE
        above = np.array([p_BO[0], p_BO[1], p_BO[2] + self.config.clearance_m])
        done = self.move("carry", above, quat, close=True)
        if done.reached and not self.holds(self.robot.observe()):
            done = changed(done, "missed", "the object was dropped on the way")
        done = joined(done, self.put_down()) if done.reached else done
        return changed(done, done.result, done.reason, motion="place")

    def move(
        self,
        name: str,
        p_BE: Vector,
        quat_BE: Vector,
        close: bool,
        *,
        tolerance_m: float | None = None,
        timeout_s: float | None = None,
        until_contact: bool = False,
    ) -> Outcome:
        """Lead the tool to a pose in B.

        Args:
            name: Of the motion, for the record.
            p_BE, quat_BE: Goal. Heights beyond the workspace mean its edge; elsewhere the guard refuses.
            close: Whether the fingers close meanwhile.
            tolerance_m: Arrived when this near; by default as configured.
            timeout_s: Longest duration; by default as configured.
            until_contact: Whether it has arrived too when something keeps the tool from sinking further.
        """
        c, limits = self.config, self._limits
        tolerance_m = c.tolerance_m if tolerance_m is None else tolerance_m
        timeout_s = c.timeout_s if timeout_s is None else timeout_s
        goal = np.array(p_BE, float)
        goal[2] = np.clip(goal[2], limits.box_min_m[2] + MARGIN_M, limits.box_max_m[2] - MARGIN_M)
        run = Progress(name, goal, self._period_s)
        state, lead = self.robot.observe(), np.zeros(3)
        while run.seconds < timeout_s - 1e-9:
            away = goal - state.p_BE
            turn = rotvec_from_quat(quat_mul(quat_BE, quat_conj(state.quat_BE)))
            off_m, off_rad = float(np.linalg.norm(away)), float(np.linalg.norm(turn))
            if off_m < tolerance_m and off_rad < c.tolerance_rad and _at_rest(state):
                return run.end("reached", state)
            step_m, step_rad = c.speed_m_s * self._period_s, c.speed_rad_s * self._period_s
            if off_m < step_m:
                lead = np.clip(lead + LEAD * away, -LEAD_M, LEAD_M)
            p = state.p_BE + away * min(1.0, step_m / max(off_m, 1e-9)) + lead
            quat = quat_mul(quat_from_rotvec(turn * min(1.0, step_rad / max(off_rad, 1e-9))), state.quat_BE)
            executed, state = self._step(p, quat, close, run)
            if executed.stopped:
                return run.end("blocked", state, executed.reason or "the guard stopped the arm")
            run.progress(float(np.linalg.norm(goal - state.p_BE)), bool(_REFUSALS & set(executed.events)))
            if until_contact and run.sunk(float(state.p_BE[2])):
                return run.end("reached", state)
            if run.refused:
                return run.end("blocked", state, f"the guard does not let it on: {', '.join(executed.events)}")
        return run.end("timed out", state, f"it was still {1e3 * run.off(state):.0f} mm away after {timeout_s:g} s")

    def _fingers(self, name: str, close: bool) -> Outcome:
        """Open or close the fingers until they rest, the tool held where it is."""
        state = self.robot.observe()
        run, p, quat = Progress(name, state.p_BE, self._period_s), state.p_BE, state.quat_BE
        width, still_s = state.gripper_width_m, 0.0
        while run.seconds < self.config.timeout_s - 1e-9:
            executed, state = self._step(p, quat, close, run)
            if executed.stopped:
                return run.end("blocked", state, executed.reason or "the guard stopped the arm")
            still_s = still_s + self._period_s if abs(state.gripper_width_m - width) < FINGERS_M else 0.0
            width = state.gripper_width_m
            if still_s > FINGERS_S - 1e-9:
                return run.end("reached", state)
        return run.end("timed out", state, "the fingers did not come to rest")

    def _step(self, p: Vector, quat: Vector, close: bool, run: Progress) -> tuple[Executed, RobotState]:
        executed = self.robot.command(ArmCommand(p, quat, close))
        run.step(executed)
        return executed, self.robot.observe()


def facing(quat_BE: Vector, quat_BO: Vector, quarter_turns: int = 0) -> Vector:
    """Return the downward orientation of the tool whose fingers face an object's upright sides.

    Of the four equivalent ones, that which turns the least from where the tool is; and then by right angles, an odd
    number of them the way that leads back towards home, for beyond a right angle the wrist comes near its limit.
    """
    m, tool = quat_to_matrix(quat_BO), quat_to_matrix(quat_BE)
    level = int(np.argmin(np.abs(m[2])))  # whichever of its sides the object lies on
    yaw = math.atan2(m[1, level], m[0, level])
    now = math.atan2(tool[1, 0], tool[0, 0])
    turn = (yaw - now + np.pi / 4) % (np.pi / 2) - np.pi / 4
    wanted = now + turn
    wanted += 0.5 * np.pi * quarter_turns * (-1.0 if quarter_turns % 2 and wanted > 0.0 else 1.0)
    wanted = math.atan2(math.sin(wanted), math.cos(wanted))
    down = np.array([0.0, 1.0, 0.0, 0.0])
    return quat_mul(np.array([math.cos(0.5 * wanted), 0.0, 0.0, math.sin(0.5 * wanted)]), down)


def _high(p: Vector) -> Vector:
    """Return the place at the top of the workspace above a place."""
    return np.array([p[0], p[1], math.inf])


def _at_rest(state: RobotState) -> bool:
    return bool(np.linalg.norm(state.V_BE[:3]) < REST_M_S and np.linalg.norm(state.V_BE[3:]) < REST_RAD_S)
