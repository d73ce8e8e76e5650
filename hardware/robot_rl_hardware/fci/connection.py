"""The connection to a Franka: opened, told its tool, load and reflexes, checked, cleared of errors, and let go."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from robot_rl.errors import MissingDependency, RobotError
from robot_rl.geometry import Vector
from robot_rl_controllers.drive.plant import PlantFault
from robot_rl_hardware.fci import faults
from robot_rl_hardware.fci.settings import FciSettings
from robot_rl_hardware.fci.state import StateReader

FRAME_TOLERANCE = 1e-4  # the protocol carries single precision
LIGHTEST_HAND_KG = 0.3


class Connection:
    """One robot, open or not.

    The library closes a connection when its object goes. An exception keeps the variables of the functions it passed
    through, so the robot is never one of them: the next connection would wait for this one for ever.

    Attributes:
        robot, model: Of pylibfranka; None while there is no connection.
        ended: The library's errors that end a motion or refuse a request.
        lost: Its error of a lost connection.
    """

    robot: Any = None
    model: Any = None
    ended: tuple[type[Exception], ...] = ()
    lost: type[Exception] = ConnectionError

    def __init__(self, settings: FciSettings) -> None:
        self._settings = settings

    def open(self, reader: StateReader, clear: bool) -> None:
        """Open it anew.

        Args:
            reader: Whose kinematics must be the robot's.
            clear: Whether to clear an error that the robot has since before.

        Raises:
            RobotError: The robot cannot be reached, or is not as the settings say.
            MissingDependency: pylibfranka is not installed.
        """
        pf = library()
        self.ended = (pf.ControlException, pf.CommandException, pf.InvalidOperationException)
        self.lost = pf.NetworkException
        s = self._settings
        config = pf.RealtimeConfig.kEnforce if s.enforces_realtime else pf.RealtimeConfig.kIgnore
        self.release()
        try:
            with _same_priority():
                self.robot = pf.Robot(s.address, config)
            if clear and self.mode() == "Reflex":
                self.robot.automatic_error_recovery()
            self._configure()
            self.model = self.robot.load_model()
            self._check_kinematics(reader)
        except RobotError:
            self.release()
            raise
        except pf.RealtimeException as e:
            self.release()
            raise RobotError(
                f"{faults.clean(e)} A real arm needs a kernel with PREEMPT_RT; realtime=ignore is for a simulator."
            ) from None
        except RuntimeError as e:  # the library's errors have no family
            self.release()
            raise RobotError(_unreachable(s.address, faults.clean(e))) from None

    def release(self) -> None:
        """Close it. Safe to call twice."""
        self.model = self.robot = None

    def mode(self) -> str:
        """Return the robot's mode."""
        return mode_of(self.robot.read_once())

    def clear(self) -> None:
        """Clear the robot's own error; raises `PlantFault`.

        A pressed user stop and an arm that is guided by hand are no errors: the fault says what to wait for.
        """
        try:
            mode = self.mode()
            if mode in faults.BY_A_PERSON:
                raise PlantFault(faults.BY_A_PERSON[mode])
            if mode != "Idle":
                self.robot.automatic_error_recovery()
        except self.ended as e:
            raise PlantFault(f"the robot could not clear its error: {faults.clean(e)}") from None

    def _configure(self) -> None:
        """Set frames, load and reflexes, then read back what the robot made of them."""
        s = self._settings
        X_FN = _matrix(self.robot.read_once().F_T_NE)
        X_NE = np.linalg.inv(X_FN) @ s.X_FE  # Desk may have set a nominal end effector N already
        self.robot.set_EE(_columns(X_NE))
        self.robot.set_K(_columns(np.eye(4)))  # forces are told at E
        self.robot.set_load(s.load_kg, list(s.p_FL), [float(v) for v in np.reshape(s.inertia_L, (3, 3)).T.ravel()])
        torque, force = list(s.reflex_torque_nm), [s.reflex_force_n] * 3 + [0.3 * s.reflex_force_n] * 3
        self.robot.set_collision_behavior(torque, torque, force, force)
        state = self._settled()
        wrong = np.abs(_matrix(state.F_T_EE) - s.X_FE).max()
        if not wrong < FRAME_TOLERANCE:
            raise RobotError(
                f"the robot's tool frame is {wrong:.4f} off the one asked for (F_T_EE {_told(state.F_T_EE)}, wanted "
                f"{_told(_columns(s.X_FE))}); set the end effector in Desk, or p_FE and quat_FE"
            )
        expects_hand = s.gripper == "franka_hand" and not s.simulated
        if expects_hand and state.m_ee + s.load_kg < LIGHTEST_HAND_KG:
            raise RobotError(
                f"the robot thinks that it carries {state.m_ee:.2f} kg, but a Franka Hand weighs 0.73 kg: "
                "it would push upwards. Choose the Franka Hand as end effector in Desk, or set load_kg and p_FL"
            )

    def _settled(self) -> Any:
        """Return a state that was sent after the last setting took effect."""
        state = self.robot.read_once()
        for _ in range(20):
            if np.abs(_matrix(state.F_T_EE) - self._settings.X_FE).max() < FRAME_TOLERANCE:
                break
            state = self.robot.read_once()
        return state

    def _check_kinematics(self, reader: StateReader) -> None:
        """Compare our Jacobian, which costs a tenth, with that of the robot's own description."""
        state = self.robot.read_once()
        theirs = np.array(self.model.zero_jacobian(state)).reshape(7, 6).T
        apart = np.abs(reader.jacobian_at(np.array(state.q)) - theirs).max()
        if not apart < FRAME_TOLERANCE:
            raise RobotError(
                f"the robot's description of itself and ours of an FR3 differ by {apart:.4f} in the tool's Jacobian; "
                "this driver moves an FR3 only"
            )


@contextlib.contextmanager
def _same_priority() -> Iterator[None]:
    """Keep the priority of this thread, which the library raises to the highest there is, whatever the settings say."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def library() -> Any:
    """Return pylibfranka, or raise `MissingDependency`."""
    try:
        import pylibfranka  # here, so that a machine without a Franka imports this module
    except ImportError:
        raise MissingDependency(
            "pylibfranka", "the Franka driver", "pip install 'robot-rl[franka]' (Linux on x86-64, Python 3.11 or 3.12)"
        ) from None
    return pylibfranka


def mode_of(state: Any) -> str:
    """Return the name of the robot's mode."""
    return str(state.robot_mode.name)


def _matrix(columns: Any) -> Vector:
    return np.array(columns).reshape(4, 4).T


def _columns(X: Vector) -> list[float]:
    return [float(v) for v in X.T.ravel()]


def _told(columns: Any) -> str:
    return "[" + " ".join(f"{v:.3g}" for v in np.asarray(columns)) + "]"


def _unreachable(address: str, said: str) -> str:
    hint = "check that it is switched on, that FCI is active in Desk and that this machine is in its network"
    if "version" in said.lower():
        hint = "pylibfranka speaks to an FR3 with system 5.9.0 or newer; update it in Desk (docs/fci.md)"
    elif "not possible in the current mode" in said:
        hint = "release the user stop and unlock the joints; after a reflex start with driver.clear_at_start=true"
    return f"the Franka at {address} could not be used: {said}; {hint}"
