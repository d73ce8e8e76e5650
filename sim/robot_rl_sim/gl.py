"""Off-screen OpenGL: which library draws the pictures, decided before MuJoCo is imported.

MuJoCo reads the environment variable `MUJOCO_GL` once, while it is imported, and that import fails when the library
the variable names is missing. So the libraries are tried first, and the variable is set only when they are there. A
twin that gives state alone never needs OpenGL.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable, MutableMapping

from robot_rl.errors import MissingDependency, RobotError

APT_LINE = "apt-get install -y --no-install-recommends libegl1 libgl1"

# What each backend opens. Any one name of a group will do; libGL also brings Debian's software renderer.
LIBRARIES: dict[str, tuple[tuple[str, ...], ...]] = {
    "egl": (("libEGL.so.1",), ("libGL.so.1", "libOpenGL.so.0")),
    "osmesa": (("libOSMesa.so.8",),),
}
OFF = frozenset({"disable", "disabled", "off", "false", "0"})


def library_loads(name: str) -> bool:
    """Return whether the dynamic linker finds and opens a library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def missing_libraries(backend: str, loads: Callable[[str], bool] = library_loads) -> list[str]:
    """Return what a backend lacks, one entry per group of alternatives; empty when it can open."""
    return [" or ".join(group) for group in LIBRARIES.get(backend, ()) if not any(loads(name) for name in group)]


def choose_gl(
    environ: MutableMapping[str, str] = os.environ, loads: Callable[[str], bool] = library_loads
) -> str | None:
    """Choose how MuJoCo draws off-screen, and tell it through `MUJOCO_GL`.

    Call it before MuJoCo is imported; importing `robot_rl_sim` does. A `MUJOCO_GL` that the user set is kept.

    Args:
        environ: The environment to read and to set the variable in.
        loads: Tells whether a shared library opens.

    Returns:
        "egl", "osmesa" or what the user chose; None when there will be no pictures.

    Raises:
        MissingDependency: The user's choice names a library that is not there, so importing MuJoCo would fail.
    """
    chosen = environ.get("MUJOCO_GL", "").lower().strip()
    if chosen:
        lacking = missing_libraries(chosen, loads)
        if lacking:
            raise MissingDependency(
                f"the OpenGL library {' and '.join(lacking)}",
                f"MUJOCO_GL={chosen}, which this shell sets (unset it to train from state),",
                APT_LINE,
            )
        return None if chosen in OFF else chosen
    if sys.platform != "linux":
        return "native"  # MuJoCo knows the one way of this system
    for backend in LIBRARIES:
        if not missing_libraries(backend, loads):
            environ["MUJOCO_GL"] = backend
            return backend
    return None


@functools.cache
def require_gl(needed_for: str = "a camera picture") -> str:
    """Return the backend after opening and closing a context with it, which takes some milliseconds once.

    Args:
        needed_for: What cannot be done without, for the message.

    Raises:
        MissingDependency: No library is there, or none of its drivers opens.
        RobotError: Pictures are switched off, or MuJoCo was imported before the choice was made.
    """
    if os.environ.get("MUJOCO_GL", "").lower().strip() in OFF:
        raise RobotError(
            f"MUJOCO_GL={os.environ['MUJOCO_GL']} switches pictures off, and {needed_for} needs them; "
            "unset MUJOCO_GL and start again"
        )
    backend = choose_gl()
    if backend is None:
        raise MissingDependency("off-screen OpenGL (libEGL and libGL)", needed_for, APT_LINE)
    import mujoco

    bound = getattr(mujoco, "GLContext", None)
    if backend in LIBRARIES and (bound is None or backend not in bound.__module__):
        raise RobotError(
            f"MuJoCo was imported before robot_rl_sim and did not choose {backend}, which {needed_for} needs; "
            f"import robot_rl_sim first, or start with MUJOCO_GL={backend}"
        )
    try:
        context = mujoco.GLContext(16, 16)
        context.make_current()
        context.free()
    except Exception as error:  # ctypes, PyOpenGL and MuJoCo each raise their own kinds here
        raise MissingDependency(f"a working {backend} driver ({error})", needed_for, APT_LINE) from error
    return backend
