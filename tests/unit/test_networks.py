"""The networks against plain numpy, and the numbers they are made of against their definitions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.agents import networks
from robot_rl.agents.config import Activation
from robot_rl.agents.networks import Mlp


def numpy_member(params: dict, net: Mlp, member: int, x: np.ndarray) -> np.ndarray:
    p = net.named(params, member)
    h = x.astype(np.float64)
    for i in range(len(net.hidden)):
        h = h @ p[f"w{i}"] + p.get(f"b{i}", 0.0)
        if net.norm:
            h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + networks.LN_EPS) * p[f"scale{i}"]
        h = h + p[f"shift{i}"]
        h = np.tanh(h) if net.activation == "tanh" else np.maximum(h, 0.0)
    return h @ p["head"] + p["bias"]


def random_params(net: Mlp, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    params = net.init(rng)
    return {k: v + 0.1 * rng.standard_normal(v.shape, np.float32) for k, v in params.items()}


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("norm", [True, False])
def test_every_member_is_a_network_of_its_own(activation: Activation, norm: bool) -> None:
    net = Mlp(3, 5, (8, 6), 2, activation, norm)
    params = random_params(net, 0)
    x = np.random.default_rng(1).standard_normal((7, 5), np.float32)
    out = np.asarray(net(params, x))
    expected = np.stack([numpy_member(params, net, i, x) for i in range(3)])
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("norm", [True, False])
def test_the_network_sees_the_magnitude_of_its_input(norm: bool) -> None:
    net = Mlp(1, 2, (16, 16), 1, "tanh", norm)
    params = net.init(np.random.default_rng(0))
    x = np.array([[0.3, -0.2]], np.float32)
    near, far = np.asarray(net(params, x)), np.asarray(net(params, 3.0 * x))
    assert np.abs(near - far).max() > 1e-2


@given(index=st.lists(st.integers(0, 4), min_size=1, max_size=4))
@settings(max_examples=10, deadline=None)
def test_a_drawn_subset_gives_what_the_whole_ensemble_gives(index: list[int]) -> None:
    net = Mlp(5, 3, (4,), 2, "tanh", True)
    params = {k: jnp.asarray(v) for k, v in random_params(net, 2).items()}
    x = jnp.ones((3, 3))
    np.testing.assert_allclose(
        net(networks.take(params, jnp.array(index)), x), net(params, x)[np.array(index)], atol=1e-6
    )


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_written_derivative_is_the_derivative(activation: Activation) -> None:
    rng = np.random.default_rng(3)
    h, scale, shift = rng.normal(size=(2, 4, 6)), rng.normal(size=(2, 1, 6)), rng.normal(size=(2, 1, 6))
    weights = rng.normal(size=(2, 4, 6))

    def plain(h, scale, shift):
        centred = h - h.mean(-1, keepdims=True)
        x = centred / jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + networks.LN_EPS)
        return (networks.activation_of(activation)(x * scale + shift) * weights).sum()

    def written(h, scale, shift):
        return (networks.norm_activate(h, scale, shift, activation) * weights).sum()

    args = tuple(jnp.asarray(v, jnp.float32) for v in (h, scale, shift))
    for got, expected in zip(jax.grad(written, (0, 1, 2))(*args), jax.grad(plain, (0, 1, 2))(*args), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_the_density_of_a_squashed_gaussian_integrates_to_one() -> None:
    a = np.linspace(-1, 1, 200_001)[1:-1]
    for mean, std in ((0.0, 1.0), (1.5, 0.4), (-0.5, 0.05)):
        u = jnp.asarray(np.arctanh(a), jnp.float32)[:, None]
        log_prob = networks.squashed_log_prob(u, jnp.full_like(u, mean), jnp.full_like(u, np.log(std)))
        assert np.trapezoid(np.exp(np.asarray(log_prob, np.float64)), a) == pytest.approx(1.0, abs=1e-3)


def test_the_density_is_finite_far_out() -> None:
    u = jnp.array([[-50.0], [50.0]])
    assert np.isfinite(networks.squashed_log_prob(u, u, jnp.zeros_like(u))).all()


@given(raw=st.floats(-1e4, 1e4), low=st.floats(1e-3, 0.5), ratio=st.floats(1.5, 100.0), share=st.floats(0.05, 0.95))
@settings(max_examples=50, deadline=None)
def test_the_standard_deviation_stays_within_its_bounds(raw: float, low: float, ratio: float, share: float) -> None:
    high = low * ratio
    std = float(np.exp(networks.log_std_of(jnp.float32(raw), low, high)))
    assert low * 0.999 <= std <= high * 1.001
    wanted = low * ratio**share
    back = np.exp(networks.log_std_of(jnp.float32(networks.raw_of_std(wanted, low, high)), low, high))
    assert float(back) == pytest.approx(wanted, rel=1e-3)


@given(y=st.floats(-0.4, 1.4))
@settings(max_examples=30, deadline=None)
def test_a_value_histogram_has_the_value_as_its_mean(y: float) -> None:
    edges = np.linspace(-1.0, 2.0, 52, dtype=np.float32)
    mass = networks.histogram_target(jnp.array([y], jnp.float32), edges)
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(networks.histogram_mean(jnp.log(mass + 1e-12), edges)[0]) == pytest.approx(y, abs=2e-3)
