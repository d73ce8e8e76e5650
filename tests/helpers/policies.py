"""Policies of chance, over specifications of chance, as an agent would publish them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ObservationSpec, StateField


@st.composite
def observation_specs(draw: st.DrawFn) -> ObservationSpec:
    """Draw one to three fields, with and without offsets."""
    fields = {}
    for i in range(draw(st.integers(1, 3))):
        size = draw(st.integers(1, 4))
        offset = tuple(draw(st.lists(st.floats(-2.0, 2.0, width=32), min_size=size, max_size=size)))
        scale = draw(st.floats(0.0625, 16.0, width=32))
        fields[f"f{i}"] = StateField(size=size, unit="m", scale=scale, offset=offset if draw(st.booleans()) else ())
    return ObservationSpec(state=fields)


@st.composite
def action_specs(draw: st.DrawFn) -> ActionSpec:
    """Draw continuous groups, discrete groups or both."""
    discrete = {
        f"d{i}": DiscreteGroup(choices=tuple(f"c{j}" for j in range(draw(st.integers(2, 3)))))
        for i in range(draw(st.integers(0, 2)))
    }
    least = 0 if discrete else 1
    continuous = {
        f"g{i}": ContinuousGroup(size=draw(st.integers(1, 3)), unit="m", scale=draw(st.floats(0.01, 3.0)))
        for i in range(draw(st.integers(least, 2)))
    }
    return ActionSpec(continuous=continuous, discrete=discrete)


def random_weights(
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    *,
    hidden: tuple[int, ...] = (16, 8),
    norm: bool = True,
    relu: bool = False,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return weights as `Agent.policy` gives them, every one of them away from its first value."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    width = observation_spec.size
    for i, out in enumerate(hidden):
        weights[f"w{i}"] = rng.normal(0.0, 1.0 / np.sqrt(width), (width, out))
        weights[f"shift{i}"] = rng.normal(0.0, 0.3, out)
        if norm:
            weights[f"scale{i}"] = rng.normal(1.0, 0.3, out)
        width = out
    if norm:
        weights["b0"] = rng.normal(0.0, 0.3, hidden[0])
    outputs = 2 * action_spec.continuous_size + (action_spec.joint_choices if action_spec.joint_choices > 1 else 0)
    weights["head"] = rng.normal(0.0, 0.7, (width, outputs))
    weights["bias"] = rng.normal(0.0, 0.3, outputs)
    weights["activation"] = np.array([float(relu)])
    weights["std_bounds"] = np.array([0.02, 1.5])
    return {name: np.asarray(value, np.float32) for name, value in weights.items()}


def random_states(observation_spec: ObservationSpec, count: int, seed: int = 0) -> np.ndarray:
    """Return (count, S) states of a few scales around the offsets."""
    drawn = np.random.default_rng(seed).normal(0.0, 1.5, (count, observation_spec.size))
    return (observation_spec.offset + observation_spec.scale * drawn).astype(np.float32)


def plain_answers(
    observation_spec: ObservationSpec, action_spec: ActionSpec, weights: dict[str, np.ndarray], states: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what `robot_rl.export.parity.reference` does, by the network's definition in 64 bits."""
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    x = (states.astype(np.float64) - observation_spec.offset) / observation_spec.scale
    for i in range(sum(name.startswith("shift") for name in w)):
        x = x @ w[f"w{i}"]
        if "scale0" in w:
            x = x + w["b0"] if i == 0 else x
            x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-6) * w[f"scale{i}"]
        x = x + w[f"shift{i}"]
        x = np.maximum(x, 0.0) if w["activation"][0] else np.tanh(x)
    head, c = x @ w["head"] + w["bias"], action_spec.continuous_size
    low, high = np.log(w["std_bounds"])
    e = np.exp(head[:, 2 * c :] - head[:, 2 * c :].max(axis=1, keepdims=True, initial=-np.inf))
    choice = e / e.sum(axis=1, keepdims=True) if action_spec.joint_choices > 1 else np.ones((len(states), 1))
    return {
        "state": states,
        "action": np.concatenate([np.tanh(head[:, :c]), action_spec.joint_values[choice.argmax(axis=1)]], axis=1),
        "std": np.exp(low + 0.5 * (high - low) * (1.0 + np.tanh(head[:, c : 2 * c]))),
        "choice": choice,
    }
