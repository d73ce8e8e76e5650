"""Whether an exported program acts as the learner's own network does, on observations that a robot has seen."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ExportError, MissingDependency
from robot_rl.policy import NumpyPolicy
from robot_rl.specs import ActionSpec, ObservationSpec

NO_FEATURES: Mapping[str, NDArray[np.uint8]] = MappingProxyType({})
TOLERANCE = 1e-4
"""Largest difference of an action entry, a standard deviation or a choice's probability that an export may show."""
OBSERVATIONS = 100
MOST_MOVED = 1e-3
"""Share of the stored features that may lie one step apart; see `moved_bytes`."""


def reference(
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    weights: Mapping[str, NDArray[np.float32]],
    states: NDArray[np.float32],
    features: Mapping[str, NDArray[np.uint8]] = NO_FEATURES,
) -> dict[str, NDArray[np.float32]]:
    """Return what the learner's network (JAX) says of n observations, as `examples.npz` keeps it beside them.

    Args:
        observation_spec, action_spec: What the policy reads and gives.
        weights: As `Agent.policy` gives them.
        states: (n, S) in physical units.
        features: By camera (n, height, width, channels), as a frozen encoder stores them.

    Returns:
        "state" (n, S), "action" (n, A) the mode, and where the task has such entries "std" (n, C) before tanh and
        "choice" (n, K) probabilities of the joint choices.

    Raises:
        MissingDependency: JAX is not installed.
    """
    try:
        from robot_rl.agents.published import answers
    except ModuleNotFoundError as e:
        raise MissingDependency(
            str(e.name), "comparing an export with the learner", "pip install 'robot-rl[learner]'"
        ) from e
    told = answers(observation_spec, action_spec, weights, states, features)
    chosen = action_spec.joint_values[told.choice.argmax(axis=1)]
    out = {"state": states, "action": np.concatenate([told.mean, chosen], axis=1)}
    if action_spec.continuous_size:
        out["std"] = told.std
    if action_spec.joint_choices > 1:
        out["choice"] = told.choice
    return out


def deviations(
    examples: Mapping[str, NDArray[np.float32]], action_spec: ActionSpec, found: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """Return the largest difference to the reference of each kind of answer.

    Args:
        examples: As `reference` gives them.
        action_spec: What the policy gives.
        found: "action" (n, A) of another program on the same states and, if it tells them, "std" and "choice_logits".

    Returns:
        "action", and "std" and "choice" (a probability) as far as they were found. Two choices whose probabilities are
        closer than twice the tolerance are one to rounding; there the chosen one is not compared.
    """
    c = action_spec.continuous_size
    difference = np.abs(found["action"] - examples["action"])
    if action_spec.joint_choices > 1:
        best = np.sort(examples["choice"], axis=1)
        difference[best[:, -1] - best[:, -2] <= 2.0 * TOLERANCE, c:] = 0.0
    out = {"action": _largest(difference)}
    if "std" in found:
        out["std"] = _largest(np.abs(found["std"] - examples["std"]))
    if "choice_logits" in found:
        e = np.exp(found["choice_logits"] - found["choice_logits"].max(axis=1, keepdims=True))
        out["choice"] = _largest(np.abs(e / e.sum(axis=1, keepdims=True) - examples["choice"]))
    return out


def check(what: str, found: Mapping[str, float]) -> None:
    """Raise `ExportError` if a difference is larger than `TOLERANCE`, or not a number."""
    for name, value in found.items():
        if not value <= TOLERANCE:
            raise ExportError(
                f"{what} differs from the learner's network by {value:.2g} in its {name} on recorded observations; "
                f"allowed is {TOLERANCE:.0e}. Nothing was exported; try the other --format, or another version of it"
            )


def moved_bytes(what: str, features: Mapping[str, NDArray[np.uint8]], stored: NDArray[np.uint8]) -> int:
    """Return how many stored bytes of a program lie one step from those of the actor's encoder.

    Two runtimes compute a feature alike but for its last digits. Where it lies next to the border between two bytes,
    that decides which of them is stored, as it may between two choices.

    Args:
        what: The program, for sentences.
        features: By camera (n, height, width, channels), of the actor's encoder.
        stored: (n, cameras, height, width, channels) of the program.

    Raises:
        ExportError: Some lie further apart, or more than rounding explains.
    """
    apart = np.abs(np.stack(list(features.values()), axis=1).astype(np.int16) - stored)
    moved, steps = int((apart > 0).sum()), int(apart.max(initial=0))
    if steps > 1 or moved > MOST_MOVED * apart.size:
        raise ExportError(
            f"{what} stores {moved} of {apart.size} features otherwise than the encoder that the policy learnt with, "
            f"by up to {steps} steps; allowed is one step in {MOST_MOVED:.1%} of them. Nothing was exported; try the "
            "other --format, or another version of it"
        )
    return moved


def numpy_answers(
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    weights: Mapping[str, Any],
    states: NDArray[np.float32],
    features: Mapping[str, NDArray[np.uint8]] = NO_FEATURES,
) -> dict[str, NDArray[np.float32]]:
    """Return the "action" (n, A) of the policy that actors run; see `reference`."""
    policy = NumpyPolicy(observation_spec, action_spec, weights)
    seen = [
        {"state": state, **{name: stored[i][None] for name, stored in features.items()}}
        for i, state in enumerate(states)
    ]
    return {"action": np.stack([policy.act(observation) for observation in seen])}


def _largest(difference: NDArray[np.floating]) -> float:
    # Over a NaN, max gives NaN, which `check` refuses.
    return float(difference.max()) if difference.size else 0.0
