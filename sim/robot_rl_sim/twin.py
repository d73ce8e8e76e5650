"""The arm's twin in lock-step: the hardware's control law and guard in MuJoCo, as fast as it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, RobotError, nearest
from robot_rl.robot import ArmCommand, Executed, ResetRequest, RobotState, Vector
from robot_rl.task import Task
from robot_rl_controllers.gains import pack_gains, pack_limits
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.impedance import reset_reference
from robot_rl_controllers.joint_motion import pack_joint_gains
from robot_rl_sim import tick
from robot_rl_sim.cameras import CameraRenderer
from robot_rl_sim.fr3 import FINGER_JOINTS, FINGER_TRAVEL_M, HOME_Q
from robot_rl_sim.kinematics import ArmKinematics
from robot_rl_sim.lateness import Lateness
from robot_rl_sim.linkages import on_tool
from robot_rl_sim.native import address_of, log_warnings
from robot_rl_sim.placing import Placing
from robot_rl_sim.randomise import Randomise, Randomiser, Variation, variation_for, variation_of
from robot_rl_sim.reset_motion import move_to_start
from robot_rl_sim.scenes import build_spec, compile_scene
from robot_rl_sim.settings import ModelName, TwinConfig, whole_ticks

FINGER_SPEED_M_S = 0.1
_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
_LAW = ("ref", "target", "null_q", "tau", "wrench")  # what the control law and its sensors remember


class ArmTwin:
    """A Franka FR3 with its hand and the objects of one task.

    Time passes only in `command` (and in `reset` with `reset_motion`). Everything is deterministic: the same reset
    requests and commands give the same bits.

    Args:
        task: Gives scene, compliance, limits and control rate.
        config: Settings of the twin.

    Attributes:
        scene_resets: How often the simulator put arm or objects where they were wanted, instead of moving the arm.
    """

    def __init__(self, task: Task, config: TwinConfig | None = None) -> None:
        self.task, self.config = task, config or TwinConfig()
        self.period_s = 1.0 / (self.config.control_hz or task.control_hz)
        self._ticks = whole_ticks(self.period_s, self.config.physics_dt_s)
        log_warnings()
        spec = build_spec(task.scene, self.config.physics_dt_s)
        if self.config.model == "menagerie":
            from robot_rl_sim.menagerie import dress

            dress(spec)
        self.model = compile_scene(spec, task.name)
        self.data = mujoco.MjData(self.model)
        self.guard = Guard(task.limits, self.period_s)
        self.kinematics = ArmKinematics(self.model)
        self._renderer = CameraRenderer(self.model)
        for camera in self.config.cameras:
            if camera not in self.cameras():
                raise ConfigError(
                    f"robot.cameras names '{camera}'; the scene has {self.cameras()}.{nearest(camera, self.cameras())}"
                )
        self.holds_object = any(obj.motion == "held" for obj in task.scene.values())
        self._find_objects()
        self._gains, self._limits = pack_gains(task.compliance), pack_limits(task.compliance)
        self._joint_gains = pack_joint_gains()
        self._ref, self._target, self._null_q = np.zeros(7), np.zeros(7), np.zeros(7)
        self._q_ref, self._dq_ref, self._tau = np.zeros(7), np.zeros(7), np.zeros(7)
        self._wrench, self._out = np.zeros(tick.WRENCH_SIZE), np.zeros(tick.STATE_SIZE + 7 * len(self._bodies))
        self._bind_views()
        self._closing = False
        self._open_m = FINGER_TRAVEL_M
        self._state: RobotState | None = None
        self._placed = False
        if self.config.randomise.observation_delay_s > self.period_s:
            raise ConfigError(
                f"robot.randomise.observation_delay_s is {self.config.randomise.observation_delay_s}; a reading may be "
                f"at most a control period of {self.period_s:.6g} s old"
            )
        self._randomiser = Randomiser(self.model, list(task.scene))
        self._variation: Variation | None = None
        self._late = Lateness()
        self.scene_resets = 0

    def _find_objects(self) -> None:
        self._objects = Placing(self.model, self.data, self.task.scene, self.task.name)
        self._bodies = {name: self.model.body(name).id for name in self.task.scene}
        self._poses = {
            name: slice(tick.STATE_SIZE + 7 * i, tick.STATE_SIZE + 7 * i + 7) for i, name in enumerate(self._bodies)
        }

    def _bind_views(self) -> None:
        """Make the tuples of arguments that the compiled loops take; MuJoCo never moves its arrays."""
        d, tcp, J = self.data, self.kinematics.tcp, np.zeros((6, 7))
        held = [name for name in self.task.scene if on_tool(self.task.scene, name)]
        tool_bodies = np.array([self.model.body(n).id for n in ("fr3_hand", *FINGER_JOINTS, *held)], np.int64)
        addresses = np.array(
            [
                address_of("mj_step1"), address_of("mj_step2"), self.model._address, d._address,
                address_of("mj_rnePostConstraint"),
            ], np.int64,
        )  # fmt: skip
        frames = (d.xpos, d.xquat, d.xanchor, d.xaxis)
        root_com = d.subtree_com[self.model.body_rootid[tcp]]
        dt = self.config.physics_dt_s
        self._plant = (
            FINGER_SPEED_M_S * dt, dt, addresses, d.qpos, d.qvel, d.ctrl, d.qfrc_bias, d.qfrc_gravcomp, *frames, tcp,
            tool_bodies, d.cfrc_ext, root_com, self._wrench, np.zeros(7), J,
        )  # fmt: skip
        self._law = (self._target, self._ref, self._gains, self._limits, self._null_q, self._tau)
        bodies = np.array(list(self._bodies.values()), np.int64)
        self._readable = (self._out, bodies, d.qpos, d.qvel, *frames, J, tcp, self._wrench)

    def connect(self) -> None:
        """Nothing to open: the twin exists as soon as it is made."""

    def reset(self, request: ResetRequest) -> RobotState:
        """Begin an episode as requested, at rest, and return the first reading.

        An object that the request does not name stays where it is, as it would in a cell.

        Here the simulator resets the scene, which stands for a person who looked at the cell: a latched stop counts as
        acknowledged (it has ended its episode and stays in the guard's counters). Hardware never does this. With
        `request.keep_scene` nothing is put anywhere, and a latched stop stays: the arm drives to its start or refuses.

        Raises:
            RobotError: The start pose violates the guard's workspace or cannot be reached, an object is unknown or its
                pose is none, a reset motion was blocked or stopped, or a scene shall be kept that there is not or that
                nobody has acknowledged a stop in.
        """
        self.guard.check_reset(request.p_BE, request.quat_BE)
        q_start = self.kinematics.solve(request.p_BE, request.quat_BE)
        if q_start is None:
            raise RobotError(
                f"the arm cannot reach the start pose p_BE={np.round(request.p_BE, 3).tolist()} m, quat_BE="
                f"{np.round(request.quat_BE, 3).tolist()} within its joint limits; move the task's start area"
            )
        objects = self._objects.checked(request.objects)
        if request.keep_scene:
            self._refuse_to_keep()
        elif self.guard.stopped:
            self.guard.acknowledge()
        self._vary(variation_for(request, self.config.randomise))
        self._state, self._closing = None, False
        self._open_m = min(max(0.5 * request.gripper_width_m, 0.0), FINGER_TRAVEL_M)
        if self.config.reset_motion or request.keep_scene:
            if not self._placed:
                self._place_arm(np.array(HOME_Q), FINGER_TRAVEL_M)
                self._objects.put(objects)
            for chain in () if request.keep_scene else self._objects.chains:
                chain.untie(self.data)  # as a person would, who moves what it is tied to
            try:
                move_to_start(self, request, q_start, self._open_m)
            finally:
                self.hold()  # a motion that was given up leaves the arm at rest, to be commanded again
        else:
            objects = {**(self._objects.now() if self._placed else {}), **objects}
            self._place_arm(q_start, self._open_m)
        if not request.keep_scene:
            self._objects.put(objects)
            self.scene_resets += 1
        self._start_law(q_start)
        self._late.begin(self._ref, self._open_m)
        self.guard.reset_episode()
        return self.observe()

    def _vary(self, variation: Variation | None) -> None:
        """Draw what an episode is randomised by."""
        self._variation = variation
        action_s, observation_s = self._randomiser.apply(variation)
        dt = self.config.physics_dt_s
        self._late = Lateness(action_ticks=round(action_s / dt), observation_ticks=round(observation_s / dt))

    def _refuse_to_keep(self) -> None:
        if not self._placed:
            raise RobotError(
                "the twin has no scene to keep: nothing was placed in it yet, or its physics diverged; reset it "
                "without keep_scene first"
            )
        if self.guard.stopped:
            raise RobotError(
                f"the guard holds the arm: {self.guard.stop_reason}. Look at the cell and acknowledge the stop"
            )

    def place(self, objects: Mapping[str, Vector]) -> RobotState:
        """Put objects at rest at (7,) poses in B, as a person's hand would, and return the reading after it.

        The arm stays where it is, and a latched stop stays too: see `acknowledge`.

        Raises:
            RobotError: An object is unknown, its pose is none, or there is no scene yet.
        """
        poses = self._objects.checked(objects)
        if not self._placed:
            raise RobotError("the twin has no scene yet to put objects into; reset it first")
        self._objects.put(poses)
        self._state = None
        return self.observe()

    def acknowledge(self) -> None:
        """End a latched stop, on a person's word."""
        self.guard.acknowledge()

    def snapshot(self) -> dict[str, Any]:
        """Return everything that what follows depends on, right after a reset, as plain numbers; for `restore`."""
        state = np.zeros(mujoco.mj_stateSize(self.model, _STATE))
        mujoco.mj_getState(self.model, self.data, state, _STATE)
        arrays = {name: getattr(self, f"_{name}").tolist() for name in _LAW}
        made = {"physics": state.tolist(), **arrays, "open_m": self._open_m, "closing": self._closing}
        return made if self._variation is None else {**made, "randomise": self._variation.plain()}

    def restore(self, snapshot: Mapping[str, Any]) -> RobotState:
        """Begin an episode in the very state of a snapshot, and return the first reading.

        As in `reset`, a latched stop counts as acknowledged.

        Raises:
            RobotError: The snapshot is of another scene, or damaged.
        """
        size = mujoco.mj_stateSize(self.model, _STATE)
        try:
            physics = np.array(snapshot["physics"], float)
            arrays = {name: np.array(snapshot[name], float) for name in _LAW}
            open_m, closing = float(snapshot["open_m"]), bool(snapshot["closing"])
        except (KeyError, TypeError, ValueError) as e:
            raise RobotError(f"the recorded state of the twin cannot be used ({e!r}); reset without it") from e
        fits = all(arrays[name].shape == getattr(self, f"_{name}").shape for name in _LAW)
        if physics.shape != (size,) or not fits or not np.isfinite(physics).all():
            raise RobotError(
                f"the recorded state has {physics.size} numbers, that of the twin of {self.task.name} has {size}: it "
                "is of another scene, or of another version of MuJoCo; reset without it"
            )
        self._vary(variation_of(snapshot.get("randomise")))
        if self.guard.stopped:
            self.guard.acknowledge()
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, physics, _STATE)
        mujoco.mj_step1(self.model, self.data)
        for name, values in arrays.items():
            getattr(self, f"_{name}")[:] = values
        self._state, self._open_m, self._closing, self._placed = None, open_m, closing, True
        self._late.begin(self._ref, open_m)
        self.scene_resets += 1
        self.guard.reset_episode()
        return self.observe()

    def _place_arm(self, q: Vector, finger_m: float) -> None:
        """Put arm, hand and every object at rest where a new simulation begins."""
        d = self.data
        mujoco.mj_resetData(self.model, d)
        d.qpos[:7], d.qpos[7:9], d.ctrl[7:9] = q, finger_m, finger_m
        self._tau[:], self._wrench[:] = 0.0, 0.0
        self._placed = True
        mujoco.mj_step1(self.model, d)

    def _start_law(self, null_q: Vector) -> None:
        """Let the Cartesian law hold the measured pose and draw the redundant joint to a posture."""
        tcp = self.kinematics.tcp
        reset_reference(self._ref, self.data.xpos[tcp], self.data.xquat[tcp])
        self._null_q[:] = null_q

    def command(self, command: ArmCommand) -> Executed:
        """Pass the command through the guard, run one control period, and return what was executed."""
        if self._state is None:
            raise RobotError("the twin was commanded before a reset, or after its physics diverged; call reset first")
        now = self._state.stamp_s
        executed = self.guard.check(command, self._state, now, now)
        self._closing = executed.close_gripper
        finger_m = 0.0 if self._closing else self._open_m
        if self._variation is None:
            self._drive_to(executed.p_BE, executed.quat_BE, finger_m, self._ticks)
            self._state = self._read(self.config.cameras)
            return executed
        late = self._late
        late.tell(executed.p_BE, executed.quat_BE, finger_m)
        for goal, finger, ticks in late.pass_by(self._ticks - late.observation_ticks):
            self._drive_to(goal[:3], goal[3:], finger, ticks)
        self._state = self._read(self.config.cameras)
        for goal, finger, ticks in late.pass_by(late.observation_ticks):
            self._drive_to(goal[:3], goal[3:], finger, ticks)
        return executed

    def _drive_to(self, p: Vector, quat: Vector, finger_m: float, ticks: int) -> None:
        self._target[:3], self._target[3:] = p, quat
        tick.cartesian_period(ticks, *self._law, finger_m, *self._plant)

    def drive_to(self, p: Vector, quat: Vector, finger_m: float, ticks: int) -> RobotState:
        """Run physics under the Cartesian law towards a tool pose in B, past the guard; for resets, which watch it."""
        self._drive_to(p, quat, finger_m, ticks)
        return self._read()

    def drive_along(self, plan: Vector, start_s: float, finger_m: float, ticks: int) -> RobotState:
        """Run physics along a joint move that began `start_s` ago, past the guard; for resets, which watch it."""
        law = (plan, start_s, self._joint_gains, self._limits, self._q_ref, self._dq_ref, self._tau)
        tick.joint_period(ticks, *law, finger_m, *self._plant)
        return self._read()

    def hold(self) -> RobotState:
        """Let the Cartesian law hold the measured pose and posture from now on, and return the reading."""
        self._start_law(self.data.qpos[:7])
        return self._read()

    def stop(self, reason: str) -> None:
        """Latch a stop in the guard: it holds the arm until the next reset, which stands for a person's look."""
        self.guard.stop(reason)

    def observe(self) -> RobotState:
        """Return the newest reading, rendered if cameras are configured. Raises `RobotError` if physics diverged."""
        if self._state is None:
            self._state = self._read(self.config.cameras)
        return self._state

    def _read(self, cameras: Sequence[str] = ()) -> RobotState:
        if not tick.read_state(*self._readable):
            self._state, self._placed = None, False
            raise RobotError(
                "the physics of the twin diverged; reset it, and check robot.physics_dt_s and the task's compliance"
            )
        out = self._out.copy()
        size = self.config.image_size
        return RobotState(
            stamp_s=self.data.time,
            q=out[tick.Q],
            dq=out[tick.DQ],
            p_BE=out[tick.P],
            quat_BE=out[tick.QUAT],
            V_BE=out[tick.TWIST],
            F_BE=out[tick.WRENCH],
            gripper_width_m=float(out[33] + out[34]),
            gripper_closing=self._closing,
            objects={name: out[where] for name, where in self._poses.items()},
            images={name: self.render(name, size, size) for name in cameras} if cameras else {},
        )

    def render(self, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """Return a picture (height, width, 3) uint8 from a camera of the scene ("front", "wrist", "video")."""
        return self._renderer.render(self.data, camera, height, width)

    def cameras(self) -> Sequence[str]:
        """Return the names of the scene's cameras."""
        return [self.model.camera(i).name for i in range(self.model.ncam)]

    def close(self) -> None:
        """Free what was opened for pictures, if any."""
        self._renderer.close()


def make_twin(
    task: Task,
    physics_dt_s: float = 0.002,
    control_hz: float = 0.0,
    cameras: tuple[str, ...] = (),
    image_size: int = 128,
    model: ModelName = "primitive",
    reset_motion: bool = False,
    randomise: Randomise | None = None,
) -> ArmTwin:
    """Return a twin for a task; the arguments are those of `TwinConfig`."""
    config = TwinConfig(
        physics_dt_s=physics_dt_s, control_hz=control_hz, cameras=tuple(cameras), image_size=image_size,
        model=model, reset_motion=reset_motion, randomise=randomise or Randomise(),
    )  # fmt: skip
    return ArmTwin(task, config)


__all__ = ["ArmTwin", "TwinConfig", "make_twin"]
