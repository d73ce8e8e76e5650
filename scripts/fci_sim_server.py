"""Starts a simulated Franka FR3 that speaks the robot's network protocol on ports 1337 and 1338 of a loopback address.

The server is franka-sim, a project of others; added here are contact forces and the collision reflex, which it lacks,
a user stop, and a start posture over the table (B's z = 0 is the table top). Runs in `.venv-fci`; see docs/fci.md.

    bash scripts/fci_sim.sh run --host 127.0.0.1

Words on standard input act on it: "user-stop", "guide" and "release" as a person at the robot would, "reflex" as a
collision would. Each is repeated on standard output once it is done, after "ready". The server ends when standard input
closes, if told so by --until-eof.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import franka_sim  # pyright: ignore[reportMissingImports]
import mujoco
import numpy as np
from fci_sim_model import write_model
from franka_sim.control_modes import ControlMode  # pyright: ignore[reportMissingImports]
from franka_sim.franka_protocol import (  # pyright: ignore[reportMissingImports]
    MoveStatus,
    RobotMode,
    SetCollisionBehaviorCommand,
)
from franka_sim.franka_sim_server import FrankaSimServer  # pyright: ignore[reportMissingImports]
from franka_sim.mujoco_franka_sim import MujocoFrankaSim  # pyright: ignore[reportMissingImports]

log = logging.getLogger("fci-sim")

BY_A_PERSON = (RobotMode.kUserStopped, RobotMode.kGuiding)

HOME_Q = np.array([0.0, -0.38, 0.0, -2.32, 0.0, 1.94, 0.785398])
TORQUE_LIMITS = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])
CARTESIAN_REFLEX, LOST_PACKETS = 7, 25  # places in the protocol's list of errors
# Of the robot's own hold between motions: those of franka-sim ring at 500 Hz with this arm's small last links.
HOLD_STIFFNESS = np.array([600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0])  # N m/rad
HOLD_DAMPING = np.array([50.0, 50.0, 50.0, 50.0, 15.0, 10.0, 5.0])  # N m s/rad
FORCE_FILTER = 0.1  # share of a new force per millisecond: the real estimate lags a contact by some 10 ms, too


class ContactSim(MujocoFrankaSim):  # pyright: ignore[reportUntypedBaseClass]
    """The arm, with the estimate of external forces that the real robot sends."""

    def __init__(self, model_path: str) -> None:
        super().__init__(model_path=model_path)
        self.wrench = np.zeros(6)
        self.tau_ext = np.zeros(7)
        self.watch_force = None

    def initialize_simulation(self) -> None:
        """Build it and put it into the start posture."""
        super().initialize_simulation()
        self.data.qpos[self.arm_qpos_adr] = HOME_Q
        self.data.qvel[:] = 0.0
        mujoco.mj_forward(self.model, self.data)
        self.update_joint_positions(HOME_Q)
        self._position_feedforward.reset(HOME_Q)
        self.prev_dq = np.zeros(7)
        self._arm_bodies = {i for i in range(self.model.nbody) if self.model.body(i).name.startswith("fr3_")}
        self._jacobian = np.zeros((3, self.model.nv))
        self._read_and_publish_state()

    def run_simulation(self) -> None:
        """Say that clients may come, then run."""
        print("ready", flush=True)
        super().run_simulation()

    def _read_and_publish_state(self) -> None:
        # A step leaves poses of before it beside joint positions of after it; the robot's are of one instant.
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        super()._read_and_publish_state()
        if not hasattr(self, "_arm_bodies"):
            return
        wrench, tau = self._contacts()
        self.wrench += FORCE_FILTER * (wrench - self.wrench)
        self.tau_ext += FORCE_FILTER * (tau - self.tau_ext)
        # The real robot reports what it exerts on the world, not what the world exerts on it.
        self._state_snapshot["O_F_ext_hat_K"] = (-self.wrench).tolist()
        self._state_snapshot["tau_ext_hat_filtered"] = (-self.tau_ext).tolist()
        if self.watch_force is not None:
            self.watch_force(self.wrench)

    def arm_control_torque(self) -> np.ndarray:
        """Return the joint torques [N m] of this step."""
        if self.control_mode != ControlMode.POSITION:
            return super().arm_control_torque()
        away = self.latest_joint_positions - self.data.qpos[self.arm_qpos_adr]
        tau = HOLD_STIFFNESS * away - HOLD_DAMPING * self.data.qvel[self.arm_dofs_idx]
        return np.clip(tau, -TORQUE_LIMITS, TORQUE_LIMITS)

    def _contacts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the wrench of the world on the tool at E in B (6,), and the joint torques (7,) that it causes."""
        wrench, tau, pushed = np.zeros(6), np.zeros(7), np.zeros(6)
        E = self.ee_pose()[:3, 3]
        for i in range(self.data.ncon):
            contact = self.data.contact[i]
            bodies = self.model.geom_bodyid[contact.geom1], self.model.geom_bodyid[contact.geom2]
            ours = [body in self._arm_bodies for body in bodies]
            if ours[0] == ours[1]:
                continue
            mujoco.mj_contactForce(self.model, self.data, i, pushed)
            force = contact.frame.reshape(3, 3).T @ pushed[:3] * (1.0 if ours[1] else -1.0)
            mujoco.mj_jac(self.model, self.data, self._jacobian, None, contact.pos, bodies[1] if ours[1] else bodies[0])
            tau += self._jacobian[:, self.arm_dofs_idx].T @ force
            wrench[:3] += force
            wrench[3:] += np.cross(contact.pos - E, force)
        return wrench, tau


