"""The car's scene without physics: put wherever it is told, to draw what the camera of a twin in real time sees."""

from __future__ import annotations

import math

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import RobotError
from robot_rl_sim.cameras import CameraRenderer
from robot_rl_sim.car.measured import place_of
from robot_rl_sim.car.scene import WHEELS, build_car_scene
from robot_rl_sim.car.settings import CarModel
from robot_rl_sim.car.tick import wheel_angles
from robot_rl_tasks.car.place import Place

_PHYSICS_DT_S = 0.002  # a model needs one; no physics runs here


class CarMirror:
    """A place with a car in it, wherever it is said to be.

    All calls must come from one thread at a time; the first `render` opens OpenGL.

    Args:
        place: What is drawn.
    """

    objects: tuple[str, ...] = ()
    """Nothing but the car moves."""

    def __init__(self, place: Place) -> None:
        self._car = CarModel()
        self._model = build_car_scene(self._car, place, _PHYSICS_DT_S, False).compile()
        self._data = mujoco.MjData(self._model)
        self._steers = [int(self._model.joint(f"{w}_steer").qposadr[0]) for w in WHEELS[:2]]
        self._renderer = CameraRenderer(self._model)
        self.show(0.0, 0.0, 0.0, 0.0)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the scene's cameras."""
        return tuple(self._model.camera(i).name for i in range(self._model.ncam))

    def show(self, x_m: float, y_m: float, yaw_rad: float, steering_rad: float) -> None:
        """Put the car somewhere, level on its wheels, and turn its front wheels.

        Raises:
            RobotError: A number is not finite.
        """
        if not all(math.isfinite(v) for v in (x_m, y_m, yaw_rad, steering_rad)):
            raise RobotError(f"a picture of the car needs finite numbers, got {(x_m, y_m, yaw_rad, steering_rad)}")
        d = self._data
        d.qpos[:7] = x_m, y_m, 0.0, math.cos(0.5 * yaw_rad), 0.0, 0.0, math.sin(0.5 * yaw_rad)
        d.qpos[self._steers] = wheel_angles(steering_rad, self._car.wheelbase_m, self._car.track_m)
        mujoco.mj_kinematics(self._model, d)
        # Drawing reads where cameras and lights stand; both follow from the poses of the bodies.
        mujoco.mj_comPos(self._model, d)
        mujoco.mj_camlight(self._model, d)

    def render(self, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """Return a picture (height, width, 3) uint8 RGB of what was shown last.

        Raises:
            RobotError: The scene has no such camera.
            MissingDependency: There is no off-screen OpenGL.
        """
        return self._renderer.render(self._data, camera, height, width)

    def close(self) -> None:
        """Free what was opened for pictures, if any. Safe to call twice."""
        self._renderer.close()


def make_car_mirror(course: str = "oval", ground: str = "carpet") -> CarMirror:
    """Return the mirror of a place; named in the settings of a camera node."""
    return CarMirror(place_of(course, ground))
