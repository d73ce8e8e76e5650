"""What the twin's cameras show, and how they come and go."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from robot_rl.errors import RobotError, RobotRLError
from robot_rl.robot import ArmCommand, ResetRequest
from robot_rl_sim.fr3 import FINGER_JOINTS
from robot_rl_sim.gl import require_gl
from robot_rl_sim.twin import ArmTwin, TwinConfig
from robot_rl_tasks.arm import upright_quat, yaw_quat
from robot_rl_tasks.peg_insert import PegInsert
from robot_rl_tasks.pick_cube import HALF_M, PickCube
from robot_rl_tasks.reach import Reach

GREEN = (0.0, 1.0, 0.0, 1.0)

try:
    require_gl()
    REASON = ""
except RobotRLError as error:
    REASON = str(error)
needs_gl = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture(scope="module")
def twin() -> Iterator[ArmTwin]:
    twin = ArmTwin(PickCube())
    yield twin
    twin.close()


def reset(twin: ArmTwin, seed: int = 0) -> None:
    twin.reset(twin.task.sample_reset(np.random.default_rng(seed)))


def green_pixels(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return (n, 2) row and column of the pixels that are green."""
    r, g, b = (picture[..., i].astype(int) for i in range(3))
    return np.argwhere((g > 60) & (g > 2 * r) & (g > 2 * b))


