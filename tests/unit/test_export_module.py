"""The exported network is the one that actors run and the one that the learner trains, whatever the task."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policies import action_specs, observation_specs, plain_answers, random_states, random_weights

from robot_rl.export import parity
from robot_rl.export.module import output_names, policy_module
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ObservationSpec, StateField

OBSERVATION = ObservationSpec(state={"p": StateField(size=3, unit="m", scale=0.1, offset=(0.5, 0.0, 0.2))})
MOVE = {"move": ContinuousGroup(size=2, unit="m", scale=0.1)}
CHOICES = {"grip": DiscreteGroup(choices=("open", "hold", "close")), "light": DiscreteGroup(choices=("off", "on"))}
PLAIN, GRIP = ActionSpec(continuous=MOVE), ActionSpec(continuous={}, discrete=CHOICES)
HYBRID = ActionSpec(continuous=MOVE, discrete={"grip": CHOICES["grip"]})
NETWORKS = st.fixed_dictionaries(
    {
        "hidden": st.lists(st.integers(1, 24), min_size=1, max_size=3).map(tuple),
        "norm": st.booleans(),
        "relu": st.booleans(),
        "seed": st.integers(0, 2**31),
    }
)


@settings(max_examples=60, deadline=None)
@given(observation_specs(), action_specs(), NETWORKS)
def test_the_policy_that_actors_run_is_the_network_as_it_is_defined(
    observation_spec: ObservationSpec, action_spec: ActionSpec, network: dict
) -> None:
    weights = random_weights(observation_spec, action_spec, **network)
    states = random_states(observation_spec, 8)
    examples = plain_answers(observation_spec, action_spec, weights, states)
    acted = parity.numpy_answers(observation_spec, action_spec, weights, states)
    parity.check("the policy", parity.deviations(examples, action_spec, acted))


@pytest.mark.parametrize("action_spec", [PLAIN, GRIP, HYBRID], ids=["plain", "grip", "hybrid"])
@pytest.mark.parametrize(("norm", "relu"), [(True, False), (False, True)])
def test_the_learners_network_is_rebuilt_from_what_it_published(
    action_spec: ActionSpec, norm: bool, relu: bool
) -> None:
    weights = random_weights(OBSERVATION, action_spec, norm=norm, relu=relu)
    states = random_states(OBSERVATION, 20)
    examples = parity.reference(OBSERVATION, action_spec, weights, states)
    wanted = plain_answers(OBSERVATION, action_spec, weights, states)
    assert list(examples) == [
        "state",
        "action",
        *(["std"] if action_spec is not GRIP else []),
        *(["choice"] if action_spec is not PLAIN else []),
    ]
    for name, value in examples.items():
        np.testing.assert_allclose(value, wanted[name], atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")  # seconds, which would count as those of drawing the first example


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(observation_spec=observation_specs(), action_spec=action_specs(), network=NETWORKS)
def test_the_module_acts_as_the_network_is_defined(
    torch, observation_spec: ObservationSpec, action_spec: ActionSpec, network: dict
) -> None:
    weights = random_weights(observation_spec, action_spec, **network)
    states = random_states(observation_spec, 8)
    module = policy_module(observation_spec, action_spec, weights)
    with torch.inference_mode():
        rows = [[out.numpy() for out in module(torch.from_numpy(state))] for state in states]
    names = output_names(action_spec)
    found = {name: np.stack(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    examples = plain_answers(observation_spec, action_spec, weights, states)
    told = parity.deviations(examples, action_spec, found)
    parity.check("the module", told)
    assert ("std" in told) == (action_spec.continuous_size > 0)
    assert ("choice" in told) == (action_spec.joint_choices > 1)
    assert found["action"].shape == (8, action_spec.size)


@pytest.mark.parametrize("name", ["head", "bias", "w0", "shift1", "scale0", "b0", "std_bounds"])
def test_a_change_of_any_weight_is_noticed(name: str) -> None:
    weights = random_weights(OBSERVATION, HYBRID)
    states = random_states(OBSERVATION, 20)
    examples = plain_answers(OBSERVATION, HYBRID, weights, states)
    other = plain_answers(OBSERVATION, HYBRID, weights | {name: weights[name] * np.float32(1.01)}, states)
    found = {"action": other["action"], "std": other["std"], "choice_logits": np.log(other["choice"])}
    with pytest.raises(parity.ExportError, match=r"differs from the learner's network by .*Nothing was exported"):
        parity.check("the changed one", parity.deviations(examples, HYBRID, found))


def test_a_choice_that_rounding_decides_is_not_held_against_a_program() -> None:
    action = np.array([[0.1, 0.0, -1.0]], np.float32)
    examples = {"action": action, "std": np.ones((1, 2)), "choice": np.array([[0.40001, 0.4, 0.19999]])}
    other = {"action": np.array([[0.1, 0.0, 0.0]], np.float32)}
    assert parity.deviations(examples, HYBRID, other)["action"] == 0.0
    examples["choice"] = np.array([[0.5, 0.4, 0.1]])
    assert parity.deviations(examples, HYBRID, other)["action"] == 1.0


def test_what_is_not_a_number_is_no_agreement() -> None:
    with pytest.raises(parity.ExportError, match="by nan in its action"):
        parity.check("it", {"action": float("nan")})
