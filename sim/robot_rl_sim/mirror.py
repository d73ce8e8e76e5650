"""A twin that is told its state instead of simulating it: what the camera node of the twin draws its pictures from.

The arm's twin in real time runs in another process and publishes joint positions, the gripper's opening and the poses
of objects. Set kinematically in the same scene, they give the same pictures as the lock-step twin would.
"""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import RobotError
from robot_rl.robot import Vector
from robot_rl.task import Task
from robot_rl_sim.cameras import CameraRenderer
from robot_rl_sim.fr3 import FINGER_TRAVEL_M, HOME_Q
from robot_rl_sim.linkages import joint_position
from robot_rl_sim.scenes import build_spec, compile_scene
from robot_rl_sim.settings import ModelName

_PHYSICS_DT_S = 0.002  # a model needs one; no physics runs here


class SceneMirror:
    """The scene of a task in whatever state it is told.

    All calls must come from one thread at a time; the first `render` opens OpenGL.

    Args:
        task: Gives the scene.
        model: How the arm looks, as in `TwinConfig`.
    """

    def __init__(self, task: Task, model: ModelName = "primitive") -> None:
        spec = build_spec(task.scene, _PHYSICS_DT_S)
        if model == "menagerie":
            from robot_rl_sim.menagerie import dress

            dress(spec)
        self._model = compile_scene(spec, task.name)
        self._data = mujoco.MjData(self._model)
        self._renderer = CameraRenderer(self._model)
        self._free: dict[str, int] = {}
        self._placed: dict[str, int] = {}
        self._jointed = {name: obj for name, obj in task.scene.items() if obj.motion == "jointed"}
        for name, obj in task.scene.items():
            if obj.motion == "free":
                self._free[name] = int(self._model.joint(name).qposadr[0])
            elif obj.motion == "placed":
                self._placed[name] = int(self._model.body(name).mocapid[0])
        self._data.qpos[:7], self._data.qpos[7:9] = HOME_Q, FINGER_TRAVEL_M
        mujoco.mj_kinematics(self._model, self._data)

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects whose poses can be told; a held one moves with the hand."""
        return (*self._free, *self._placed, *self._jointed)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the scene's cameras."""
        return tuple(self._model.camera(i).name for i in range(self._model.ncam))

    def show(self, q: Vector, width_m: float, objects: Mapping[str, Vector]) -> None:
        """Put arm, fingers and objects where they are said to be; what is not said stays.

        Args:
            q: (7,) joint positions [rad].
            width_m: Opening between the fingers; nan leaves them.
            objects: (7,) pose (p, quat wxyz) in B by name; names that the scene does not have, or only holds in the
                hand, are passed over, since a rig may measure more than a task has.

        Raises:
            RobotError: A number is missing or not finite.
        """
        q = np.asarray(q, float)
        if q.shape != (7,) or not np.isfinite(q).all():
            raise RobotError(f"a picture of the arm needs seven finite joint positions, got {q.tolist()}")
        d = self._data
        d.qpos[:7] = q
        if np.isfinite(width_m):
            d.qpos[7:9] = min(max(0.5 * width_m, 0.0), FINGER_TRAVEL_M)
        for name, pose in objects.items():
            pose = np.asarray(pose, float)
            if pose.shape != (7,) or not np.isfinite(pose).all() or not pose[3:].any():
                raise RobotError(f"the pose of '{name}' must be seven finite numbers, p [m] and quat wxyz, got {pose}")
            if name in self._free:
                at = self._free[name]
                d.qpos[at : at + 7] = pose
            elif name in self._placed:
                d.mocap_pos[self._placed[name]], d.mocap_quat[self._placed[name]] = pose[:3], pose[3:]
        mujoco.mj_kinematics(self._model, d)
        self._turn_joints(objects)
        # Drawing reads where cameras and lights stand; both follow from the poses of the bodies.
        mujoco.mj_comPos(self._model, d)
        mujoco.mj_camlight(self._model, d)

    def _turn_joints(self, objects: Mapping[str, Vector]) -> None:
        """Turn jointed objects to the orientations they are said to have, each against the carrier before it."""
        d = self._data
        for name, obj in self._jointed.items():
            if name not in objects or obj.joint is None:
                continue
            carrier = objects.get(obj.joint.to, d.xquat[self._model.body(obj.joint.to).id])[-4:]
            made = joint_position(
                obj.joint, np.array(obj.quat), np.asarray(carrier, float), np.asarray(objects[name])[3:]
            )
            at = int(self._model.joint(name).qposadr[0])
            d.qpos[at : at + len(made)] = made
        if self._jointed:
            mujoco.mj_kinematics(self._model, d)

    def render(self, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """Return a picture (height, width, 3) uint8 RGB of the state that was shown last.

        Raises:
            RobotError: The scene has no such camera.
            MissingDependency: There is no off-screen OpenGL.
        """
        return self._renderer.render(self._data, camera, height, width)

    def close(self) -> None:
        """Free what was opened for pictures, if any. Safe to call twice."""
        self._renderer.close()


def make_mirror(task: Task, model: ModelName = "primitive") -> SceneMirror:
    """Return the mirror of a task's scene; named in the settings of a camera node."""
    return SceneMirror(task, model)
