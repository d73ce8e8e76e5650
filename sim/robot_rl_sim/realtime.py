"""The arm's twin in real time: physics in steps of a millisecond, paced by the clock, as a plant of the driver's loop.

It stands in for the robot and its network: torques go in, readings come out, and whoever is late gets a robot that has
moved on. A process that was kept from running catches up on a few ticks at once; what it cannot catch up on is lost
time, which the loop counts as missed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from robot_rl.cell import Cell
from robot_rl.errors import ConfigError
from robot_rl.robot import Vector
from robot_rl.task import SceneObject, Task
from robot_rl.typed import build
from robot_rl_controllers.drive.handle import START_TIMEOUT_S, ProcessDriver
from robot_rl_controllers.drive.plant import PlantFault, Sample
from robot_rl_controllers.drive.spec import ORDINARY, RealTime
from robot_rl_sim.fr3 import FINGER_JOINTS, FINGER_TRAVEL_M, HOME_Q
from robot_rl_sim.linkages import find_chains, on_tool
from robot_rl_sim.native import address_of, log_warnings
from robot_rl_sim.realtime_tick import fill_sample, physics_step
from robot_rl_sim.scenes import build_spec, compile_scene
from robot_rl_sim.tick import WRENCH_SIZE

FINGER_SPEED_M_S = 0.1


class TwinPlant:
    """A Franka FR3 with its hand and the objects of one task, in MuJoCo, paced by the clock.

    Args:
        scene: The task's objects by name, as plain settings of `SceneObject`.
        task: Name of the task, for messages.
        dt_s: Physics and control tick.
        catch_up: How many ticks late it may be and still do all of them.
    """

    def __init__(self, scene: Mapping[str, Any], task: str = "", dt_s: float = 0.001, catch_up: int = 20) -> None:
        if not 0.0 < dt_s <= 0.005:
            raise ConfigError(f"driver.dt_s must be above 0 and at most 0.005 s, got {dt_s}; 0.001 is usual")
        if catch_up < 0:
            raise ConfigError(f"driver.catch_up must be a number of ticks from 0, got {catch_up}")
        self.dt_s, self._catch_up = dt_s, catch_up
        self._task = task
        self._scene = {name: build(SceneObject, values, f"scene.{name}") for name, values in scene.items()}
        self._due_s = self._robot_s = 0.0
        self._tau = np.zeros(7)

    def connect(self) -> None:
        """Build the scene, with the arm at its home posture, and compile what ticks run."""
        log_warnings()
        self.model = compile_scene(build_spec(self._scene, self.dt_s), self._task)
        d = self.data = mujoco.MjData(self.model)
        d.qpos[:7], d.qpos[7:9], d.ctrl[7:9] = HOME_Q, FINGER_TRAVEL_M, FINGER_TRAVEL_M
        mujoco.mj_step1(self.model, d)
        self._chains = find_chains(self.model, self._scene)
        self._lay_chains()
        tcp = int(self.model.body("fr3_tcp").id)
        self._bodies = np.array([self.model.body(name).id for name in self._scene], np.int64)
        held = [name for name in self._scene if on_tool(self._scene, name)]
        tool_bodies = np.array([self.model.body(n).id for n in ("fr3_hand", *FINGER_JOINTS, *held)], np.int64)
        addresses = np.array(
            [
                address_of("mj_step1"), address_of("mj_step2"), self.model._address, d._address,
                address_of("mj_rnePostConstraint"),
            ], np.int64,
        )  # fmt: skip
        root_com = d.subtree_com[self.model.body_rootid[tcp]]
        p, quat, wrench = d.xpos[tcp], d.xquat[tcp], np.zeros(WRENCH_SIZE)
        self._step = (FINGER_SPEED_M_S * self.dt_s, addresses, d.ctrl, p, tool_bodies, d.cfrc_ext, root_com, wrench)
        self._readable = (
            d.qpos, d.qvel, d.qfrc_bias, d.qfrc_gravcomp, p, quat, d.xanchor, d.xaxis, wrench
        )  # fmt: skip
        self._fill(Sample())
        physics_step(self.dt_s, self._tau, FINGER_TRAVEL_M, *self._step)

    def begin(self, sample: Sample) -> None:
        """Start the clock and fill in a first sample."""
        self._tau[:] = 0.0
        self._due_s = time.monotonic()
        self._fill(sample)

    def read(self, sample: Sample) -> None:
        """Wait for the next tick and fill in the state; raises `PlantFault` once physics diverged."""
        self._due_s += self.dt_s
        self._robot_s += self.dt_s
        late_s = time.monotonic() - self._due_s
        if late_s < 0.0:
            time.sleep(-late_s)
        elif late_s > self._catch_up * self.dt_s:
            lost = int(late_s / self.dt_s)
            self._due_s += lost * self.dt_s
            self._robot_s += lost * self.dt_s
        self._fill(sample)

    def write(self, tau: Vector, finger_m: float) -> None:
        """Apply torques and let a tick of physics go by."""
        self._tau[:] = tau
        physics_step(self.dt_s, self._tau, finger_m, *self._step)

    def _fill(self, sample: Sample) -> None:
        s, d = sample, self.data
        whole = fill_sample(s.q, s.dq, s.p_BE, s.quat_BE, s.F_BE, s.J, s.coriolis, *self._readable)
        if not whole:
            raise PlantFault("the physics of the twin diverged; start it again", recoverable=False)
        s.tau_prev[:] = self._tau
        s.width_m = float(d.qpos[7] + d.qpos[8])
        s.stamp_s, s.robot_s = time.monotonic(), self._robot_s

    def end(self) -> None:
        """Nothing to give back: nobody else moves the twin."""

    def recover(self) -> None:
        """Nothing to clear: the twin has no errors of its own."""

    def close(self) -> None:
        """Nothing to release."""

    def object_poses(self, out: Vector) -> None:
        """Fill in the (7 n,) poses in B of the scene's objects."""
        d = self.data
        for i, body in enumerate(self._bodies):
            out[7 * i : 7 * i + 3] = d.xpos[body]
            out[7 * i + 3 : 7 * i + 7] = d.xquat[body]

    def place_objects(self, poses: Mapping[str, Vector]) -> None:
        """Put free and placed objects at rest at (7,) poses in B. What the hand holds stays in it."""
        d = self.data
        for name, pose in poses.items():
            motion = self._scene[name].motion
            if motion == "free":
                joint = self.model.joint(name)
                q, v = int(joint.qposadr[0]), int(joint.dofadr[0])
                d.qpos[q : q + 7], d.qvel[v : v + 6] = pose, 0.0
            elif motion == "placed":
                mocap = int(self.model.body(name).mocapid[0])
                d.mocap_pos[mocap], d.mocap_quat[mocap] = pose[:3], pose[3:]
        mujoco.mj_step1(self.model, d)
        self._lay_chains()

    def _lay_chains(self) -> None:
        if self._chains:
            for chain in self._chains:
                chain.lay(self.data)
            mujoco.mj_step1(self.model, self.data)


def make_driver(
    task: Task,
    cell: Cell,
    dt_s: float = 0.001,
    catch_up: int = 20,
    recoveries: int = 3,
    window_s: float = 600.0,
    start_timeout_s: float = START_TIMEOUT_S,
    real_time: RealTime = ORDINARY,
) -> ProcessDriver:
    """Return a driver for the twin of a task in real time.

    Args:
        task: Gives scene, limits, compliance and control rate.
        cell: Where the robot stands.
        dt_s: Physics and control tick.
        catch_up: How many ticks late it may be and still do all of them.
        recoveries, window_s: How many recoveries are granted without a person within how long.
        start_timeout_s: How long building the scene and warming up may take.
        real_time: What the process asks of the operating system.
    """
    scene = dict(task.scene)
    plant = {"_target_": f"{__name__}.TwinPlant", "scene": scene, "task": task.name, "dt_s": dt_s, "catch_up": catch_up}
    return ProcessDriver(
        task,
        cell,
        plant,
        name="twin",
        objects=tuple(scene),
        recoveries=recoveries,
        window_s=window_s,
        real_time=real_time,
        start_timeout_s=start_timeout_s,
    )


__all__ = ["TwinPlant", "make_driver"]