def project(twin: ArmTwin, camera: str, p_B: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return row and column at which a pinhole camera sees a point, from the pose and field of view of the model."""
    view = twin.data.camera(camera)
    x, y, z = view.xmat.reshape(3, 3).T @ (p_B - view.xpos)
    focal = 0.5 * height / np.tan(0.5 * np.deg2rad(twin.model.camera(camera).fovy[0]))
    return np.array([0.5 * height + focal * y / z, 0.5 * width - focal * x / z])


@needs_gl
@pytest.mark.parametrize("task", [Reach, PickCube, PegInsert])
@pytest.mark.parametrize("size", [(64, 64), (120, 160)])
def test_no_picture_is_empty(task: type, size: tuple[int, int]) -> None:
    twin = ArmTwin(task())
    reset(twin)
    assert {"front", "wrist", "video"} <= set(twin.cameras())
    for camera in twin.cameras():
        picture = twin.render(camera, *size)
        assert picture.shape == (*size, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 10.0, camera
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20, camera
    twin.close()


@needs_gl
@settings(max_examples=25, deadline=None)
@given(x=st.floats(0.40, 0.60), y=st.floats(-0.15, 0.15), yaw=st.floats(-0.7, 0.7))
def test_the_front_camera_shows_the_cube_where_a_pinhole_camera_would(x: float, y: float, yaw: float) -> None:
    twin = PAINTED
    pose = np.array([x, y, HALF_M, *upright_quat(yaw)])
    twin.reset(ResetRequest(p_BE=np.array([0.45, 0.0, 0.3]), quat_BE=yaw_quat(0.0), objects={"cube": pose}))
    pixels = green_pixels(twin.render("front", 128, 128))
    assert len(pixels) > 40
    wanted = project(twin, "front", pose[:3], 128, 128)
    assert np.abs(pixels.mean(axis=0) - wanted).max() < 2.5
    assert (np.abs(pixels - wanted).max(axis=1) < 1).any(), "the cube covers its own centre"


def _painted() -> ArmTwin:
    twin = ArmTwin(PickCube())
    body = twin.model.body("cube")
    twin.model.geom_rgba[body.geomadr[0]] = GREEN
    return twin


PAINTED = _painted()


@needs_gl
@pytest.mark.parametrize("width_m", [0.0, 0.05, 0.08])
def test_the_wrist_camera_sees_both_fingertips(width_m: float) -> None:
    for finger in FINGER_JOINTS:
        twin = ArmTwin(PickCube())
        pad = twin.model.geom(f"{finger}_pad").id
        twin.model.geom_rgba[pad] = GREEN
        far = np.array([0.6, 0.15, HALF_M, 1.0, 0, 0, 0])
        start = ResetRequest(p_BE=np.array([0.45, 0, 0.3]), quat_BE=yaw_quat(0.2), objects={"cube": far})
        twin.reset(ResetRequest(p_BE=start.p_BE, quat_BE=start.quat_BE, gripper_width_m=width_m, objects=start.objects))
        pixels = green_pixels(twin.render("wrist", 128, 128))
        assert len(pixels) > 10, finger
        row, column = project(twin, "wrist", twin.data.geom_xpos[pad], 128, 128)
        assert 0 <= row < 128
        assert 0 <= column < 128
        twin.close()


@needs_gl
def test_cameras_in_the_settings_come_with_every_reading() -> None:
    twin = ArmTwin(PickCube(), TwinConfig(cameras=("front", "wrist"), image_size=64))
    reset(twin)
    before = twin.observe()
    assert set(before.images) == {"front", "wrist"}
    kept = {name: picture.copy() for name, picture in before.images.items()}
    twin.command(ArmCommand(before.p_BE + np.array([0.0, 0.05, -0.05]), before.quat_BE, False))
    after = twin.observe()
    for name, picture in kept.items():
        assert picture.shape == (64, 64, 3)
        np.testing.assert_array_equal(before.images[name], picture, err_msg="an earlier reading must not change")
        assert (after.images[name] != picture).any()
    twin.close()


@needs_gl
def test_a_closed_twin_may_draw_again_and_an_unknown_camera_is_refused(twin: ArmTwin) -> None:
    reset(twin)
    first = twin.render("front", 64, 64)
    twin.close()
    twin.close()
    np.testing.assert_array_equal(twin.render("front", 64, 64), first)
    with pytest.raises(RobotError, match=r"no camera 'wirst'; it has .*Did you mean 'wrist'"):
        twin.render("wirst", 64, 64)


def hash_of_pictures() -> str:
    """Draw three states with every camera and return a hash; leaves the twin open."""
    twin = LEFT_OPEN[0] = ArmTwin(PickCube())
    hasher = hashlib.sha256()
    for seed in range(3):
        reset(twin, seed)
        state = twin.observe()
        twin.command(ArmCommand(state.p_BE + np.array([0.0, 0.02, -0.04]), state.quat_BE, True))
        for camera in twin.cameras():
            hasher.update(twin.render(camera, 96, 128).tobytes())
    return hasher.hexdigest()


LEFT_OPEN: list[ArmTwin | None] = [None]


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environ}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip


@needs_gl
def test_a_state_gives_the_same_picture_in_another_process_which_may_end_without_closing() -> None:
    done = run(f"import runpy; m = runpy.run_path({__file__!r}); print(m['hash_of_pictures']())")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.strip() == hash_of_pictures()


@needs_gl
def test_an_error_while_a_picture_is_open_ends_with_that_error_alone() -> None:
    code = f"import runpy; m = runpy.run_path({__file__!r}); m['hash_of_pictures'](); raise SystemExit('the end')"
    done = run(code)
    assert done.returncode == 1
    assert done.stderr.strip() == "the end"


WITHOUT_GL = """
import ctypes, os
os.environ.pop("MUJOCO_GL", None)
class NoGraphics(ctypes.CDLL):
    def __init__(self, name, *args, **kwargs):
        if name and any(part in str(name) for part in ("libEGL", "libGL", "libOpenGL", "libOSMesa", "libGLX")):
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        super().__init__(name, *args, **kwargs)
ctypes.CDLL = NoGraphics
import numpy as np
from robot_rl.env import RobotEnv
from robot_rl.errors import RobotRLError
from robot_rl_sim.twin import ArmTwin
from robot_rl_tasks.pick_cube import PickCube
task = PickCube()
env = RobotEnv(ArmTwin(task), task)
env.reset(seed=0)
for _ in range(5):
    env.step(np.zeros(7, np.float32))
print("stepped")
try:
    env.robot.render("front", 64, 64)
except RobotRLError as error:
    print(error)
env.close()
"""


def test_state_needs_no_graphics_library_and_pictures_say_what_to_install() -> None:
    done = run(WITHOUT_GL)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "stepped"
    assert "OpenGL" in lines[1]
    assert "apt-get install" in lines[1]
