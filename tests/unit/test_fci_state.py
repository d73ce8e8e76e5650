"""From what the maker's library tells to a sample: what the answer needs first, the rest afterwards."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np

from robot_rl.geometry import quat_angle, quat_to_matrix
from robot_rl_controllers.drive.fr3_kinematics import HOME_Q, Fr3Kinematics
from robot_rl_controllers.drive.plant import Sample
from robot_rl_hardware.fci.settings import FciSettings
from robot_rl_hardware.fci.state import StateReader

ARM = Fr3Kinematics()


def told(q: np.ndarray) -> tuple[SimpleNamespace, SimpleNamespace]:
    """Return a state and a model as pylibfranka has them: lists of numbers, poses column by column."""
    rng = np.random.default_rng(5)
    p, quat = ARM.tool_pose(q)
    X = np.eye(4)
    X[:3, :3], X[:3, 3] = quat_to_matrix(quat), p
    dq, tau, coriolis = rng.normal(size=(3, 7))
    state = SimpleNamespace(
        q=q.tolist(), dq=dq.tolist(), tau_J_d=tau.tolist(), O_T_EE=X.T.ravel().tolist(),
        O_F_ext_hat_K=[1.0, -2.0, 3.0, 4.0, 5.0, 6.0], time=SimpleNamespace(to_sec=lambda: 12.5),
    )  # fmt: skip
    return state, SimpleNamespace(coriolis=lambda s: coriolis.tolist() if s is state else None)


def test_a_sample_is_what_the_library_told() -> None:
    q = np.array(HOME_Q) + 0.1
    state, model = told(q)
    reader, sample = StateReader(FciSettings(address="127.0.0.1")), Sample()
    before = time.monotonic()
    reader.fill(sample, state)
    assert before <= sample.stamp_s <= time.monotonic()
    assert sample.q.tolist() == state.q
    assert sample.dq.tolist() == state.dq
    assert sample.tau_prev.tolist() == state.tau_J_d
    assert not sample.coriolis.any(), "those of the state before: there was none"
    p, quat = ARM.tool_pose(q)
    assert (sample.p_BE == p).all()
    assert quat_angle(sample.quat_BE, quat) < 1e-7
    np.testing.assert_allclose(sample.J, ARM.tool_jacobian(q), atol=1e-12)
    assert not sample.F_BE.any(), "nothing of the answer depends on it"
    reader.fill_rest(sample, state, model)
    assert sample.coriolis.tolist() == model.coriolis(state)
    assert sample.F_BE.tolist() == [-1.0, 2.0, -3.0, -4.0, -5.0, -6.0]
    assert sample.robot_s == 12.5


def test_a_state_that_is_not_finite_arrives_as_it_is() -> None:
    state, _ = told(np.array(HOME_Q))
    state.q[3] = state.O_T_EE[12] = float("nan")
    reader, sample = StateReader(FciSettings(address="127.0.0.1")), Sample()
    reader.fill(sample, state)
    assert np.isnan(sample.q).tolist() == [False] * 3 + [True] + [False] * 3
    assert np.isnan(sample.p_BE).tolist() == [True, False, False]


def test_the_arrays_of_a_sample_are_the_one_that_the_laws_read() -> None:
    sample = Sample(q=np.arange(7.0), J=np.arange(42.0).reshape(6, 7))
    arrays = (
        sample.q, sample.dq, sample.tau_prev, sample.coriolis, sample.p_BE, sample.quat_BE, sample.F_BE, sample.J,
    )  # fmt: skip
    for number, array in enumerate(arrays, 1):
        array[:] = number
    sizes = [array.size for array in arrays]
    assert sample.packed.tolist() == np.repeat(np.arange(1.0, 9.0), sizes).tolist()
