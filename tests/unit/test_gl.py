"""Choosing the off-screen OpenGL library."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

from robot_rl.errors import MissingDependency
from robot_rl_sim.gl import APT_LINE, LIBRARIES, choose_gl, missing_libraries

NAMES = [name for groups in LIBRARIES.values() for group in groups for name in group]


@pytest.mark.parametrize("present", [set(c) for n in range(len(NAMES) + 1) for c in itertools.combinations(NAMES, n)])
def test_a_chosen_backend_always_has_its_libraries(present: set[str]) -> None:
    environ: dict[str, str] = {}
    backend = choose_gl(environ, present.__contains__)
    assert environ == ({} if backend is None else {"MUJOCO_GL": backend})
    if backend is None:
        assert all(missing_libraries(b, present.__contains__) for b in LIBRARIES)
    else:
        assert not missing_libraries(backend, present.__contains__)


def test_egl_is_preferred_and_libgl_or_libopengl_will_do() -> None:
    assert choose_gl({}, lambda _: True) == "egl"
    assert choose_gl({}, {"libEGL.so.1", "libOpenGL.so.0"}.__contains__) == "egl"
    assert choose_gl({}, {"libEGL.so.1", "libOSMesa.so.8"}.__contains__) == "osmesa"


@pytest.mark.parametrize("value", ["egl", "osmesa", "glfw", "EGL "])
def test_a_choice_of_the_user_is_kept(value: str) -> None:
    environ = {"MUJOCO_GL": value}
    assert choose_gl(environ, lambda _: True) == value.strip().lower()
    assert environ == {"MUJOCO_GL": value}


@pytest.mark.parametrize("value", ["disable", "off", "0"])
def test_switched_off_means_no_pictures(value: str) -> None:
    assert choose_gl({"MUJOCO_GL": value}, lambda _: True) is None


def test_a_choice_without_its_library_names_the_library_and_the_remedy() -> None:
    with pytest.raises(MissingDependency, match=r"libEGL\.so\.1.*unset it") as caught:
        choose_gl({"MUJOCO_GL": "egl"}, lambda _: False)
    assert APT_LINE in str(caught.value)


def _python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in {"MUJOCO_GL", "PYOPENGL_PLATFORM"}}
    return subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environ}, capture_output=True, text=True, check=False, timeout=120
    )


# Stands for a machine without OpenGL: the linker's door, ctypes.CDLL, finds none of its libraries.
WITHOUT_GL = """
import ctypes
opened = ctypes.CDLL
class Without(opened):
    def __init__(self, name, *args, **kwargs):
        if name and any(part in str(name) for part in ("libEGL", "libGL", "libOpenGL", "libOSMesa")):
            raise OSError(f"{name}: cannot open shared object file")
        super().__init__(name, *args, **kwargs)
ctypes.CDLL = Without
"""


def test_without_opengl_the_twin_still_steps_and_a_picture_says_what_to_install() -> None:
    code = (
        WITHOUT_GL
        + """
import robot_rl_sim, os, mujoco
assert "MUJOCO_GL" not in os.environ
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
mujoco.mj_step(model, mujoco.MjData(model))
from robot_rl_sim.gl import require_gl
require_gl("a video")
"""
    )
    done = _python(code)
    assert done.returncode == 1
    assert "MissingDependency: off-screen OpenGL" in done.stderr
    assert "a video needs it" in done.stderr
    assert APT_LINE in done.stderr


def test_importing_mujoco_first_is_reported_when_a_picture_is_asked_for() -> None:
    if missing_libraries("egl") and missing_libraries("osmesa"):
        pytest.skip("no OpenGL library on this machine")
    done = _python("import mujoco, robot_rl_sim.gl as gl; gl.require_gl()")
    assert done.returncode == 1
    assert "import robot_rl_sim first" in done.stderr


def test_pictures_switched_off_are_reported() -> None:
    done = _python("import robot_rl_sim.gl as gl; gl.require_gl()", MUJOCO_GL="disable")
    assert done.returncode == 1
    assert "unset MUJOCO_GL" in done.stderr


def test_a_context_opens_where_the_libraries_are() -> None:
    if missing_libraries("egl") and missing_libraries("osmesa"):
        pytest.skip("no OpenGL library on this machine")
    done = _python("import robot_rl_sim.gl as gl; assert gl.require_gl() in ('egl', 'osmesa')")
    assert done.returncode == 0, done.stderr
