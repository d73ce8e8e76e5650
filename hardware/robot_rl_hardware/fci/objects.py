"""Objects of a task whose poses a rig without vision knows: those a person puts down, and held ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.geometry import Vector, quat_mul_into, quat_normalise, rotate_into
from robot_rl.task import SceneObject

KNOWN = ("placed", "held")


class RigObjects:
    """Remembers where objects were put, and carries along those that are rigid in the hand.

    A "placed" object is where the last reset said, or else where the task says: a marker, a fixture that is screwed
    down. A "free" object is not among them: where it is, only a camera knows.

    Args:
        scene: Objects by name.
    """

    def __init__(self, scene: Mapping[str, SceneObject]) -> None:
        self.names = tuple(name for name, item in scene.items() if item.motion in KNOWN)
        items = [scene[name] for name in self.names]
        self._rest = np.array([[*item.pos_m, *quat_normalise(np.array(item.quat))] for item in items]).reshape(-1, 7)
        self._held = [i for i, item in enumerate(items) if item.motion == "held"]

    def fill(self, out: Vector, p_BE: Vector, quat_BE: Vector) -> None:
        """Fill in the (7 n,) poses in B, given the pose of the tool."""
        out[:] = self._rest.ravel()
        for i in self._held:
            pose, rest = out[7 * i : 7 * i + 7], self._rest[i]
            rotate_into(pose[:3], quat_BE, rest[:3])
            pose[:3] += p_BE
            quat_mul_into(pose[3:], quat_BE, rest[3:])

    def place(self, poses: Mapping[str, Vector]) -> None:
        """Remember where objects were put: (7,) poses in B by name; one that is held stays in the hand."""
        for name, pose in poses.items():
            if name in self.names and self.names.index(name) not in self._held:
                self._rest[self.names.index(name)] = pose
