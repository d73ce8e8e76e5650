"""From what the arm shall do to torques: follow a tool pose, follow a joint move, or hold.

Whatever it switches between, the torques go on from what the robot was told last, and change by less than the robot's
limit in each tick.
"""

from __future__ import annotations

import numpy as np

from robot_rl.geometry import Vector
from robot_rl.task import Compliance
from robot_rl_controllers.drive.plant import Sample
from robot_rl_controllers.gains import pack_limits
from robot_rl_controllers.impedance import Impedance, reset_reference
from robot_rl_controllers.joint_motion import (
    DURATION_S,
    MOVE_GAINS,
    MOVE_LIMITS,
    MOVE_PLAN,
    MOVE_Q,
    MOVE_SIZE,
    MotionLimits,
    joint_tick,
    pack_joint_gains,
    plan_move,
)


class Motion:
    """The control law of one arm with what it follows.

    Attributes:
        held: (7,) pose that was measured when the last hold began: position [m] and orientation wxyz in B.
    """

    def __init__(self, compliance: Compliance, dt_s: float) -> None:
        self._dt_s = dt_s
        self._law = Impedance(compliance)
        move = self._move = np.zeros(MOVE_SIZE)
        self._plan, self._move_limits = move[MOVE_PLAN:MOVE_Q], move[MOVE_LIMITS:]
        move[MOVE_GAINS:MOVE_LIMITS], self._move_limits[:] = pack_joint_gains(), pack_limits(compliance)
        self._plan_s = 0.0
        self._in_joints = False
        self.held = np.zeros(7)

    @property
    def in_joints(self) -> bool:
        """Whether a joint move is followed, or held at its end."""
        return self._in_joints

    @property
    def joint_move_over(self) -> bool:
        """Whether no joint move is under way."""
        return not self._in_joints or self._plan_s >= self._plan[DURATION_S]

    def start(self, sample: Sample) -> None:
        """Begin anew at a measured pose, with the wanted gains in force."""
        self._law.start(sample.q, sample.p_BE, sample.quat_BE)
        self.hold(sample)

    def hold(self, sample: Sample) -> None:
        """Hold the measured pose and posture from now on.

        A pose that cannot be read leaves the reference unknown; the law then takes the first one that can.
        """
        law = self._law
        reset_reference(law.reference, sample.p_BE, sample.quat_BE)
        law.target[:] = law.reference
        if np.isfinite(sample.q).all():
            law.null_q[:] = sample.q
        if np.isfinite(law.reference).all():
            self.held[:] = law.reference
        self._in_joints = False

    def follow_pose(self, p: Vector, quat: Vector) -> None:
        """Go to a tool pose in B: (3,) [m] and (4,) wxyz."""
        self._law.set_target(p, quat)

    def follow_joints(self, sample: Sample, goal: Vector, limits: MotionLimits) -> None:
        """Drive to joint positions (7,) [rad] with limited jerk, then hold them.

        Raises:
            RobotError: The goal is outside the joint limits.
        """
        self._plan[:] = plan_move(sample.q, goal, limits)
        self._plan_s = 0.0
        self._in_joints = True

    def set_compliance(self, compliance: Compliance) -> None:
        """Change stiffness, damping, clips and speeds; stiffness and damping slew."""
        self._law.set_compliance(compliance)
        self._move_limits[:] = pack_limits(compliance)

    def update(self, sample: Sample) -> Vector:
        """Return the torques (7,) [N m] of this tick; the array is reused by the next."""
        law = self._law
        if not self._in_joints:
            return law.tick(sample.packed, self._dt_s)
        self._plan_s += self._dt_s
        joint_tick(sample.packed, self._move, self._plan_s, law.tau, self._dt_s)
        return law.tau
