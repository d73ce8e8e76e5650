"""The cable, its clip and the task: joints and ties are what the task says, and only a cable under the lips counts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.env import RobotEnv
from robot_rl.errors import RobotError
from robot_rl.geometry import quat_conj, quat_from_rotvec, quat_mul, rotate
from robot_rl.robot import ArmCommand, RobotState
from robot_rl.task import Geom, Joint, SceneObject, Tie
from robot_rl_sim.linkages import joint_position, on_tool
from robot_rl_sim.mirror import SceneMirror
from robot_rl_sim.scenes import build_spec, compile_scene
from robot_rl_sim.twin import ArmTwin, TwinConfig
from robot_rl_tasks.arm import upright_quat, yaw_quat
from robot_rl_tasks.cable import ANCHOR_M, FLOOR_M, INSIDE_M, LENGTH_M, LIP_M, RADIUS_M, cable_names, crossing
from robot_rl_tasks.cable_route import CableRoute
from robot_rl_tasks.experts import Sloppiness

TASK = CableRoute()
SHARED = ArmTwin(TASK)
BALL = Geom(kind="sphere", size_m=(0.01,))
CLIP = np.array([0.52, 0.01, 0.0, *upright_quat(0.4)])


def in_clip(state: RobotState, p: np.ndarray) -> np.ndarray:
    pose = state.objects["clip"]
    return rotate(quat_conj(pose[3:7]), p - pose[:3])


@pytest.mark.parametrize("seed", range(6))
def test_a_cable_begins_in_the_hand_and_ends_at_its_post_and_at_rest(seed: int) -> None:
    state = SHARED.reset(TASK.sample_reset(np.random.default_rng(seed)))
    points = TASK.cable_points(state).copy()
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert points[0] == pytest.approx(state.p_BE)
    # Every joint is a link's length from the last, up to the one that is tied.
    np.testing.assert_allclose(lengths[1:], 0.02, atol=1e-4)
    assert (points[1:-1, 2] > in_clip(state, points[-1])[2] - 0.03).all(), "it rises in an arc, off the table"
    assert not SHARED.data.qvel.any()
    assert SHARED.data.ncon == 0, "it touches nothing"


def test_pulled_by_the_arm_the_tie_gives_way_by_some_millimetres_and_the_hand_feels_it() -> None:
    request = TASK.sample_reset(np.random.default_rng(2))
    state = SHARED.reset(request)
    for _ in range(25):
        away = rotate(state.objects["clip"][3:7], np.array([-0.03, 0.0, 0.01]))
        SHARED.command(ArmCommand(state.p_BE + away, state.quat_BE, False))
        state = SHARED.observe()
    points = TASK.cable_points(state)
    assert np.linalg.norm(points[-1] - points[-2]) == pytest.approx(0.02, abs=0.004)
    taut = np.linalg.norm(points[-1] - state.p_BE)
    assert taut == pytest.approx(LENGTH_M, abs=0.005)
    pull = in_clip(state, state.F_BE[:3] + state.objects["clip"][:3])
    assert 2.0 < pull[0] < 15.0, "towards the anchor, no harder than the spring"


def test_physics_stays_sound_under_the_wildest_actions() -> None:
    env = RobotEnv(SHARED, TASK)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(40):
        action = rng.choice([-1.0, 1.0], 6).astype(np.float32)
        _, _, terminated, truncated, _ = env.step(action)
        points = TASK.cable_points(env.robot_state)
        assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() < 0.025, "links never come apart"
        if terminated or truncated:
            env.reset()


def straight(height_m: float, aside_m: float = 0.0, tilt: float = 0.0) -> RobotState:
    """Return a reading whose cable crosses the clip in a straight line at a height, and ends at the anchor."""
    objects = dict(STATE.objects)
    objects["clip"] = CLIP
    names = cable_names()
    for i, name in enumerate(names):
        x = -0.11 + (0.04 + 0.11) * i / (len(names) - 1)
        p = CLIP[:3] + rotate(CLIP[3:], np.array([x, aside_m, height_m + tilt * x]))
        objects[name] = np.concatenate([p, CLIP[3:]])
    return dataclasses.replace(STATE, objects=objects)


STATE = SHARED.reset(TASK.sample_reset(np.random.default_rng(1)))


@settings(max_examples=100, deadline=None)
@given(height=st.floats(FLOOR_M, 0.08), aside=st.floats(-0.03, 0.03), tilt=st.floats(-0.6, 0.6))
def test_routed_is_under_the_lips_along_the_whole_channel(height: float, aside: float, tilt: float) -> None:
    outcome = TASK.outcome(straight(height, aside, tilt))
    highest = height + abs(tilt) * 0.010
    assert outcome.success == outcome.terminated
    if highest < INSIDE_M - 1e-4 and abs(aside) < 0.004:
        assert outcome.success
    if highest > INSIDE_M + 1e-4 or abs(aside) > 0.009:
        assert not outcome.success
    assert outcome.reward == float(outcome.success)


def test_inside_means_that_the_cable_s_widest_part_has_passed_the_lips() -> None:
    assert FLOOR_M + RADIUS_M < INSIDE_M < LIP_M - 0.0015
    assert in_clip(straight(0.03), CLIP[:3] + rotate(CLIP[3:], np.array(ANCHOR_M))) == pytest.approx(ANCHOR_M)


@settings(max_examples=50, deadline=None)
@given(yaw=st.floats(-3.0, 3.0), x=st.floats(-0.08, 0.03), height=st.floats(0.0, 0.1), aside=st.floats(-0.05, 0.05))
def test_a_crossing_is_where_a_straight_cable_is(yaw: float, x: float, height: float, aside: float) -> None:
    pose = np.array([0.4, -0.1, 0.02, *upright_quat(yaw)])
    along = [-0.11, -0.05, -0.01, 0.005, 0.07]
    points = np.stack([pose[:3] + rotate(pose[3:], np.array([a, aside, height])) for a in along])
    out = np.zeros(3)
    assert crossing(out, points, pose, x)
    np.testing.assert_allclose(out, (x, aside, height), atol=1e-9)
    assert not crossing(out, points, pose, 0.2), "beyond its end a cable crosses nothing"


def test_the_expert_snaps_the_cable_in_and_there_it_stays() -> None:
    env = RobotEnv(SHARED, TASK)
    env.reset(seed=3)
    expert = TASK.expert(Sloppiness(noise=0.1))
    expert.reset(np.random.default_rng(3))
    done, info = False, {}
    while not done:
        _, _, terminated, truncated, info = env.step(expert.action(env.robot_state))
        done = terminated or truncated
    assert info["success"]
    state = env.robot_state
    # The cable is given some slack and lifted a little: the lips hold it.
    there = state.p_BE + rotate(state.objects["clip"][3:7], np.array([0.01, 0.0, 0.008]))
    for _ in range(8):
        SHARED.command(ArmCommand(there, state.quat_BE, False))
        state = SHARED.observe()
    assert TASK.outcome(state).success


def test_a_reset_that_drives_unties_the_cable_on_its_way_and_ties_it_again() -> None:
    twin = ArmTwin(TASK, TwinConfig(reset_motion=True))
    rng = np.random.default_rng(0)
    for _ in range(2):
        request = TASK.sample_reset(rng)
        state = twin.reset(request)
        assert np.linalg.norm(state.p_BE - request.p_BE) < 2e-3
        lengths = np.linalg.norm(np.diff(TASK.cable_points(state), axis=0), axis=1)
        np.testing.assert_allclose(lengths[1:], 0.02, atol=1e-3)
        for _ in range(5):
            twin.command(ArmCommand(state.p_BE, state.quat_BE, False))
        lengths = np.linalg.norm(np.diff(TASK.cable_points(twin.observe()), axis=0), axis=1)
        np.testing.assert_allclose(lengths[1:], 0.02, atol=2e-3)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_start_is_within_the_cable_s_reach(seed: int) -> None:
    request = TASK.sample_reset(np.random.default_rng(seed))
    pose = request.objects["clip"]
    anchor = pose[:3] + rotate(pose[3:7], np.array(ANCHOR_M))
    assert np.linalg.norm(request.p_BE - anchor) <= LENGTH_M


def test_a_mirror_shows_a_cable_where_it_is() -> None:
    mirror = SceneMirror(TASK)
    state = SHARED.reset(TASK.sample_reset(np.random.default_rng(5)))
    for _ in range(3):
        SHARED.command(ArmCommand(state.p_BE + np.array([0.01, -0.02, -0.02]), state.quat_BE, False))
        state = SHARED.observe()
    mirror.show(state.q, state.gripper_width_m, state.objects)
    for name in TASK.scene:
        np.testing.assert_allclose(mirror._data.body(name).xpos, state.objects[name][:3], atol=2e-4, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(v=st.tuples(*[st.floats(-1.5, 1.5)] * 3), angle=st.floats(-3.0, 3.0))
def test_a_joint_reads_the_turn_from_its_rest(v: tuple[float, float, float], angle: float) -> None:
    carrier, rest, turn = quat_from_rotvec(np.array(v)), yaw_quat(0.3), quat_from_rotvec(np.array(v[::-1]))
    ball = joint_position(Joint(to="x"), rest, carrier, quat_mul(quat_mul(carrier, rest), turn))
    assert abs(ball @ turn) == pytest.approx(1.0)
    axis = (0.0, 1.0, 0.0)
    hinge = quat_from_rotvec(angle * np.array(axis))
    read = joint_position(Joint(to="x", axis=axis), rest, carrier, quat_mul(quat_mul(carrier, rest), hinge))
    assert read[0] == pytest.approx(angle, abs=1e-6)


def test_what_hangs_on_the_tool_belongs_to_it() -> None:
    assert on_tool(TASK.scene, "cable_05")
    assert not on_tool(TASK.scene, "clip_left_jaw")


@pytest.mark.parametrize(
    ("scene", "sentence"),
    [
        ({"x": SceneObject(geoms=(BALL,), motion="jointed")}, "'x' is jointed, but says not to what"),
        ({"x": SceneObject(geoms=(BALL,), motion="jointed", joint=Joint(to="y"))}, "'x' hangs on 'y', which is no"),
        (
            {"x": SceneObject(geoms=(BALL,), tie=Tie(to="fr3_hnd", at_m=(0, 0, 0), there_m=(0, 0, 0)))},
            r"tied to 'fr3_hnd', which does not exist.*Did you mean 'fr3_hand'",
        ),
    ],
)
def test_what_hangs_on_nothing_is_refused_with_a_sentence(scene: dict[str, SceneObject], sentence: str) -> None:
    with pytest.raises(RobotError, match=sentence):
        compile_scene(build_spec(scene, 0.002), "a test")
