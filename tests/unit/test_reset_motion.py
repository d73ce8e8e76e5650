"""A reset that drives the arm: it arrives, nothing jumps on the way, and the guard may end it."""

from __future__ import annotations

import robot_rl_sim  # noqa: F401  (chooses OpenGL before MuJoCo is imported)

# isort: split
import dataclasses
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import RobotError
from robot_rl.geometry import quat_angle
from robot_rl.robot import ArmCommand, ResetRequest
from robot_rl.task import Geom, SceneObject
from robot_rl_controllers.gains import TAU_RATE_NM_S
from robot_rl_sim.twin import ArmTwin, TwinConfig
from robot_rl_tasks.arm import yaw_quat
from robot_rl_tasks.peg_insert import PegInsert
from robot_rl_tasks.pick_cube import PickCube
from robot_rl_tasks.reach import Reach

DRIVEN = TwinConfig(reset_motion=True)
TWINS = {task.name: ArmTwin(task(), DRIVEN) for task in (Reach, PickCube, PegInsert)}


def wander(twin: ArmTwin, rng: np.random.Generator, steps: int = 20) -> None:
    """Chase a random place of the workspace, so that the next reset begins anywhere."""
    limits = twin.task.limits
    goal = rng.uniform(limits.box_min_m, limits.box_max_m)
    quat = yaw_quat(rng.uniform(-0.6, 0.6))
    for step in range(steps):
        p = twin.observe().p_BE
        delta = goal - p
        delta *= min(1.0, 0.06 / max(np.linalg.norm(delta), 1e-9))
        twin.command(ArmCommand(p + delta, quat, step > steps // 2))


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(sorted(TWINS)), seed=st.integers(0, 10**6))
def test_the_arm_arrives_from_anywhere_and_the_objects_stand_where_asked(name: str, seed: int) -> None:
    twin, rng = TWINS[name], np.random.default_rng(seed)
    for _ in range(2):
        before_s = twin.data.time
        request = twin.task.sample_reset(rng)
        state = twin.reset(request)
        assert state.stamp_s > before_s, "time goes on: nothing was placed"
        assert np.linalg.norm(state.p_BE - request.p_BE) < 2e-3
        assert quat_angle(state.quat_BE, request.quat_BE) < 0.02
        assert np.linalg.norm(state.V_BE[:3]) < 0.01
        assert state.gripper_width_m == pytest.approx(request.gripper_width_m, abs=0.006)
        for obj, pose in request.objects.items():
            np.testing.assert_allclose(state.objects[obj], pose, atol=1e-12)
        assert not twin.guard.stopped
        wander(twin, rng)


@pytest.mark.parametrize("task", [PickCube, PegInsert])
def test_no_torque_and_no_speed_jumps(task: Any) -> None:
    """Every physics tick of two resets and an episode between them."""
    twin = ArmTwin(task(), DRIVEN)
    rng = np.random.default_rng(5)
    twin.reset(twin.task.sample_reset(rng))
    ticks: list[tuple[float, np.ndarray, np.ndarray, np.ndarray]] = []

    def record(_model: mujoco.MjModel, data: mujoco.MjData) -> None:
        if data is not None and data.time > (ticks[-1][0] if ticks else -1.0):
            ticks.append((data.time, data.ctrl[:7].copy(), data.qvel[:7].copy(), data.qpos[:7].copy()))

    mujoco.set_mjcb_control(record)
    try:
        wander(twin, rng)
        twin.reset(twin.task.sample_reset(rng))
        twin.command(ArmCommand(twin.observe().p_BE, twin.observe().quat_BE, False))
    finally:
        mujoco.set_mjcb_control(None)
    dt = twin.config.physics_dt_s
    assert len(ticks) > 1000
    times, torques, speeds, places = (np.array(x) for x in zip(*ticks, strict=True))
    np.testing.assert_allclose(np.diff(times), dt, atol=1e-9)
    assert np.abs(np.diff(torques, axis=0)).max() <= TAU_RATE_NM_S * dt + 1e-9
    # The arm was never placed: each position follows from the speed before or after it.
    moved = np.diff(places, axis=0)
    np.testing.assert_allclose(moved, dt * speeds[1:], atol=1e-9)
    # 87 N m on a joint with the arm's smallest inertia, motor included; an impact is not part of these motions.
    assert np.abs(np.diff(speeds, axis=0)).max() < 200.0 * dt
    assert np.abs(speeds).max() < 3.0


def test_two_twins_repeat_each_other_bit_for_bit() -> None:
    def play() -> list[np.ndarray]:
        twin, rng, seen = ArmTwin(PickCube(), DRIVEN), np.random.default_rng(9), []
        for _ in range(2):
            seen.append(twin.reset(twin.task.sample_reset(rng)).q)
            wander(twin, rng, steps=5)
        return seen

    for a, b in zip(play(), play(), strict=True):
        assert a.tobytes() == b.tobytes()


def walled_twin() -> tuple[ArmTwin, ResetRequest, ResetRequest]:
    """A twin with a heavy wall that stands across the workspace or far from it, and the two starts."""
    task = Reach()
    wall = SceneObject(geoms=(Geom(kind="box", size_m=(0.3, 0.02, 0.35)),), motion="placed")
    task.scene = {**task.scene, "wall": wall}
    task.limits = dataclasses.replace(task.limits, force_n=25.0)
    goal = np.array([0.5, 0.0, 0.2, 1.0, 0, 0, 0])
    away, across = (np.array([0.5, y, 0.35, 1.0, 0, 0, 0]) for y in (2.0, 0.0))
    start = {"quat_BE": yaw_quat(0.0), "gripper_width_m": 0.0}
    free = ResetRequest(p_BE=np.array([0.5, -0.2, 0.2]), objects={"goal": goal, "wall": away}, **start)
    blocked = ResetRequest(p_BE=np.array([0.5, 0.2, 0.2]), objects={"goal": goal, "wall": across}, **start)
    return ArmTwin(task, DRIVEN), free, blocked


def test_a_collision_on_the_way_stops_the_reset_and_the_next_one_goes_on() -> None:
    twin, free, blocked = walled_twin()
    twin.reset(free)
    twin.reset(dataclasses.replace(free, objects=blocked.objects))  # now the wall stands there, the arm on one side
    with pytest.raises(RobotError, match=r"stopped the reset: contact force.*reset again"):
        twin.reset(blocked)
    assert twin.guard.stopped
    assert twin.guard.totals["force"] >= 1
    with pytest.raises(RobotError, match="call reset first"):
        twin.command(ArmCommand(free.p_BE, free.quat_BE, False))
    twin.data.mocap_pos[:, 1] = 2.0  # somebody clears the way
    state = twin.reset(free)
    assert not twin.guard.stopped
    assert np.linalg.norm(state.p_BE - free.p_BE) < 2e-3


def test_a_soft_touch_on_the_way_is_a_blocked_reset() -> None:
    twin, free, blocked = walled_twin()
    twin.guard = type(twin.guard)(dataclasses.replace(twin.task.limits, force_n=1e4), twin.period_s)
    twin.reset(free)
    twin.reset(dataclasses.replace(free, objects=blocked.objects))
    with pytest.raises(RobotError, match=r"the reset (is blocked|ends).* mm"):
        twin.reset(blocked)


def test_a_stop_is_acknowledged_and_a_pressing_tool_is_released_first() -> None:
    task = PickCube()
    task.limits = dataclasses.replace(task.limits, box_min_m=(0.28, -0.28, -0.1), force_n=20.0)
    twin = ArmTwin(task, DRIVEN)
    rng = np.random.default_rng(2)
    state = twin.reset(task.sample_reset(rng))
    while not twin.guard.stopped:
        twin.command(ArmCommand(twin.observe().p_BE - np.array([0, 0, 0.08]), state.quat_BE, False))
    request = task.sample_reset(rng)
    state = twin.reset(request)
    assert not twin.guard.stopped
    assert np.linalg.norm(state.p_BE - request.p_BE) < 2e-3


def test_unreachable_and_forbidden_starts_are_refused_before_anything_moves() -> None:
    twin = TWINS["reach"]
    twin.reset(twin.task.sample_reset(np.random.default_rng(0)))
    before = twin.data.time
    with pytest.raises(RobotError, match="breaks the rule workspace"):
        twin.reset(ResetRequest(p_BE=np.array([2.0, 0.0, 0.2]), quat_BE=yaw_quat(0.0)))
    assert twin.data.time == before
