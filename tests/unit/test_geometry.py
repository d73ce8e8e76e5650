"""Rotations: group axioms, round trips, the shortest way, and deltas in the tool frame."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from robot_rl import geometry as g

unhurried = settings(deadline=None)  # the first call of a kernel loads or compiles it
IDENTITY = np.array([1.0, 0.0, 0.0, 0.0])
number = st.floats(-1.0, 1.0)
vectors = st.tuples(number, number, number).map(np.array)
axes = vectors.filter(lambda v: np.linalg.norm(v) > 1e-2).map(lambda v: v / np.linalg.norm(v))
quats = (
    st.tuples(number, number, number, number)
    .map(np.array)
    .filter(lambda v: np.linalg.norm(v) > 1e-2)
    .map(g.quat_normalise)
)


def same_rotation(a: np.ndarray, b: np.ndarray, atol: float = 1e-12) -> None:
    assert_allclose(a * np.sign(np.dot(a, b)), b, atol=atol)


def scipy_rotation(q: np.ndarray) -> Rotation:
    return Rotation.from_quat(np.roll(q, -1))


@unhurried
@given(quats, quats, quats)
def test_quaternions_are_a_group(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    assert_allclose(g.quat_mul(g.quat_mul(a, b), c), g.quat_mul(a, g.quat_mul(b, c)), atol=1e-12)
    assert_allclose(g.quat_mul(a, IDENTITY), a, atol=0)
    assert_allclose(g.quat_mul(a, g.quat_conj(a)), IDENTITY, atol=1e-12)
    assert np.linalg.norm(g.quat_mul(a, b)) == pytest.approx(1.0, abs=1e-12)


@unhurried
@given(quats, quats, vectors)
def test_rotating_agrees_with_products_matrices_and_scipy(a: np.ndarray, b: np.ndarray, v: np.ndarray) -> None:
    assert_allclose(g.rotate(g.quat_mul(a, b), v), g.rotate(a, g.rotate(b, v)), atol=1e-12)
    assert_allclose(g.rotate(a, v), g.quat_to_matrix(a) @ v, atol=1e-12)
    assert_allclose(g.quat_to_matrix(a), scipy_rotation(a).as_matrix(), atol=1e-12)


@unhurried
@given(quats)
def test_a_matrix_gives_its_quaternion_back(q: np.ndarray) -> None:
    same_rotation(g.matrix_to_quat(g.quat_to_matrix(q)), q)


@pytest.mark.parametrize("axis", [*np.eye(3), np.ones(3) / math.sqrt(3.0)])
@pytest.mark.parametrize("short_of_pi", [0.0, 1e-12, 1e-7])
def test_a_matrix_near_a_half_turn_gives_its_quaternion_back(axis: np.ndarray, short_of_pi: float) -> None:
    q = g.quat_from_rotvec((math.pi - short_of_pi) * axis)
    same_rotation(g.matrix_to_quat(g.quat_to_matrix(q)), q)


@unhurried
@given(axes, st.floats(0.0, math.pi - 1e-6))
def test_log_undoes_exp_up_to_a_half_turn(axis: np.ndarray, angle: float) -> None:
    assert_allclose(g.rotvec_from_quat(g.quat_from_rotvec(angle * axis)), angle * axis, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 5e-324, 1e-300, 1e-160, 1e-16, 1e-9, 0.99e-4, 1.01e-4, 1e-3])
def test_log_and_exp_keep_every_digit_of_a_tiny_angle(angle: float) -> None:
    r = np.array([0.0, angle, 0.0])
    assert_allclose(g.rotvec_from_quat(g.quat_from_rotvec(r)), r, rtol=1e-14, atol=1e-323)


@unhurried
@given(axes)
def test_a_half_turn_has_length_pi_about_its_axis(axis: np.ndarray) -> None:
    r = g.rotvec_from_quat(g.quat_from_rotvec(math.pi * axis))
    assert np.linalg.norm(r) == pytest.approx(math.pi, abs=1e-12)
    assert abs(np.dot(r, axis)) == pytest.approx(math.pi, abs=1e-9)


@unhurried
@given(quats)
def test_both_quaternions_of_a_rotation_have_one_log_of_at_most_pi(q: np.ndarray) -> None:
    r = g.rotvec_from_quat(q)
    assert np.linalg.norm(r) <= math.pi + 1e-12
    same_rotation(g.quat_from_rotvec(r), q)
    if abs(q[0]) > 1e-6:
        assert_allclose(g.rotvec_from_quat(-q), r, atol=1e-9)


@unhurried
@given(quats, quats, st.floats(0.0, 1.0))
def test_slerp_divides_the_angle(a: np.ndarray, b: np.ndarray, t: float) -> None:
    angle = g.quat_angle(a, b)
    middle = g.slerp(a, b, t)
    assert g.quat_angle(a, middle) == pytest.approx(t * angle, abs=1e-7)
    assert g.quat_angle(middle, b) == pytest.approx((1.0 - t) * angle, abs=1e-7)


@unhurried
@given(quats, quats, st.floats(1e-3, 4.0))
def test_a_limited_rotation_step_never_turns_further_and_arrives_exactly(
    a: np.ndarray, b: np.ndarray, limit: float
) -> None:
    step = g.rotation_step(a, b, limit)
    angle = g.quat_angle(a, b)
    if angle <= limit:
        assert (step == b).all()
    else:
        assert g.quat_angle(a, step) == pytest.approx(limit, abs=1e-9)
        assert g.quat_angle(step, b) == pytest.approx(angle - limit, abs=1e-9)


@unhurried
@given(axes, axes)
def test_the_angle_between_vectors_is_that_of_the_cosine(a: np.ndarray, b: np.ndarray) -> None:
    assert math.cos(g.vector_angle(a, 3.0 * b)) == pytest.approx(np.dot(a, b), abs=1e-12)


@unhurried
@given(vectors, quats, vectors, axes, st.floats(0.0, 3.0))
def test_a_tool_delta_is_undone_by_its_inverse(
    p: np.ndarray, q: np.ndarray, dp: np.ndarray, axis: np.ndarray, angle: float
) -> None:
    p_t, q_t = g.tool_delta(p, q, dp, angle * axis)
    back_p, back_r = g.tool_delta_inverse(p, q, p_t, q_t)
    assert_allclose(back_p, dp, atol=1e-12)
    assert_allclose(back_r, angle * axis, atol=1e-9)


@unhurried
@given(vectors, quats, st.floats(-0.1, 0.1))
def test_a_push_along_the_tool_axis_rotates_nothing_at_any_pose(p: np.ndarray, q: np.ndarray, push: float) -> None:
    p_t, q_t = g.tool_delta(p, q, np.array([0.0, 0.0, push]), np.zeros(3))
    assert (q_t == q).all()
    assert_allclose(p_t - p, push * g.quat_to_matrix(q)[:, 2], atol=1e-12)


@unhurried
@given(vectors, quats, vectors)
def test_a_rotation_delta_moves_no_tool_centre_point_and_turns_about_the_tool_frame(
    p: np.ndarray, q: np.ndarray, r: np.ndarray
) -> None:
    p_t, q_t = g.tool_delta(p, q, np.zeros(3), r)
    assert (p_t == p).all()
    expected = scipy_rotation(q) * Rotation.from_rotvec(r)
    assert_allclose(g.quat_to_matrix(q_t), expected.as_matrix(), atol=1e-12)


@pytest.mark.parametrize("bad", [np.zeros(4), np.full(4, np.nan), np.array([1.0, np.inf, 0.0, 0.0])])
def test_what_is_no_rotation_normalises_to_the_identity(bad: np.ndarray) -> None:
    assert (g.quat_normalise(bad) == IDENTITY).all()
    assert g.quat_normalise_into(np.empty(4), bad) is False


@unhurried
@given(quats, st.integers(-300, 300))
def test_normalising_does_not_depend_on_the_length(q: np.ndarray, exponent: int) -> None:
    assert_allclose(g.quat_normalise(q * 10.0**exponent), q, atol=1e-12)


@unhurried
@given(quats, quats, vectors)
def test_results_may_overwrite_their_inputs(a: np.ndarray, b: np.ndarray, v: np.ndarray) -> None:
    product, out = g.quat_mul(a, b), a.copy()
    g.quat_mul_into(out, out, b)
    assert (out == product).all()
    turned, out = g.rotate(a, v), v.copy()
    g.rotate_into(out, a, out)
    assert (out == turned).all()
    p_t, q_t = g.tool_delta(v, a, v, v)
    p_out, q_out = v.copy(), a.copy()
    g.tool_delta_into(p_out, q_out, p_out, q_out, v, v)
    assert (p_out == p_t).all()
    assert (q_out == q_t).all()
