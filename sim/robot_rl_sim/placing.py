"""Where the objects of a scene are in a twin, and putting them somewhere else."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np

from robot_rl.errors import RobotError, nearest
from robot_rl.robot import Vector
from robot_rl.task import SceneObject
from robot_rl_sim.linkages import find_chains


class Placing:
    """The objects of a scene that a reset can put somewhere.

    Args:
        model, data: Of the twin.
        scene: Of its task.
        task_name: For people.

    Attributes:
        chains: What hangs together by joints, such as a cable.
    """

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, scene: Mapping[str, SceneObject], task_name: str
    ) -> None:
        self._model, self._data, self._task_name = model, data, task_name
        self._free: dict[str, tuple[slice, slice]] = {}
        self._mocap: dict[str, int] = {}
        self.chains = find_chains(model, scene)
        for name, obj in scene.items():
            if obj.motion == "free":
                q, v = int(model.joint(name).qposadr[0]), int(model.joint(name).dofadr[0])
                self._free[name] = (slice(q, q + 7), slice(v, v + 6))
            elif obj.motion == "placed":
                self._mocap[name] = int(model.body(name).mocapid[0])

    def checked(self, objects: Mapping[str, Vector]) -> dict[str, Vector]:
        """Return (7,) poses in B as arrays.

        Raises:
            RobotError: An object is unknown, or its pose is none.
        """
        known = [*self._free, *self._mocap]
        poses: dict[str, Vector] = {}
        for name, pose in objects.items():
            if name not in known:
                raise RobotError(
                    f"the scene of {self._task_name} has no object '{name}' to place; it has {known}."
                    + nearest(name, known)
                )
            poses[name] = np.asarray(pose, float)
            if poses[name].shape != (7,) or not np.isfinite(poses[name]).all() or not poses[name][3:].any():
                raise RobotError(
                    f"the pose of '{name}' must be seven finite numbers, position [m] and quaternion wxyz, got {pose}"
                )
        return poses

    def now(self) -> dict[str, Vector]:
        """Return where the free and the placed objects are, (7,) in B."""
        d = self._data
        free = {name: d.qpos[q].copy() for name, (q, _) in self._free.items()}
        return free | {name: np.concatenate([d.mocap_pos[i], d.mocap_quat[i]]) for name, i in self._mocap.items()}

    def put(self, objects: Mapping[str, Vector]) -> None:
        """Put objects at rest at checked poses; what hangs on them follows."""
        for name, pose in objects.items():
            if name in self._free:
                q, v = self._free[name]
                self._data.qpos[q], self._data.qvel[v] = pose, 0.0
            else:
                self._data.mocap_pos[self._mocap[name]] = pose[:3]
                self._data.mocap_quat[self._mocap[name]] = pose[3:]
        mujoco.mj_step1(self._model, self._data)
        if self.chains:
            for chain in self.chains:
                chain.lay(self._data)
            mujoco.mj_step1(self._model, self._data)
