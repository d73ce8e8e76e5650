"""The arm's twin in lock-step: the hardware's control law and guard in MuJoCo, as fast as it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, RobotError
from robot_rl.robot import ArmCommand, Executed, ResetRequest, RobotState
from robot_rl.task import Task
from robot_rl_controllers.gains import pack_gains, pack_limits
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.impedance import reset_reference
from robot_rl_sim import tick
from robot_rl_sim.cameras import CameraRenderer
from robot_rl_sim.fr3 import ARM_JOINTS, FINGER_JOINTS, FINGER_TRAVEL_M, HOME_Q
from robot_rl_sim.kinematics import solve_pose
from robot_rl_sim.native import address_of
from robot_rl_sim.scenes import build_spec

FINGER_SPEED_M_S = 0.1


@dataclass(frozen=True, kw_only=True)
class TwinConfig:
    """Settings of the twin.

    Attributes:
        physics_dt_s: Physics and control tick.
        control_hz: Control rate of the environment; 0 takes the task's.
        cameras: Which cameras `observe` renders.
        image_size: Height and width of their pictures.
    """

    physics_dt_s: float = 0.002
    control_hz: float = 0.0
    cameras: tuple[str, ...] = ()
    image_size: int = 128


class ArmTwin:
    """A Franka FR3 with its hand and the objects of one task.

    Time passes only in `command`. Everything is deterministic: the same reset request and commands give the same bits.

    Args:
        task: Gives scene, compliance, limits and control rate.
        config: Settings of the twin.
    """

    def __init__(self, task: Task, config: TwinConfig | None = None) -> None:
        self.task, self.config = task, config or TwinConfig()
        hz = self.config.control_hz or task.control_hz
        self._ticks = round(1.0 / (hz * self.config.physics_dt_s))
        if self._ticks < 1 or abs(self._ticks * hz * self.config.physics_dt_s - 1.0) > 1e-6:
            raise ConfigError(
                f"robot.physics_dt_s {self.config.physics_dt_s} does not divide the control period {1.0 / hz:.6g} s; "
                f"choose 1/(control_hz*n), for instance {1.0 / hz / max(self._ticks, 1):.6g}"
            )
        self.period_s = 1.0 / hz
        self.model = build_spec(task.scene, self.config.physics_dt_s).compile()
        self.data = mujoco.MjData(self.model)
        self.guard = Guard(task.limits, self.period_s)
        self._renderer: CameraRenderer | None = None
        self._find_indices()
        self._bind_views()
        self._gains, self._limits = pack_gains(task.compliance), pack_limits(task.compliance)
        self._home = np.array(HOME_Q)
        self._ref, self._target = np.zeros(7), np.zeros(7)
        self._tau, self._scratch, self._J = np.zeros(7), np.zeros(7), np.zeros((6, 7))
        self._out, self._wrench = np.zeros(tick.STATE_SIZE), np.zeros(6)
        self._closing = False
        self._open_m = FINGER_TRAVEL_M
        self._state: RobotState | None = None

    def _find_indices(self) -> None:
        model = self.model
        self._tcp = model.body("fr3_tcp").id
        held = [name for name, obj in self.task.scene.items() if obj.motion == "held"]
        tool = ["fr3_hand", *FINGER_JOINTS, *held]
        self._tool_bodies = np.array([model.body(n).id for n in tool], np.int64)
        limits = np.array([model.joint(n).range for n in ARM_JOINTS])
        self._lower, self._upper = limits[:, 0].copy() + 0.02, limits[:, 1].copy() - 0.02
        self._free: dict[str, slice] = {}
        self._mocap: dict[str, int] = {}
        self._bodies: dict[str, int] = {name: model.body(name).id for name in self.task.scene}
        for name, obj in self.task.scene.items():
            if obj.motion == "free":
                start = int(model.joint(name).qposadr[0])
                self._free[name] = slice(start, start + 7)
            elif obj.motion == "placed":
                self._mocap[name] = int(model.body(name).mocapid[0])

    def _bind_views(self) -> None:
        d = self.data
        names = ("mj_step1", "mj_step2")
        pointers = (self.model._address, d._address)
        self._addresses = np.array(
            [*(address_of(n) for n in names), *pointers, address_of("mj_rnePostConstraint")], np.int64
        )
        self._ik_addresses = np.array([address_of("mj_kinematics"), *pointers], np.int64)
        self._root_com = d.subtree_com[self.model.body_rootid[self._tcp]]
        self._kinematic_views = (d.xpos, d.xquat, d.xanchor, d.xaxis)

    def connect(self) -> None:
        """Nothing to open: the twin exists as soon as it is made."""

    def reset(self, request: ResetRequest) -> RobotState:
        """Place arm and objects as requested, at rest, and return the first reading.

        Here the simulator resets the scene, which stands for a person who looked at the cell: a latched stop counts as
        acknowledged (it has ended its episode and stays in the guard's counters). Hardware never does this.

        Raises:
            RobotError: The start pose violates the guard's workspace or cannot be reached.
        """
        d = self.data
        self.guard.check_reset(request.p_BE, request.quat_BE)
        mujoco.mj_resetData(self.model, d)
        error = solve_pose(
            self._ik_addresses, d.qpos, *self._kinematic_views, self._tcp, self._lower, self._upper, self._home,
            np.asarray(request.p_BE, float), np.asarray(request.quat_BE, float),
        )  # fmt: skip
        if error > 1e-4:
            raise RobotError(
                f"the arm cannot reach the start pose p_BE={np.round(request.p_BE, 3)} m, quat_BE="
                f"{np.round(request.quat_BE, 3)} (nearest is off by {error:.4f}); move the task's start area"
            )
        self._null_q = d.qpos[:7].copy()
        finger = min(max(0.5 * request.gripper_width_m, 0.0), FINGER_TRAVEL_M)
        d.qpos[7:9] = finger
        d.ctrl[7:9] = finger
        self._closing, self._open_m = False, max(finger, 0.0)
        self._place_objects(request.objects)
        self._tau[:], self._wrench[:] = 0.0, 0.0
        mujoco.mj_step1(self.model, d)
        reset_reference(self._ref, d.xpos[self._tcp], d.xquat[self._tcp])
        if self.guard.stopped:
            self.guard.acknowledge()
        self.guard.reset_episode()
        return self.observe()

    def _place_objects(self, objects: Mapping[str, NDArray[np.float64]]) -> None:
        unknown = set(objects) - set(self._free) - set(self._mocap)
        if unknown:
            raise RobotError(f"the scene has no object {sorted(unknown)}; it has {sorted(self._bodies)}")
        for name, pose in objects.items():
            if name in self._free:
                self.data.qpos[self._free[name]] = pose
            else:
                self.data.mocap_pos[self._mocap[name]] = pose[:3]
                self.data.mocap_quat[self._mocap[name]] = pose[3:]

    def command(self, command: ArmCommand) -> Executed:
        """Pass the command through the guard, run one control period, and return what was executed."""
        if self._state is None:
            raise RobotError("the twin was commanded before its first reset; call reset first")
        d = self.data
        now = self._state.stamp_s
        executed = self.guard.check(command, self._state, now, now)
        self._target[:3], self._target[3:] = executed.p_BE, executed.quat_BE
        self._closing = executed.close_gripper
        tick.cartesian_period(
            self._ticks, self._addresses, d.qpos, d.qvel, d.ctrl, d.qfrc_bias, d.qfrc_gravcomp, *self._kinematic_views,
            self._tcp, self._target, self._ref, self._gains, self._limits, self._null_q, self._tau, self._scratch,
            self._J, 0.0 if self._closing else self._open_m, FINGER_SPEED_M_S * self.config.physics_dt_s,
            self.config.physics_dt_s, self._tool_bodies, d.cfrc_ext, self._root_com, self._wrench,
        )  # fmt: skip
        self._state = None
        self.observe()
        return executed

    def observe(self) -> RobotState:
        """Return the newest reading, rendered if cameras are configured. Raises `RobotError` if physics diverged."""
        if self._state is None:
            self._state = self._read()
        return self._state

    def _read(self) -> RobotState:
        d = self.data
        xpos, xquat, xanchor, xaxis = self._kinematic_views
        tick.read_state(self._out, d.qpos, d.qvel, xpos, xquat, xanchor, xaxis, self._J, self._tcp, self._wrench)
        out = self._out.copy()
        objects = {n: np.concatenate((xpos[b], xquat[b])) for n, b in self._bodies.items()}
        if not np.isfinite(out).all():
            raise RobotError("the physics of the twin diverged; reset it, and check robot.physics_dt_s")
        images = self._images() if self.config.cameras else {}
        return RobotState(
            stamp_s=d.time,
            q=out[tick.Q],
            dq=out[tick.DQ],
            p_BE=out[tick.P],
            quat_BE=out[tick.QUAT],
            V_BE=out[tick.TWIST],
            F_BE=out[tick.WRENCH],
            gripper_width_m=float(out[33] + out[34]),
            gripper_closing=self._closing,
            objects=objects,
            images=images,
        )

    def _images(self) -> dict[str, NDArray[np.uint8]]:
        size = self.config.image_size
        return {name: self.render(name, size, size) for name in self.config.cameras}

    def render(self, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """Return a picture (height, width, 3) uint8 from a camera of the scene ("front", "wrist", "video")."""
        if self._renderer is None:
            self._renderer = CameraRenderer(self.model)
        return self._renderer.render(self.data, camera, height, width)

    def cameras(self) -> Sequence[str]:
        """Return the names of the scene's cameras."""
        return [self.model.camera(i).name for i in range(self.model.ncam)]

    def close(self) -> None:
        """Free the renderer, if any."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def make_twin(
    task: Task,
    physics_dt_s: float = 0.002,
    control_hz: float = 0.0,
    cameras: tuple[str, ...] = (),
    image_size: int = 128,
) -> ArmTwin:
    """Return a twin for a task; the arguments are those of `TwinConfig`."""
    config = TwinConfig(physics_dt_s=physics_dt_s, control_hz=control_hz, cameras=cameras, image_size=image_size)
    return ArmTwin(task, config)
