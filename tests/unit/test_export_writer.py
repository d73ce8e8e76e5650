"""An export is complete and checked or not there at all, and its runner needs nothing of this package."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from policies import random_states, random_weights

from robot_rl.demos import STREAM
from robot_rl.errors import CheckpointError, ConfigError, ExportError, MissingDependency
from robot_rl.export import programs
from robot_rl.export.acting import ExportedActor
from robot_rl.export.description import Origin, spec_of
from robot_rl.export.module import policy_module
from robot_rl.export.recorded import Observations, recorded_states
from robot_rl.export.run_policy import ExportedPolicy, PolicyError, main
from robot_rl.export.writer import export_policy
from robot_rl.link import session_spec
from robot_rl.messages import StepBlock
from robot_rl.policy import NumpyPolicy
from robot_rl.replay_log import ReplayLog
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ImageField, ObservationSpec, StateField

OBSERVATION = ObservationSpec(
    state={
        "p": StateField(size=3, unit="m", scale=0.1, offset=(0.5, 0.0, 0.2), doc="tool in B"),
        "v": StateField(size=2, unit="m/s", scale=0.7),
    }
)
ACTION = ActionSpec(
    continuous={"move": ContinuousGroup(size=3, unit="m", scale=0.1)},
    discrete={"grip": DiscreteGroup(choices=("open", "hold", "close"))},
)
WEIGHTS = random_weights(OBSERVATION, ACTION)
STATES = random_states(OBSERVATION, 30)
ORIGIN = Origin(task="made_up", control_hz=10.0, run="r", policy="final", version=77, sampled=False)


def write(folder: Path, format_name: str, **changes) -> Path:
    pytest.importorskip("torch")
    if format_name == "onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(name)
    parts = {"weights": WEIGHTS, "states": STATES} | changes
    done = export_policy(
        folder, format_name, OBSERVATION, ACTION, parts["weights"], Observations(parts["states"], {}), ORIGIN
    )
    assert done.folder == folder
    assert done.observations == "30 recorded observations"
    assert 0.0 < done.deviation < 1e-4
    return folder


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("export") / "onnx", "onnx")


@pytest.fixture(scope="module")
def torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("export") / "torch", "torch")


@pytest.fixture(params=["onnx", "torch"])
def exported(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def test_an_export_acts_and_draws_as_the_actors_policy(exported: Path) -> None:
    policy, ours = ExportedPolicy(exported), NumpyPolicy(OBSERVATION, ACTION, WEIGHTS)
    assert policy.version == 77
    for state in STATES:
        by_name = {name: state[part] for name, part in OBSERVATION.slices.items()}
        np.testing.assert_allclose(policy.act(state), ours.act(state), atol=1e-5)
        np.testing.assert_array_equal(policy.act(by_name), policy.act(state))
        drawn, wanted = (p.act(state, rng=np.random.default_rng(3)) for p in (policy, ours))
        np.testing.assert_allclose(drawn, wanted, atol=1e-5)


def test_its_description_says_what_it_reads_and_gives(exported: Path) -> None:
    told = json.loads((exported / "policy.json").read_text())
    assert spec_of(told) == session_spec(OBSERVATION, ACTION)
    assert told["control_hz"] == 10.0
    assert told["state"][0]["doc"] == "tool in B"
    assert told["parity"]["observations"] == len(STATES)
    for found in told["parity"]["largest_difference"].values():
        assert all(value <= told["parity"]["tolerance"] for value in found.values())
    policy = ExportedPolicy(exported)
    named = policy.named(np.array([1.0, 0.0, -0.5, 1.0], np.float32))
    assert named == {"move": pytest.approx([0.1, 0.0, -0.05]), "grip": "close"}


def test_the_runner_needs_nothing_of_this_package_and_checks_itself(exported: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported, tmp_path / "elsewhere")
    block = (
        "import runpy, sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'jax', 'robot_rl', 'mujoco', 'gymnasium', 'msgpack', 'hydra'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "sys.argv = ['run_policy.py', '-n', '50']\n"
        "runpy.run_path('run_policy.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=copy, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "on 30 recorded observations" in done.stdout
    assert "p99" in done.stdout
    assert "n 50" in done.stdout


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (np.zeros(4, np.float32), r"reads states of shape \(5,\), got \(4,\)"),
        (np.full(5, np.nan, np.float32), r"not finite in \['p', 'v'\]; hold the robot"),
        ({"p": [0, 0, 0]}, r"lacks \['v'\] and has unknown \[\]"),
        ({"p": [0, 0, 0], "v": [0, 0], "w": 1}, r"lacks \[\] and has unknown \['w'\]"),
        ({"p": [0, 0], "v": [0, 0]}, "'p' has 2 numbers, the policy reads 3"),
    ],
)
def test_the_runner_refuses_what_does_not_fit(onnx: Path, state, told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        ExportedPolicy(onnx).act(state)


def test_damage_is_told_and_nothing_acts(onnx: Path, tmp_path: Path, capsys) -> None:
    copy = shutil.copytree(onnx, tmp_path / "copy")
    data = bytearray((copy / "policy.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "policy.onnx").write_bytes(data)
    assert main([str(copy)]) == 2
    assert "is not the one that policy.json describes" in capsys.readouterr().err
    with pytest.raises(ExportError, match="copy the whole folder again"):
        ExportedActor(copy, OBSERVATION, ACTION)
    (copy / "policy.json").write_text("{")
    with pytest.raises(PolicyError, match="export the policy again"):
        ExportedPolicy(copy)
    with pytest.raises(PolicyError, match="holds no exported policy"):
        ExportedPolicy(tmp_path)


def test_the_runner_notices_a_runtime_that_acts_otherwise(onnx: Path, tmp_path: Path, capsys) -> None:
    copy = shutil.copytree(onnx, tmp_path / "copy")
    with np.load(copy / "examples.npz") as found:
        examples = dict(found)
    examples["std"] = examples["std"] + np.float32(1e-3)
    np.savez(copy / "examples.npz", **examples)
    assert main([str(copy), "-n", "5"]) == 1
    assert "do not use it" in capsys.readouterr().err


def test_an_export_of_another_task_does_not_act_in_this_one(onnx: Path) -> None:
    other = ObservationSpec(state={"p": OBSERVATION.state["p"], "v": StateField(size=2, unit="m/s", scale=0.8)})
    with pytest.raises(ExportError, match=r"is of another task: the task has .*v scale 0.8, the export has 0.7"):
        ExportedActor(onnx, other, ACTION)


def test_an_export_that_differs_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def wrong(observation_spec, action_spec, weights, eyes):
        assert eyes is None
        return policy_module(observation_spec, action_spec, weights | {"bias": weights["bias"] + np.float32(1e-3)})

    monkeypatch.setattr("robot_rl.export.writer.policy_module", wrong)
    with pytest.raises(ExportError, match=r"the exported program \(torch\) differs .*Nothing was exported"):
        write(tmp_path / "out", "torch")
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_no_policy_reads_are_not_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pictured = dataclasses.replace(OBSERVATION, images={"front": ImageField(height=8, width=8)})
    shown = Observations(STATES, {})
    export_policy(tmp_path / "out", "torch", pictured, ACTION, WEIGHTS, shown, ORIGIN)
    assert ExportedPolicy(tmp_path / "out").description["images"] == []
    action = ExportedActor(tmp_path / "out", pictured, ACTION).act(
        {"state": STATES[0], "front": np.zeros((8, 8, 3), np.uint8)}
    )
    np.testing.assert_allclose(action, NumpyPolicy(OBSERVATION, ACTION, WEIGHTS).act(STATES[0]), atol=1e-5)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="never written over another"):
        write(tmp_path / "out", "torch")


def test_an_unknown_format_and_a_missing_package_are_named(monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"no format 'onx' .*onnx, torch. Did you mean 'onnx'"):
        programs.check_format("onx")
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else found(name))
    monkeypatch.setattr(programs, "_NEEDS", {"onnx": ("numpy", "onnxscript")})
    with pytest.raises(MissingDependency, match=r"onnxscript is not available, .*robot-rl\[deploy\]"):
        programs.check_installed("onnx")


def block_of(states: np.ndarray) -> StepBlock:
    n = len(states)
    return StepBlock(
        episode=0, start=0, states=states, actions=np.zeros((n, 4), np.float32), rewards=np.zeros(n, np.float32),
        sources=np.zeros(n, np.uint8), policy_versions=np.zeros(n, np.int64),
    )  # fmt: skip


def test_recorded_states_are_drawn_from_all_of_a_run(tmp_path: Path) -> None:
    states = random_states(OBSERVATION, 400)
    for name, part in (("demos", states[:100]), ("replay", states[100:])):
        with ReplayLog(tmp_path / name) as log:
            for i, begin in enumerate(range(0, len(part), 20)):
                log.append(STREAM, i + 1, block_of(part[begin : begin + 20]))
    drawn = recorded_states(tmp_path, OBSERVATION, 100).states
    np.testing.assert_array_equal(drawn, recorded_states(tmp_path, OBSERVATION, 100).states)
    places = [int(np.flatnonzero((states == row).all(axis=1))[0]) for row in drawn]
    assert len(set(places)) == 100
    assert 10 <= sum(place < 100 for place in places) <= 40, "a quarter of all is demonstrated"
    assert len(recorded_states(tmp_path, OBSERVATION, 1000).states) == 400
    other = ObservationSpec(state={"p": OBSERVATION.state["p"]})
    with pytest.raises(ExportError, match=r"recorded states of shape \(5,\), its policy reads \(3,\)"):
        recorded_states(tmp_path, other, 10)


def test_a_run_without_observations_is_not_exported_unchecked(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="recorded no observations"):
        recorded_states(tmp_path, OBSERVATION, 10)
    with ReplayLog(tmp_path / "demos") as log:
        log.append(STREAM, 1, block_of(STATES))
        log.append(STREAM, 2, block_of(STATES))
    path = next((tmp_path / "demos").glob("blocks-*.log"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        recorded_states(tmp_path, OBSERVATION, 10)