class StateOfAPerson(dict):
    """The robot's state, whose mode no client changes while a person is at the robot.

    Attributes:
        mode: What the person does, or None.
    """

    mode: RobotMode | None = None

    def __setitem__(self, name: str, value: object) -> None:
        super().__setitem__(name, self.mode if name == "robot_mode" and self.mode is not None else value)


class Server(FrankaSimServer):  # pyright: ignore[reportUntypedBaseClass]
    """The protocol, with the collision reflex and with a person who may stop or guide the arm."""

    def __init__(self, **settings: object) -> None:
        self._person: RobotMode | None = None
        super().__init__(**settings)
        self._reflex_wrench = np.full(6, np.inf)
        self.physics_sim.watch_force = self._watch

    def reset_state(self) -> None:
        """Forget a connection and its thresholds, but neither the person nor an error that nobody cleared."""
        before = self.robot_state.state
        super().reset_state()
        self._reflex_wrench = np.full(6, np.inf)
        state = self.robot_state.state = StateOfAPerson(self.robot_state.state)
        state.mode = self._person
        state["robot_mode"] = RobotMode.kIdle
        if before["robot_mode"] in (RobotMode.kMove, RobotMode.kReflex):
            for name in ("errors", "reflex_reason"):
                state[name] = list(before[name])
                # Who leaves in the middle of a motion sends no more commands.
                state[name][LOST_PACKETS] |= before["robot_mode"] == RobotMode.kMove
            state["robot_mode"] = RobotMode.kReflex

    def handle_set_collision_behavior_command(self, client_socket, header, payload) -> None:
        """Keep the thresholds."""
        self._reflex_wrench = np.array(SetCollisionBehaviorCommand.from_bytes(payload).upper_force_thresholds_nominal)
        super().handle_set_collision_behavior_command(client_socket, header, payload)

    def _watch(self, wrench: np.ndarray) -> None:
        moving = self.robot_state.state["robot_mode"] == RobotMode.kMove
        if moving and (np.abs(wrench) > self._reflex_wrench).any():
            self.reflex()

    def reflex(self) -> None:
        """Stop as after a collision."""
        self._abort_with_error(CARTESIAN_REFLEX, "collision")

    def become(self, mode: RobotMode) -> None:
        """Leave the client's control, as when a person presses the user stop or takes the arm by the hand."""
        with self._motion_lock:
            state = self.robot_state.state
            self._person = state.mode = mode if mode in BY_A_PERSON else None
            state["robot_mode"] = mode
            if self._person is None:
                return
            state["motion_generator_mode"], state["controller_mode"] = 0, 3  # idle, other
            self._engage_idle_hold(mode.name)
            if self.current_motion_id and self.client_socket is not None:
                status = MoveStatus.kEmergencyAborted if mode is RobotMode.kUserStopped else MoveStatus.kAborted
                self._pending_move_response = (self.current_motion_id, status, self._states_packed)
                self.current_motion_id = 0

    def _refuse_move_while_latched(self, client_socket, header) -> bool:
        if self.robot_state.state["robot_mode"] in BY_A_PERSON:
            self.send_move_response(client_socket, header.command_id, MoveStatus.kCommandNotPossibleRejected)
            return True
        return super()._refuse_move_while_latched(client_socket, header)


def obey(server: Server, until_eof: bool) -> None:
    """Act on words from standard input until it closes."""
    modes = {"user-stop": RobotMode.kUserStopped, "guide": RobotMode.kGuiding, "release": RobotMode.kIdle}
    for line in sys.stdin:
        word = line.strip()
        if word in modes:
            server.become(modes[word])
        elif word == "reflex":
            server.reflex()
        elif word:
            log.error("unknown word %r; known: %s, reflex", word, ", ".join(modes))
            continue
        print(word, flush=True)
    if until_eof:
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--host", default="127.0.0.1", help="loopback address; several servers take several of 127.0.0.N"
    )
    parser.add_argument("--tool", choices=("hand", "peg"), default="hand", help="what the arm carries")
    parser.add_argument("--object-width", type=float, default=None, help="width [m] of what the hand finds to grasp")
    parser.add_argument("--lenient", action="store_true", help="neither lost packets nor violated limits end a motion")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input closes")
    options = parser.parse_args()
    if not options.host.startswith("127."):
        parser.error(f"--host takes a loopback address (127.0.0.N), got {options.host}: the protocol has no password")
    logging.basicConfig(level=logging.ERROR, format="fci-sim: %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="fci-sim-") as folder:
        model = Path(folder) / "fr3.xml"
        write_model(model, Path(str(franka_sim.__file__)).parent / "models" / "fr3.urdf", options.tool)
        server = Server(
            host=options.host,
            port=1337,
            physics_sim=ContactSim(str(model)),
            gripper_object_width=options.object_width,
            enforce_comm_constraints=not options.lenient,
            enforce_motion_limits=not options.lenient,
        )
        threading.Thread(target=obey, args=(server, options.until_eof), daemon=True).start()
        try:
            server.start()
        except KeyboardInterrupt:
            pass
        finally:
            server.stop()


if __name__ == "__main__":
    main()
