"""A Franka FR3 under torque control: the `Plant` that a driver's loop reads and answers once a millisecond.

pylibfranka holds Python's lock while it waits for the robot. So a process that uses this class has no other thread, and
the hand is served by another process (`robot_rl_hardware.grippers`).

Nothing here starts again by itself: when the robot ends a motion, `read` or `write` raises what it was, and the robot
stays as it is until `recover` and `begin` are called. Meanwhile `read` goes on telling the state.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from robot_rl.compiled import kernel
from robot_rl.errors import MissingDependency, RobotError
from robot_rl.geometry import Vector, matrix_to_quat_into
from robot_rl.task import SceneObject
from robot_rl.typed import build
from robot_rl_controllers.drive.fr3_kinematics import FLANGE_M, LINKS, forward, jacobian
from robot_rl_controllers.drive.plant import PlantFault, Sample
from robot_rl_hardware.fci import faults
from robot_rl_hardware.fci.objects import RigObjects
from robot_rl_hardware.fci.settings import FciSettings
from robot_rl_hardware.grippers.client import GripperClient, open_gripper

log = logging.getLogger(__name__)

AT_REST_RAD_S = 0.05
REST_WAIT_S = 2.0
FRAME_TOLERANCE = 1e-4  # the protocol carries single precision
ENDING_TICKS = 5


@kernel
def take(
    columns: Vector, q: Vector, links: Vector, tool: Vector, anchors: Vector, axes: Vector, pose: Vector, p: Vector,
    quat: Vector, J: Vector,
) -> None:  # fmt: skip
    """Fill in position (3,) and quaternion (4,) wxyz of the measured tool pose, and its Jacobian (6, 7) in B.

    Args:
        columns: (16,) the measured pose as it came, column by column.
        q: (7,) joint positions [rad].
        links, tool: of the arm, see `fr3_kinematics`.
        anchors, axes, pose: scratch, (7, 3), (7, 3) and (7,).
        p, quat, J: receive the result.
    """
    turn = np.empty((3, 3))
    for column in range(3):
        p[column] = columns[12 + column]
        for row in range(3):
            turn[row, column] = columns[4 * column + row]
    matrix_to_quat_into(quat, turn)
    forward(links, tool, q, anchors, axes, pose)
    jacobian(anchors, axes, pose, J)


class FciPlant:
    """One arm, and its gripper if it has one.

    Attributes:
        dt_s: One control period of the robot.
    """

    dt_s = 0.001

    def __init__(self, settings: FciSettings, scene: Mapping[str, Any] | None = None) -> None:
        """Prepare; nothing is opened before `connect`.

        Args:
            settings: of the robot.
            scene: objects that the rig knows by where they were put, as plain settings of `SceneObject`.
        """
        self.settings = settings
        self._objects = RigObjects({n: build(SceneObject, v, f"scene.{n}") for n, v in (scene or {}).items()})
        self._p, self._quat = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        self._pf: Any = None
        self._robot: Any = None
        self._model: Any = None
        self._control: Any = None
        self._gripper: GripperClient | None = None
        self._pose = np.zeros(16)
        tool = np.array([*settings.p_FE[:2], FLANGE_M + settings.p_FE[2], *settings.quat_FE])
        self._kinematics = LINKS, tool, np.zeros((7, 3)), np.zeros((7, 3)), np.zeros(7)
        self._sign = settings.wrench_sign

    # ----------------------------------------------------------------------------------------------------- opening

    def connect(self) -> None:
        """Open robot and gripper, set tool frame, load and reflexes, and check what the robot made of them.

        Raises:
            RobotError: The robot cannot be reached or is not as the settings say.
            MissingDependency: pylibfranka is not installed.
        """
        self._take(np.eye(4).ravel(), Sample())  # compile before the first deadline
        self._open()
        if self.settings.clear_at_start and _mode(self._robot.read_once()) == "Reflex":
            try:
                self._clear()
            except PlantFault as fault:
                raise RobotError(fault.reason) from None
        if self._gripper is None:
            self._gripper = open_gripper(self.settings.gripper, self.settings.address, self.settings.gripper_settings)

    def _open(self) -> None:
        pf = self._pf = _library()
        address = self.settings.address
        config = pf.RealtimeConfig.kEnforce if self.settings.realtime == "enforce" else pf.RealtimeConfig.kIgnore
        self._release()
        try:
            # The library closes a connection when its object goes. An exception keeps the variables of the functions it
            # passed through, so the robot is never one of them: the next connection would wait for this one for ever.
            self._robot = pf.Robot(address, config)
            self._configure()
            self._model = self._robot.load_model()
            self._check_kinematics(self._robot.read_once())
        except RobotError:
            self._release()
            raise
        except pf.RealtimeException as e:
            self._release()
            raise RobotError(
                f"{faults.clean(e)} A real arm needs a kernel with PREEMPT_RT; realtime=ignore is for a simulator."
            ) from None
        except RuntimeError as e:  # the library's errors have no family
            self._release()
            raise RobotError(_unreachable(address, faults.clean(e))) from None

    def _release(self) -> None:
        self._control = self._model = self._robot = None

    def _configure(self) -> None:
        """Set frames, load and reflexes, then read back what the robot made of them."""
        s = self.settings
        X_FN = _matrix(self._robot.read_once().F_T_NE)
        X_NE = np.linalg.inv(X_FN) @ s.X_FE  # Desk may have set a nominal end effector N already
        self._robot.set_EE(_columns(X_NE))
        self._robot.set_K(_columns(np.eye(4)))  # forces are told at E
        self._robot.set_load(s.load_kg, list(s.p_FL), [float(v) for v in np.reshape(s.inertia_L, (3, 3)).T.ravel()])
        torque, force = list(s.reflex_torque_nm), [s.reflex_force_n] * 3 + [0.3 * s.reflex_force_n] * 3
        self._robot.set_collision_behavior(torque, torque, force, force)
        state = self._settled()
        wrong = np.abs(_matrix(state.F_T_EE) - s.X_FE).max()
        if not wrong < FRAME_TOLERANCE:
            raise RobotError(
                f"the robot's tool frame is {wrong:.4f} off the one asked for (F_T_EE {_told(state.F_T_EE)}, wanted "
                f"{_told(_columns(s.X_FE))}); set the end effector in Desk, or p_FE and quat_FE"
            )
        expects_hand = s.gripper == "franka_hand" and not s.simulated
        if expects_hand and state.m_ee + s.load_kg < 0.3:
            raise RobotError(
                f"the robot thinks that it carries {state.m_ee:.2f} kg, but a Franka Hand weighs 0.73 kg: "
                "it would push upwards. Choose the Franka Hand as end effector in Desk, or set load_kg and p_FL"
            )

    def _check_kinematics(self, state: Any) -> None:
        """Compare our Jacobian, which costs a tenth, with that of the robot's own description."""
        sample = Sample()
        sample.q[:] = state.q
        self._take(np.array(state.O_T_EE), sample)
        theirs = np.array(self._model.zero_jacobian(state)).reshape(7, 6).T
        apart = np.abs(sample.J - theirs).max()
        if not apart < FRAME_TOLERANCE:
            raise RobotError(
                f"the robot's description of itself and ours of an FR3 differ by {apart:.4f} in the tool's Jacobian; "
                "this driver moves an FR3 only"
            )

    def _settled(self) -> Any:
        """Return a state that was sent after the last setting took effect."""
        state = self._robot.read_once()
        for _ in range(20):
            if np.abs(_matrix(state.F_T_EE) - self.settings.X_FE).max() < FRAME_TOLERANCE:
                break
            state = self._robot.read_once()
        return state

    # ----------------------------------------------------------------------------------------------------- the loop

    def begin(self, sample: Sample) -> None:
        """Take over torque control at rest and fill in a first sample; raises `PlantFault`."""
        pf = self._pf
        if self._robot is None:
            raise PlantFault("the robot is not connected", recoverable=False)
        try:
            self._wait_for_rest()
            self._control = self._robot.start_torque_control()
            self._fill(sample, self._control.readOnce()[0])
        except (pf.ControlException, pf.CommandException, pf.InvalidOperationException) as e:
            self._ended(e)
        except pf.NetworkException as e:
            self._gone(e)

    def _wait_for_rest(self) -> None:
        deadline = time.monotonic() + REST_WAIT_S
        while True:
            state = self._robot.read_once()
            mode, errors = _mode(state), faults.names_in(str(state.current_errors))
            fault = faults.of_mode(mode, errors)
            if fault is not None:
                raise fault
            speed = max(map(abs, state.dq))
            if speed < AT_REST_RAD_S:
                return
            if time.monotonic() > deadline:
                raise PlantFault(
                    f"the arm still moves ({speed:.2f} rad/s after {REST_WAIT_S:.0f} s); wait for it to rest"
                )

    def read(self, sample: Sample) -> None:
        """Wait for the next state and fill it in; raises `PlantFault` once for each motion that the robot ends."""
        pf = self._pf
        try:
            if self._control is not None:
                state = self._control.readOnce()[0]
            elif self._robot is not None:
                state = self._robot.read_once()
            else:
                raise PlantFault("the robot is not connected", recoverable=False)
        except (pf.ControlException, pf.CommandException, pf.InvalidOperationException) as e:
            self._ended(e)
        except pf.NetworkException as e:
            self._gone(e)
        self._fill(sample, state)

    def _fill(self, sample: Sample, state: Any) -> None:
        sample.stamp_s = time.monotonic()
        sample.robot_s = state.time.to_sec()
        sample.q[:] = state.q
        sample.dq[:] = state.dq
        sample.tau_prev[:] = state.tau_J_d
        self._pose[:] = state.O_T_EE
        sample.F_BE[:] = state.O_F_ext_hat_K
        sample.F_BE *= self._sign
        self._take(self._pose, sample)
        sample.coriolis[:] = self._model.coriolis(state)
        self._p, self._quat = sample.p_BE, sample.quat_BE
        if self._gripper is not None:
            sample.width_m = self._gripper.width_m

    def _take(self, columns: Vector, sample: Sample) -> None:
        take(columns, sample.q, *self._kinematics, sample.p_BE, sample.quat_BE, sample.J)

    def write(self, tau: Vector, finger_m: float) -> None:
        """Answer with torques (7,) [N m] without gravity and each finger's position [m]; raises `PlantFault`."""
        if self._gripper is not None and math.isfinite(finger_m):
            self._gripper.ask(2.0 * finger_m)
        if self._control is None:  # no motion runs: the robot holds itself
            return
        pf = self._pf
        try:
            self._control.writeOnce(pf.Torques(tau.tolist()))
        except (pf.ControlException, pf.CommandException, pf.InvalidOperationException) as e:
            self._ended(e)
        except pf.NetworkException as e:
            self._gone(e)

    def object_poses(self, out: Vector) -> None:
        """Fill in the (7 n,) poses in B of the objects that the rig knows."""
        self._objects.fill(out, self._p, self._quat)

    def place_objects(self, poses: Mapping[str, Vector]) -> None:
        """Remember where a person put objects: (7,) poses in B."""
        self._objects.place(poses)

    # ------------------------------------------------------------------------------------------------------- ending

    def end(self) -> None:
        """Give torque control back: the robot then holds its pose with its own controller."""
        control, self._control = self._control, None
        if control is None:
            return
        pf = self._pf
        try:
            for i in range(ENDING_TICKS):
                state = control.readOnce()[0]
                command = pf.Torques([0.8 * tau for tau in state.tau_J_d])
                command.motion_finished = i == ENDING_TICKS - 1
                control.writeOnce(command)
        except (pf.ControlException, pf.CommandException, pf.InvalidOperationException, pf.NetworkException) as e:
            log.warning("the robot ended the motion before we did: %s", faults.clean(e))

    def recover(self) -> None:
        """Clear the robot's own error, or reconnect if the connection was lost; raises `PlantFault`.

        A pressed user stop and an arm that is guided by hand are no errors: the fault says what to wait for.
        """
        self._control = None
        if self._robot is None:
            try:
                self._open()
            except RobotError as e:
                raise PlantFault(str(e), recoverable=False) from None
        self._clear()

    def _clear(self) -> None:
        pf = self._pf
        try:
            mode = _mode(self._robot.read_once())
            if mode in faults.BY_A_PERSON:
                raise PlantFault(faults.BY_A_PERSON[mode])
            if mode != "Idle":
                self._robot.automatic_error_recovery()
        except (pf.ControlException, pf.CommandException, pf.InvalidOperationException) as e:
            raise PlantFault(f"the robot could not clear its error: {faults.clean(e)}") from None
        except pf.NetworkException as e:
            self._gone(e)

    def close(self) -> None:
        """Release robot and gripper. Safe to call twice."""
        self.end()
        gripper, self._gripper = self._gripper, None
        if gripper is not None:
            gripper.close()
        self._release()

    def _ended(self, error: Exception) -> NoReturn:
        """Raise what the robot's end of a motion means."""
        self._control = None
        pf = self._pf
        names = faults.names_in(str(error))
        try:
            state = self._robot.read_once()
        except (pf.NetworkException, pf.InvalidOperationException) as e:
            self._gone(e)
        mode = _mode(state)
        if "User Stop" in str(error):  # the state may be told a little later than the end of the motion
            mode = "UserStopped"
        if mode in faults.BY_A_PERSON:
            raise PlantFault(faults.BY_A_PERSON[mode]) from None
        names = names or faults.names_in(str(state.current_errors)) or faults.names_in(str(state.last_motion_errors))
        raise faults.of_errors(names, faults.clean(error)) from None

    def _gone(self, error: Exception) -> NoReturn:
        self._release()
        raise faults.of_network(error, self.settings.address) from None


def _library() -> Any:
    try:
        import pylibfranka  # here, so that a machine without a Franka imports this module
    except ImportError:
        raise MissingDependency(
            "pylibfranka", "the Franka driver", "pip install 'robot-rl[franka]' (Linux on x86-64, Python 3.11 or 3.12)"
        ) from None
    return pylibfranka


def _mode(state: Any) -> str:
    return str(state.robot_mode.name)


def _matrix(columns: Any) -> Vector:
    return np.array(columns).reshape(4, 4).T


def _columns(X: Vector) -> list[float]:
    return [float(v) for v in X.T.ravel()]


def _told(columns: Any) -> str:
    return "[" + " ".join(f"{v:.3g}" for v in np.asarray(columns)) + "]"


def _unreachable(address: str, said: str) -> str:
    hint = (
        "check that it is switched on, that FCI is active in Desk and that this machine has an address in its network"
    )
    if "version" in said.lower():
        hint = "pylibfranka speaks to an FR3 with system 5.9.0 or newer; update it in Desk (docs/fci.md)"
    return f"the Franka at {address} could not be used: {said}; {hint}"
