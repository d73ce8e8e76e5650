"""The mirror draws what the lock-step twin draws, from nothing but the state that a robot tells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from robot_rl.errors import RobotError, RobotRLError
from robot_rl.robot import ArmCommand, RobotState
from robot_rl.task import Task
from robot_rl_sim.gl import require_gl
from robot_rl_sim.mirror import SceneMirror, make_mirror
from robot_rl_sim.twin import ArmTwin
from robot_rl_tasks.peg_insert import PegInsert
from robot_rl_tasks.pick_cube import PickCube
from robot_rl_tasks.reach import Reach

try:
    require_gl()
    REASON = ""
except RobotRLError as error:
    REASON = str(error)
needs_gl = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture(scope="module", params=[PickCube, PegInsert, Reach])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Task, ArmTwin, SceneMirror]]:
    task = request.param()
    twin, mirror = ArmTwin(task), make_mirror(task)
    yield task, twin, mirror
    twin.close()
    mirror.close()


def show(mirror: SceneMirror, state: RobotState) -> None:
    mirror.show(state.q, state.gripper_width_m, state.objects)


@needs_gl
@pytest.mark.gl
def test_the_picture_is_the_twin_s_for_the_same_state(pair: tuple[Task, ArmTwin, SceneMirror]) -> None:
    task, twin, mirror = pair
    assert list(mirror.cameras) == list(twin.cameras())
    rng = np.random.default_rng(0)
    for seed in range(3):
        state = twin.reset(task.sample_reset(np.random.default_rng(seed)))
        for step in range(8):  # moves about, closes, may touch and lift what is there
            show(mirror, state)
            for camera in mirror.cameras:
                wanted, made = twin.render(camera, 128, 128), mirror.render(camera, 128, 128)
                # The two fingers stand apart by some micrometres in a grasp; an edge of a pixel may show it.
                assert (wanted != made).any(axis=2).mean() < 0.002, (seed, step, camera)
            lift = rng.uniform(-0.03, 0.03, 3) + np.array([0.0, 0.0, -0.02 if step < 5 else 0.05])
            twin.command(ArmCommand(state.p_BE + lift, state.quat_BE, step > 4))
            state = twin.observe()


@needs_gl
@pytest.mark.gl
def test_everything_that_is_told_shows(pair: tuple[Task, ArmTwin, SceneMirror]) -> None:
    task, twin, mirror = pair
    state = twin.reset(task.sample_reset(np.random.default_rng(0)))
    show(mirror, state)
    before = mirror.render("front", 128, 128)
    fingers = []
    for width_m in (0.08, 0.0):
        mirror.show(state.q, width_m, {})
        fingers.append(mirror.render("wrist", 128, 128))
    assert (fingers[0] != fingers[1]).any()
    mirror.show(state.q, float("nan"), {})
    np.testing.assert_array_equal(mirror.render("wrist", 128, 128), fingers[1], err_msg="an unknown opening")
    mirror.show(state.q + 0.2, state.gripper_width_m, {})
    assert (mirror.render("front", 128, 128) != before).any(), "another posture"
    mirror.show(state.q, state.gripper_width_m, {})
    np.testing.assert_array_equal(mirror.render("front", 128, 128), before, err_msg="objects stay where they were")
    for name in mirror.objects:
        moved = state.objects[name] + np.array([0.05, 0.05, 0.0, 0, 0, 0, 0])
        mirror.show(state.q, state.gripper_width_m, {name: moved})
        assert (mirror.render("front", 128, 128) != before).any(), name
        show(mirror, state)


def test_a_mirror_needs_no_graphics_until_it_draws(pair: tuple[Task, ArmTwin, SceneMirror]) -> None:
    task, _, _ = pair
    mirror = SceneMirror(task)
    mirror.show(np.zeros(7), 0.04, {"an object of another task": np.ones(7)})
    assert set(mirror.objects) == {name for name, one in task.scene.items() if one.motion != "held"}
    mirror.close()


@pytest.mark.parametrize("q", [np.zeros(6), np.full(7, np.nan), np.full(7, np.inf)])
def test_an_arm_that_is_nowhere_is_refused(q: np.ndarray) -> None:
    with pytest.raises(RobotError, match="seven finite joint positions"):
        SceneMirror(PickCube()).show(q, 0.04, {})


@pytest.mark.parametrize("pose", [np.zeros(7), np.ones(6), np.full(7, np.nan)])
def test_an_object_that_is_nowhere_is_refused(pose: np.ndarray) -> None:
    with pytest.raises(RobotError, match="'cube' must be seven finite numbers"):
        SceneMirror(PickCube()).show(np.zeros(7), 0.04, {"cube": pose})
