"""Off-screen pictures of the twin: one renderer per image size, shared by all cameras, with the fast settings."""

from __future__ import annotations

import atexit
import functools
import weakref

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import RobotError, nearest
from robot_rl_sim.gl import require_gl

_opened: weakref.WeakSet[CameraRenderer] = weakref.WeakSet()


@functools.cache
def _close_at_exit() -> None:
    """Have every renderer closed before MuJoCo ends OpenGL, which it registered earlier; later they cannot be freed."""
    atexit.register(lambda: [renderer.close() for renderer in list(_opened)])


class CameraRenderer:
    """Renders cameras of one model. OpenGL is opened when the first picture is asked for, never by a twin without any.

    It closes itself at the latest when the interpreter ends.

    Args:
        model: The compiled model.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._ids = {model.camera(i).name: i for i in range(model.ncam)}

    def render(self, data: mujoco.MjData, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """Return (height, width, 3) uint8 RGB as the camera sees the state of `data`.

        Raises:
            RobotError: The scene has no such camera.
            MissingDependency: There is no off-screen OpenGL.
        """
        if not self._renderers:
            require_gl()
            _close_at_exit()
            _opened.add(self)
        if camera not in self._ids:
            known = sorted(self._ids)
            raise RobotError(f"the scene has no camera '{camera}'; it has {known}.{nearest(camera, known)}")
        renderer = self._renderers.get((height, width))
        if renderer is None:
            renderer = self._renderers[height, width] = self._open(height, width)
        renderer.update_scene(data, self._ids[camera], self._option)
        return renderer.render()

    def _open(self, height: int, width: int) -> mujoco.Renderer:
        renderer = mujoco.Renderer(self._model, height, width)
        # Shadows and reflections redraw the scene; render() restores the flags, so setting them once is enough.
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_HAZE):
            renderer.scene.flags[flag] = 0
        return renderer

    def close(self) -> None:
        """Free every OpenGL context. Safe to call twice; a later picture opens one anew."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
